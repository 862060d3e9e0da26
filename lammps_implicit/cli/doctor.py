"""Checks of an installation, for the command ``doctor``: all that is looked at, and how it is shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence

from mpi4py import MPI

from lammps_implicit.benchmarks.processes import why_not_ranks
from lammps_implicit.cli import doctor_libraries as libraries
from lammps_implicit.cli import doctor_places as places
from lammps_implicit.cli import doctor_self_test as tests
from lammps_implicit.cli.console import say
from lammps_implicit.cli.doctor_check import Check, attempt, on_every_rank


def examine(comm: MPI.Comm = MPI.COMM_WORLD) -> Iterator[Check]:
    """Check what this package depends on, on all ranks; yields each check when it is done.

    Parameters
    ----------
    comm : MPI.Comm
        All ranks.
    """

    def checked(name: str, find: Callable[[], str], needed: bool = True) -> Check:
        return on_every_rank(comm, attempt(name, find, needed=needed))

    yield on_every_rank(comm, libraries.python())
    for package in libraries.packages():
        yield on_every_rank(comm, package)
    one_mpi = checked("one MPI library", libraries.mpi)
    yield one_mpi
    yield checked("potential files", places.potentials)
    yield checked("temporary files", places.temporary)
    yield checked("working folder", places.working_folder, needed=False)
    yield checked("HDF5 files", places.hdf5)
    yield checked("threads", libraries.threads, needed=False)
    petsc = checked("PETSc (several ranks)", libraries.petsc, needed=comm.size > 1)
    yield petsc
    if one_mpi.good:  # LAMMPS would crash otherwise
        yield from _of_lammps(comm, checked, petsc)
    # At last, because no process should be started once JAX has its threads.
    yield checked("JAX (exact derivatives)", libraries.jax, needed=False)


def _of_lammps(comm: MPI.Comm, checked: Callable[..., Check], petsc: Check) -> Iterator[Check]:
    lammps = checked("LAMMPS", libraries.lammps)
    yield lammps
    yield checked("LAMMPS' other potential families", libraries.families, needed=False)
    if not lammps.good or (comm.size > 1 and not petsc.good):
        return
    yield checked(_on(comm.size), tests.self_test)
    if comm.size == 1:
        reason = why_not_ranks(2)
        if reason:
            yield Check(_on(2), f"left out: {reason}", False, False, "install petsc4py and an MPI library to use ranks")
        else:
            yield attempt(_on(2), tests.self_test_on_two_ranks, needed=False)


def ready(checks: Sequence[Check]) -> bool:
    """Whether everything that is needed is good."""
    return all(check.good or not check.needed for check in checks)


def as_json(checks: Sequence[Check]) -> str:
    """Return checks as JSON: ``ready``, and of each check its ``name``, ``state``, ``finding`` and ``remedy``."""
    rows = [
        {"name": check.name, "state": check.state, "finding": check.finding, "remedy": check.remedy} for check in checks
    ]
    return json.dumps({"ready": ready(checks), "checks": rows}, indent=1)


def show(checks: Iterator[Check]) -> list[Check]:
    """Show checks: as a table on a terminal, as lines elsewhere; returns them."""
    if sys.stdout.isatty():
        found = list(checks)
        _show_table(found)
        return found
    found = []
    for check in checks:
        found.append(check)
        say(f"{check.state:<3}  {check.name}: {check.finding}")
        if check.remedy:
            say(f"       -> {check.remedy}")
    return found


def _show_table(checks: Sequence[Check]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "", "found", "what to do", box=box.SIMPLE)
    colours = {"ok": "green", "BAD": "bold red", "--": "yellow"}
    for check in checks:
        state = Text(check.state, colours[check.state])
        table.add_row(state, Text(check.name), Text(check.finding), Text(check.remedy))
    if MPI.COMM_WORLD.rank == 0:
        Console().print(table)


def _on(ranks: int) -> str:
    return f"self-test on {ranks} {'rank' if ranks == 1 else 'ranks'}: Ta vacancy, 15 atoms"
