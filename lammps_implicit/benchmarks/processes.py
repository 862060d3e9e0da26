"""Measurements in processes of their own: clean memory figures, and as many ranks as asked for."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lammps_implicit.benchmarks.machine import cores
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.mpi.interrupts import stop_on_signals

Record = dict[str, Any]
"""One measurement: plain numbers and strings by name."""

# What an MPI launcher tells the processes it starts: ranks of our own must not take themselves for those.
_OF_A_LAUNCHER = ("PMI_", "PMIX_", "MPI_LOCAL", "HYDI_", "OMPI_COMM_WORLD_", "OMPI_MCA_ess", "OMPI_MCA_orte", "PRTE_")


def records_of(module: str, arguments: Sequence[str], ranks: int = 1) -> Iterator[Record]:
    """Run a module of this package by itself and yield the JSON objects it prints, each as it comes.

    Raises
    ------
    LammpsImplicitError
        If the process fails, with the last line it wrote to its error stream.
    """
    command = [sys.executable, "-m", f"lammps_implicit.benchmarks.{module}", *arguments]
    if ranks > 1:
        # mpi4py's own runner ends all ranks when one fails.
        command = [_mpirun(), "-n", str(ranks), sys.executable, "-m", "mpi4py", *command[1:]]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            command,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=_follow_the_parent,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
            status = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            process.stdout.close()
        errors.seek(0)
        if status:
            raise LammpsImplicitError(f"the measurement '{module} {' '.join(arguments)}' failed: {_reason(errors)}")


def work(task: Callable[[], None]) -> None:
    """Do what a measuring process is for: one message for an error, nothing left behind by a signal."""
    stop_on_signals()
    try:
        task()
    except LammpsImplicitError as error:
        sys.exit(f"error: {error}")


def speak(record: Record, root: bool = True) -> None:
    """Print a record for `records_of` to read."""
    if root:
        print(json.dumps(record), flush=True)


def why_not_ranks(ranks: int) -> str:
    """Return what keeps this machine from measuring on so many ranks; empty if nothing does."""
    if importlib.util.find_spec("petsc4py") is None:
        return "petsc4py is not installed"
    if _find_mpirun() is None:
        return "there is no mpirun"
    if cores() < ranks:
        return f"there is {cores()} processor core" if cores() == 1 else f"there are {cores()} processor cores"
    return ""


_LIBC = ctypes.CDLL(None)
_SIGNAL_AT_PARENT_DEATH = 1


def _follow_the_parent() -> None:
    """In a process just started: let signals through that the command line holds back, and end with the parent."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _LIBC.prctl(_SIGNAL_AT_PARENT_DEATH, signal.SIGTERM)


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OF_A_LAUNCHER)}
    # One core a rank, for all methods alike.
    return environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _find_mpirun() -> str | None:
    return shutil.which("mpirun", path=str(Path(sys.executable).parent)) or shutil.which("mpirun")


def _mpirun() -> str:
    found = _find_mpirun()
    if found is None:
        raise LammpsImplicitError("no mpirun found beside Python or on the PATH")
    return found


def _reason(errors: Any) -> str:
    lines = [line.strip() for line in errors if line.strip()]
    for line in lines:
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    # A traceback ends with the exception, but mpirun may add lines of its own.
    raised = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    return (raised or lines or ["no message"])[-1]
