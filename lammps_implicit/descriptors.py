"""Standard streams that are closed are opened on nothing, when this is imported.

Otherwise the next file to be opened, perhaps a result, takes the number of the closed stream, and what LAMMPS or MPI
print goes into it.
"""

from __future__ import annotations

import os

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


open_standard_streams()
