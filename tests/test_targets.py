"""Targets given as decks: whether they stay where they were put."""

import warnings

import numpy as np
import pytest
from conftest import TA_BULK

from lammps_implicit import Minimum
from lammps_implicit.observables.decks import PositionSource
from lammps_implicit.observables.targets import read_positions

SETUP = TA_BULK.split("minimize")[0]
VACANCY = SETUP + "group out id 9\ndelete_atoms group out compress no\n"
# A neighbour of the vacancy most of the way towards it: it falls into it, and the vacancy moves.
JUMPED = VACANCY + "group one id 1\ndisplace_atoms one move 1.2 1.2 1.2 units box\nrun 0\n"


def test_a_target_that_leaves_where_it_was_put_is_told(write_deck):
    with Minimum.from_deck(write_deck(VACANCY + "minimize 0 1e-10 1000 10000\n"), ftol=1e-8) as minimum:
        jumped = write_deck(JUMPED, "in.jumped")
        with pytest.warns(UserWarning, match=r"in\.jumped \(target of a\) moved by up to .* Å .* 'relax: false'"):
            relaxed = read_positions(PositionSource(deck=jumped), minimum, "a")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message=".*may be no material")  # as it stands there, it is none
            kept = read_positions(PositionSource(deck=jumped, relax=False), minimum, "a")
            near = read_positions(
                PositionSource(
                    deck=write_deck(VACANCY + "displace_atoms all random 0.02 0.02 0.02 3\nrun 0\n", "in.near")
                ),
                minimum,
                "a",
            )
        at = int(np.flatnonzero(minimum.ids == 1)[0])
        assert np.linalg.norm(minimum.engine.nearest_image(relaxed - kept)[at]) > 0.3
        moved = minimum.engine.nearest_image(near - minimum.positions)
        assert np.abs(moved - moved.mean(axis=0)).max() < 1e-4
