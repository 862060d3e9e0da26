"""Printing from commands, on rank 0 only."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from lammps_implicit.errors import OutputError
from lammps_implicit.mpi.ranks import rank

_failures: list[OSError] = []


def say(line: str) -> None:
    """Print a line, on rank 0 only.

    The command goes on if that fails, as its results are in files: see `require_printed`.
    """
    if rank() or _failures or sys.stdout is None:
        return
    try:
        print(_encodable(printable(line), sys.stdout.encoding), flush=True)
    except OSError as error:
        _failures.append(error)
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - nothing else may fail at it, either


def printable(text: str) -> str:
    """Return a text with the control characters that it holds, perhaps from a name in a file, written out."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def require_printed() -> None:
    """Check that what `say` was given has been printed; a reader that has left, such as ``head``, has seen enough.

    Raises
    ------
    OutputError
    """
    if _failures and not isinstance(_failures[0], BrokenPipeError):
        raise OutputError(
            f"cannot print to standard output: {_failures[0].strerror}; the files that the command writes are whole"
        )


def columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as aligned columns, on rank 0 only.

    Parameters
    ----------
    rows : sequence of sequences of str
        All of the same length.
    """
    if rows:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            say("  " + "  ".join(f"{word:<{width}}" for word, width in zip(row, widths, strict=True)).rstrip())


def _encodable(line: str, encoding: str | None) -> str:
    """The line as it can be printed in an encoding: the unit Å is not part of all."""
    encoding = encoding or "ascii"
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return line.replace("Å", "A").encode(encoding, "backslashreplace").decode(encoding)
    return line
