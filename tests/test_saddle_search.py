"""Single-ended searches for saddles around a minimum."""

import math
import subprocess
from dataclasses import replace

import ase.io
import numpy as np
import pytest
from commands import program
from conftest import TA_VACANCY_READ, ta_data
from hops import FCC
from mpi4py import MPI

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.cli.saddle_search import read_modes
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.saddles import (
    Barrier,
    barrier_over,
    read_saddles,
    saddles_around,
    write_saddles,
    write_saddles_xyz,
)
from lammps_implicit.saddles.likeness import likeness

HOP = (2, (-1.0, -1.0, 0.0))
"""Atom 2 pushed towards the vacancy at 1."""


@pytest.fixture(scope="module")
def deck(tmp_path_factory):
    path = tmp_path_factory.mktemp("fcc") / "in.fcc"
    path.write_text(FCC)
    return path


@pytest.fixture(scope="module")
def vacancy(deck):
    with Minimum.from_deck(deck) as minimum:
        yield minimum


@pytest.fixture(scope="module")
def before(vacancy):
    return {
        "ids": vacancy.ids.copy(),
        "positions": vacancy.positions.copy(),
        "energy": vacancy.energy,
        "gradient": vacancy.energy_gradient().copy(),
        "jacobian": vacancy.jacobian(1e-4),
        "forces": vacancy.engine.forces().copy(),
    }


@pytest.fixture(scope="module")
def found(vacancy, before):
    return vacancy.saddles(5, modes=[HOP], seed=3)


def rows_of(ids, values):
    """Values in the order of ascending ids, in that of these ids."""
    return values[np.argsort(np.argsort(ids))]


def at_saddle(minimum, saddle, dtheta=0.0):
    """Energy and forces at a saddle with changed parameters."""
    dtheta = np.zeros(len(minimum.potential.theta)) + dtheta
    return minimum.state_at(dtheta, rows_of(minimum.ids, saddle.displacement))


def test_the_hop_that_a_band_finds_is_found(deck, vacancy, found):
    hop = found.saddles[0]
    with Minimum.from_deck(deck, variables={"hop": "1"}) as end, Barrier.between(vacancy, end) as barrier:
        assert hop.barrier == pytest.approx(barrier.forward, abs=1e-9)
        assert hop.curvature == pytest.approx(barrier.mode.curvature, rel=0.02)
        assert hop.gradient == pytest.approx(barrier.gradient(), rel=1e-6)
        # The vacancy is where the atom was.
        assert found.energy + hop.behind_energy == pytest.approx(end.energy, abs=1e-6)
    assert hop.movers[0][0] == 2
    assert hop.movers[0][1] == pytest.approx(3.615 / math.sqrt(2), rel=0.1)  # all relax around a vacancy
    assert at_saddle(vacancy, hop).energy == pytest.approx(found.energy + hop.barrier, abs=1e-9)
    assert abs(at_saddle(vacancy, hop).forces).max() < 1e-6


def test_the_minimum_is_left_as_it_was(vacancy, before, found):
    assert vacancy.ids.tolist() == before["ids"].tolist()
    assert np.array_equal(vacancy.positions, before["positions"])
    assert vacancy.energy == before["energy"]
    assert not vacancy.saddle
    assert vacancy.jacobian(1e-4) is before["jacobian"]
    assert np.allclose(vacancy.engine.forces(), before["forces"], atol=1e-12)
    assert vacancy.engine.energy == pytest.approx(before["energy"], rel=1e-14)
    vacancy.forget()
    assert vacancy.energy_gradient() == pytest.approx(before["gradient"], rel=1e-12)


def test_every_saddle_has_one_negative_mode_and_a_path_down_to_the_start(vacancy, found):
    nothing, size = np.zeros(len(vacancy.potential.theta)), 3 * len(vacancy.ids)
    for saddle in found.saddles:
        with vacancy.excursion(nothing, rows_of(vacancy.ids, saddle.displacement)):
            engine = vacancy.engine
            order, columns = np.argsort(engine.ids), []
            for unit in 1e-4 * np.eye(size):
                v = rows_of(engine.ids, unit.reshape(-1, 3))
                columns.append((engine.forces(-v) - engine.forces(v))[order].reshape(-1) / 2e-4)
            engine.return_to_reference()
        values, vectors = np.linalg.eigh(np.array(columns))
        assert values[0] < -0.1
        assert values[1] > -1e-5
        assert abs(vectors[:, 0] @ saddle.mode.reshape(-1)) == pytest.approx(1.0, abs=0.02)
        moved = []
        for sign in (1.0, -1.0):
            off = saddle.displacement + sign * 0.05 * vectors[:, 0].reshape(-1, 3)
            with vacancy.excursion(nothing, rows_of(vacancy.ids, off)):
                vacancy.relax_away(1e-6)
                there = vacancy.positions[np.argsort(vacancy.ids)]
            moved.append(abs(vacancy.engine.nearest_image(there - found.structure.positions)).max())
        assert min(moved) < 1e-4 < max(moved)


def test_gradients_of_barriers_against_differences(vacancy, found):
    saddle = found.saddles[0]
    for index, value in enumerate(vacancy.potential.theta):
        change = np.zeros(len(vacancy.potential.theta))
        change[index] = 1e-4 * value
        # Forces vanish in both: what either moves changes its energy to second order.
        heights = [
            at_saddle(vacancy, saddle, sign * change).energy
            - vacancy.energy_at(sign * change, np.zeros_like(vacancy.positions))
            for sign in (1, -1)
        ]
        assert saddle.gradient[index] == pytest.approx((heights[0] - heights[1]) / (2e-4 * value), rel=1e-5)


def test_hops_that_are_equal_by_symmetry_are_one(vacancy):
    """Two neighbours of the vacancy jump into it."""
    engine = vacancy.engine
    corner = vacancy.positions[vacancy.ids == 2][0] - (3.615 / 2) * np.array([1, 1, 0])
    away = engine.nearest_image(vacancy.positions - corner)
    second = vacancy.ids[np.argsort(np.linalg.norm(away, axis=1))[4]]
    push = int(second), tuple(-away[vacancy.ids == second][0])
    found = saddles_around(vacancy, modes=[HOP, push, HOP])
    (saddle,) = found.saddles
    assert second != 2
    assert (saddle.found, saddle.places, found.failures) == (3, 2, {})


def test_what_is_compared_of_saddles_tells_them_apart(vacancy):
    """It is that of any place that symmetry leads to, and of no other."""
    engine, rng = vacancy.engine, np.random.default_rng(5)
    types, positions = engine.types, vacancy.positions
    moved = rng.normal(size=positions.shape) * 0.1

    def of(positions, moved, barrier=1.0):
        return likeness(engine, (barrier, 0.0), (types, positions, moved), vacancy.energy)

    known, order = of(positions, moved), rng.permutation(len(positions))
    turned = [values[order][:, [1, 2, 0]] * [1, -1, 1] for values in (positions, moved)]
    assert known.matches(of(*turned))
    assert known.matches(of(positions, moved, 1.0 + 1e-8))
    assert not known.matches(of(positions, moved, 1.0 + 1e-5))
    assert not known.matches(of(positions, 1.01 * moved))
    assert not known.matches(of(positions, moved[order]))
    assert not known.matches(replace(known, energies=np.array([1.0, 1e-3])))


def test_a_barrier_is_made_of_a_saddle(vacancy, found):
    with barrier_over(vacancy, found.saddles[0]) as barrier:
        assert barrier.forward == pytest.approx(found.saddles[0].barrier, abs=1e-9)
        assert barrier.backward == pytest.approx(barrier.forward - found.saddles[0].behind_energy, abs=1e-6)
        assert barrier.saddle.max_force <= 1e-8
        assert barrier.gradient() == pytest.approx(found.saddles[0].gradient, rel=1e-6)


def test_files(found, tmp_path):
    write_saddles(tmp_path / "all.h5", found)
    again = read_saddles(tmp_path / "all.h5")
    assert (again.searches, again.failures, again.evaluations) == (6, found.failures, found.evaluations)
    assert (again.energy, again.names) == (found.energy, found.names)
    for read, saddle in zip(again.saddles, found.saddles, strict=True):
        for name in ("ids", "displacement", "mode", "gradient", "behind"):
            assert np.array_equal(getattr(read, name), getattr(saddle, name))
        assert (read.barrier, read.movers, read.places) == (saddle.barrier, saddle.movers, saddle.places)
    write_saddles_xyz(tmp_path / "all.xyz", found)
    frames = ase.io.read(tmp_path / "all.xyz", ":")
    assert len(frames) == len(found.saddles)
    saddle = found.saddles[0]
    assert frames[0].positions == pytest.approx(found.structure.positions + saddle.displacement, abs=1e-9)
    assert frames[0].info["barrier"] == saddle.barrier
    assert frames[0].arrays["mode"] == pytest.approx(saddle.mode, abs=1e-9)
    with pytest.raises(LammpsImplicitError, match="exists already"):
        write_saddles(tmp_path / "all.h5", found)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "no search is asked for"),
        ({"count": -1}, "count = -1 is not a whole number"),
        ({"count": 2.0}, r"count = 2\.0 is not a whole number"),
        ({"count": 1, "seed": -1}, "seed = -1 is not a whole number"),
        ({"count": 1, "ftol": 0.0}, "ftol"),
        ({"modes": [(99, (1, 0, 0))]}, "there is no atom 99"),
        ({"modes": [(2, (0, 0, 0))]}, "not all zero"),
        ({"modes": [(2, (1, 0))]}, "give three numbers"),
        ({"modes": [(2, (1, 0, math.nan))]}, "give three numbers"),
    ],
)
def test_bad_input(vacancy, asked, message):
    spent = vacancy.engine.evaluations.forces
    with pytest.raises(LammpsImplicitError, match=message):
        vacancy.saddles(**asked)
    assert vacancy.engine.evaluations.forces == spent


def test_searches_that_find_nothing(vacancy):
    """An atom is pushed against others, across the way to the vacancy."""
    positions, energy = vacancy.positions.copy(), vacancy.energy
    with pytest.raises(ConvergenceError, match=r"no saddle was found around this minimum \(1 "):
        vacancy.saddles(modes=[(2, (0.0, 0.0, 1.0))])
    assert np.array_equal(vacancy.positions, positions)
    assert vacancy.energy == energy


def test_a_held_atom_is_not_pushed(tmp_path):
    deck = tmp_path / "in.held"
    deck.write_text(FCC.replace("minimize", "fix hold first setforce 0 0 0\nminimize"))
    with Minimum.from_deck(deck) as minimum:
        with pytest.raises(LammpsImplicitError, match="atom 2 is held in the deck"):
            minimum.saddles(modes=[HOP])
        saddle = minimum.saddles(4, seed=1).saddles[0]
        assert not saddle.displacement[saddle.ids == 2].any()
        assert not saddle.behind[saddle.ids == 2].any()


@pytest.mark.parametrize("text", ["", "2", "2,1,1", "2,1,1,x", "x,1,1,1", "-2,1,1,1", "2,1,1,1,1"])
def test_modes_that_cannot_be_read(text):
    with pytest.raises(LammpsImplicitError, match="write the id of an atom and three numbers"):
        read_modes([text])


def test_modes_are_read():
    assert read_modes(["7,0.5,-1e-1,0", "12, 1,2,3"]) == [(7, (0.5, -0.1, 0.0)), (12, (1.0, 2.0, 3.0))]


def _run(folder, *arguments):
    command = [*program(), "saddles", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_command(deck):
    folder = deck.parent
    done = _run(folder, deck.name, "--mode", "2,-1,-1,0", "-o", "found.h5")
    assert done.returncode == 0, done.stderr
    assert "wrote found.h5, found.xyz" in done.stdout
    assert "1, of which 1 led to these 1 saddles" in done.stdout
    assert f"{read_saddles(folder / 'found.h5').saddles[0].barrier:.6f}" in done.stdout
    for arguments, message in (
        (("-o", "found.h5"), "found.h5 exists already"),
        (("-o", "other.h5"), "give --random N, or --mode id,dx,dy,dz"),
        (("-o", "other.h5", "--random", "0"), "'0' is not a whole number from 1"),
        (("-o", "other.h5", "--mode", "99,1,0,0"), "there is no atom 99 to push"),
    ):
        done = _run(folder, deck.name, *arguments)
        assert done.returncode != 0
        assert message in " ".join(done.stderr.replace("│", " ").split())
        assert "Traceback" not in done.stderr
        assert not (folder / "other.h5").exists()


@pytest.mark.parallel(nprocs=[1, 2])
def test_any_number_of_ranks_finds_the_same(tmp_path):
    folder = MPI.COMM_WORLD.bcast(tmp_path)
    if MPI.COMM_WORLD.rank == 0:
        (folder / "atoms.data").write_text(ta_data(range(2, 55)))
        (folder / "in.ta").write_text(TA_VACANCY_READ)
    MPI.COMM_WORLD.barrier()
    with Minimum.from_deck(folder / "in.ta") as minimum:
        ids = minimum.ids.copy()
        engine, mine = minimum.engine, minimum.ids == 38
        towards = engine.nearest_image(-np.asarray(engine.sum(minimum.positions[mine].sum(axis=0)))[None])[0]
        found = minimum.saddles(1, modes=[(38, towards)], seed=0)
        assert np.array_equal(minimum.ids, ids)
        write_saddles(folder / "ta.h5", found)
        write_saddles_xyz(folder / "ta.xyz", found)
        again = engine.on_root(lambda: read_saddles(folder / "ta.h5"))
    assert [round(saddle.barrier, 6) for saddle in again.saddles] == [1.123473, 3.449997]
    assert [saddle.movers[0][0] for saddle in again.saddles] == [38, 3]
    assert again.failures == {}
    assert [len(saddle.gradient) for saddle in again.saddles] == [31, 31]
    assert again.saddles[0].gradient @ again.theta == pytest.approx(again.saddles[0].barrier, abs=0.5)  # but for ZBL
