"""Temporary changes of an evaluator that are undone even after an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.shutdown import all_arrive


@contextmanager
def restoring(
    engine: Evaluator, restore: Callable[[], object], what: str, *, after_success: bool = True
) -> Iterator[None]:
    """Restore the state of an evaluator when the context ends, or only if it ends with an error.

    Parameters
    ----------
    engine : Evaluator
        Marked as void if `restore` fails.
    restore : callable
        Restores the state from before the context. Collective: called on all ranks.
    what : str
        What is restored, for the error message, for example ``the parameters``.
    after_success : bool
        Whether to restore also if the context ends without an error.

    Raises
    ------
    LammpsImplicitError
        If `restore` fails; the evaluator is then void, and its state unknown.
    """
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        # If a nested restore has failed, the evaluator is void already, and says why.
        if failure is not None and not engine.void and engine.aside is not None and not all_arrive(engine.aside):
            # Restoring is collective: the others, who go on, would be left waiting in another operation.
            engine.void = f"{what} could not be restored, as one rank failed alone ({_text(failure)})"
        if (after_success or failure is not None) and not engine.void:
            with or_void(engine, what, failure):
                restore()


@contextmanager
def or_void(engine: Evaluator, what: str, failure: BaseException | None = None) -> Iterator[None]:
    """Mark an evaluator as void if what brings its state back, the context, ends with an error.

    Parameters
    ----------
    engine : Evaluator
    what : str
        What is brought back, for the error message.
    failure : exception, optional
        The error after which it is.

    Raises
    ------
    LammpsImplicitError
        In place of any error.
    """
    try:
        yield
    except BaseException as error:
        if not engine.void:  # otherwise a part of it has said so already
            first = "" if failure is None else f" after an error ({_text(failure)})"
            engine.void = f"{what} could not be restored{first}: {_text(error)}; start again from the deck"
        raise LammpsImplicitError(engine.void) from error


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
