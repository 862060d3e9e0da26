"""Termination of a program by signals, from its first line on.

Imported before everything else, and imports the standard library only, so that Ctrl-C is answered with one line while
libraries are still being loaded: imported by a program of this package, it stops on signals from then on.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""Signals that end a command: of users, terminals that close, and schedulers whose time is over."""

_RANKS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
"""Environment variables in which launchers number their processes."""

_PETSC_OPTION = "-no_signal_handler"

_PATIENCE = 1.0
"""Seconds that other ranks wait for rank 0 to end: launchers kill it as soon as another one has ended."""

_SIGNAL_AT_PARENT_DEATH = 1
"""PR_SET_PDEATHSIG of ``prctl(2)``."""

_tasks: list[Callable[[], None]] = []


def before_ending(task: Callable[[], None]) -> Callable[[], None]:
    """Have a task done before a signal ends the process, such as the removal of temporary files; return it."""
    _tasks.append(task)
    return task


def stop_on_signals() -> None:
    """End the process at once on a signal of `ENDING`, with temporary files removed and output files untouched.

    Python runs its signal handlers only after LAMMPS returns, which may take hours, but writes to the wake-up file
    descriptor immediately: a thread waits for that. Signals that the process was started to ignore, as ``nohup`` does,
    stay ignored.
    """
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    _keep_libraries_off()
    _start_waiting()


def end_with_parent() -> None:
    """Have this process ended by SIGTERM when its parent ends; for ``preexec_fn`` of a new process."""
    import ctypes  # not at the start, where every millisecond is one without an answer to signals

    ctypes.CDLL(None).prctl(_SIGNAL_AT_PARENT_DEATH, signal.SIGTERM)


def _keep_libraries_off() -> None:
    """Have libraries leave signals alone: UCX, below MPI, lets SIGHUP start a debugger; PETSc aborts at length."""
    os.environ.setdefault("UCX_DEBUG_SIGNO", "0")
    options = os.environ.get("PETSC_OPTIONS", "")
    if _PETSC_OPTION not in options:
        os.environ["PETSC_OPTIONS"] = f"{_PETSC_OPTION} {options}".strip()


@functools.cache
def _start_waiting() -> None:
    """Start the thread that waits for signals, once."""
    waiting, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking)
    threading.Thread(target=_wait, args=(waiting,), daemon=True).start()


def _wait(waiting: int) -> None:
    """Wait for a signal that ends the process, and end it."""
    while (received := signal.Signals(os.read(waiting, 1)[0])) not in ENDING:
        pass
    for task in _tasks:
        task()
    if next((os.environ[name] for name in _RANKS if name in os.environ), "0") == "0":
        os.write(2, f"error: stopped by {received.name}; no output file is left half-written\n".encode())
    else:
        time.sleep(_PATIENCE)
    os._exit(128 + received)


def _is_our_program() -> bool:
    """Whether this process runs ``lammps-implicit`` or ``python -m lammps_implicit``, rather than somebody's script."""
    words = [*sys.orig_argv, ""]
    module = words[words.index("-m") + 1] if sys.argv[:1] == ["-m"] else ""
    return module.partition(".")[0] == __package__ or sys.argv[0].rpartition("/")[2] == "lammps-implicit"


def _not_loaded(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in one line why libraries cannot be loaded."""
    if isinstance(error, ImportError | MemoryError | OSError):
        while error.__cause__ is not None:
            error = error.__cause__
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        remedy = "is memory limited ('ulimit -v'), is the disk full, or was the installation interrupted?"
        os.write(2, f"error: a library cannot be loaded ({reason}): {remedy}\n".encode())
    else:
        sys.__excepthook__(kind, error, trace)


if _is_our_program():
    stop_on_signals()
    sys.excepthook = _not_loaded
