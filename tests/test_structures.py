"""Structures as text: written and read in blocks."""

import io

import ase.io
import h5py
import numpy as np
import pytest
from conftest import TA_VACANCY_READ, ta_data
from mpi4py import MPI

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.results.snapshot import snapshot
from lammps_implicit.results.structure import (
    read_rows,
    read_structure,
    stream_structure,
    structure_pieces,
)
from lammps_implicit.results.text import write_xyz
from lammps_implicit.structures import read_data_pieces, write_data_rows, write_rows

NUMBERS = np.array([0.0, -0.0, 1.0, -1.5, 1 / 3, 1e-17, -1e22, 123456789.123456789, np.pi * 1e8])


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("lammps_implicit.structures.BLOCK", 7)


def test_rows_are_those_of_a_loop(small_blocks):
    random = np.random.default_rng(1)
    positions = random.choice(NUMBERS, (50, 3)) * random.choice([1.0, random.random()], (50, 3))
    ids, types = random.permutation(2**53 - np.arange(50)), random.integers(1, 3, 50)
    for kind in (np.int64, np.float64):  # a piece of columns together is one of floats
        file = io.StringIO()
        write_data_rows(file, ids.astype(kind), types.astype(kind), positions)
        rows = zip(ids, types, positions, strict=True)
        expected = "".join(f"{i:.0f} {t:.0f} {x:.16g} {y:.16g} {z:.16g}\n" for i, t, (x, y, z) in rows)
        assert file.getvalue() == expected
    file = io.StringIO()
    write_rows(file, "%d\n", np.empty(0))
    assert file.getvalue() == ""


def test_xyz_rows_are_those_of_a_loop(tmp_path, small_blocks, ta_vacancy):
    write_xyz(tmp_path / "ta.xyz", ta_vacancy)
    lines = (tmp_path / "ta.xyz").read_text().splitlines()
    order = np.argsort(ta_vacancy.ids)
    rows = [
        f"Ta {' '.join(f'{number:.10f}' for number in place)} {id_} 1"
        for id_, place in zip(
            ta_vacancy.ids[order], (ta_vacancy.positions - ta_vacancy.engine.origin)[order], strict=True
        )
    ]
    assert lines[2:] == rows
    read = ase.io.read(tmp_path / "ta.xyz")
    assert read.get_potential_energy() == ta_vacancy.energy
    assert read.pbc.all()


FORMS = {
    "plain": lambda text: text,
    "style": lambda text: text.replace("Atoms\n", "Atoms  # atomic\n"),
    "tilted": lambda text: text.replace("zhi\n", "zhi\n0.1 -0.2 0.3 xy xz yz\n"),
    "shifted": lambda text: text.replace("0 9.948 xlo xhi", "-1.5 8.5 xlo xhi"),
    "flags": lambda text: text[: text.index("Atoms")] + text[text.index("Atoms") :].replace(".0\n", ".0 0 0 0\n"),
    "more": lambda text: text + "\nVelocities\n\n1 0 0 0\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_data_files_are_read_as_ase_does(tmp_path, small_blocks, form):
    path = tmp_path / "atoms.data"
    path.write_text(FORMS["plain" if form == "more" else form](ta_data(range(2, 107, 2))))
    expected = ase.io.read(path, format="lammps-data", atom_style="atomic")
    path.write_text(FORMS[form](ta_data(range(2, 107, 2))))
    pieces = list(read_data_pieces(path))
    assert max(len(piece.ids) for piece in pieces) == 7
    ids = np.concatenate([piece.ids for piece in pieces])
    assert ids.dtype == np.int64
    order = np.argsort(ids)
    assert ids[order].tolist() == expected.arrays["id"].tolist()
    positions = np.concatenate([piece.positions for piece in pieces])[order]
    assert positions == pytest.approx(expected.positions, abs=1e-12)
    assert pieces[0].cell == pytest.approx(np.array(expected.cell), abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("53 atoms", "54 atoms"), "lines 'id type x y z'"),
        (("53 atoms", ""), "no atoms"),
        (("Atoms", "Atoms  # full"), "atom_style is full"),
        (("Atoms", "Bonds"), "ends before its atoms"),
        (("3.316 0.0", "3.316 zero"), "zero"),
        (("xlo xhi", "0 avec"), "general triclinic"),
    ],
)
def test_what_is_no_data_file_is_refused(tmp_path, small_blocks, change, message):
    path = tmp_path / "atoms.data"
    path.write_text(ta_data(range(2, 55)).replace(*change))
    with pytest.raises(LammpsImplicitError, match=message):
        list(read_data_pieces(path))
    with pytest.raises(LammpsImplicitError, match="No such file"):
        list(read_data_pieces(tmp_path / "none.data"))


@pytest.mark.parallel(nprocs=[1, 3])
def test_rows_read_on_the_root_are_spread(tmp_path_factory, small_blocks):
    world = MPI.COMM_WORLD
    path = world.bcast(tmp_path_factory.mktemp("rows") / "atoms.data" if world.rank == 0 else None)
    if world.rank == 0:
        path.write_text(ta_data(range(2, 107, 2)))
    ids, positions, cell = read_rows(world, lambda: read_data_pieces(path))
    assert len(ids) <= 53 / world.size + 2 * 7
    assert cell == pytest.approx(9.948 * np.eye(3))
    together = np.concatenate(world.allgather(np.column_stack([ids, positions])))
    together = together[np.argsort(together[:, 0])]
    expected = np.concatenate([np.column_stack([p.ids, p.positions]) for p in read_data_pieces(path)])
    assert np.array_equal(together, expected)
    world.barrier()
    if world.rank == 0:
        path.write_text(path.read_text()[:-40])  # the fault shows after some pieces have been sent
    with pytest.raises(LammpsImplicitError, match="not a LAMMPS data file"):
        read_rows(world, lambda: read_data_pieces(path))
    with pytest.raises(LammpsImplicitError, match="No such file"):
        read_rows(world, lambda: read_data_pieces(path.with_name("none")))


def test_data_files_written_are_read_to_the_last_digit(tmp_path, write_deck):
    (tmp_path / "atoms.data").write_text(ta_data(range(2, 55)))
    from lammps_implicit.results.text import write_data

    with Minimum.from_deck(write_deck(TA_VACANCY_READ)) as minimum:
        write_data(tmp_path / "out.data", minimum, "as written")
        rows = read_rows(MPI.COMM_SELF, lambda: read_data_pieces(tmp_path / "out.data"))
        assert rows.positions == pytest.approx(minimum.positions[np.argsort(minimum.ids)], rel=1e-15, abs=0)
        assert rows.cell == pytest.approx(minimum.engine.cell, rel=1e-15)


def test_structures_in_hdf5_are_read_in_pieces(tmp_path, monkeypatch, ta_vacancy):
    monkeypatch.setattr("lammps_implicit.results.structure.PIECE", 7)
    with h5py.File(tmp_path / "one.h5", "w") as one:
        two = one.create_group("deep/inside")
        stream_structure(two, snapshot(ta_vacancy), MPI.COMM_SELF, "Å")
        pieces = list(structure_pieces(two))
        assert [len(piece.ids) for piece in pieces] == [7] * 7 + [4]
        whole = read_structure(two)
        rows = read_rows(MPI.COMM_SELF, lambda: structure_pieces(two))
        assert two["positions"].attrs["units"] == "Å"
    assert np.array_equal(rows.ids, whole.ids)
    assert np.array_equal(rows.positions, whole.positions)
    assert np.array_equal(rows.cell, whole.cell)
    assert np.array_equal(whole.positions, ta_vacancy.positions[np.argsort(ta_vacancy.ids)])
