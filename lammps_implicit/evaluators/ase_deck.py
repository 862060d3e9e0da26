"""Temporary input decks for ASE structures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mpi4py import MPI

from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.files import remove_temporary, temporary_folder
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.mpi.shutdown import all_arrive
from lammps_implicit.structures import from_ase, frozen_ids


@contextmanager
def temporary_deck(
    atoms: Any, potential: str | os.PathLike[str] | Sequence[str], comm: MPI.Comm | None = None
) -> Iterator[Path]:
    """Write an input deck that relaxes an ASE structure at fixed cell, and remove it when the context ends.

    Collective: all ranks of the communicator enter and leave together.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure, taken from rank 0 of the communicator. Atoms held by ``FixAtoms`` are frozen.
    potential : path or sequence of str
        LAMMPS include file with the potential's commands, or its lines.
    comm : MPI.Comm, optional
        Default: ``MPI.COMM_WORLD``.

    Yields
    ------
    Path
        The deck, the same on all ranks.

    Raises
    ------
    DeckError
        If the cell is not in LAMMPS' orientation or a constraint is not ``FixAtoms``.
    PotentialError
        If the include file is not found, or holds no commands.
    """
    ranks = MPI.COMM_WORLD if comm is None else comm
    folder = on_root(ranks, lambda: _written(atoms, potential))
    try:
        yield folder / "in.ase"
    except BaseException:
        all_arrive(ranks)  # does not wait forever if this rank failed alone, and lets later ranks see that it was here
        raise
    else:
        ranks.Ibarrier().Wait()  # all have left the folder
    finally:
        if ranks.rank == 0:
            remove_temporary(folder)


def _written(atoms: Any, potential: str | os.PathLike[str] | Sequence[str]) -> Path:
    """Write a deck into a new temporary folder."""
    folder = temporary_folder()
    try:
        _write_deck(folder, atoms, potential)
    except BaseException:
        remove_temporary(folder)
        raise
    return folder


def _write_deck(folder: Path, atoms: Any, potential: str | os.PathLike[str] | Sequence[str]) -> None:
    structure, _ = from_ase(atoms)
    with open(folder / "atoms.data", "w", encoding="utf-8") as file:
        structure.write_data(file, "from ASE")
    boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
    lines = ["units metal", "atom_style atomic", f"boundary {boundary}", "box tilt large", "read_data atoms.data"]
    lines += _potential_lines(potential)
    frozen = frozen_ids(atoms)
    if len(frozen):
        for start in range(0, len(frozen), 100):  # LAMMPS limits the length of a line
            lines.append("group frozen id " + " ".join(map(str, frozen[start : start + 100])))
        lines.append("fix frozen frozen setforce 0 0 0")
    lines.append("minimize 0 1e-8 10000 100000")
    (folder / "in.ase").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _commands(path: Path) -> list[str]:
    """Lines of an include file.

    Raises
    ------
    PotentialError
        If it holds no pair commands.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    words = [line.split() for line in lines]
    if any(first[:1] in (["pair_style"], ["include"]) for first in words):
        return lines
    remedy = "give a file with pair_style and pair_coeff lines, or these lines as a list"
    if path.suffix in (".snapcoeff", ".snapparam"):
        stem, first = path.with_suffix(""), next((word[0] for word in words if len(word) == 3), "El")
        remedy += f": ['pair_style snap', 'pair_coeff * * {stem}.snapcoeff {stem}.snapparam {first}']"
    raise PotentialError(f"{path} holds no LAMMPS commands, but numbers or text: {remedy}")


def _potential_lines(potential: str | os.PathLike[str] | Sequence[str]) -> list[str]:
    if not isinstance(potential, (str, os.PathLike)):
        return list(potential)
    path = Path(potential)
    for candidate in [path.absolute(), *(folder / path for folder in potential_folders())]:
        if candidate.is_file():
            return _commands(candidate)
    raise PotentialError(
        f"potential include file {potential} does not exist, neither here nor in the folders of LAMMPS_POTENTIALS: "
        "give its path"
    )
