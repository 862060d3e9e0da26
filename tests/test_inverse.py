"""Inverse problems: gradients of every term, what is held fixed, and parameters found again."""

import numpy as np
import pytest
from conftest import TA_VACANCY
from hypothesis import given, settings
from hypothesis import strategies as st

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.cell.freedom import strains
from lammps_implicit.inverse.constraints import correction, free_space
from lammps_implicit.inverse.descent import minimise
from lammps_implicit.inverse.problem import Held, Problem, StepTooLongError
from lammps_implicit.inverse.quadratic import best_step, secant_curvature
from lammps_implicit.inverse.saved_structure import SavedStructure
from lammps_implicit.inverse.terms import Number, Positions, Prior, UserTerm, positions
from lammps_implicit.observables import formation_energy, formation_volume, lattice_parameters
from lammps_implicit.observables.cells import volume
from lammps_implicit.observables.distances import distance
from lammps_implicit.observables.observable import Observable

BULK = TA_VACANCY.replace("group           vacancy id 1\ndelete_atoms    group vacancy compress no\n", "").replace(
    "0 3 0 3 0 3", "0 2 0 2 0 2"
)


@pytest.fixture
def vacancy(tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    with Minimum.from_deck(tmp_path / "in.ta", ftol=1e-9) as minimum:
        yield minimum


@pytest.fixture
def pair(tmp_path):
    """A vacancy and its bulk at 20 GPa, cells relaxed."""
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    (tmp_path / "in.bulk").write_text(BULK)
    settings = {"cell": "iso", "pressure": "20 GPa", "ftol": 1e-9}
    with (
        Minimum.from_deck(tmp_path / "in.ta", **settings) as defect,
        Minimum.from_deck(tmp_path / "in.bulk", **settings) as bulk,
    ):
        yield {"vacancy": defect, "bulk": bulk}


def random_change(minimum, size, seed=1):
    theta = minimum.potential.theta
    return size * np.random.default_rng(seed).standard_normal(len(theta)) * np.abs(theta)


def scale_of(minimum):
    theta = minimum.potential.theta
    return np.where(theta == 0, 1.0, np.abs(theta))


def target_positions(minimum, dtheta):
    displacement, _ = minimum.relaxed_at(dtheta, 1e-10)
    order = np.argsort(minimum.ids)
    ones = np.ones(len(order))
    return Positions("vacancy", minimum.ids[order], (minimum.positions + displacement)[order], ones)


def pull_from(start):
    """A loss that is linear in displacements from here."""

    def pulled(minimum):
        weights = np.cos(minimum.ids[:, None] * np.array([1.0, 2.0, 3.0]))
        weights = weights - weights.mean(axis=0)
        return float(np.vdot(weights, minimum.engine.nearest_image(minimum.positions - start))), weights

    return pulled


@pytest.mark.parametrize("curvature", [False, True])
def test_gradients_of_positions_in_a_cell_that_answers(write_deck, curvature):
    """Targets stand in the cell as files hold them: the nearest images of some are beyond its faces."""
    with Minimum.from_deck(write_deck(), ftol=1e-9, cell="iso", pressure="5 GPa") as minimum:
        random = np.random.default_rng(4)
        target = minimum.positions + 0.05 * random.standard_normal(minimum.positions.shape)
        target = minimum.engine.origin + np.mod(target - minimum.engine.origin, np.diag(minimum.engine.cell))
        cells = {"vacancy": minimum}
        term = positions(cells, "vacancy", minimum.ids, target)
        assert np.abs(minimum.positions - target).max() > 5
        found = term.contribution(cells, 1e-8, curvature).gradient
        problem, change, ends = Problem(cells, [term], scale_of(minimum), ftol=1e-10), random_change(minimum, 1e-4), []
        for sign in (1, -1):
            with problem.trial(sign * change):
                ends.append(problem.value())
        assert found @ change == pytest.approx((ends[0] - ends[1]) / 2, rel=1e-3)


@pytest.mark.parametrize("kind", ["positions", "user", "prior"])
def test_gradients_at_fixed_cell(vacancy, kind):
    cells, theta = {"vacancy": vacancy}, vacancy.potential.theta
    term = {
        "positions": lambda: target_positions(vacancy, random_change(vacancy, 0.02)),
        "user": lambda: UserTerm("vacancy", pull_from(vacancy.positions.copy())),
        "prior": lambda: Prior(theta * 1.01, np.diag(1 / scale_of(vacancy) ** 2)),
    }[kind]()
    found = term.contribution(cells, 1e-8, False)
    assert found.value == pytest.approx(term.value(cells), rel=1e-12, abs=1e-15)
    change, ends = random_change(vacancy, 1e-4, 2), []
    problem = Problem(cells, [term], scale_of(vacancy), ftol=1e-10)
    for sign in (1, -1):
        with problem.trial(sign * change):
            ends.append(problem.values()[term.name])
    assert found.gradient @ change == pytest.approx((ends[0] - ends[1]) / 2, rel=2e-4)
    if kind != "user":
        assert term.contribution(cells, 1e-8, True).gradient == pytest.approx(
            found.gradient, rel=1e-4, abs=1e-5 * np.abs(found.gradient).max()
        )


def test_the_curvature_of_positions_is_that_of_their_squares(vacancy):
    term = target_positions(vacancy, 0 * random_change(vacancy, 1.0))
    change = random_change(vacancy, 1e-3)
    found = term.contribution({"vacancy": vacancy}, 1e-7, True)
    moved = vacancy.jvp(change, 1e-8)
    moved = moved - moved.mean(axis=0)
    assert change @ found.curvature @ change == pytest.approx(np.vdot(moved, moved), rel=1e-4)


@pytest.mark.parametrize("size", [0.01, 0.05])
def test_a_potential_is_found_again_from_a_structure(vacancy, size):
    term = target_positions(vacancy, random_change(vacancy, size))
    problem = Problem({"vacancy": vacancy}, [term], scale_of(vacancy), ftol=1e-9)
    start = term.value(problem.cells)
    outcome = minimise(problem, 1e-8 * start, 15)
    assert outcome.converged, outcome.reason
    assert term.value(problem.cells) <= 1e-8 * start
    assert len(outcome.history) <= 16
    assert all(b.loss < a.loss for a, b in zip(outcome.history, outcome.history[1:], strict=False))


def test_formation_energy_and_volume_are_tuned_with_the_lattice_held(pair):
    bulk = pair["bulk"]

    def energy(cells, order):
        return formation_energy(cells["vacancy"], cells["bulk"], order=order)

    def expansion(cells, order):
        return formation_volume(cells["vacancy"], cells["bulk"], tol=1e-6, order=order)

    def lattice(cells, order):
        found = lattice_parameters(cells["bulk"], (2, 2, 2), order=order)
        return Observable(found.value[0], found.gradient[:, 0], found.units)

    now = [float(observable(pair, 0).value) for observable in (energy, expansion, lattice)]
    terms = [
        Number("energy", energy, now[0] + 0.05, 0.01),
        Number("volume", expansion, now[1] + 0.1, 0.05),
    ]
    problem = Problem(pair, terms, scale_of(bulk), held=[Held("lattice", lattice, now[2])], ftol=1e-9)
    outcome = minimise(problem, 1e-8, 20)
    assert outcome.converged, outcome.reason
    reached = [float(observable(pair, 0).value) for observable in (energy, expansion, lattice)]
    assert reached[0] == pytest.approx(now[0] + 0.05, abs=1e-5)
    assert reached[1] == pytest.approx(now[1] + 0.1, abs=1e-4)
    assert reached[2] == pytest.approx(now[2], rel=1e-6)


def test_a_volume_that_cannot_be_reached_says_so(pair):
    term = Number("volume", lambda cells, order: volume(cells["bulk"], order=order), 3000.0)
    problem = Problem(pair, [term], scale_of(pair["bulk"]), patterns="Ta:0")
    outcome = minimise(problem, 1e-8, 5)
    assert outcome.converged  # the constant term moves nothing
    assert "no allowed change" in outcome.reason
    with pytest.raises(StepTooLongError), problem.trial(3.0 * random_change(pair["bulk"], 1.0)):
        pass
    assert pair["bulk"].potential.theta == pytest.approx(problem.theta)


NAMES = ("W:0", "W:1", "W:2", "X:0", "X:1")
SCALE = np.array([1.0, 10.0, 0.1, 2.0, 5.0])


def test_allowed_changes_keep_to_what_is_held():
    equality, gradient = np.array([[1.0, -1.0, 0.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 2.0, 3.0, 4.0]])
    allowed = free_space(NAMES, SCALE, "W:*,X:1", equality, gradient)
    assert allowed.shape == (5, 2)
    assert allowed.T @ allowed == pytest.approx(np.eye(2), abs=1e-12)
    changes = SCALE[:, None] * allowed
    assert np.abs(equality @ changes).max() < 1e-12
    assert np.abs(gradient @ changes).max() < 1e-12
    assert np.all(changes[3] == 0)
    two = np.array([[1e8, 0, 0, 0, 0], [0, 0, 1e-4, 0, 0]])
    assert two @ correction(two, np.array([0.0, 1e-6]), SCALE, np.eye(5)) == pytest.approx([0.0, 1e-6], abs=1e-12)
    step = correction(gradient, np.array([0.3]), SCALE, free_space(NAMES, SCALE, "W:*,X:1", equality))
    assert gradient @ step == pytest.approx([0.3])
    assert equality @ step == pytest.approx([0.0], abs=1e-12)


def test_constraints_that_leave_nothing_are_refused():
    with pytest.raises(LammpsImplicitError, match="leave no freedom to the 1 free parameters"):
        free_space(NAMES, SCALE, "X:1", held=np.ones((1, 5)))
    with pytest.raises(LammpsImplicitError, match="no parameter matches"):
        free_space(NAMES, SCALE, "Y:*")


@given(st.integers(0, 10_000), st.integers(1, 8), st.floats(0.01, 10.0))
@settings(max_examples=60, deadline=None)
def test_steps_minimise_the_model_within_the_radius(seed, size, radius):
    random = np.random.default_rng(seed)
    root = random.standard_normal((size, size))
    curvature, gradient = root @ root.T + 0.1 * np.eye(size), random.standard_normal(size)
    step = best_step(gradient, curvature, radius)
    assert np.linalg.norm(step) <= radius * (1 + 1e-9)

    def model(s):
        return gradient @ s + 0.5 * s @ curvature @ s

    for _ in range(20):
        other = step + 0.1 * radius * random.standard_normal(size)
        other *= min(1.0, radius / np.linalg.norm(other))
        assert model(step) <= model(other) + 1e-9 * abs(model(step))
    walls = random.standard_normal((3, size)), random.uniform(0.0, radius, 3)
    inside = best_step(gradient, curvature, radius, walls)
    assert np.all(walls[0] @ inside <= walls[1] + 1e-9)
    assert np.linalg.norm(inside) <= radius * (1 + 1e-3)
    assert model(inside) <= 1e-12
    assert model(inside) >= model(step) - 1e-9 * abs(model(step))
    for share in random.uniform(0.0, 1.0, 10):  # feasible points between here and the free answer
        if np.all(walls[0] @ (share * step) <= walls[1]):
            assert model(inside) <= model(share * step) + 1e-6 * abs(model(step))


def test_curvatures_from_gradients_are_those_of_a_quadratic():
    random = np.random.default_rng(0)
    root = random.standard_normal((4, 4))
    exact = root @ root.T + np.eye(4)
    pairs = [(step, exact @ step) for step in random.standard_normal((60, 4))]
    found = secant_curvature(pairs, 4, 1.0)
    assert found @ pairs[-1][0] == pytest.approx(pairs[-1][1])
    assert found == pytest.approx(exact, abs=0.1 * np.abs(exact).max())
    assert secant_curvature([(pairs[0][0], -pairs[0][1])], 4, 3.0) == pytest.approx(3.0 * np.eye(4))


@pytest.mark.parametrize("cell", ["none", "iso"])
def test_gradients_of_distances(write_deck, cell):
    pressure = {} if cell == "none" else {"pressure": "5 GPa"}
    with Minimum.from_deck(write_deck(), ftol=1e-9, cell=cell, **pressure) as minimum:
        problem = Problem({"vacancy": minimum}, [], scale_of(minimum), ftol=1e-10)
        # Nearest neighbours, and two atoms that are nearest through the cell's face.
        for pair in ((2, 3), (2, 50)):
            found = distance(minimum, pair, 1e-8)
            change, ends = random_change(minimum, 1e-4, 3), []
            for sign in (1, -1):
                with problem.trial(sign * change):
                    ends.append(float(distance(minimum, pair, order=0).value))
            assert found.gradient @ change == pytest.approx((ends[0] - ends[1]) / 2, rel=2e-4, abs=1e-9)
        with pytest.raises(LammpsImplicitError, match="there is no atom 99"):
            distance(minimum, (2, 99))
        with pytest.raises(LammpsImplicitError, match="two atoms are needed"):
            distance(minimum, (2, 2))


def test_trials_from_the_start_find_the_basin_it_leads_to(vacancy):
    change = random_change(vacancy, 0.02)
    start = SavedStructure.of(vacancy)
    near = Problem({"vacancy": vacancy}, [], scale_of(vacancy), ftol=1e-9)
    anew = Problem({"vacancy": vacancy}, [], scale_of(vacancy), ftol=1e-9, starts={"vacancy": start})
    with near.trial(change) as trial:
        energy = vacancy.energy
        assert trial.missed > 0
    with anew.trial(change) as trial:
        assert vacancy.energy == pytest.approx(energy, abs=1e-9)
        assert trial.missed == 0
        trial.keep()
    displacement, strain = start.displacement_from(vacancy)
    assert 1e-4 < np.abs(displacement).max() < 0.1
    assert not strain.any()


def test_terms_of_one_name_are_refused(vacancy):
    terms = [UserTerm("vacancy", pull_from(vacancy.positions.copy())) for _ in range(2)]
    with pytest.raises(LammpsImplicitError, match="two terms of the loss are called 'user'"):
        Problem({"vacancy": vacancy}, terms, scale_of(vacancy))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda minimum: None, "TypeError"),
        (lambda minimum: (1.0, np.zeros(3)), "has shape"),
        (lambda minimum: (np.nan, np.zeros_like(minimum.positions)), "not finite"),
    ],
)
def test_functions_that_give_something_else(vacancy, function, message):
    with pytest.raises(LammpsImplicitError, match=message):
        UserTerm("vacancy", function).value({"vacancy": vacancy})


@pytest.mark.parametrize("cell", ["iso", "ortho", "zz"])
def test_a_function_may_depend_on_the_cell(write_deck, cell):
    """Its ∂L/∂ε is at fixed positions; without it the gradient is wrong."""

    def loss(minimum):
        volume, edges = minimum.engine.volume, np.diag(minimum.engine.cell)
        here, there = (minimum.ids == id_ for id_ in (2, 3))
        straight = (minimum.positions[there] - minimum.positions[here])[0]
        apart = minimum.engine.nearest_image(straight[None])[0]
        pull = np.zeros_like(minimum.positions)
        pull[there], pull[here] = apart, -apart
        _, basis = strains(minimum.cell)
        # L = V/100 + c_z²/10 + |d|²/2, d = x₃ - x₂ + a lattice vector, which follows the cell.
        strain = volume / 100 * basis[:3].sum(axis=0) + edges[2] ** 2 / 5 * basis[2]
        strain += (apart * (apart - straight)) @ basis[:3]
        return volume / 100 + edges[2] ** 2 / 10 + 0.5 * float(apart @ apart), pull, strain

    with Minimum.from_deck(write_deck(), ftol=1e-9, cell=cell, pressure="5 GPa") as minimum:
        cells, term = {"vacancy": minimum}, UserTerm("vacancy", loss)
        found = term.contribution(cells, 1e-8, False)
        assert found.value == term.value(cells)
        problem, change, ends = Problem(cells, [term], scale_of(minimum), ftol=1e-10), random_change(minimum, 1e-4), []
        for sign in (1, -1):
            with problem.trial(sign * change):
                ends.append(problem.value())
        slope = (ends[0] - ends[1]) / 2
        assert found.gradient @ change == pytest.approx(slope, rel=2e-4)
        without = UserTerm("vacancy", lambda minimum: loss(minimum)[:2]).contribution(cells, 1e-8, False).gradient
        assert abs(without @ change - slope) > 0.1 * abs(slope)


def test_derivatives_by_strain_need_a_relaxed_cell(vacancy, write_deck):
    def loss(minimum):
        return 1.0, np.zeros_like(minimum.positions), np.zeros(1)

    with pytest.raises(LammpsImplicitError, match="∂L/∂ε of a cell that is held fixed"):
        UserTerm("vacancy", loss).value({"vacancy": vacancy})
    with (
        Minimum.from_deck(write_deck(), cell="ortho", pressure="5 GPa") as relaxed,
        pytest.raises(LammpsImplicitError, match=r"∂L/∂ε has shape \(1,\), not \(3,\)"),
    ):
        UserTerm("vacancy", loss).value({"vacancy": relaxed})


def test_a_loss_below_zero_is_lowered_too(vacancy):
    def height(minimum):
        up = np.zeros_like(minimum.positions)
        up[minimum.ids == 2, 2], up[minimum.ids == 3, 2] = 1.0, -1.0
        return float(np.vdot(up, minimum.positions)) - 5.0, up

    problem = Problem({"vacancy": vacancy}, [UserTerm("vacancy", height)], scale_of(vacancy), factored=False, tol=1e-3)
    descent = minimise(problem, 0.0, 3, "lbfgs")
    losses = [iteration.loss for iteration in descent.history]
    assert losses[0] < 0
    assert losses[-1] < losses[0]


def test_steps_along_walls_go_on():
    """Where parameters stand at their bounds, the others still move."""
    random = np.random.default_rng(5)
    for _ in range(30):
        root = random.standard_normal((8, 8))
        curvature, gradient = root @ root.T, random.standard_normal(8)
        walls = np.concatenate([np.eye(8)[:4], -np.eye(8)[:4]]) * 1e-3, np.concatenate([np.zeros(4), np.full(4, 1e-6)])
        step = best_step(gradient, curvature, 1.0, walls)
        free = best_step(gradient[4:], curvature[4:, 4:], 1.0)
        lowered = gradient @ step + 0.5 * step @ curvature @ step
        assert lowered <= 0.99 * (gradient[4:] @ free + 0.5 * free @ curvature[4:, 4:] @ free)
        assert (walls[0] @ step).max() <= walls[1].max() + 1e-9
    flat = best_step(np.array([3.0, 4.0]), np.zeros((2, 2)), 0.5)
    assert flat == pytest.approx([-0.3, -0.4], rel=1e-5)
