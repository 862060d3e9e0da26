"""Relaxation: few evaluations, the minimum plain LAMMPS finds, frozen atoms where they were, nothing made worse."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import DECKS, TA_VACANCY

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.relaxation.lbfgs import InverseHessian
from lammps_implicit.stationary.states import Relaxation
from lammps_implicit.units import units_of

SETUP = TA_VACANCY.split("minimize")[0]
FREE = {"force_limit": np.inf}


def _unrelaxed(folder, deck):
    """A deck of the repository without its minimisations, in the test's folder."""
    text = "\n".join(line for line in (DECKS / deck).read_text().splitlines() if not line.startswith("minimize"))
    for data in DECKS.glob("*.data"):
        (folder / data.name).symlink_to(data)
    (folder / deck).write_text(text + "\n")
    return folder / deck


@pytest.mark.parametrize(
    ("deck", "variables", "evaluations"),
    [
        ("in.ta_vacancy", {"n": "4"}, 20),
        ("in.ta_vacancy", {"n": "8"}, 20),
        ("in.w_vacancy", {"n": "4"}, 20),
        ("in.w_screw_dislocation", {}, 30),
    ],
)
def test_few_evaluations_lead_to_the_minimum_lammps_finds(tmp_path, deck, variables, evaluations):
    with Minimum.from_deck(DECKS / deck, variables=variables) as expected:
        energy, positions = expected.energy, expected.gather(expected.positions)
    with Minimum.from_deck(_unrelaxed(tmp_path, deck), variables=variables, **FREE) as minimum:
        assert minimum.setup.total <= evaluations
        assert minimum.max_force <= 1e-8
        assert minimum.energy == pytest.approx(energy, abs=1e-9 * len(positions))
        moved = minimum.engine.nearest_image(minimum.gather(minimum.positions) - positions)
        assert np.abs(moved - moved.mean(axis=0)).max() < 1e-6


def test_frozen_components_stay(write_deck):
    held = "group held id 20 30\nfix held held setforce 0 0 0\ngroup flat id 40\nfix flat flat setforce NULL 0 NULL\n"
    shake = "displace_atoms all random 0.1 0.1 0.1 7\n"
    with Minimum.from_deck(write_deck(SETUP + shake + held), ftol=1e3, **FREE) as minimum:
        before = minimum.positions.copy()
        minimum.relax(1e-8)
        moved = minimum.positions - before
        assert minimum.max_force <= 1e-8
        assert np.abs(moved[~minimum.engine.free]).max() == 0
        assert np.abs(moved).max() > 0.05


@pytest.mark.parametrize("far", [0.3, 0.6, 1.0])
def test_starts_far_from_a_minimum_come_down(write_deck, far):
    text = SETUP + f"displace_atoms all random {far} {far} {far} 11 units box\n"
    with Minimum.from_deck(write_deck(text), ftol=1e6, **FREE) as minimum:
        before = minimum.energy
        minimum.relax(1e-6)
        assert minimum.max_force <= 1e-6
        assert minimum.energy < before
        minimum.jvp(np.ones(31), 1e-4)  # and it is a minimum


def test_overlapping_atoms_are_left_to_lammps_first(write_deck):
    text = SETUP + "create_atoms 1 single 1.27 1.25 1.02\n"
    with Minimum.from_deck(write_deck(text), ftol=1e9, **FREE) as minimum:
        assert minimum.max_force > 50
        minimum.relax(1e-7)
        assert minimum.max_force <= 1e-7


def test_neighbour_lists_are_built_again_where_the_skin_is_small(write_deck):
    text = SETUP.replace("pair_style", "neighbor 0.3 bin\npair_style", 1) + "displace_atoms all random 0.2 0.2 0.2 5\n"
    energies = []
    for deck in (text, text.replace("neighbor 0.3 bin\n", "")):
        with Minimum.from_deck(write_deck(deck), **FREE) as minimum:
            assert minimum.max_force <= 1e-8
            energies.append(minimum.energy)
            minimum.engine.settle()  # fresh lists change nothing
            assert minimum.engine.max_abs(minimum.engine.forces()) <= 1.1e-8
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)


def test_derivatives_are_only_taken_where_the_deck_ends(write_deck):
    text = SETUP + "displace_atoms all random 0.3 0.3 0.3 11 units box\n"
    with pytest.raises(LammpsImplicitError, match=r"more than 0\.1 Å from where the deck ends"):
        Minimum.from_deck(write_deck(text), force_limit=1e3)


def test_a_failure_leaves_everything_as_it_was(write_deck):
    # No minimum: constant forces pull two groups apart for ever, by more than the crystal holds.
    text = SETUP + "group one id 20\nfix pull one addforce 0 0 40.0\n"
    with Minimum.from_deck(write_deck(text), ftol=1e9, **FREE) as minimum:
        before, start, forces = minimum.energy, minimum.positions, minimum.hessian.reference_forces
        with pytest.raises(LammpsImplicitError):
            minimum.relax(1e-8)
        assert minimum.engine.energy == pytest.approx(before, abs=1e-9)
        assert minimum.energy == pytest.approx(before, abs=1e-9)
        assert minimum.positions == pytest.approx(start, abs=1e-12)
        assert minimum.hessian.reference_forces == pytest.approx(forces, abs=1e-9)


def test_an_interrupted_relaxation_leaves_everything_as_it_was(write_deck):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with Minimum.from_deck(write_deck(TA_VACANCY), ftol=1e-9) as minimum:
        before = minimum.energy, minimum.engine.cell, minimum.positions, minimum.hessian.reference_forces
        with pytest.raises(KeyboardInterrupt):
            minimum.relax(1e-9, progress=interrupt, cell="iso", pressure="1 GPa")
        minimum.engine.forces()
        after = minimum.engine.energy, minimum.engine.cell, minimum.positions, minimum.hessian.reference_forces
        for one, other in zip(before, after, strict=True):
            assert other == pytest.approx(one, abs=1e-9)
        assert minimum.cell == "none"


def test_visits_to_places_that_are_none_are_refused(write_deck):
    with Minimum.from_deck(write_deck(TA_VACANCY)) as minimum:
        still, before = np.zeros(31), minimum.engine.evaluations.copy()
        for displacement, strain in ((np.full((53, 3), np.nan), None), (np.zeros(3), None), (None, np.zeros(6))):
            with (
                pytest.raises(LammpsImplicitError, match=r"displacement|strain"),
                minimum.excursion(still, displacement, strain),
            ):
                pass
        assert minimum.engine.evaluations == before
    with pytest.raises(LammpsImplicitError, match="closed"):
        minimum.jvp(np.ones(31))


def test_the_inverse_hessian_meets_the_secant_equation(ta_vacancy):
    inverse = InverseHessian(ta_vacancy.engine, lambda v: 0.1 * v)
    rng = np.random.default_rng(4)
    for _ in range(3):
        step = rng.standard_normal(ta_vacancy.positions.shape)
        change = ta_vacancy.hessian.central(step)
        inverse.learn(step, change)
    assert inverse.times(change) == pytest.approx(step, abs=1e-10)
    inverse.learn(step, -change)  # the energy would curve downwards
    assert len(inverse) == 3


def test_saddles_are_followed_where_asked_for(write_deck):
    # An atom half-way between two vacancies, by symmetry on the saddle of its migration.
    from test_bad_decks_and_files import SADDLE

    text = SADDLE + "minimize 0.0 1.0e-6 1000 10000\n"
    with Minimum.from_deck(write_deck(text), saddle=True) as saddle:
        assert saddle.max_force <= 1e-8
        theta = saddle.potential.theta
        direction = np.random.default_rng(5).standard_normal(31) * np.abs(theta)
        moved = saddle.jvp(direction, 1e-7)
        assert saddle.statistics.residual <= 1e-7
        pull = np.cos(np.arange(moved.size)).reshape(moved.shape)
        assert saddle.vjp(pull, 1e-8) @ direction == pytest.approx(np.vdot(pull, moved), rel=1e-5)
        ahead, behind = (saddle.relaxed_at(sign * 1e-4 * direction, 1e-9)[0] for sign in (1, -1))
        true = (ahead - behind) / 2e-4
        true -= true.mean(axis=0)
        assert np.linalg.norm(moved - true) < 1e-4 * np.linalg.norm(true)
        iterative = saddle.jacobian(1e-5, "iterative").dot(direction)
        assert np.linalg.norm(iterative - moved) < 1e-4 * np.linalg.norm(moved)


def test_a_rise_of_the_energy_is_told():
    """Forces that are of another energy may relax uphill."""
    risen = Relaxation(1.0, 1e-9, 0.1, 2.1, (1.0, 1.0), units_of("real"))
    assert "raised the energy by 2.1 kcal/mol" in risen.rise(-1.09)
    assert not replace(risen, energy=-2.1).rise(-1.09)
    assert not replace(risen, energy=1e-12).rise(-1.09)
