"""Measurements in separate processes, for clean memory figures and any number of ranks."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lammps_implicit.benchmarks.machine import cores
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.interrupts import end_with_parent, stop_on_signals

Record = dict[str, Any]
"""One measurement: numbers and strings by name, as kept in JSON."""

# Variables by which an MPI launcher identifies its processes: ours must not inherit them.
_OF_A_LAUNCHER = ("PMI_", "PMIX_", "MPI_LOCAL", "HYDI_", "OMPI_COMM_WORLD_", "OMPI_MCA_ess", "OMPI_MCA_orte", "PRTE_")


def records_of(module: str, arguments: Sequence[str], ranks: int = 1, room: str = "benchmarks") -> Iterator[Record]:
    """Run a module in a separate process, and yield each record it prints, as soon as it does.

    Parameters
    ----------
    module : str
        Name of a file, without its ending.
    arguments : sequence of str
        Command-line arguments of the module.
    ranks : int
        Number of MPI ranks.
    room : str
        Folder of the file.

    Raises
    ------
    LammpsImplicitError
        If the process fails; the message quotes its error.
    """
    command = [sys.executable, "-m", f"lammps_implicit.{room}.{module}", *arguments]
    if ranks > 1:
        # mpi4py's runner ends all ranks if one fails.
        command = [mpirun(), "-n", str(ranks), sys.executable, "-m", "mpi4py", *command[1:]]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            command,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=end_with_parent,
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
    """Run the task of a measuring process; errors become one message, signals leave no files behind."""
    stop_on_signals()
    try:
        task()
    except LammpsImplicitError as error:
        sys.exit(f"error: {error}")


def speak(record: Record, root: bool = True) -> None:
    """Print a record for `records_of` to read, if this is the root rank."""
    if root:
        print(json.dumps(record), flush=True)


def why_not_ranks(ranks: int) -> str:
    """Reason why this machine cannot measure on so many ranks; empty if it can."""
    if importlib.util.find_spec("petsc4py") is None:
        return "petsc4py is not installed"
    if _find_mpirun() is None:
        return "mpirun was not found"
    if cores() < ranks:
        return f"there is {cores()} processor core" if cores() == 1 else f"there are {cores()} processor cores"
    return ""


def environment() -> dict[str, str]:
    """Environment of a measuring process: one core per rank, and no trace of the launcher that started this one."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OF_A_LAUNCHER)}
    return environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _find_mpirun() -> str | None:
    return shutil.which("mpirun", path=str(Path(sys.executable).parent)) or shutil.which("mpirun")


def mpirun() -> str:
    """Path of mpirun.

    Raises
    ------
    LammpsImplicitError
        If there is none.
    """
    found = _find_mpirun()
    if found is None:
        raise LammpsImplicitError("mpirun was found neither beside Python nor on the PATH: install an MPI library")
    return found


def _reason(errors: Iterable[str]) -> str:
    """The most telling line of an error stream."""
    lines = [line.strip() for line in errors if line.strip()]
    for line in lines:
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    # A traceback ends with the exception, but mpirun may add lines after it.
    raised = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    return (raised or lines or ["no message"])[-1]
