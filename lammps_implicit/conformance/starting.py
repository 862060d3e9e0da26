"""Start of LAMMPS with a deck whose potential need not have parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mpi4py import MPI

from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.evaluators.registry import EVALUATORS
from lammps_implicit.potentials.of_deck import from_engine


def start_tolerant(
    deck: str | os.PathLike[str],
    comm: MPI.Comm,
    variables: Mapping[str, str] | None = None,
    parameters: str | None = None,
    evaluator: str = "lammps",
) -> tuple[Evaluator, Any, str]:
    """Run a deck and take over, also where nothing can be differentiated.

    Parameters
    ----------
    deck : path-like
    comm : MPI.Comm
    variables : mapping of str to str, optional
        Index variables of the deck.
    parameters : str, optional
        Patterns of the parameters to differentiate by.
    evaluator : str
        Registered name; others than ``lammps`` must find parameters.

    Returns
    -------
    engine : Evaluator
        To be settled next.
    potential : Potential or None
    reason : str
        Why there is no potential with parameters; empty if there is.

    Raises
    ------
    DeckError
        If the deck does not run, or LAMMPS cannot be taken over; it has been closed then.
    """
    path = deck_path(deck)
    if evaluator != "lammps":
        return (*EVALUATORS.load(evaluator)(path, comm, parameters, variables or {}), "")
    engine = Engine.start(comm, variables)
    try:
        engine.run_deck(path)
        potential, reason = None, ""
        try:
            potential = from_engine(engine, parameters)
        except PotentialError as error:
            reason = str(error)
        engine.take_over()
    except BaseException:
        engine.close()
        raise
    return engine, potential, reason
