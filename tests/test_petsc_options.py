"""Options for PETSc on the command line and as a dictionary."""

import numpy as np
import pytest
from conftest import TA_VACANCY_READ, ta_data
from mpi4py import MPI

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.cli.petsc_options import petsc_options
from lammps_implicit.errors import ConvergenceError


@pytest.mark.parametrize(
    ("arguments", "ours", "petsc"),
    [
        (["relax", "-li_ksp_monitor", "in.deck", "-o", "x"], ["relax", "in.deck", "-o", "x"], ["-li_ksp_monitor"]),
        (["relax", "-li_ksp_monitor", "deck"], ["relax", "deck"], ["-li_ksp_monitor"]),
        (["relax", "-li_pc_type", "jacobi", "deck"], ["relax", "deck"], ["-li_pc_type", "jacobi"]),
        (["relax", "-li_pc_type=jacobi", "deck"], ["relax", "deck"], ["-li_pc_type", "jacobi"]),
        (["relax", "-li_ksp_rtol", "1e-9", "deck"], ["relax", "deck"], ["-li_ksp_rtol", "1e-9"]),
        (["relax", "-li_mat_shift", "-1.5", "deck"], ["relax", "deck"], ["-li_mat_shift", "-1.5"]),
        (["relax", "-li_unheard_of", "in.deck"], ["relax", "in.deck"], ["-li_unheard_of"]),
        (["relax", "-li_unheard_of", "decks/w"], ["relax", "decks/w"], ["-li_unheard_of"]),
        (["relax", "deck", "-li_ksp_view"], ["relax", "deck"], ["-li_ksp_view"]),
        (
            ["relax", "deck", "-li_a", "-li_b=1", "--ftol", "1e-9"],
            ["relax", "deck", "--ftol", "1e-9"],
            ["-li_a", "-li_b", "1"],
        ),
    ],
)
def test_a_deck_is_never_the_value_of_an_option(arguments, ours, petsc):
    assert petsc_options(arguments) == (ours, petsc)


def test_a_file_that_exists_is_no_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jacobi").write_text("units metal\n")
    assert petsc_options(["relax", "-li_pc_type", "jacobi"]) == (["relax", "jacobi"], ["-li_pc_type"])


@pytest.fixture
def deck(tmp_path):
    """A Ta vacancy in a folder that all ranks share."""
    comm = MPI.COMM_WORLD
    folder = comm.bcast(tmp_path)
    if comm.rank == 0:
        (folder / "atoms.data").write_text(ta_data(range(1, 54)))
        (folder / "in.ta").write_text(TA_VACANCY_READ)
    comm.barrier()
    return folder / "in.ta"


@pytest.mark.parallel(nprocs=2)
def test_options_as_a_dictionary_reach_the_solvers(deck):
    change = np.cos(np.arange(31))
    with (
        Minimum.from_deck(deck, petsc_options={"ksp_max_it": 2}) as minimum,
        pytest.raises(ConvergenceError, match="in 2 iterations"),
    ):
        minimum.jvp(change, 1e-8)
    with (
        Minimum.from_deck(deck, ftol=1e-3, petsc_options={"pc_type": "nonsense"}) as minimum,
        pytest.raises(LammpsImplicitError, match="cannot set up the preconditioner"),
    ):
        minimum.jvp(change, 1e-8)
    moved = {}
    for kind in ("gamg", "none"):
        with Minimum.from_deck(deck, petsc_options={"pc_type": kind}) as minimum:
            moved[kind] = minimum.gather(minimum.jvp(change, 1e-8))
    with Minimum.from_deck(deck) as minimum:  # nothing of it is left behind
        assert minimum.statistics.method
        expected = minimum.gather(minimum.jvp(change, 1e-8))
    if MPI.COMM_WORLD.rank == 0:
        for found in moved.values():
            assert found == pytest.approx(expected, abs=1e-6 * np.abs(expected).max())


@pytest.mark.parallel(nprocs=2)
def test_a_solver_that_stops_short_by_its_own_measure_is_seen(deck):
    change = np.cos(np.arange(31))
    with (
        Minimum.from_deck(deck, petsc_options={"ksp_type": "preonly", "pc_type": "jacobi"}) as minimum,
        pytest.raises(ConvergenceError, match="but the residual is"),
    ):
        minimum.jvp(change, 1e-6)
    with pytest.raises(LammpsImplicitError, match="PETSc has no Krylov solver 'nonsense'"):
        Minimum.from_deck(deck, petsc_options={"ksp_type": "nonsense"})
    with pytest.raises(LammpsImplicitError, match="write a dictionary"):
        Minimum.from_deck(deck, petsc_options="pc_type jacobi")


@pytest.mark.parallel(nprocs=2)
def test_a_krylov_solver_asked_for_solves_jacobians_too(deck):
    with Minimum.from_deck(deck) as minimum:
        ours = minimum.jacobian(1e-4)
        expected = ours.dot(np.cos(np.arange(31)))
    with Minimum.from_deck(deck, petsc_options={"ksp_type": "cg"}) as minimum:
        theirs = minimum.jacobian(1e-4)
        found = theirs.dot(np.cos(np.arange(31)))
        # One by one, solves do not profit from each other.
        assert theirs.statistics.iterations > ours.statistics.iterations
        assert minimum.engine.norm(found - expected) < 1e-3 * minimum.engine.norm(expected)
