"""Water, a crystal of benzene, polyethylene: how many evaluations they take, and derivatives against relaxing again."""

import molecules
import numpy as np
import pytest
from mpi4py import MPI
from waters import write_chain

from lammps_implicit import Minimum
from lammps_implicit.solvers.springs import random_vector

SMALL = {
    "water_8": lambda: molecules.water(2, "ewald"),
    "benzene_crystal": lambda: molecules.benzene((1, 1, 1)),
    "polyethylene_chains": lambda: molecules.polyethylene((1, 2), 6),
}
LARGE = {
    "water_64": lambda: molecules.water(4),
    "benzene_crystal": lambda: molecules.benzene((2, 2, 2)),
    "polyethylene_chains": lambda: molecules.polyethylene(),
}
UNRELAXED = {"ftol": 1e-8, "force_limit": np.inf}
"""The deck leaves its minimum to the tool."""


def _minimum(folder, name, decks, comm=MPI.COMM_SELF, away=0.1, parameters="lj*"):
    """The minimum of atoms displaced by up to `away` Å at random, which the deck has not relaxed."""
    if comm.rank == 0:
        molecules.write(folder, name, *decks[name]())
    comm.barrier()
    variables = {"steps": "0", "away": str(away)}
    return Minimum.from_deck(folder / f"in.{name}", comm, parameters, variables=variables, **UNRELAXED)


def _require_few_evaluations(minimum, relaxing, solving):
    assert minimum.setup.forces <= relaxing
    pull = random_vector(minimum.ids, 5)
    minimum.mixed.prepare()
    before = minimum.engine.evaluations.forces
    gradient = minimum.vjp(pull, 1e-6)
    assert minimum.statistics.method == "iterative" and minimum.statistics.verdict == "good"
    assert minimum.engine.evaluations.forces - before <= solving
    direction = 1e-2 * minimum.potential.theta
    assert minimum.engine.dot(pull, minimum.jvp(direction, 1e-7)) == pytest.approx(gradient @ direction, rel=1e-3)


def _require_right(minimum):
    """The Jacobian at the default tolerance along one direction, against relaxing again.

    By the tool, to forces of 1e-9 eV/Å: line searches of LAMMPS stop where soft molecules are 0.1 Å away. Forces
    jump where a pair crosses its cutoff, which shows at some steps by 1e-3 to 1e-1: the best of three is taken.
    """
    theta = minimum.potential.theta
    direction = np.cos(np.arange(len(theta))) * theta
    found, errors = minimum.jacobian(1e-5).dot(direction), []
    for step in (3e-4, 1e-4, 1e-5):
        ends = [minimum.relaxed_at(sign * step * direction, 1e-9)[0] for sign in (1, -1)]
        moved = (ends[0] - ends[1]) / (2 * step)
        errors.append(np.linalg.norm(_centred(found) - _centred(moved)) / np.linalg.norm(_centred(moved)))
    assert np.linalg.norm(moved) > 1e-2
    assert min(errors) < 1e-4


def _centred(moved):
    return moved - moved.mean(axis=0)


@pytest.mark.parametrize("name", SMALL)
def test_small_cells(tmp_path, name):
    patterns = {"water_8": "lj*1-1*"}.get(name, "lj*")
    minimum = _minimum(tmp_path, name, SMALL, parameters=patterns)
    with minimum:
        _require_few_evaluations(minimum, 200, 60)
        _require_right(minimum)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_cells(tmp_path, name):
    """Relaxation in at most 300 evaluations, and a gradient to 1e-6 in 60: LAMMPS' `cg` takes thousands, or stops."""
    patterns = {"water_64": "lj*1-1*"}.get(name, "lj*")
    minimum = _minimum(tmp_path, name, LARGE, parameters=patterns)
    with minimum:
        _require_few_evaluations(minimum, 300, 60)
        _require_right(minimum)


LONE = """\
units           metal
atom_style      molecular
pair_style      zero 1.0
bond_style      harmonic
angle_style     harmonic
dihedral_style  opls
improper_style  harmonic
read_data       chain.data
pair_coeff      * *
bond_coeff      * 15.0 1.5
angle_coeff     1 2.0 112.0
dihedral_coeff  1 0.056 -0.002 0.009 0.0
improper_coeff  1 0.5 30.0
"""


def test_errors_of_a_lone_molecule_are_estimated_where_pairs_reach_no_bond(tmp_path):
    """Pairs that are told to reach 1 Å hid angles and twists: it took thousands of evaluations, with wrong errors."""
    write_chain(tmp_path / "chain.data")
    (tmp_path / "in.chain").write_text(LONE)
    with Minimum.from_deck(tmp_path / "in.chain", parameters="*", **UNRELAXED) as minimum:
        assert minimum.setup.forces < 150
        response, engine = minimum.response, minimum.engine
        right = response.prepared().system.null_space.project(random_vector(minimum.ids, 5))
        exact = response.checked_solve(right, 1e-9)
        for tol in (1e-2, 1e-4):
            found = response.solve(right, tol, probe=False)
            missed = response.prepared().missed(found, response._rest(found, right), right)
            assert 1 / 6 < engine.norm(found - exact) / engine.norm(exact) / missed.error < 3


@pytest.mark.parallel(nprocs=[1, 2])
def test_ranks_take_as_few(tmp_path_factory):
    """Each rank factorises its copy of the springs; multigrid took three times the evaluations."""
    comm = MPI.COMM_WORLD
    folder = comm.bcast(tmp_path_factory.mktemp("benzene") if comm.rank == 0 else None)
    minimum = _minimum(folder, "benzene_crystal", SMALL, comm)
    with minimum:
        _require_few_evaluations(minimum, 80, 25)
