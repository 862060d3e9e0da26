"""Printing from commands, on rank 0 only."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO, cast

from lammps_implicit.errors import OutputError
from lammps_implicit.mpi.ranks import rank

_failures: list[OSError] = []


class _StandardOutput:
    """A stream that keeps its first error for `require_printed`; what is printed after that is discarded.

    Commands go on, as their results are in files.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lead_nowhere(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lead_nowhere(error)

    def _lead_nowhere(self, error: OSError) -> None:
        _failures.append(error)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())  # for what is still in buffers, and for libraries
        os.close(nowhere)


def guard_standard_output() -> None:
    """Have errors of printing kept for `require_printed`, and characters that the locale lacks replaced."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout = cast(TextIO, _StandardOutput(sys.stdout))


def say(line: str) -> None:
    """Print a line, on rank 0 only."""
    if rank() == 0:
        print(_encodable(printable(line), sys.stdout.encoding), flush=True)


def printable(text: str) -> str:
    """Return a text with the control characters that it holds, perhaps from a name in a file, written out."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def require_printed() -> None:
    """Check that everything has been printed; a reader that has left, such as ``head``, has seen enough.

    Raises
    ------
    OutputError
    """
    sys.stdout.flush()
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
    """The line with Å as A where an encoding lacks it."""
    try:
        line.encode(encoding or "ascii")
    except UnicodeEncodeError:
        return line.replace("Å", "A")
    return line
