"""Operators and preconditioner: symmetry, accuracy, independence of order."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import DECKS
from scipy import sparse

from lammps_implicit import Minimum, testing
from lammps_implicit.evaluators.interface import REACH
from lammps_implicit.operators import descriptor_derivative
from lammps_implicit.operators.differenced_hessian import DifferencedHessian
from lammps_implicit.solvers.bends import find_bends
from lammps_implicit.solvers.bonds import find_bonds
from lammps_implicit.solvers.spring_fit import fit_springs, random_probe
from lammps_implicit.solvers.spring_inverse import spring_inverse
from lammps_implicit.solvers.springs import assemble, random_vector


@pytest.fixture
def pair(ta_vacancy):
    return np.random.default_rng(2).standard_normal((2, *ta_vacancy.positions.shape))


def test_hessian_is_symmetric(ta_vacancy):
    testing.check_hessian(ta_vacancy.engine, tol=1e-8)


def test_one_sided_products_are_as_good_as_they_say(ta_vacancy, pair):
    hessian = ta_vacancy.hessian
    exact = hessian.central(pair[0], step=3e-5)
    extrapolated = hessian.calibrate(pair[0])
    scale = np.linalg.norm(exact)
    assert np.linalg.norm(hessian.one_sided(pair[0]) - exact) < 2 * hessian.one_sided_error * scale
    assert hessian.one_sided_error < 1e-6
    assert np.linalg.norm(extrapolated - exact) < 1e-7 * scale


def test_products_are_central_when_accuracy_asks_for_it(ta_vacancy, pair):
    # One of its own: others may have made sure of the steps of the Hessian that all tests share.
    hessian = DifferencedHessian(ta_vacancy.engine, ta_vacancy.hessian.reference_forces)
    hessian.calibrate(pair[0])
    # The first central product makes sure that its step, much longer than that of the calibration, crosses no kink.
    for accuracy, evaluations in ((1e-3, 1), (1e-9, 4), (1e-9, 2)):
        before = ta_vacancy.engine.evaluations.forces
        hessian.product(pair[0], accuracy)
        assert ta_vacancy.engine.evaluations.forces - before == evaluations


def test_products_without_memory_agree_with_the_kept_array(write_deck, monkeypatch, pair):
    rng = np.random.default_rng(0)
    for deck in (write_deck(), DECKS / "in.inp_vacancy"):
        with Minimum.from_deck(deck, parameters="*:[1-4]") as kept:
            dtheta, vector = rng.standard_normal(len(kept.potential.theta)), rng.standard_normal(kept.positions.shape)
            expected = kept.mixed.times(dtheta), kept.mixed.transposed_times(vector)
        monkeypatch.setattr(descriptor_derivative, "MIXED_MEMORY", 0)
        with Minimum.from_deck(deck, parameters="*:[1-4]") as lean:
            assert not lean.mixed.fits
            assert lean.mixed.times(dtheta) == pytest.approx(expected[0], abs=1e-10 * np.abs(expected[0]).max())
            found = lean.mixed.transposed_times(vector)
            assert found == pytest.approx(expected[1], abs=1e-7 * np.abs(expected[1]).max())
        monkeypatch.undo()


def test_random_vectors_depend_on_ids_alone():
    ids = np.array([5, 1, 900_000_000_000, 2])
    values = random_vector(ids)
    assert random_vector(ids[::-1])[::-1].tolist() == values.tolist()
    assert np.abs(values).max() <= 1
    many = random_vector(np.arange(20_000))
    assert np.abs(many.mean(axis=0)).max() < 0.02
    assert many.std() == pytest.approx(3**-0.5, rel=0.01)
    assert not np.array_equal(random_vector(ids, seed=1), values)


@pytest.fixture(scope="module")
def springs(ta_vacancy):
    return _fitted(ta_vacancy)


def _fitted(minimum):
    engine, product = minimum.engine, minimum.hessian.central(random_vector(minimum.ids))
    around = engine.neighbourhood()
    bonds, _ = find_bonds(engine, around, REACH)
    return fit_springs(engine, bonds, (find_bends(engine, around),), [random_probe(around, product)])


def _whole(engine, springs):
    return sparse.vstack(list(assemble(engine, springs))).toarray()


def test_springs_are_symmetric_and_semidefinite(ta_vacancy, springs):
    matrix = _whole(ta_vacancy.engine, springs)
    assert np.abs(matrix - matrix.T).max() < 1e-12 * np.abs(matrix).max()
    assert np.linalg.eigvalsh(matrix)[0] > 0
    assert springs.misfit < 0.3


def test_springs_spare_frozen_components(ta_vacancy, springs):
    engine = ta_vacancy.engine
    free = np.ones_like(engine.free)
    free[7] = free[11, 2] = False
    by_id = dict(zip(ta_vacancy.ids.tolist(), free, strict=True))
    around = springs.bonds.around
    around = replace(around, free=np.array([by_id[id_] for id_ in around.ids.tolist()]))
    matrix = _whole(replace(engine, free=free), replace(springs, bonds=replace(springs.bonds, around=around)))
    assert len(matrix) == 3 * 52  # the atom that cannot move is left out
    held = 3 * 10 + 2
    off = matrix[held] - np.diag(np.diag(matrix))[held]
    assert np.abs(off).max() == 0
    assert np.abs(matrix - matrix.T).max() < 1e-12 * np.abs(matrix).max()
    assert np.linalg.eigvalsh(matrix)[0] > 0
    kept = np.flatnonzero(free.ravel())
    expected = _whole(engine, springs)[np.ix_(kept, kept)]
    found = np.delete(np.delete(matrix, held, axis=0), held, axis=1)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_springs_are_the_same_in_any_chunks(ta_vacancy, springs, monkeypatch):
    whole = _whole(ta_vacancy.engine, springs)
    monkeypatch.setattr("lammps_implicit.solvers.bonds.CHUNK", 7)
    again = _fitted(ta_vacancy)
    assert np.abs(_whole(ta_vacancy.engine, again) - whole).max() < 1e-6 * np.abs(whole).max()


@pytest.mark.parametrize("direct", [10_000, 0], ids=["factorisation", "multigrid"])
def test_preconditioners_are_symmetric_and_speed_up(ta_vacancy, springs, pair, monkeypatch, direct):
    monkeypatch.setattr("lammps_implicit.solvers.spring_inverse.DIRECT_ATOMS", direct)
    apply = spring_inverse(ta_vacancy.engine, springs)
    a, b = (ta_vacancy.null_space().project(v) for v in pair)
    assert np.vdot(a, apply(b)) == pytest.approx(np.vdot(b, apply(a)), rel=1e-8)
    assert np.vdot(a, apply(a)) > 0


def test_multigrid_leaves_frozen_atoms_where_they_are(monkeypatch):
    answers = []
    for direct in (10_000, 0):
        monkeypatch.setattr("lammps_implicit.solvers.spring_inverse.DIRECT_ATOMS", direct)
        with Minimum.from_deck(DECKS / "in.w_screw_dislocation") as minimum:
            theta = minimum.potential.theta
            answers.append(minimum.gather(minimum.jvp(theta * np.cos(np.arange(len(theta))), 1e-7)))
            assert minimum.statistics.iterations <= 25
    assert np.linalg.norm(answers[0] - answers[1]) < 1e-5 * np.linalg.norm(answers[0])
