"""LAMMPS' error messages on one line, and decks that end the process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mpi4py import MPI

from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.adapted_deck import QUIT, REPLICAS

_PATIENCE = 2.0
"""Seconds that other ranks give rank 0 to report what has ended all of them."""

_FORWARDING = 0.5
"""Seconds that they leave to the launcher, which ends all as soon as one has ended, to forward what rank 0 reports."""


def lammps_message(text: str) -> str:
    """Condense an error message of LAMMPS to one line, without source positions, markers and links to the manual."""
    lines = [re.sub(r"\(src/\S+?:\d+\)", "", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line.strip("^ ") and not line.startswith("For more information see")]
    lines = [re.sub(r"^ERROR( on proc \d+)?: ", "", line) for line in lines]
    return "; ".join(re.sub(r"^Last input line: (.*)", r"in the line '\1'", line) for line in lines)


@dataclass
class Ending:
    """How a deck ended.

    Attributes
    ----------
    quit : bool
        Whether it said ``quit``, rather than reach its end.
    """

    quit: bool = False


@contextlib.contextmanager
def until_quit(deck: str) -> Iterator[Ending]:
    """Context that a deck adapted by `adapted_deck` leaves where it says ``quit``, as if it ended there.

    Parameters
    ----------
    deck : str
        Name of the deck, for the message.

    Raises
    ------
    DeckError
        If it quits with a status that says that it failed, or has a command that needs several replicas.
    """
    ending = Ending()
    try:
        yield ending
    except Exception as error:
        several = re.search(rf"Unknown command: {REPLICAS}(\S+)", str(error))
        if several is not None:
            raise DeckError(
                f"the deck {deck} says '{several[1]}', which takes several replicas of the system, and here is one: "
                "remove that line, and begin from the structure that is to be relaxed (a saddle with --saddle)"
            ) from None
        found = re.search(rf"Unknown command: {QUIT}\b *([^\s(]*)", str(error))
        if found is None:
            raise
        if found[1] not in ("", "0"):
            raise DeckError(
                f"the deck {deck} ends with 'quit {found[1]}', by which it says that it failed: see the lines before it"
            ) from None
        ending.quit = True


@contextlib.contextmanager
def endings_reported(
    deck: str, library: Any, comm: MPI.Comm, scratch: Path, doing: Callable[[], str]
) -> Iterator[None]:
    """Exit with one error message if LAMMPS ends the process inside the context.

    It does so when a deck says ``quit``, and when a C++ exception that is not its own, such as that for a lack of
    memory, passes through its library: C++ then aborts the process.

    Parameters
    ----------
    deck : str
        Name of the deck, for the message.
    library : ctypes.CDLL
        LAMMPS' library.
    comm : MPI.Comm
        All of its ranks end.
    scratch : Path
        Temporary folder to remove.
    doing : callable
        Says what LAMMPS is doing; called on rank 0.
    """
    running, rank, ranks = [True], comm.rank, comm.size  # MPI may have ended when these are needed

    def end(reason: str, abort: bool = False) -> NoReturn:
        os.write(2, f"error: the deck {deck} {reason}\n".encode())
        shutil.rmtree(scratch, ignore_errors=True)
        if abort and ranks > 1:
            comm.Abort(1)
        os._exit(1)

    def quit_(_: object) -> None:
        if running and rank:  # all ranks quit
            time.sleep(_FORWARDING)
            os._exit(1)
        if running:
            end("ends LAMMPS with 'quit', before anything can be computed: remove that line")

    def terminate() -> None:
        if rank:
            time.sleep(_PATIENCE)  # rank 0 reports what ends all
        kind, where = _current_exception(library), f" ({doing()})" if rank == 0 else ""
        reason = f"makes LAMMPS fail with the C++ exception {kind}{where}: change that line"
        if "bad_alloc" in kind or "length_error" in kind:
            reason = f"asks for more memory than there is{where}: check the sizes and files that it names"
        end(reason, abort=True)

    # LAMMPS calls C's exit, which does not run Python's exit handlers. This registers one with C, under a handle by
    # which it is removed again: it must not be called after Python has been finalised.
    libc, handle = ctypes.CDLL(None), ctypes.create_string_buffer(1)
    on_exit, on_terminate = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(quit_), ctypes.CFUNCTYPE(None)(terminate)
    libc.__cxa_atexit(on_exit, None, handle)
    previous = _set_terminate(library, ctypes.cast(on_terminate, ctypes.c_void_p))
    try:
        yield
    finally:
        running.clear()
        libc.__cxa_finalize(handle)
        _set_terminate(library, previous)


def _set_terminate(library: Any, handler: ctypes.c_void_p | int | None) -> int | None:
    """C++'s ``std::set_terminate``, of the C++ library that LAMMPS uses; returns the handler before."""
    try:
        function = library._ZSt13set_terminatePFvvE
    except AttributeError:  # of another compiler
        return None
    function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    found = function(handler)
    return None if found is None else int(found)


def _current_exception(library: Any) -> str:
    """Name of the class of the C++ exception that is being handled, as its compiler writes it: ``St9bad_alloc``."""
    try:
        function = library.__getattr__("__cxa_current_exception_type")
    except AttributeError:
        return "unknown"
    function.restype = ctypes.c_void_p
    type_info = function()
    # The Itanium C++ ABI: std::type_info is the address of its virtual table, then that of its name.
    name = ctypes.c_char_p.from_address(type_info + ctypes.sizeof(ctypes.c_void_p)).value if type_info else None
    return (name or b"unknown").decode(errors="replace")
