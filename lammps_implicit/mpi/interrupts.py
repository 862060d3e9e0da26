"""Termination of a command by SIGTERM or SIGINT."""

from __future__ import annotations

import os
import signal
import threading

from lammps_implicit.files import remove_temporaries
from lammps_implicit.mpi.ranks import rank


def stop_on_signals() -> None:
    """End the process at once on SIGTERM or SIGINT, with temporary files removed and output files untouched.

    Python runs its signal handlers only after LAMMPS returns, which may take hours, but writes to the wake-up file
    descriptor immediately: a thread waits for that.
    """
    waiting, waking = os.pipe()
    os.set_blocking(waking, False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(waking)

    def wait() -> None:
        received = signal.Signals(os.read(waiting, 1)[0])
        remove_temporaries()
        if rank() == 0:
            os.write(2, f"error: stopped by {received.name}; no output file is left half-written\n".encode())
        os._exit(128 + received)

    threading.Thread(target=wait, daemon=True).start()
