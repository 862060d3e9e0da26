"""Vibrational modes, compared with dense Hessians from plain forces."""

import numpy as np
import pytest
from conftest import TA_BULK, TA_VACANCY_READ, ta_data
from hops import FCC, halfway
from mpi4py import MPI
from test_vibrations import ALLOY, CLUSTER, RIM, SLAB

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.vibrations import eigenmodes, iterative
from lammps_implicit.vibrations.eigenmodes import modes_of
from lammps_implicit.vibrations.levels import Choice

THZ = 15.633302
"""√(eV/(Å² g/mol)) / 2π."""


def reference(point, factor=THZ, step=1e-4):
    """All frequencies, without as many as are nearest zero, from differences of forces: function of their number."""
    engine = point.engine
    masses = np.repeat(engine.masses()[engine.types - 1], 3)
    free = np.flatnonzero(engine.free)
    hessian = np.empty((len(free), len(free)))
    for column, component in enumerate(free):
        unit = np.zeros(engine.free.size)
        unit[component] = step
        unit = unit.reshape(-1, 3)
        long = (engine.forces(-2 * unit) - engine.forces(2 * unit)) / (4 * step)
        short = (engine.forces(-unit) - engine.forces(unit)) / (2 * step)
        hessian[:, column] = ((4 * short - long) / 3).reshape(-1)[free]
    roots = np.sqrt(masses[free])
    values = np.linalg.eigvalsh((hessian + hessian.T) / 2 / roots / roots[:, None])

    def without(zero_modes):
        kept = np.sort(values[np.argsort(np.abs(values))[zero_modes:]])
        return np.sign(kept) * np.sqrt(np.abs(kept)) * factor

    return without


def iteratively(monkeypatch):
    """Let no matrix be held whole."""
    monkeypatch.setattr(eigenmodes, "_whole", lambda *_: False)


@pytest.mark.parametrize(
    ("deck", "zero_modes", "factor"),
    [
        (TA_BULK, 3, THZ),
        (ALLOY, 3, THZ),
        (SLAB, 3, THZ),
        (CLUSTER, 6, 1 / (2 * np.pi)),
        (RIM, 0, THZ),
    ],
    ids=["bulk", "alloy", "slab", "cluster", "rim"],
)
def test_all_modes_are_those_of_plain_forces(write_deck, deck, zero_modes, factor):
    with Minimum.from_deck(write_deck(deck)) as minimum:
        modes, engine = modes_of(minimum.response, None), minimum.engine
        expected = reference(minimum, factor)(zero_modes)
        assert modes.zero_modes == zero_modes and modes.method.startswith("dense")
        np.testing.assert_allclose(modes.frequencies, expected, rtol=1e-6)
        np.testing.assert_allclose(modes.frequencies, np.sqrt(modes.eigenvalues) * factor, rtol=1e-6)
        flat = modes.vectors.reshape(len(expected), -1)
        np.testing.assert_allclose(flat @ flat.T, np.eye(len(expected)), atol=1e-10)
        participation = 1 / (engine.n_atoms * ((modes.vectors**2).sum(axis=2) ** 2).sum(axis=1))
        np.testing.assert_allclose(modes.participation, participation)
        assert (modes.participation <= 1 + 1e-9).all() and (modes.participation >= 1 / engine.n_atoms).all()
        assert not modes.vectors[:, ~engine.free].any()


@pytest.mark.parametrize("deck", [FCC, ALLOY, SLAB, RIM, CLUSTER], ids=["vacancy", "alloy", "slab", "rim", "cluster"])
def test_the_softest_found_by_iterations_are_those_of_the_whole_matrix(write_deck, monkeypatch, deck):
    with Minimum.from_deck(write_deck(deck)) as minimum:
        whole = modes_of(minimum.response, None)
        iteratively(monkeypatch)
        few = modes_of(minimum.response, 4, tol=1e-7)
        assert few.method.startswith("Davidson") and few.zero_modes == whole.zero_modes and len(few.frequencies) >= 4
        np.testing.assert_allclose(few.frequencies, whole.frequencies[: len(few.frequencies)], rtol=1e-6)
        overlaps = np.tensordot(few.vectors, whole.vectors[: len(few.vectors)], ((1, 2), (1, 2)))
        np.testing.assert_allclose(np.linalg.svd(overlaps)[1], 1.0, atol=1e-6)


def test_the_number_of_modes_decides_the_method(write_deck):
    with Minimum.from_deck(write_deck(ALLOY)) as minimum:
        few, many = modes_of(minimum.response, 2, tol=1e-4), modes_of(minimum.response, 40, tol=1e-4)
    assert few.method.startswith("Davidson") and many.method.startswith("dense")
    assert few.evaluations < many.evaluations
    np.testing.assert_allclose(few.frequencies[:2], many.frequencies[:2], rtol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("by_iterations", [False, True])
def test_equal_modes_come_all_or_none(write_deck, monkeypatch, count, by_iterations):
    with Minimum.from_deck(write_deck(FCC)) as minimum:  # levels of 2, 3, 3, 3, 1 modes ...
        if by_iterations:
            iteratively(monkeypatch)
        modes = modes_of(minimum.response, count)
    assert len(modes.frequencies) == {1: 2, 3: 5, 4: 5}[count]
    assert np.ptp(modes.frequencies[:2]) < 1e-5 and np.ptp(modes.frequencies[-2:]) < 1e-5


@pytest.mark.parametrize("by_iterations", [False, True])
def test_modes_nearest_a_frequency(write_deck, monkeypatch, by_iterations):
    with Minimum.from_deck(write_deck(ALLOY)) as minimum:
        whole = modes_of(minimum.response, None)
        if by_iterations:
            iteratively(monkeypatch)
        for near in (whole.frequencies[4], 0.5 * (whole.frequencies[9] + whole.frequencies[10]) + 1e-3):
            modes = modes_of(minimum.response, 3, near, 1e-5)
            expected = np.sort(whole.frequencies[np.argsort(np.abs(whole.frequencies - near))[:3]])
            np.testing.assert_allclose(modes.frequencies, expected, rtol=1e-6)
            assert modes.method.startswith("Davidson, of the softest" if by_iterations else "dense")


def test_the_imaginary_mode_of_a_saddle_comes_first(write_deck, monkeypatch):
    with StationaryPoint.from_deck(write_deck(halfway(FCC)), saddle=True) as saddle:
        whole = modes_of(saddle.response, None)
        np.testing.assert_allclose(whole.frequencies, reference(saddle)(3), rtol=1e-6)
        assert whole.frequencies[0] < 0 < whole.frequencies[1]
        assert modes_of(saddle.response, 1, -100.0).frequencies[0] == whole.frequencies[0]
        iteratively(monkeypatch)
        np.testing.assert_allclose(modes_of(saddle.response, 2).frequencies, whole.frequencies[:2], rtol=1e-6)


def test_atoms_that_move_as_one_have_their_mean_mass(write_deck, monkeypatch):
    together = "group pair id 3 4 5\nfix pair pair aveforce 0.0 NULL NULL\nminimize"
    with Minimum.from_deck(write_deck(ALLOY.replace("minimize", together))) as minimum:
        whole = modes_of(minimum.response, None)
        assert len(whole.frequencies) + whole.zero_modes == minimum.engine.n_free
        iteratively(monkeypatch)
        np.testing.assert_allclose(modes_of(minimum.response, 3).frequencies, whole.frequencies[:3], rtol=1e-6)


def test_what_cannot_be_asked_for(write_deck, monkeypatch):
    with Minimum.from_deck(write_deck(FCC)) as minimum:
        for arguments in ((0,), (True,), (None, 3.0), (2, float("nan")), (2, None, 0.0)):
            with pytest.raises(LammpsImplicitError, match=r"count|near|tol"):
                modes_of(minimum.response, *arguments)
        assert len(modes_of(minimum.response, 1000).frequencies) == 90
        with pytest.raises(ConvergenceError, match="residuals"):
            modes_of(minimum.response, None, tol=1e-14)
        monkeypatch.setattr(eigenmodes, "LARGEST", 50)
        with pytest.raises(LammpsImplicitError, match="ask for a number"):
            modes_of(minimum.response, None)


def test_two_atoms_have_one_level_and_one_atom_has_none(write_deck, monkeypatch):
    with Minimum.from_deck(write_deck(TA_BULK.replace("0 2 0 2 0 2", "0 1 0 1 0 1"))) as minimum:
        whole = modes_of(minimum.response, 1)
        assert len(whole.frequencies) == 3 and whole.participation.sum() == pytest.approx(3.0)
        iteratively(monkeypatch)
        np.testing.assert_allclose(modes_of(minimum.response, 1).frequencies, whole.frequencies, rtol=1e-6)
    alone = TA_BULK.replace("bcc 3.316", "sc 2.6").replace("0 2 0 2 0 2", "0 1 0 1 0 1")
    with Minimum.from_deck(write_deck(alone)) as minimum:
        modes = modes_of(minimum.response, 1)
        assert modes.frequencies.shape == (0,) and modes.vectors.shape == (0, 1, 3) and modes.zero_modes == 3


def test_levels_at_the_cut():
    values = np.array([1.0, 2.0, 2.0, 2.00001, 3.0, 4.0])
    assert Choice(1).of(values) == [0]
    assert Choice(2).of(values) == [0, 1, 2, 3]
    assert Choice(1, np.sqrt(2.1)).of(values) == [1, 2, 3]
    assert Choice(5).of(values) == [0, 1, 2, 3, 4]
    assert Choice(2, np.sqrt(5.0)).of(values) == [4, 5]
    assert Choice(1).of(np.array([3.0, -2.0, 1.0])) == [1]


WORLD = MPI.COMM_WORLD


@pytest.fixture
def shared(tmp_path_factory):
    """A folder that all ranks see."""
    return WORLD.bcast(tmp_path_factory.mktemp("modes") if WORLD.rank == 0 else None)


@pytest.mark.parallel(nprocs=[1, 2])
@pytest.mark.parametrize("by_iterations", [False, True])
def test_ranks_find_the_modes_of_plain_forces(shared, monkeypatch, by_iterations):
    if WORLD.rank == 0:
        (shared / "atoms.data").write_text(ta_data(range(1, 54)))
        (shared / "in.ta").write_text(TA_VACANCY_READ)
    WORLD.barrier()
    with Minimum.from_deck(shared / "in.ta", comm=MPI.COMM_SELF) as minimum:
        expected, whole = reference(minimum)(3), modes_of(minimum.response, None)
        np.testing.assert_allclose(whole.frequencies, expected, rtol=1e-6)
        ids = minimum.ids.copy()
    if by_iterations:
        iteratively(monkeypatch)
    with Minimum.from_deck(shared / "in.ta", comm=WORLD) as minimum:
        modes = modes_of(minimum.response, 3 if by_iterations else None)
        count = len(modes.frequencies)
        assert modes.method.startswith(
            ("Davidson (SLEPc)" if WORLD.size > 1 else "Davidson") if by_iterations else "dense"
        )
        np.testing.assert_allclose(modes.frequencies, expected[:count], rtol=1e-6)
        assert count >= 3 and modes.zero_modes == 3
        places = np.searchsorted(np.sort(ids), minimum.ids)
        mine = whole.vectors[:count, np.argsort(ids)][:, places]
        overlaps = np.asarray(minimum.engine.sum(np.tensordot(mine, modes.vectors, ((1, 2), (1, 2)))))
        np.testing.assert_allclose(np.linalg.svd(overlaps)[1], 1.0, atol=1e-6)
        if by_iterations:
            near = modes_of(minimum.response, 1, expected[4], 1e-5)
            assert np.abs(near.frequencies / expected[4] - 1).min() < 1e-6


@pytest.mark.parallel(nprocs=2)
def test_ranks_without_slepc_use_our_own_method(shared, monkeypatch):
    if WORLD.rank == 0:
        (shared / "atoms.data").write_text(ta_data(range(1, 54)))
        (shared / "in.ta").write_text(TA_VACANCY_READ)
    WORLD.barrier()
    iteratively(monkeypatch)
    with Minimum.from_deck(shared / "in.ta", comm=WORLD) as minimum:
        with_slepc = modes_of(minimum.response, 3)
        monkeypatch.setattr(iterative, "has_slepc", lambda: False)
        without = modes_of(minimum.response, 3)
    assert (with_slepc.method, without.method) == ("Davidson (SLEPc)", "Davidson")
    np.testing.assert_allclose(without.frequencies, with_slepc.frequencies, rtol=1e-7)
