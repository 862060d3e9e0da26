"""One check of an installation: what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mpi4py import MPI


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes
    ----------
    name : str
        What was checked.
    finding : str
        Version found, or what is wrong.
    good : bool
        Whether the check passed.
    needed : bool
        False if only some features depend on it.
    remedy : str
        What to do about it; empty if it is good.
    """

    name: str
    finding: str
    good: bool = True
    needed: bool = True
    remedy: str = ""

    @property
    def state(self) -> str:
        """``ok``, ``BAD``, or ``--`` for what is bad but not needed."""
        return "ok" if self.good else "BAD" if self.needed else "--"


class FaultError(Exception):
    """What is wrong with an installation.

    Parameters
    ----------
    finding, remedy : str
        As for `Check`.
    """

    def __init__(self, finding: str, remedy: str) -> None:
        super().__init__(finding, remedy)
        self.finding, self.remedy = finding, remedy


def attempt(name: str, find: Callable[[], str], remedy: str = "", needed: bool = True) -> Check:
    """Make a check of this rank.

    Parameters
    ----------
    name : str
    find : callable
        Returns the finding, or raises: a `FaultError`, or anything else, which is then the finding.
    remedy : str
        For anything but a `FaultError`.
    needed : bool
    """
    try:
        return Check(name, find(), True, needed)
    except FaultError as fault:
        return Check(name, fault.finding, False, needed, fault.remedy)
    except Exception as error:  # any failure is the finding
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return Check(name, text, False, needed, remedy or "see the message; install the package again if it is broken")


def on_every_rank(comm: MPI.Comm, check: Check) -> Check:
    """Combine what the ranks have found: the first that is bad, or what rank 0 has found if all agree."""
    found: list[Check] = comm.allgather(check)
    for rank, other in enumerate(found):
        if not other.good:
            where = f"rank {rank}: " if comm.size > 1 else ""
            return Check(other.name, where + other.finding, False, other.needed, other.remedy)
    for rank, other in enumerate(found):
        if other.finding != found[0].finding:
            finding = f"rank 0: {found[0].finding}; rank {rank}: {other.finding}"
            return Check(check.name, finding, False, check.needed, "let all nodes use one and the same environment")
    return found[0]
