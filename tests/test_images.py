"""Nearest periodic images, against all images around."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lammps_implicit.evaluators.images import images, nearest_image, shortest_vector

LENGTH = st.floats(1.0, 10.0)
TILT = st.floats(-1.5, 1.5)  # LAMMPS warns beyond half a length, and goes on with 'box tilt large'
PERIODIC = st.tuples(st.booleans(), st.booleans(), st.booleans())


def _shortest(vectors, cell, periodic, reach=12):
    """Lengths of the shortest of (2 reach + 1)³ images."""
    counts = [reach if axis else 0 for axis in periodic]
    steps = np.array(list(product(*(range(-count, count + 1) for count in counts))))
    return np.array([np.linalg.norm(vector + steps @ cell, axis=1).min() for vector in vectors])


@settings(max_examples=60, deadline=None)
@given(st.tuples(LENGTH, LENGTH, LENGTH), st.tuples(TILT, TILT, TILT), PERIODIC, st.integers(0, 2**32 - 1))
def test_no_image_is_nearer(lengths, tilts, periodic, seed):
    cell = np.diag(lengths)
    cell[1, 0], cell[2, 0], cell[2, 1] = tilts[0] * lengths[0], tilts[1] * lengths[0], tilts[2] * lengths[1]
    vectors = np.random.default_rng(seed).uniform(-1, 1, (20, 3)) @ cell
    found = nearest_image(vectors, cell, periodic)
    assert np.linalg.norm(found, axis=1) == pytest.approx(_shortest(vectors, cell, periodic), abs=1e-9)
    shifts = np.linalg.solve(cell.T, (found - vectors).T).T
    assert shifts == pytest.approx(np.round(shifts), abs=1e-8)
    assert not np.round(shifts)[:, ~np.array(periodic)].any()


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(LENGTH, LENGTH, LENGTH),
    st.tuples(TILT, TILT, TILT),
    PERIODIC,
    st.floats(0.5, 6.0),
    st.integers(0, 2**32 - 1),
)
def test_all_images_within_reach_are_found(lengths, tilts, periodic, reach, seed):
    """In cells thinner than the reach too, and of atoms outside of the cell."""
    cell = np.diag(lengths)
    cell[1, 0], cell[2, 0], cell[2, 1] = tilts[0] * lengths[0], tilts[1] * lengths[0], tilts[2] * lengths[1]
    positions = np.random.default_rng(seed).uniform(-0.5, 1.5, (4, 3)) @ cell
    indices, shifts = images(positions, cell, periodic, reach)
    assert np.array_equal(indices[:4], range(4)) and not shifts[:4].any()
    found = {(index, *shift) for index, shift in zip(indices.tolist(), shifts.tolist(), strict=True)}
    assert len(found) == len(indices)
    count = [20 if axis else 0 for axis in periodic]
    steps = np.array(list(product(*(range(-k, k + 1) for k in count))))
    for index, at in enumerate(positions):
        moved = at + steps @ cell
        near = np.min([np.linalg.norm(moved - other, axis=1) for other in positions], axis=0) < 0.999 * reach
        assert {(index, *step) for step in steps[near].tolist()} <= found


def test_the_shortest_vector_of_a_skewed_cell():
    """A square lattice of 4 in a cell whose faces are 0.8 apart."""
    cell = np.array([[4.0, 0, 0], [20.0, 4.0, 0], [0, 0, 9.0]])
    assert shortest_vector(cell, (True, True, True)) == pytest.approx(4.0)
    assert shortest_vector(cell, (False, True, True)) == pytest.approx(9.0)
    assert shortest_vector(cell, (False, False, False)) == np.inf


def test_sixty_degrees():
    # Where rounding fractional coordinates leaves 3.39.
    a = 4.0
    cell = np.array([[a, 0, 0], [a / 2, a * np.sqrt(3) / 2, 0], [0, 0, a]])
    vector = np.array([[0.49, 0.49, 0.0]]) @ cell
    assert np.linalg.norm(vector) > 3.39
    assert np.linalg.norm(nearest_image(vector, cell, (True, True, True))) < 2.04
    assert np.linalg.norm(vector - np.round(np.linalg.solve(cell.T, vector.T).T) @ cell) > 3.39


def test_right_angles_round_as_ever():
    cell = np.diag([3.0, 4.0, 5.0])
    vectors = np.random.default_rng(1).uniform(-20, 20, (1000, 3))
    vectors[:3] = [[1.5, 2.0, 2.5], [-1.5, 6.0, 7.5], [4.5, -2.0, 12.5]]  # half a cell: ties go the way of np.round
    rounded = np.round(np.linalg.solve(cell.T, vectors.T).T) * (True, False, True)
    assert np.array_equal(nearest_image(vectors, cell, (True, False, True)), vectors - rounded @ cell)


def test_what_is_unknown_or_short_stays():
    cell = np.array([[4.0, 0, 0], [2.0, 3.4, 0], [0, 0, 4.0]])
    vectors = np.array([[0.1, -0.2, 0.3], [np.nan, 0.0, 0.0]])
    assert np.array_equal(nearest_image(vectors, cell, (True, True, True)), vectors, equal_nan=True)
    assert nearest_image(vectors[:0], cell, (True, True, True)).shape == (0, 3)
    assert np.array_equal(nearest_image(vectors[:1], cell, (False, False, False)), vectors[:1])
