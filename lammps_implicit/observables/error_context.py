"""Error messages that name the cell or observable they concern."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lammps_implicit.errors import LammpsImplicitError


@contextmanager
def errors_about(name: str) -> Iterator[None]:
    """Prefix the message of any error of this package with the name of what it concerns.

    Parameters
    ----------
    name : str
        Name of a cell or an observable.
    """
    try:
        yield
    except LammpsImplicitError as error:
        raise type(error)(f"{name}: {error}") from None
