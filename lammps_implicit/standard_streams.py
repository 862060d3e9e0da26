"""Standard streams that are closed are opened on nothing, when this is imported.

Otherwise the next file to be opened, perhaps a result, takes the number of the closed stream, and what LAMMPS or MPI
print goes into it.
"""

from __future__ import annotations

import os
import sys

_STANDARD = (0, 1, 2)


def open_standard_streams() -> None:
    """Open those of standard input, output and error that are closed on ``/dev/null``."""
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    # Python has none where they were closed when it began.
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


open_standard_streams()
