"""Temporary changes of an evaluator that are undone, also after an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator


@contextmanager
def restoring(
    engine: Evaluator, restore: Callable[[], object], what: str, *, after_success: bool = True
) -> Iterator[None]:
    """Call `restore` when the context ends, or only if it ends with an error.

    Parameters
    ----------
    engine : Evaluator
        Marked as void if `restore` fails.
    restore : callable
        Brings back the state before the context. Collective: called on all ranks.
    what : str
        What it restores, for the error message: ``the parameters``.
    after_success : bool
        Whether to call it too where there is no error.

    Raises
    ------
    LammpsImplicitError
        If `restore` fails: the state of the engine is unknown from then on.
    """
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        # What is void already, because a restore inside this context failed, says so by itself.
        if (after_success or failure is not None) and not engine.void:
            try:
                restore()
            except BaseException as error:
                first = "" if failure is None else f" after an error ({_text(failure)})"
                engine.void = f"{what} could not be restored{first}: {_text(error)}; start again from the deck"
                raise LammpsImplicitError(engine.void) from error


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
