"""Start of LAMMPS with a deck whose potential need not have parameters."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpi4py import MPI

from lammps_implicit.errors import DeckError, PotentialError
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.evaluators.registry import EVALUATORS
from lammps_implicit.potentials.named_files import require_sane_files
from lammps_implicit.potentials.of_deck import from_engine


@dataclass(frozen=True)
class Started:
    """An evaluator that has run a deck.

    Attributes
    ----------
    engine : Evaluator
        To be settled next, unless it was refused.
    potential : Potential or None
    reason : str
        Why there is no potential with parameters; empty if there is.
    refused : str
        Why LAMMPS could not be taken over: fixes that act; empty if it was.
    """

    engine: Evaluator
    potential: Any
    reason: str = ""
    refused: str = ""


def start_tolerant(
    deck: str | os.PathLike[str],
    comm: MPI.Comm,
    variables: Mapping[str, str] | None = None,
    parameters: str | None = None,
    evaluator: str = "lammps",
) -> Started:
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
    Started

    Raises
    ------
    DeckError
        If the deck does not run; LAMMPS has been closed then.
    PotentialError
        If there are none of the parameters asked for.
    """
    path = deck_path(deck)
    if evaluator != "lammps":
        return Started(*EVALUATORS.load(evaluator)(path, comm, parameters, variables or {}, force_limit=math.inf))
    engine = Engine.start(comm, variables)
    try:
        engine.on_root(lambda: require_sane_files(path, variables or {}))
        engine.run_deck(path)
        potential, reason = None, ""
        try:
            potential = from_engine(engine, parameters)
        except PotentialError as error:
            if parameters is not None:
                raise
            reason = str(error)
        try:
            engine.take_over()
        except DeckError as error:
            return Started(engine, potential, reason, str(error))
    except BaseException:
        engine.close()
        raise
    return Started(engine, potential, reason)
