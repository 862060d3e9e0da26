"""The decks of `lammps_scripts` with two end states: the same atoms in two minima, and the barrier between them."""

import warnings

import numpy as np
import pytest
from ase.mep import NEB, DimerControl, MinModeAtoms, MinModeTranslate
from ase.optimize import LBFGS
from conftest import DECKS

from lammps_implicit import Barrier, Minimum

PAIRS = {
    "in.ta_vacancy_hop": ({}, "1"),
    "in.w_vacancy_hop": ({"snap": "../potentials/W_2J4"}, "1"),
    "in.cu_vacancy_hop": ({}, "1"),
    "in.fe_dumbbell_hop": ({"n": "3"}, "1"),
    "in.lj_alloy_vacancy_hop": ({}, "7"),
    "in.be_in_w_hop": ({}, "1"),
    "in.w_screw_glide": ({}, "1"),
}
"""Variables, and the value of ``hop`` in the second state."""


def states(deck, **options):
    variables, hop = PAIRS[deck]
    both = [{**variables, "hop": state} for state in ("0", hop)]
    return [Minimum.from_deck(DECKS / deck, variables=chosen, **options) for chosen in both]


def test_every_deck_with_end_states_is_here():
    decks = {path.name for path in DECKS.glob("in.*") if "variable        hop index" in path.read_text()}
    assert decks == set(PAIRS)


@pytest.mark.parametrize("deck", PAIRS)
def test_end_states_are_two_minima_of_the_same_atoms(deck):
    start, end = states(deck, parameters=())
    with start, end:
        assert start.initial_force < 1e-6 > end.initial_force  # the deck relaxes them
        first, last = (state.calculator().get_atoms() for state in (start, end))
        for name in ("id", "type"):
            np.testing.assert_array_equal(first.arrays[name], last.arrays[name])
        np.testing.assert_array_equal(first.cell, last.cell)
        moved = np.linalg.norm(start.engine.nearest_image(last.positions - first.positions), axis=1)
        assert 0.5 < moved.max() < 3.2
        for state in (start, end):
            assert state.softest_mode().curvature > 0.1


@pytest.mark.parametrize("deck", ["in.cu_vacancy_hop", "in.lj_alloy_vacancy_hop", "in.fe_dumbbell_hop"])
def test_barriers_are_those_of_ase(deck):
    start, end = states(deck)
    with start, end, Barrier.between(start, end) as barrier, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = start.calculator().get_atoms()
        images = [first, *(first.copy() for _ in range(5)), end.calculator().get_atoms()]
        for image in images[1:]:
            image.calc = start.calculator()
        band = NEB(images, method="improvedtangent")
        band.interpolate(mic=True)
        LBFGS(band, logfile=None).run(fmax=0.1, steps=100)
        top = 1 + int(np.argmax([image.get_potential_energy() for image in images[1:-1]]))
        along = images[top + 1].positions - images[top - 1].positions
        control = DimerControl(logfile=None, eigenmode_logfile=None)
        pair = MinModeAtoms(images[top], control, eigenmodes=[along / np.linalg.norm(along)])
        assert MinModeTranslate(pair, logfile=None).run(fmax=1e-4, steps=200)
        assert barrier.forward == pytest.approx(images[top].get_potential_energy() - start.energy, abs=1e-6)
        assert barrier.backward - barrier.forward == pytest.approx(start.energy - end.energy, abs=1e-9)
