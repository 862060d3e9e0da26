"""What LAMMPS is doing, told while a deck runs for long."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

FIRST = 30.0
"""Seconds that a deck runs in silence before a line is printed; each later line waits twice as long as the last."""

LONGEST = 1800.0
"""Seconds between two lines at most."""

_TAIL = 2**20
"""Bytes at the end of LAMMPS' output in which its last command is looked for."""

_WIDTH = 120
"""Characters shown of a line of LAMMPS' output."""

# fmt: off
BUILT_IN = frozenset({
    "clear", "if", "include", "jump", "label", "log", "next", "partition", "plugin", "print", "python", "quit",
    "shell", "variable", "angle_coeff", "angle_style", "atom_modify", "atom_style", "bond_coeff", "bond_style",
    "comm_modify", "compute", "dihedral_coeff", "dihedral_style", "dump", "fix", "fix_modify", "group",
    "improper_coeff", "improper_style", "kspace_modify", "kspace_style", "lattice", "mass", "min_modify", "min_style",
    "neigh_modify", "neighbor", "pair_coeff", "pair_modify", "pair_style", "processors", "region", "restart",
    "run_style", "special_bonds", "suffix", "thermo", "thermo_modify", "thermo_style", "timestep", "uncompute",
    "undump", "unfix",
})
# fmt: on
"""Commands of LAMMPS' input reader itself, which are no command styles (LAMMPS documentation)."""

_OUTPUT = " CPU = "
"""In lines with which commands that have ended report their names."""


@contextlib.contextmanager
def told_while_running(deck: str, transcript: Path, commands: Collection[str], root: bool) -> Iterator[None]:
    """Print a line on standard error now and then, as long as LAMMPS runs a deck inside the context.

    Parameters
    ----------
    deck : str
        Name of the deck.
    transcript : Path
        LAMMPS' output, with the commands that it echoes.
    commands : collection of str
        Names of LAMMPS' commands.
    root : bool
        Whether this rank prints.
    """
    if not root:
        yield
        return
    ended = threading.Event()
    teller = threading.Thread(target=_tell, args=(deck, transcript, commands, ended), daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def _tell(deck: str, transcript: Path, commands: Collection[str], ended: threading.Event) -> None:
    start, interval = time.monotonic(), FIRST
    while not ended.wait(interval):
        passed = time.monotonic() - start
        print(
            f"{deck} has run for {passed:.3g} s: {doing(transcript, commands)}; Ctrl-C ends it",
            file=sys.stderr,
            flush=True,
        )
        interval = min(2 * interval, LONGEST)


def doing(transcript: Path, commands: Collection[str]) -> str:
    """Return the last command in LAMMPS' output and the last line of it, in words.

    Parameters
    ----------
    transcript, commands
        As for `told_while_running`.
    """
    # C keeps the last part of a file in memory until the file is flushed. All are: LAMMPS may close and reopen one of
    # its own at any moment, and C holds the list of open files locked meanwhile.
    ctypes.CDLL(None).fflush(None)
    try:
        with open(transcript, "rb") as file:
            file.seek(max(file.seek(0, 2) - _TAIL, 0))
            *whole, _ = file.read().decode(errors="replace").split("\n")  # the last line may be half-written
    except OSError:
        return "LAMMPS has written nothing"
    lines = [line.strip() for line in whole]
    lines = [line for line in lines if line]
    if not lines:
        return "LAMMPS has written nothing"
    last = lines[-1]
    issued = (line for line in reversed(lines) if line.split(maxsplit=1)[0] in commands and _OUTPUT not in line)
    command = next(issued, last)
    return f"LAMMPS is at '{_short(command)}'" + ("" if last == command else f", its last line is '{_short(last)}'")


def _short(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"
