"""LAMMPS as an evaluator: positions in, forces and descriptors out.

Per-atom arrays hold the atoms this rank owns, in LAMMPS' own order, which stays fixed from `Engine.take_over` on:
evaluations reuse the neighbour lists and never migrate an atom. Atoms are identified by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import DeckError, LammpsImplicitError
from lammps_implicit.evaluators.interface import Neighbourhood, Reference
from lammps_implicit.evaluators.lammps_session import (
    SIZE_COLUMNS,
    STYLE_ATOM,
    TYPE_ARRAY,
    LammpsSession,
)
from lammps_implicit.evaluators.restoring import restoring
from lammps_implicit.mpi.ownership import fetch

PER_ATOM = ("id", "type", "mask", "image", "x", "v", "q", "rmass", "radius")
"""Data of each atom that can trade places with another's."""

UNORDERED = ("molecule_flag", "mu_flag", "ellipsoid_flag", "omega_flag", "torque_flag", "angmom_flag", "peri_flag")
"""Flags of atom styles that have more."""


@dataclass(kw_only=True)
class Engine(LammpsSession):
    """One LAMMPS instance and the state it was taken over at.

    Create it with `start`, run a deck with `run_deck`, then `take_over`.

    Attributes
    ----------
    computed : dict of str to int
        How often each per-atom compute has been evaluated: arrays from an earlier time are no longer what they were.
    installed : tuple of sequences of str
        Commands that bring back the potential in force, the preferred ones first: what `reissue` restores it with after
        an error. A potential sets them when it is defined; `reissue` updates them.
    installs : int
        Number of times that the potential was changed.
    """

    computed: dict[str, int] = field(default_factory=dict)
    installed: tuple[Sequence[str], ...] = ()
    installs: int = 0
    _images: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.int32))
    _cell: FloatArray = field(default_factory=lambda: np.eye(3))
    _origin: FloatArray = field(default_factory=lambda: np.zeros(3))
    _displaced: bool = False
    _strained: bool = False

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
            array = self._timed(self.lmp.numpy.extract_compute, id, STYLE_ATOM, TYPE_ARRAY)
        self.evaluations.descriptors += 1
        self.computed[id] = self.computed.get(id, 0) + 1
        held = self._held_ids() if self._strained else self.ids
        if not len(held):
            array = np.empty((0, self.lmp.extract_compute(id, STYLE_ATOM, SIZE_COLUMNS)))
        values = np.asarray(array, dtype=float)
        return self._reordered(held, values[: len(held)], self.ids) if self._strained else values

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
        if self._has_atom_data or any(self.lmp.extract_setting(flag) for flag in UNORDERED):
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
        for name in PER_ATOM:
            array = self.lmp.numpy.extract_atom(name)
            if n and array is not None:
                array[:n] = array[:n][order]
        return self.settle()
