"""Derivatives against brute force in plain LAMMPS, and identities that need no reference."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import pytest
from brute_force import Relaxer, relative_error
from conftest import DECKS, TA_VACANCY

from lammps_implicit import LammpsImplicitError, Minimum, testing


@dataclass(frozen=True)
class Case:
    deck: str
    line: str
    files: str
    elements: str
    parameters: int
    change: float  # relative change of the parameters at the widest step
    variables: dict = field(default_factory=dict)
    frozen: bool = False
    minimizer: str = "cg"


CASES = [
    Case("in.w_vacancy", "pair_coeff * * snap", "W_2940_2017_2", "W", 56, 0.01, {"n": "3"}),
    Case("in.be_in_w", "pair_coeff * * snap", "WBe_Wood_PRB2019", "W Be", 112, 0.01, {"n": "3"}),
    # Along most directions LAMMPS' forces with chemflag are not the gradient of its energy, and cg, which looks at
    # energies, stops short: see SnapPotential.inconsistent_directions.
    Case("in.inp_vacancy", "pair_coeff * * snap", "InP_JCPA2020", "In P", 482, 0.002, minimizer="fire"),
    Case("in.mo_quadratic_vacancy", "pair_coeff * *", "Mo_Zuo_JPCA2020.quadratic", "Mo", 496, 0.002, {"n": "3"}),
    Case("in.w_screw_dislocation", "pair_coeff * * snap", "W_2940_2017_2", "W W", 56, 0.002, frozen=True),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.deck)
def reference(request, tmp_path_factory):
    """A direction in parameter space and its true response."""
    case = request.param
    names = f"{case.files}.snapcoeff", f"{case.files}.snapparam"
    scratch = tmp_path_factory.mktemp("brute")
    relaxer = Relaxer(DECKS / case.deck, case.line, *names, case.elements, scratch, case.variables)
    relaxer.lmp.command(f"min_style {case.minimizer}")
    theta = relaxer.coefficients.theta
    direction = np.random.default_rng(5).standard_normal(len(theta)) * np.abs(theta)
    yield case, direction, relaxer.jvp(direction, case.change)
    relaxer.close()


@pytest.mark.parametrize(("tol", "error"), [(1e-5, 1e-4), (1e-7, 1e-5)])
def test_jacobian_agrees_with_relaxing_again(reference, tol, error):
    case, direction, truth = reference
    with Minimum.from_deck(DECKS / case.deck, variables=case.variables) as minimum:
        assert len(minimum.potential.theta) == case.parameters
        predicted = minimum.gather(minimum.jacobian(tol).dot(direction))
        single = minimum.gather(minimum.jvp(direction, tol))
    if not case.frozen:
        truth = truth - truth.mean(axis=0)
    assert relative_error(predicted, truth) <= error
    assert relative_error(single, truth) <= error


def test_all_columns_of_the_mixed_derivative_are_changes_of_lammps_forces():
    with Minimum.from_deck(DECKS / "in.inp_vacancy") as minimum:
        forces = minimum.hessian.reference_forces
        for index in range(0, len(minimum.potential.theta), 17):
            unit = np.eye(len(minimum.potential.theta))[index]
            changed = minimum.potential.install(minimum.engine, unit)
            assert minimum.mixed.to_array()[:, :, index] == pytest.approx(forces - changed, abs=1e-9)


def test_energy_hessian_holds_where_forces_and_energies_disagree():
    with Minimum.from_deck(DECKS / "in.inp_vacancy") as minimum:
        theta = minimum.potential.theta
        direction = 1e-3 * np.random.default_rng(5).standard_normal(len(theta)) * np.abs(theta)
        second = direction @ minimum.energy_hessian(1e-6) @ direction
        ahead, behind = (minimum.relaxed_at(sign * direction)[1] for sign in (1, -1))
        assert second == pytest.approx(ahead + behind - 2 * minimum.energy, rel=1e-3)


@pytest.mark.parametrize("deck", ["in.ta_vacancy", "in.be_hcp_vacancy", "in.w_interstitial", "in.w_screw_dislocation"])
def test_forward_and_backward_products_are_adjoint(deck):
    with Minimum.from_deck(DECKS / deck, variables={"n": "3"}) as minimum:
        testing.check_adjoint(minimum, tol=1e-6)


def test_energy_errors_fall_with_the_expected_powers(ta_vacancy):
    orders = testing.check_taylor(ta_vacancy, order=3, sizes=(4e-3, 2e-3, 1e-3))
    assert orders == pytest.approx({"displacement": 2, "first": 2, "second": 3, "third": 4}, abs=0.2)


def test_constant_terms_move_no_atom_and_count_atoms():
    with Minimum.from_deck(DECKS / "in.be_in_w", variables={"n": "2"}) as minimum:
        names = list(minimum.potential.names)
        assert names[:2] == ["W:0", "W:1"]
        assert names[56] == "Be:0"
        gradient, jacobian = minimum.energy_gradient(), minimum.jacobian(1e-4)
        counts = gradient[names.index("W:0")], gradient[names.index("Be:0")]
        assert counts == pytest.approx((15, 1), abs=1e-12)
        assert np.abs(jacobian.row(names.index("Be:0"))).max() == 0


def test_energy_gradient_is_the_energy_of_a_potential_without_fixed_part(write_deck):
    deck = DECKS / "in.mo_quadratic_vacancy"
    with Minimum.from_deck(deck, variables={"n": "2"}) as minimum:
        assert minimum.energy_gradient() @ minimum.potential.theta == pytest.approx(minimum.energy, rel=1e-11)


def test_elements_absent_from_the_cell_have_no_effect():
    with Minimum.from_deck(DECKS / "in.be_hcp_vacancy", variables={"n": "3"}) as minimum:
        tungsten = np.array([name.startswith("W:") for name in minimum.potential.names])
        assert np.abs(minimum.jacobian(1e-3).right[tungsten]).max() == 0
        assert np.abs(minimum.energy_gradient()[tungsten]).max() == 0


def test_dense_and_iterative_jacobians_agree(write_deck):
    with Minimum.from_deck(write_deck()) as minimum:
        iterative = minimum.jacobian(1e-6, method="iterative").to_array()
        assert minimum.statistics.method == "iterative"
    with Minimum.from_deck(write_deck()) as minimum:
        dense = minimum.jacobian(1e-6, method="dense").to_array()
        assert minimum.statistics.method == "dense"
        assert minimum.statistics.evaluations.forces >= 3 * 53
        change = np.cos(np.arange(31))
        for tol, iterates in ((1e-6, False), (1e-8, True)):  # the dense inverse serves where it is good enough
            moved = minimum.jvp(change, tol)
            assert (minimum.statistics.iterations > 0) == iterates
            assert minimum.statistics.method == ("iterative" if iterates else "dense")
            assert minimum.statistics.solves == 1
            # What a solve says includes the noise of its products.
            assert true_residual(minimum, moved, change) < 2 * minimum.statistics.residual + 1e-8 < 2 * tol + 2e-8
    assert relative_error(dense, iterative) < 1e-5


def test_auto_takes_the_cheaper_method():
    with Minimum.from_deck(DECKS / "in.w_be_alloy", variables={"n": "2"}) as minimum:
        minimum.jacobian(1e-5)
        assert minimum.statistics.method == "dense"  # 48 columns against more solves than that
    with Minimum.from_deck(DECKS / "in.ta_vacancy") as minimum:
        minimum.jacobian(1e-3)
        assert minimum.statistics.method == "iterative"


def test_vectors_that_do_not_fit_are_refused(ta_vacancy):
    with pytest.raises(LammpsImplicitError, match=r"dtheta has shape \(3,\), expected \(31,\)"):
        ta_vacancy.jvp(np.ones(3))
    with pytest.raises(LammpsImplicitError, match="cotangent has shape"):
        ta_vacancy.vjp(np.ones((2, 3)))
    with pytest.raises(LammpsImplicitError, match="not finite"):
        ta_vacancy.jvp(np.full(31, np.nan))
    with pytest.raises(LammpsImplicitError, match="tolerance"):
        ta_vacancy.jvp(np.ones(31), tol=1e-14)
    with pytest.raises(LammpsImplicitError, match="method"):
        ta_vacancy.jacobian(method="best")


def test_a_subset_of_parameters_gives_the_same_columns(write_deck):
    with Minimum.from_deck(write_deck(), parameters="Ta:[1-3],Ta:30") as some:
        assert some.potential.names == ("Ta:1", "Ta:2", "Ta:3", "Ta:30")
        columns, energies = some.jacobian(1e-6).to_array(), some.energy_gradient()
    with Minimum.from_deck(write_deck()) as minimum:
        index = [minimum.potential.names.index(name) for name in some.potential.names]
        assert relative_error(columns, minimum.jacobian(1e-6).to_array()[index]) < 1e-5
        assert energies == pytest.approx(minimum.energy_gradient()[index])


@pytest.mark.parametrize("atoms", [4, 6])
def test_cost_stays_within_what_is_promised(atoms):
    with Minimum.from_deck(DECKS / "in.ta_vacancy", variables={"n": str(atoms)}) as minimum:
        theta = minimum.potential.theta
        change = theta * np.cos(np.arange(len(theta)))
        moved = minimum.jvp(change, tol=1e-6)
        assert minimum.statistics.evaluations.total <= 20
        # What is said of the residual is what a product of its own finds, not the tolerance.
        found, noise = minimum.statistics.residual, minimum.statistics.differencing_error
        assert true_residual(minimum, moved, change) == pytest.approx(found, rel=0.2, abs=2 * noise)
        assert found <= 1e-6


def test_nothing_is_paid_twice(write_deck):
    with Minimum.from_deck(write_deck(), cell="iso") as minimum:
        spent = minimum.engine.evaluations
        minimum.jacobian(1e-5, cell="iso")
        before = spent.copy()
        fixed = minimum.jacobian(1e-5)  # found on the way
        minimum.energy_hessian(1e-4)
        minimum.energy_hessian(1e-4, cell="iso")
        assert minimum.jacobian(1e-3, cell=minimum.strain("iso")).tol == 1e-5
        minimum.energy_gradient()
        assert spent == before
        assert minimum.jacobian(1e-6).tol == 1e-6  # a tighter one is another
        assert spent.forces > before.forces
        assert fixed.statistics.solves == fixed.rank
        assert fixed.freedom.fixed and fixed.relaxation_hessian == pytest.approx(minimum.energy_hessian(1e-5), rel=1e-3)


def test_what_is_kept_cannot_be_changed_in_place(write_deck):
    with Minimum.from_deck(write_deck(), cell="iso", pressure="1 GPa") as minimum:
        result = minimum.sensitivity(1e-4, cell="iso")
        for array in (
            result.pressure,
            result.energy_gradient,
            result.strain_jacobian,
            result.volume_gradient,
            minimum.pressure,
            minimum.target,
            minimum.jacobian(1e-4).left,
            minimum.relaxation_hessian(1e-4),
        ):
            with pytest.raises(ValueError, match="read-only"):
                array *= 2.0


def test_strains_of_another_cell_are_checked(write_deck):
    slab = TA_VACANCY.replace("boundary        p p p", "boundary        p p f")
    with Minimum.from_deck(write_deck()) as bulk, Minimum.from_deck(write_deck(slab, "in.slab")) as other:
        before = other.engine.evaluations.copy()
        with pytest.raises(LammpsImplicitError, match="not periodic"):
            other.relaxed_at(np.zeros(31), cell=bulk.strain("iso"))
        assert other.engine.evaluations == before
        allowed = other.strain(bulk.strain("xx,yy", "1 GPa"))
        assert allowed.key == other.strain("xx,yy", "1 GPa").key
        lj = dataclasses.replace(bulk.strain("xx", "1 GPa"), units="lj")
        with pytest.raises(LammpsImplicitError, match="units lj"):
            other.jvp(np.ones(31), cell=lj)


def test_a_tight_jacobian_outlives_a_loose_one(write_deck):
    with Minimum.from_deck(write_deck()) as minimum:
        minimum.jacobian(1e-6)
        assert minimum.jacobian(1e-2, "dense").statistics.method == "dense"
        before = minimum.engine.evaluations.copy()
        minimum.energy_hessian(1e-5)
        assert minimum.engine.evaluations == before


def test_an_expansion_measures_the_cell_once(write_deck):
    costs = []
    for first in (True, False):
        with Minimum.from_deck(write_deck(), cell="iso") as minimum:
            before = minimum.engine.evaluations.copy()
            if first:
                minimum.jacobian(1e-5, cell="iso")
            minimum.expansion(2, "iso")
            costs.append(minimum.engine.evaluations.since(before))
    assert costs[0] == costs[1]


def true_residual(minimum, moved, change):
    """‖H δX + C δΘ‖ / ‖C δΘ‖, rigid motions left out."""
    right = minimum.mixed.times(change)
    left = minimum.null_space().project(minimum.hessian.central(moved) + right)
    return minimum.engine.norm(left) / minimum.engine.norm(right)
