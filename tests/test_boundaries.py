"""Null spaces and frozen atoms: every kind of boundary."""

import numpy as np
import pytest
from conftest import TA_VACANCY
from test_fault_injection import LENNARD_JONES

from lammps_implicit import LammpsImplicitError, Minimum

SLAB = TA_VACANCY.replace("boundary        p p p", "boundary p p f").replace(
    "region          cell block 0 3 0 3 0 3", "region cell block 0 3 0 3 -1 6\nregion film block 0 3 0 3 1 3.6"
)
SLAB = SLAB.replace("create_atoms    1 box", "create_atoms 1 region film")
CLUSTER = TA_VACANCY.replace("boundary        p p p", "boundary f f f").replace(
    "region          cell block 0 3 0 3 0 3", "region cell block -9 9 -9 9 -9 9\nregion film block 0 1.6 0 1.6 0 1.6"
)
CLUSTER = CLUSTER.replace("create_atoms    1 box", "create_atoms 1 region film")
FREEZE = "region low block INF INF INF INF INF 4.0 units box\ngroup low region low\nfix hold low setforce {}\nminimize"


def _check(path, null_vectors):
    """Null-space dimension, exactness of its vectors, and the response against relaxing again."""
    with Minimum.from_deck(path) as minimum:
        theta = minimum.potential.theta
        dtheta = 3e-5 * np.random.default_rng(0).standard_normal(len(theta)) * np.abs(theta)
        moved = minimum.jvp(dtheta, 1e-8)
        null_space = minimum.null_space()
        assert len(null_space.vectors) == null_vectors
        for vector in null_space.vectors:
            assert np.abs(minimum.hessian.central(vector)).max() < 1e-5
        ahead, behind = (minimum.relaxed_at(sign * dtheta, 1e-10)[0] for sign in (1, -1))
        truth = null_space.project((ahead - behind) / 2)
        assert np.linalg.norm(moved - truth) < 1e-4 * np.linalg.norm(truth)
        assert np.abs(moved[~minimum.engine.free]).max(initial=0.0) == 0


def test_bulk_has_three_translations(write_deck):
    _check(write_deck(), 3)


def test_a_slab_translates_across_its_open_direction_too(write_deck):
    _check(write_deck(SLAB), 3)


def test_a_volume_that_follows_the_atoms_has_no_derivative(write_deck):
    """Strains have: those of relaxing again."""
    film = LENNARD_JONES.replace("lattice", "boundary p p s\nlattice")
    with Minimum.from_deck(write_deck(film), cell="xx,yy", ftol=1e-10) as minimum:
        dtheta = 1e-5 * minimum.potential.theta * [1.0, -1.0]
        jacobian = minimum.jacobian(1e-6, cell="xx,yy")
        assert jacobian.volume_gradient is None
        with pytest.raises(LammpsImplicitError, match="a boundary of the cell follows its atoms"):
            minimum.volume_gradient(cell="xx,yy")
        ends = [np.diag(minimum.relaxed_at(sign * dtheta, 1e-10, cell="xx,yy").cell)[:2] for sign in (1, -1)]
        strain = (ends[0] - ends[1]) / 2 / np.diag(minimum.engine.cell)[:2]
        assert dtheta @ jacobian.strain_jacobian == pytest.approx(strain, rel=1e-4)


def test_a_cluster_also_rotates(write_deck):
    _check(write_deck(CLUSTER), 6)


def test_frozen_layers_leave_nothing_free(write_deck):
    _check(write_deck(SLAB.replace("minimize", FREEZE.format("0 0 0"))), 0)


def test_layers_frozen_in_one_direction_leave_the_others(write_deck):
    _check(write_deck(SLAB.replace("minimize", FREEZE.format("NULL NULL 0.0"))), 2)


def test_a_plane_constraint_is_a_frozen_component(write_deck):
    _check(write_deck(SLAB.replace("minimize", FREEZE.replace("setforce", "planeforce").format("0 0 1"))), 2)


def test_springs_to_points_in_space_tie_translations_down(write_deck):
    _check(write_deck(TA_VACANCY.replace("minimize", "fix tether all spring/self 0.5\nminimize")), 0)


def test_a_constant_pull_changes_no_null_space(write_deck):
    pulled = SLAB.replace("minimize", "fix pull all addforce 0 0 0\nminimize")
    _check(write_deck(pulled), 3)


def test_a_cotangent_along_a_null_vector_has_no_effect(ta_vacancy):
    push = np.zeros_like(ta_vacancy.positions)
    push[:, 1] = 1.0
    cotangent = np.random.default_rng(1).standard_normal(push.shape)
    with_push, without = ta_vacancy.vjp(cotangent + push, 1e-8), ta_vacancy.vjp(cotangent, 1e-8)
    assert with_push == pytest.approx(without, rel=1e-5, abs=1e-6 * np.abs(without).max())
    assert np.abs(ta_vacancy.vjp(push, 1e-8)).max() < 1e-8
