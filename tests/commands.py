"""The command line of the package for tests: started from a server that has everything imported already."""

import contextlib
import sys

from fork_server import serving
from mpi4py import MPI

_SERVERS = contextlib.ExitStack()
_STARTED = []


def program():
    """Words that start a command of the package, to which its arguments are to be appended.

    The first call starts a server for all tests of this process, which ends with `stop`. Tests on several ranks start
    commands as users do: what a rank starts is no matter for a server beside it.
    """
    if MPI.COMM_WORLD.size > 1:
        return [sys.executable, "-m", "lammps_implicit"]
    if not _STARTED:
        _STARTED.extend(_SERVERS.enter_context(serving()).split())
    return list(_STARTED)


def stop():
    """End the server, if there is one."""
    _STARTED.clear()
    _SERVERS.close()
