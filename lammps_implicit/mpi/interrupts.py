"""Signals that end the command."""

from __future__ import annotations

import os
import signal
import threading

from lammps_implicit.files import remove_temporaries
from lammps_implicit.mpi.ranks import rank


def stop_on_signals() -> None:
    """End at once, leaving nothing half-written, when told to by SIGTERM or SIGINT.

    Python's handlers run once LAMMPS returns, which may take hours, but their wake-up byte is written at once: a thread
    waits for it.
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
            os.write(2, f"error: stopped by {received.name}; what it was writing is left as it was\n".encode())
        os._exit(128 + received)

    threading.Thread(target=wait, daemon=True).start()
