"""Taylor models against relaxing again: orders of convergence, variants, error estimates, trust radius."""

import numpy as np
import pytest
from conftest import DECKS, TA_VACANCY

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.cell.voigt import tensor
from lammps_implicit.expansion.directions import leading_directions
from lammps_implicit.observables import cells
from lammps_implicit.observables.bulk import lattice_parameters
from lammps_implicit.observables.observable import combine
from lammps_implicit.response import cubic

SIZES = np.geomspace(3e-2, 3e-4, 3)


@pytest.fixture(scope="module")
def pressed():
    """A W vacancy at 1 GPa, and a direction that changes each parameter by a random share of its value."""
    with Minimum.from_deck(
        DECKS / "in.w_vacancy", variables={"n": "2"}, cell="iso", pressure="1 GPa", ftol=1e-9
    ) as minimum:
        theta = minimum.potential.theta
        yield minimum, np.random.default_rng(3).standard_normal(len(theta)) * np.abs(theta)


@pytest.fixture(scope="module")
def truth(pressed):
    """Relaxed again at changes of several sizes: displacements, volumes, enthalpies."""
    minimum, direction = pressed
    pressure = minimum.units.pressure_tensor("1 GPa")[0, 0]
    found = []
    for size in SIZES:
        relaxed = minimum.relaxed_at(size * direction, 1e-10, cell="iso")
        volume = np.linalg.det(relaxed.cell)
        found.append((relaxed.displacement, volume, relaxed.energy + pressure * volume))
    return found


def slope(errors):
    return np.polyfit(np.log(SIZES), np.log(errors), 1)[0]


def test_errors_fall_with_the_expected_powers(pressed, truth):
    minimum, direction = pressed
    models = {order: minimum.expansion(order, "iso", tol=1e-7) for order in (1, 2, 3)}
    errors = {order: [] for order in models}
    positions, volumes = [], []
    for size, (moved, volume, enthalpy) in zip(SIZES, truth, strict=True):
        for order, model in models.items():
            errors[order].append(abs(float(model.predict(size * direction).enthalpy) - enthalpy))
        prediction = models[2].predict(size * direction)
        missed = prediction.displacement - moved
        positions.append(np.linalg.norm(missed - missed.mean(axis=0)))
        volumes.append(abs(float(prediction.volume) - volume))
    assert slope(positions) == pytest.approx(2, abs=0.15)
    assert slope(volumes) == pytest.approx(2, abs=0.15)
    assert slope(errors[1]) == pytest.approx(2, abs=0.15)
    assert slope(errors[2]) == pytest.approx(3, abs=0.15)
    # The last is at round-off for the smallest change.
    assert np.polyfit(np.log(SIZES[:2]), np.log(errors[3][:2]), 1)[0] == pytest.approx(4, abs=0.15)


def test_estimated_errors_are_about_the_true_ones(pressed, truth):
    minimum, direction = pressed
    for order in (1, 2, 3):
        prediction = minimum.expansion(order, "iso", tol=1e-7).predict(SIZES[1] * direction)
        true = abs(float(prediction.enthalpy) - truth[1][2])
        assert float(prediction.energy_error) == pytest.approx(true, rel=0.3)
    missed = prediction.displacement - truth[1][0]
    largest = np.linalg.norm(missed - missed.mean(axis=0), axis=1).max()
    assert largest / 3 < float(prediction.displacement_error) < 3 * largest


def test_many_changes_at_once_are_predicted_as_one_by_one(pressed):
    minimum, direction = pressed
    model = minimum.expansion(2, "iso")
    changes = np.linspace(-1e-2, 1e-2, 6)[:, None] * direction
    together, alone = model.predict(changes), [model.predict(change) for change in changes]
    for name in ("enthalpy", "energy", "volume", "cell", "strain", "displacement", "positions"):
        assert np.allclose(
            getattr(together, name), [getattr(one, name) for one in alone], rtol=1e-12, equal_nan=True
        ), name
    assert np.allclose(together.pressure(), [one.pressure() for one in alone], rtol=1e-12, equal_nan=True)
    assert together.energy_error == pytest.approx([float(one.energy_error) for one in alone], rel=0.5)
    assert model.predict(changes.reshape(2, 3, -1)).enthalpy.shape == (2, 3)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_what_is_predicted_costs_nothing_to_look_at(pressed, order):
    minimum, direction = pressed
    model = minimum.expansion(order, "iso")
    predicted = model.predict(1e-3 * direction)
    before = minimum.engine.evaluations.copy()
    for name in ("enthalpy", "enthalpy_terms", "energy", "volume", "cell", "displacement", "energy_error"):
        first = getattr(predicted, name)
        assert np.array_equal(first, getattr(predicted, name))
    assert minimum.engine.evaluations == before
    if order < 3:  # the third term is U itself
        cheap = model.predict(1e-3 * direction, errors=False)
        assert minimum.engine.evaluations == before
        with pytest.raises(LammpsImplicitError, match="errors=True"):
            _ = cheap.energy_error


def test_variants_let_answer_what_they_say(pressed, truth):
    minimum, direction = pressed
    model = minimum.expansion(2, "iso")
    change = SIZES[1] * direction
    volume, energy = minimum.engine.volume, truth[1][2]
    found = {name: model.predict(change, name) for name in ("constant", "homogeneous", "fixed", "both")}
    assert float(found["constant"].volume) == float(found["fixed"].volume) == pytest.approx(volume)
    assert not found["constant"].displacement.any()
    # Each freedom lowers the energy, and the coupled volume beats the homogeneous one.
    enthalpies = {name: float(prediction.enthalpy) for name, prediction in found.items()}
    assert enthalpies["both"] < min(enthalpies["homogeneous"], enthalpies["fixed"])
    assert max(enthalpies["homogeneous"], enthalpies["fixed"]) < enthalpies["constant"]
    assert enthalpies["both"] == pytest.approx(energy, abs=1e-4)
    missed = {name: abs(float(prediction.volume) - truth[1][1]) for name, prediction in found.items()}
    assert missed["both"] < 0.1 * missed["homogeneous"] < 0.1 * missed["constant"]
    fractional = np.linalg.solve(
        found["homogeneous"].cell.T, (found["homogeneous"].positions - minimum.engine.origin).T
    ).T
    known = np.linalg.solve(minimum.engine.cell.T, (minimum.positions - minimum.engine.origin).T).T
    assert fractional == pytest.approx(known, abs=1e-12)


@pytest.mark.parametrize("variant", ["constant", "homogeneous", "fixed", "both"])
def test_predicted_pressures_are_derivatives_of_pressures(pressed, variant):
    minimum, direction = pressed
    model = minimum.expansion(2, "iso", tol=1e-7)
    answer, change = model.variants[variant], 1e-4 * direction

    def pressure(sign):
        displacement = answer.patterns.dot(sign * change)
        return minimum.state_at(sign * change, displacement, tensor(sign * change @ answer.strain_jacobian)).pressure

    expected = np.diag(pressure(1) - pressure(-1)) / 2
    found = np.diag(model.predict(change, variant, errors=False).pressure() - minimum.pressure)
    scale = np.abs(np.diag(model.predict(change, "constant").pressure() - minimum.pressure)).max()
    assert found == pytest.approx(expected, abs=1e-5 * scale)


def test_at_the_trust_radius_the_error_is_its_limit(pressed):
    minimum, direction = pressed
    model = minimum.expansion(2, "iso")
    radius = model.trust_radius(direction, energy=1e-4, displacement=1.0)
    unit = direction / np.linalg.norm(direction)
    assert float(model.predict(radius * unit).energy_error) == pytest.approx(1e-4, rel=0.15)
    assert model.trust_radius(direction, energy=1e-5, displacement=1.0) < radius
    short = model.trust_radius(direction, energy=1.0, displacement=1e-4)
    assert float(model.predict(short * unit).displacement_error) == pytest.approx(1e-4, rel=0.15)


def test_an_expansion_whose_minimum_has_moved_says_so(write_deck):
    with Minimum.from_deck(write_deck(TA_VACANCY)) as minimum:
        theta = minimum.potential.theta
        model = minimum.expansion(3)
        with minimum.excursion(1e-3 * theta) as trip:
            minimum.relax_away(1e-8)
            trip.stay = True
        with pytest.raises(LammpsImplicitError, match="make a new one"):
            _ = model.predict(1e-3 * theta).enthalpy


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.expansion(4), "order 4"),
        (lambda m: m.expansion().predict([1.0, 2.0]), "31 finite numbers"),
        (lambda m: m.expansion().predict(m.potential.theta, "both"), "not one of constant, fixed"),
        (lambda m: m.expansion().trust_radius(0 * m.potential.theta), "direction"),
    ],
)
def test_what_cannot_be_expanded_is_refused(ta_vacancy, call, message):
    with pytest.raises(LammpsImplicitError, match=message):
        call(ta_vacancy)


KINKED = """\
units           metal
lattice         custom 3.2 a1 1 0 0 a2 0 1.7320508 0 a3 0 0 1.62 basis 0 0 0 &
                basis 0.5 0.5 0 basis 0.5 0.83333333 0.5 basis 0 0.33333333 0.5 origin 0.02 0.03 0.04
region          cell block 0 2 0 1 0 1
create_box      2 cell
create_atoms    1 region cell
set             group all type/fraction 2 0.45 31
mass            * 24.3
pair_style      morse/smooth/linear 7.5
pair_coeff      1 1 0.25 1.25 3.15
pair_coeff      1 2 0.30 1.30 3.25
pair_coeff      2 2 0.22 1.20 3.40
minimize        0 1e-11 10000 100000
"""
"""An alloy whose forces have kinks at the cutoff, where pairs are as the ensemble strains the cell."""


@pytest.fixture(scope="module")
def kinked(tmp_path_factory):
    """The alloy, and the second derivatives of its strains."""
    path = tmp_path_factory.mktemp("kinked") / "in.alloy"
    path.write_text(KINKED)
    with Minimum.from_deck(path, cell="full", pressure=0) as minimum:
        theta = minimum.potential.theta
        changes = 0.01 * theta * np.random.default_rng(2).standard_normal((40, len(theta)))
        directions = leading_directions(changes, [minimum.relaxation_hessian(cell="full")])
        yield minimum, minimum.third_derivative(directions)


def test_strains_bend_along_directions_as_relaxing_again_says_where_forces_have_kinks(kinked):
    minimum, third = kinked
    tensors = minimum.strain("full").tensors().reshape(6, 9)
    for index, vector in enumerate(third.directions.vectors.T[:3]):
        ends = [minimum.relaxed_at(sign * vector, 1e-10, cell="full").cell for sign in (1, -1)]
        bent = np.linalg.solve(minimum.engine.cell, sum(ends) - 2 * minimum.engine.cell).T
        true, found = np.linalg.lstsq(tensors.T, bent.ravel())[0], third.strains.inner[:, index, index]
        assert np.linalg.norm(found - true) < 0.05 * np.linalg.norm(true)
    assert third.strains.relative_error < 0.005  # loads agree, those on weak patterns too
    assert third.strains.hessian(np.eye(6)[0]) == pytest.approx(third.strains.hessian(np.eye(6)[0]).T)


def test_errors_of_strains_are_those_of_lattice_parameters_and_volumes(kinked):
    minimum, third = kinked
    lattice = lattice_parameters(minimum, (2, 1, 1), order=2)
    doubled = combine([(-2.0, lattice.component(2)), (1.0, lattice.component(2))])
    assert doubled.second_order_error == pytest.approx(3 * lattice.second_order_error[2])
    length = minimum.engine.cell[0, 0]
    along = np.array([strain[0, 0] for strain in minimum.strain("full").tensors()])
    assert lattice.second_order_error[0] == pytest.approx(length / 2 * third.strains.error(along))
    weights = np.random.default_rng(0).standard_normal((200_000, third.directions.vectors.shape[1]))
    sampled = 0.5 * np.einsum("sa,ab,sb->s", weights, np.tensordot(along, third.strains.missed, 1), weights)
    responses = weights**2 @ third.directions.gains
    assert third.strains.error(along) == pytest.approx(np.sqrt(np.mean(sampled**2) / np.mean(responses**2)), rel=0.02)
    traces = np.trace(minimum.strain("full").tensors(), axis1=1, axis2=2)
    expected = minimum.engine.volume * third.strains.error(traces)
    assert float(cells.volume(minimum).second_order_error) == pytest.approx(expected)


@pytest.mark.slow
def test_strains_that_are_too_uncertain_are_used_to_first_order_only(kinked, monkeypatch):
    minimum, third = kinked
    monkeypatch.setattr(cubic, "KINKED", 1e-4)
    assert "first order only" in third.strains.finding
    found = lattice_parameters(minimum, order=2)
    assert found.hessian is None and found.second_order_error is None
    assert minimum.third_derivative(third.directions).volume_hessian is None
    assert len(cells.volume(minimum).terms(third.directions.vectors.T)) == 1
    assert "volume_hessian" not in minimum.sensitivity(cell="full").third
    minimum.third = third
