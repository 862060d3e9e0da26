"""Molecules, pairs of them and wires in periodic boxes: nothing holds their orientation, and shapes answer as alone."""

import numpy as np
import pytest
from brute_force import Newton
from conftest import TA_BULK
from mpi4py import MPI

from lammps_implicit import Minimum
from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.response.fragments import can_turn
from lammps_implicit.solvers import preconditioner
from lammps_implicit.solvers.clusters import widening_clusters

WATER = """\
units real
atom_style full
region b block -10 10 -10 10 -10 10
create_box 2 b bond/types 1 angle/types 1 extra/bond/per/atom 4 extra/angle/per/atom 2 extra/special/per/atom 6
create_atoms 1 single 9.8 0.2 0.3
create_atoms 2 single -9.3 0.3 0.4
create_atoms 2 single 9.5 1.1 0.2
mass 1 16
mass 2 1
bond_style harmonic
angle_style harmonic
create_bonds single/bond 1 1 2
create_bonds single/bond 1 1 3
create_bonds single/angle 1 2 1 3
bond_coeff 1 450 1.0
angle_coeff 1 55 104.5
pair_style lj/cut/coul/cut 9
pair_coeff 1 1 0.155 3.15
pair_coeff 2 2 0.02 1.0
set type 1 charge -0.82
set type 2 charge 0.41
special_bonds lj/coul 0 0 0.5
min_style cg
minimize 0 1e-8 1000 10000
"""

DIMERS = """\
units metal
atom_style bond
region cell block 0 {box} 0 {box} 0 20
create_box 1 cell bond/types 1 extra/bond/per/atom 1 extra/special/per/atom 2
{atoms}
mass 1 14
special_bonds lj 0 1 1
pair_style lj/cut 8.0
pair_modify shift yes
pair_coeff 1 1 0.008 3.3
bond_style harmonic
bond_coeff 1 40 1.05
create_bonds many all all 1 0.8 1.3
min_style cg
minimize 0 1e-8 5000 50000
"""


def _dimers(box, *places):
    return DIMERS.format(box=box, atoms="\n".join(f"create_atoms 1 single {place}" for place in places))


PAIR = _dimers(20, "19.5 10 10", "0.4 10.3 10", "1 13.2 10.2", "1.5 13.4 11.2")
APART = _dimers(20, "19.5 10 10", "0.4 10.3 10", "10 2 1", "10.8 2.5 1.3")
AMONG_IMAGES = _dimers(5.2, "1 1 1", "1.6 1.7 1.4").replace("0 5.2 0 20", "0 5 0 6")

WIRE = """\
units metal
lattice fcc 3.85
region box block 0 20 0 20 0 7.7 units box
create_box 1 box
region wire cylinder z 10 10 3.2 INF INF units box
create_atoms 1 region wire
mass 1 60
pair_style lj/cut 6
pair_modify shift yes
pair_coeff 1 1 0.4 2.5
displace_atoms all random 0.05 0.05 0.05 3
min_style cg
minimize 0 1e-8 5000 50000
"""

FLAT = """\
units lj
dimension 2
region box block 0 14 0 14 -0.5 0.5
create_box 2 box
create_atoms 1 single 13.6 5 0
create_atoms 1 single 0.6 5.1 0
create_atoms 2 single 0.1 6 0
create_atoms 2 single 0.2 4 0
create_atoms 1 single 1.2 6 0
mass * 1
pair_style lj/smooth 2.0 2.5
pair_coeff 1 1 1 1
pair_coeff 1 2 0.8 0.95
pair_coeff 2 2 0.7 0.9
fix flat all enforce2d
min_style cg
minimize 0 1e-9 5000 50000
"""

FIELD = WATER.replace("minimize", "fix field all efield 0 0 0.05\nfix_modify field energy yes\nminimize")

FREE = {
    "water": (WATER, "angle harmonic 1 theta0", "angle_coeff 1 55 {}", 6),
    "field": (FIELD, "angle harmonic 1 theta0", "angle_coeff 1 55 {}", 4),
    "pair": (PAIR, "lj/cut 1-1 sigma", "pair_coeff 1 1 0.008 {}", 6),
    "apart": (APART, "bond harmonic 1 r0", "bond_coeff 1 40 {}", 10),
    "wire": (WIRE, "lj/cut 1-1 sigma", "pair_coeff 1 1 0.4 {}", 4),
    "flat": (FLAT, "lj/smooth 1-2 sigma", "pair_coeff 1 2 0.8 {}", 3),
}
"""Deck, parameter, command that sets it, and number of rigid motions that cost nothing."""


def _open(path, name=None, **settings):
    return Minimum.from_deck(path, parameters=name and [name], ftol=1e-9, relax=True, **settings)


def _brute(path, minimum, command, step=1e-3):
    """Displacements by the parameter in plain LAMMPS, in id order."""
    value = minimum.potential.theta[0]
    newton = Newton(path, minimum.positions[np.argsort(minimum.ids)], commands=["thermo_modify norm no"])
    try:
        return newton.jvp(lambda change: [command.format(f"{value + change:.17g}")], step * value)
    finally:
        newton.close()


def _distances(minimum, moved):
    """Changes of the distances between neighbours, which do not depend on how all rotate."""
    order = np.argsort(minimum.ids)
    vectors = minimum.positions[order][:, None] - minimum.positions[order][None]
    vectors = minimum.engine.nearest_image(vectors.reshape(-1, 3)).reshape(vectors.shape)
    lengths = np.linalg.norm(vectors, axis=2)
    near = (lengths > 0) & (lengths < 5)
    along = np.einsum("abk,abk->ab", vectors, moved[:, None] - moved[None])
    return along[near] / lengths[near]


@pytest.mark.parametrize("case", FREE)
def test_shapes_answer_and_orientations_are_left_alone(write_deck, case):
    deck, name, command, count = FREE[case]
    path = write_deck(deck)
    with _open(path, name) as minimum:
        order, one = np.argsort(minimum.ids), np.ones(1)
        brute = _brute(path, minimum, command)
        expected = _distances(minimum, brute)
        assert np.abs(expected).max() > 1e-3
        assert len(minimum.null_space().vectors) == count
        found = {"jvp": minimum.jvp(one, 1e-8)}
        for method, tol in (("iterative", 1e-5), ("iterative", 1e-7), ("dense", 1e-7)):
            found[f"{method} {tol}"] = minimum.jacobian(tol, method).dot(one)
        for way, moved in found.items():
            error = np.linalg.norm(_distances(minimum, moved[order]) - expected)
            assert error < 1e-4 * np.linalg.norm(expected), way
            assert np.linalg.norm(minimum.null_space().project(moved) - moved) < 1e-7 * np.linalg.norm(moved), way
        # What would pull at the orientation too asks for nothing: the answer is that of the shape.
        pull = np.random.default_rng(1).standard_normal(brute.shape)
        inner = minimum.null_space().project(pull)
        assert minimum.vjp(pull)[0] == pytest.approx(np.vdot(inner, found["jvp"]), rel=1e-4)


@pytest.mark.parametrize("case", ["water", "wire", "apart"])
def test_what_is_not_asked_at_first_is_when_a_solve_fails(write_deck, monkeypatch, case):
    """As in systems of many atoms."""
    monkeypatch.setattr(preconditioner, "MANY", 0)
    deck, name, _, count = FREE[case]
    with _open(write_deck(deck), name) as minimum:
        moved = minimum.jacobian(1e-7, "iterative").dot(np.ones(1))
        dense = minimum.jacobian(1e-7, "dense").dot(np.ones(1))
        assert len(minimum.null_space().vectors) == count
        assert np.linalg.norm(moved - dense) < 1e-4 * np.linalg.norm(dense)


def test_directions_near_round_off_move_nothing_as_a_whole(write_deck):
    """Where few atoms leave nothing to search, what is left of a direction is round-off."""
    with Minimum.from_deck(write_deck(FLAT), ftol=1e-9, relax=True) as minimum:
        moved = minimum.jacobian(1e-9, "iterative").dot(1e-3 * minimum.potential.theta)
        assert np.linalg.norm(minimum.null_space().project(moved) - moved) < 1e-6 * np.linalg.norm(moved)


def test_a_rotation_that_images_resist_is_solved_for(write_deck):
    """Its curvature is 3e-5 of that of the bond; how far the molecule rotates is part of the answer."""
    path = write_deck(AMONG_IMAGES)
    with _open(path, "lj/cut 1-1 sigma") as minimum:
        order, one = np.argsort(minimum.ids), np.ones(1)
        brute = _brute(path, minimum, "pair_coeff 1 1 0.008 {}", 1e-5)
        assert len(minimum.null_space().vectors) == 3
        rotated = np.abs(brute[0] - brute[1] - (brute[0] + brute[1]) / 2).max()
        assert rotated > 1e-2
        for moved in (minimum.jvp(one), minimum.jacobian(1e-6, "iterative").dot(one), minimum.jacobian(1e-6).dot(one)):
            assert np.linalg.norm(moved[order] - brute) < 1e-4 * np.linalg.norm(brute)


@pytest.mark.parametrize("ask", ["jvp", "iterative", "dense"])
def test_an_orientation_that_images_push_away_is_no_minimum(write_deck, ask):
    saddle = _dimers(4.6, "1 1 1", "2.05 1 1").replace("0 20\n", "0 9\n")
    with _open(write_deck(saddle), "bond harmonic 1 r0") as minimum, pytest.raises(NotAMinimumError, match="negative"):
        minimum.jvp(np.ones(1)) if ask == "jvp" else minimum.jacobian(1e-8, ask)


@pytest.mark.parallel(nprocs=[1, 2])
@pytest.mark.parametrize("case", ["water", "pair", "wire"])
def test_clusters_on_any_number_of_ranks(tmp_path_factory, case):
    comm = MPI.COMM_WORLD
    path = comm.bcast(tmp_path_factory.mktemp("clusters") / "in.test" if comm.rank == 0 else None)
    deck, name, _, count = FREE[case]
    if comm.rank == 0:
        path.write_text(deck)
    comm.barrier()
    with _open(path, name, comm=comm) as minimum:
        assert len(minimum.null_space().vectors) == count
        engine = minimum.engine
        *_, clusters = widening_clusters(engine, engine.neighbourhood())
        assert len(clusters.windings) == 1 and len(clusters.axes(0)) == {"wire": 1}.get(case, 3)
        ends = [engine.max(float((sign * clusters.unwrapped[:, 0]).max(initial=-np.inf))) for sign in (1, -1)]
        assert 1 < sum(ends) < 8
        assert np.isfinite(minimum.vjp(np.ones_like(engine.positions) + engine.positions)).all()


def test_a_crystal_is_not_asked(write_deck):
    with Minimum.from_deck(write_deck(TA_BULK)) as minimum:
        minimum.null_space()
        clusters = minimum.preconditioner.clusters
        assert len(clusters.windings) == 1 and len(clusters.axes(0)) == 0
        assert not can_turn(minimum.engine, clusters)
