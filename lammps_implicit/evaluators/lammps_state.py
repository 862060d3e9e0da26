"""What a running LAMMPS holds, read from it: cell, energy, pressure, charges."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.errors import DeckError, LammpsImplicitError
from lammps_implicit.evaluators.charges import COMPUTE, Equilibration
from lammps_implicit.evaluators.failures import lammps_message
from lammps_implicit.evaluators.interface import Evaluator

STYLE_GLOBAL, STYLE_ATOM = 0, 1
TYPE_SCALAR, TYPE_VECTOR, TYPE_ARRAY, SIZE_COLUMNS = 0, 1, 2, 5
"""Arguments of LAMMPS' ``extract_compute`` (``LMP_STYLE_*``, ``LMP_TYPE_*``, ``LMP_SIZE_COLS``)."""

VIRIAL = "li_virial"
"""ID of our compute of the pressure without kinetic part."""


_NOT_TO_BE_CLOSED = ("grid3d points", "in eam potential file", "Not a valid integer number", "Cannot use NEB")
"""In the messages of errors, of meshes, of funcfl files that are too short or have other headers, and of ``neb``, after
which LAMMPS crashes when it is closed (observed)."""


@dataclass(kw_only=True)
class LammpsState(Evaluator):
    """A LAMMPS instance that has run a deck: what it has, no command to it.

    Attributes
    ----------
    lmp : lammps.lammps
    scratch : Path
        Temporary folder for files that LAMMPS reads; removed by `LammpsSession.close`.
    equilibration : Equilibration
        How charges are equilibrated, if they are.
    """

    lmp: Any
    scratch: Path
    equilibration: Equilibration = field(default_factory=Equilibration)
    _broken: bool = False

    @property
    def n_atoms(self) -> int:
        """Number of atoms on all ranks."""
        return int(self.lmp.get_natoms())

    @property
    def n_types(self) -> int:
        """Number of atom types."""
        return int(self.lmp.extract_setting("ntypes"))

    @property
    def energy(self) -> float:
        """Potential energy of all atoms at the last evaluated positions, eV in ``units metal``.

        With the cost of charging atoms where charges are equilibrated: see `charges`.
        """
        with self._reporting("LAMMPS has no energy"):
            return float(self.lmp.get_thermo("pe")) + self._charging

    @property
    def pressure(self) -> FloatArray:
        """Pressure tensor P at the last evaluated positions, without kinetic part, (3, 3), eV/Å³ in ``units metal``.

        Defined by dU = -V Σ_ab P_ab ε_ab for a homogeneous strain ε of cell and atoms.
        """
        with self._reporting("LAMMPS has no pressure"):
            vector = self.lmp.numpy.extract_compute(VIRIAL, STYLE_GLOBAL, TYPE_VECTOR)
        xx, yy, zz, xy, xz, yz = np.array(vector, float) / self.lmp.extract_global("nktv2p")
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])

    @property
    def pair_style(self) -> str:
        """The deck's pair style with its arguments; LAMMPS' name of it where the deck declares none; or ``none``."""
        return " ".join(self.deck.pair_style) or str(self.lmp.extract_global("pair_style") or "none")

    @property
    def triclinic(self) -> bool:
        """Whether LAMMPS treats the cell as triclinic, so that it may be tilted."""
        return bool(self.lmp.extract_setting("triclinic"))

    @property
    def periodic(self) -> tuple[bool, bool, bool]:
        """Which directions are periodic."""
        return tuple(bool(flag) for flag in self.lmp.extract_box()[5])  # type: ignore[return-value]

    @property
    def cell(self) -> FloatArray:
        """Cell vectors as rows, (3, 3), Å."""
        low, high, xy, yz, xz, *_ = self.lmp.extract_box()
        lengths = np.subtract(high, low)
        return np.array([[lengths[0], 0, 0], [xy, lengths[1], 0], [xz, yz, lengths[2]]], dtype=float)

    @property
    def origin(self) -> FloatArray:
        """Lower corner of the cell, (3,), Å."""
        return np.array(self.lmp.extract_box()[0], dtype=float)

    @property
    def version(self) -> int:
        """LAMMPS version as a date, for example 20250722."""
        return int(self.lmp.version())

    @property
    def versions(self) -> dict[str, Any]:
        """The version of LAMMPS, as ``lammps_version``."""
        return {"lammps_version": self.version}

    @property
    def packages(self) -> tuple[str, ...]:
        """Names of the packages LAMMPS was built with."""
        return tuple(self.lmp.installed_packages)

    def masses(self) -> FloatArray:
        """Return the mass of each type, (n_types,), in the deck's units; 1 where masses are set per atom."""
        array = self.lmp.numpy.extract_atom("mass")
        masses = np.ones(self.n_types) if array is None else np.array(array, float).reshape(-1)[1 : self.n_types + 1]
        return np.where(masses > 0, masses, 1.0)  # hybrid styles leave them at zero

    def atom_masses(self) -> FloatArray:
        """Return the mass of each of this rank's atoms, (n,), in the deck's units; zero where there is none."""
        n = self.lmp.extract_setting("nlocal")
        if self.lmp.extract_setting("rmass_flag"):
            return self._owned("rmass", n).astype(float)
        by_type = self.lmp.numpy.extract_atom("mass")
        if by_type is None:
            return np.zeros(n)
        return np.array(by_type, float).reshape(-1)[self._owned("type", n).astype(np.int64)]

    @property
    def masses_of_atoms(self) -> bool:
        """Whether each atom has a mass of its own, instead of each type."""
        return bool(self.lmp.extract_setting("rmass_flag"))

    def charges(self) -> tuple[FloatArray, IntArray]:
        """Return charges and types of this rank's atoms, (n,) each; zeros if the deck's atoms have no charges."""
        n = self.lmp.extract_setting("nlocal")
        types = self._owned("type", n).astype(np.int64)
        has = n and self.lmp.extract_setting("q_flag")
        return (self._owned("q", n).astype(float) if has else np.zeros(n)), types

    def in_group(self, group: str) -> BoolArray:
        """Return which of this rank's atoms are in a group, (n,).

        Raises
        ------
        DeckError
            If the deck has no such group.
        """
        groups = self.lmp.available_ids("group")
        if group not in groups:
            raise DeckError(f"the deck has no group '{group}': it has {', '.join(filter(None, groups))}")
        return self._members(group, self.lmp.extract_setting("nlocal"))

    def dielectric(self) -> float:
        """Return the dielectric constant by which LAMMPS divides Coulomb energies."""
        return float(self.lmp.extract_global("dielectric"))

    def fix_energy(self, id: str) -> float:
        """Return the energy of a fix at the last evaluated positions; zero for a style that tells none."""
        try:
            return float(self.lmp.extract_fix(id, STYLE_GLOBAL, TYPE_SCALAR))
        except (ValueError, TypeError):  # a null pointer
            return 0.0

    # -- inside ------------------------------------------------------------------------------------------------------

    @property
    def _charging(self) -> float:
        """What LAMMPS leaves out of the energy where charges are equilibrated."""
        known = self.equilibration
        if known.reaxff:
            return known.of_energies(np.array(self.lmp.numpy.extract_compute(COMPUTE, STYLE_GLOBAL, TYPE_VECTOR)))
        if not len(known.costs):
            return 0.0
        n = self.lmp.extract_setting("nlocal")
        charges, types, members = self._owned("q", n), self._owned("type", n), self._members(known.group, n)
        constant = float(self.lmp.extract_global("qqrd2e"))
        return self.sum(known.of_charges(charges[members], types[members], constant))

    def _owned(self, name: str, n: int) -> NDArray[Any]:
        array = self.lmp.numpy.extract_atom(name)
        if n == 0 or array is None:
            return np.empty((0, 3)) if name in ("x", "f") else np.empty(0, np.int32)
        return array[:n].reshape(n, 3) if name in ("x", "f") else array[:n].reshape(n)

    def _members(self, group: str, count: int) -> BoolArray:
        """Mask of a group's members, (count,), among the first `count` owned and ghost atoms."""
        bit = 1 << self.lmp.available_ids("group").index(group)
        return np.asarray((self._owned("mask", count).astype(np.int64) & bit) != 0)

    @contextlib.contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        """Turn an exception raised by LAMMPS into a `DeckError` with one message."""
        try:
            yield
        except LammpsImplicitError:
            raise
        except Exception as error:  # LAMMPS raises bare Exception and its own subclasses of it
            self._broken = self._broken or any(words in str(error) for words in _NOT_TO_BE_CLOSED)
            if "Abort" in type(error).__name__ and self.comm.size > 1:
                # One rank failed alone, and the others wait for it inside LAMMPS: all must be ended.
                print(f"error: {what}: {lammps_message(str(error))}", file=sys.stderr, flush=True)
                self.comm.Abort(1)
            raise DeckError(f"{what}: {lammps_message(str(error))}") from None
