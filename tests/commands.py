"""The command line of the package for tests: started from a server that has everything imported already."""

import contextlib
import sys

from fork_server import serving
from mpi4py import MPI

_SERVERS = contextlib.ExitStack()
_STARTED: dict[str | None, list[str]] = {}


def program(path=None):
    """Words that start a command of the package, to which its arguments are to be appended.

    The first call for a ``PYTHONPATH`` starts a server for all tests of this process, which ends with `stop`. Tests on
    several ranks start commands as users do: what a rank starts is no matter for a server beside it.
    """
    if MPI.COMM_WORLD.size > 1:
        return [sys.executable, "-m", "lammps_implicit"]
    if path not in _STARTED:
        _STARTED[path] = _SERVERS.enter_context(serving(path)).split()
    return list(_STARTED[path])


def stop():
    """End the servers, if there are any."""
    _STARTED.clear()
    _SERVERS.close()
