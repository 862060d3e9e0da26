"""Data files of relaxed structures have all that LAMMPS knows of the atoms, and LAMMPS reads them back."""

import numpy as np
import pytest
from mpi4py import MPI

from lammps_implicit import Minimum
from lammps_implicit.errors import OutputError
from lammps_implicit.evaluators import Engine
from lammps_implicit.results import predict, read_sensitivity, write_data, write_prediction

BOX = """\
units           metal
atom_style      full
lattice         fcc 5.64
region          box prism 0 2 0 1 0 1 0.1 0 0
create_box      2 box bond/types 1 angle/types 1 extra/bond/per/atom 4 extra/special/per/atom 8 extra/angle/per/atom 4
create_atoms    1 box
mass            * 30
lattice         fcc 5.64 origin 0.5 0 0
create_atoms    2 box
set             type 1 charge 1
set             type 2 charge -1
set             type 1 mol 3
create_bonds    single/bond 1 1 9
create_bonds    single/angle 1 1 9 2
velocity        all create 300 7
"""
STYLES = """\
bond_style      harmonic
angle_style     harmonic
special_bonds   lj/coul 1 1 1
pair_style      born/coul/long 5.0
"""
PAIRS = "kspace_style pppm 1.0e-6\npair_coeff      * * 0.2110 0.317 2.755 6.990482 -8.675859\n"
BONDED = "bond_coeff      1 0.2 2.8\nangle_coeff     1 0.1 90\n"


def content(engine):
    """All there is of each atom by id, and of bonds and angles."""
    owned = engine.lmp.extract_setting("nlocal")
    order = np.argsort(engine.lmp.numpy.extract_atom("id")[:owned])
    names = ("id", "type", "q", "molecule", "image", "v", "x")
    atoms = {name: np.array(engine.lmp.numpy.extract_atom(name))[:owned][order] for name in names}
    pairs = [
        np.array(sorted(map(tuple, gathered)))
        for gathered in (engine.lmp.numpy.gather_bonds(), engine.lmp.numpy.gather_angles())
    ]
    return atoms, pairs


def read(deck):
    engine = Engine.start()
    try:
        engine.run_deck(deck)
        return engine.energy, content(engine)
    finally:
        engine.close()


def test_charges_molecules_and_bonds_are_kept(write_deck, tmp_path):
    with Minimum.from_deck(
        write_deck(BOX + STYLES + PAIRS + BONDED + "minimize 0 1e-9 5000 20000\n"), parameters="born*"
    ) as minimum:
        change = minimum.jvp(np.ones(5), 1e-5)
        write_data(tmp_path / "out.data", minimum, "title")
        assert minimum.jvp(np.ones(5), 1e-5) == pytest.approx(change, abs=1e-4 * np.abs(change).max())
        minimum.engine.forces()
        energy, (atoms, pairs) = minimum.energy, content(minimum.engine)
    assert "Bond Coeffs" not in (tmp_path / "out.data").read_text()
    again = "units metal\natom_style full\nread_data out.data\n" + STYLES
    found, (others, other_pairs) = read(write_deck(again + "pair_modify table 0\n" + PAIRS + BONDED + "run 0\n"))
    assert found == pytest.approx(energy, rel=1e-10)
    for name, values in atoms.items():
        if name != "x":
            assert np.array_equal(others[name], values), name
    apart = (others["x"] - atoms["x"]) @ np.linalg.inv([[11.28, 0, 0], [0.564, 5.64, 0], [0, 0, 5.64]])
    assert np.abs(apart - np.round(apart)).max() < 1e-10
    assert all(len(pair) == 1 and np.array_equal(pair, other) for pair, other in zip(pairs, other_pairs, strict=True))


def test_coefficients_from_a_data_file_stay_in_it(write_deck, tmp_path):
    read(write_deck(BOX + STYLES + PAIRS + BONDED + "run 0\nwrite_data first.data\n"))
    start = "units metal\natom_style full\n" + STYLES
    again = start + "read_data {}.data\n" + PAIRS + "minimize 0 1e-9 5000 20000\n"
    with Minimum.from_deck(write_deck(again.format("first")), parameters="born*") as minimum:
        write_data(tmp_path / "second.data", minimum, "title")
        energy = minimum.energy
    assert read(write_deck(again.format("second").replace("minimize 0 1e-9 5000 20000", "run 0")))[0] == pytest.approx(
        energy, rel=1e-5
    )


RELAX = "minimize 0 1e-9 5000 20000\n"


@pytest.mark.parametrize("cell", ["none", "ortho"])
def test_predictions_keep_charges_molecules_and_bonds(write_deck, tmp_path, cell):
    with Minimum.from_deck(write_deck(BOX + STYLES + PAIRS + BONDED + RELAX), cell=cell, parameters="born*") as minimum:
        known = minimum.sensitivity(1e-5, cell=cell)
        minimum.engine.return_to_reference()
        atoms, pairs = content(minimum.engine)
    known.write(tmp_path / "out.h5")  # after LAMMPS has been closed
    known = read_sensitivity(tmp_path / "out.h5")
    prediction = predict(known, np.array([0.0, 0.01, 0.0, 0.0, 0.0]))
    write_prediction(tmp_path / "new.h5", known, prediction)
    again = "units metal\natom_style full\nread_data new.data\n" + STYLES + PAIRS + BONDED + "run 0\n"
    _, (others, other_pairs) = read(write_deck(again))
    for name, values in atoms.items():
        if name not in ("x", "image"):
            assert np.array_equal(others[name], values), name
    assert all(np.array_equal(pair, other) for pair, other in zip(pairs, other_pairs, strict=True))
    moved = known.moved(prediction.dtheta, prediction.displacement)
    apart = (others["x"] - moved.positions) @ np.linalg.inv(moved.cell)
    assert np.abs(apart - np.round(apart)).max() < 1e-10
    assert np.abs(prediction.displacement).max() > 1e-4
    # Bonds go through the boundary as before: images and positions changed together.
    lines, whole = (
        (np.array([o["image"] >> shift & 1023 for shift in (0, 10, 20)]).T - 512 for o in (atoms, others)),
        [],
    )
    for o, image, vectors in zip((atoms, others), lines, (known.structure.cell, moved.cell), strict=True):
        whole.append(o["x"] + image @ vectors)
    strained = known.structure.origin + (whole[0] - known.structure.origin) @ (np.eye(3) + prediction.strain).T
    homogeneous = (known.structure.positions - known.structure.origin) @ prediction.strain.T
    assert whole[1] - strained == pytest.approx(prediction.displacement - homogeneous, abs=1e-9)


def test_a_prediction_of_another_structure_is_refused(write_deck, tmp_path):
    with Minimum.from_deck(write_deck(BOX + STYLES + PAIRS + BONDED + RELAX), parameters="born*") as minimum:
        known = minimum.sensitivity(1e-3)
    known.structure.positions[0] += 0.1
    with pytest.raises(OutputError, match="does not hold the atoms of the result"):
        write_prediction(tmp_path / "new.h5", known, predict(known, np.zeros(5)))


def test_nothing_is_written_over(write_deck, tmp_path, ta_vacancy):
    (tmp_path / "out.data").write_text("precious")
    with pytest.raises(OutputError, match=r"out\.data"):
        write_data(tmp_path / "out.data", ta_vacancy, "title")
    assert [path.name for path in tmp_path.iterdir()] == ["out.data"]
    assert (tmp_path / "out.data").read_text() == "precious"
    assert not (ta_vacancy.engine.scratch / "structure.data").exists()


@pytest.mark.parallel(nprocs=[1, 2])
def test_coefficients_of_pairs_with_tail_corrections(tmp_path):
    """LAMMPS by itself hangs or crashes on several ranks where it mixes coefficients for a data file."""
    folder = MPI.COMM_WORLD.bcast(tmp_path)
    if MPI.COMM_WORLD.rank == 0:
        (folder / "pairs.data").write_text(
            "LAMMPS\n\n3 atoms\n2 atom types\n\n0 9 xlo xhi\n0 9 ylo yhi\n0 9 zlo zhi\n\nMasses\n\n1 40\n2 80\n\n"
            "Pair Coeffs # lj/cut\n\n1 0.01 3.0\n2 0.02 3.2\n\n"
            "Atoms # charge\n\n1 1 0 1 1 1\n2 2 0 4.4 1 1\n3 1 0 2.6 4 1.1\n"
        )
        (folder / "in.pairs").write_text(
            "units metal\natom_style charge\npair_style lj/cut 4.2\npair_modify tail yes mix arithmetic\n"
            "read_data pairs.data\nminimize 0 1e-10 1000 10000\n"
        )
    MPI.COMM_WORLD.Barrier()
    with Minimum.from_deck(folder / "in.pairs", saddle=True) as minimum:
        write_data(folder / "out.data", minimum, "title")
        energy = minimum.energy
        minimum.engine.forces()
        assert minimum.engine.energy == pytest.approx(energy, rel=1e-9)  # with its tail corrections
    assert "PairIJ Coeffs" in (folder / "out.data").read_text()
