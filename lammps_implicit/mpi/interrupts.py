"""Termination of a command by signals."""

from __future__ import annotations

import os
import signal
import threading

from lammps_implicit.files import remove_temporaries
from lammps_implicit.mpi.ranks import rank

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""Signals that end a command: of users, terminals that close, and schedulers whose time is over."""


def stop_on_signals() -> None:
    """End the process at once on a signal of `ENDING`, with temporary files removed and output files untouched.

    Python runs its signal handlers only after LAMMPS returns, which may take hours, but writes to the wake-up file
    descriptor immediately: a thread waits for that. Signals that the process was started to ignore, as ``nohup`` does,
    stay ignored.
    """
    waiting, waking = os.pipe()
    os.set_blocking(waking, False)
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(waking)

    def wait() -> None:
        while (received := signal.Signals(os.read(waiting, 1)[0])) not in ENDING:
            pass
        remove_temporaries()
        if rank() == 0:
            os.write(2, f"error: stopped by {received.name}; no output file is left half-written\n".encode())
        os._exit(128 + received)

    threading.Thread(target=wait, daemon=True).start()
