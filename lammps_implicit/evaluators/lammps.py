"""LAMMPS as an evaluator: positions in, forces and descriptors out.

Per-atom arrays hold the atoms this rank owns, in LAMMPS' own order. Evaluations reuse the neighbour lists and never
migrate atoms; only the methods whose documentation says so may change owners or order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.errors import DeckError, LammpsImplicitError
from lammps_implicit.evaluators.deck import BONDED, writing_commands
from lammps_implicit.evaluators.interface import Neighbourhood, Reference
from lammps_implicit.evaluators.lammps_session import LammpsSession
from lammps_implicit.evaluators.lammps_state import SIZE_COLUMNS, STYLE_ATOM, TYPE_ARRAY
from lammps_implicit.evaluators.orientations import require_no_torque
from lammps_implicit.evaluators.restoring import or_void, restoring
from lammps_implicit.mpi.ownership import fetch

_PER_ATOM = ("id", "type", "mask", "image", "x", "v", "q", "rmass", "radius")
"""Per-atom data that `Engine` can permute to restore the order of atoms."""

_UNORDERED = ("molecule_flag", "mu_flag", "ellipsoid_flag", "omega_flag", "torque_flag", "angmom_flag", "peri_flag")
"""Settings that are true for atom styles with further per-atom data, which it cannot permute."""


@dataclass(kw_only=True)
class Engine(LammpsSession):
    """A LAMMPS instance with a reference around which it is evaluated.

    Create it with `start`, run a deck with `run_deck`, then call `take_over` and `settle`.

    Attributes
    ----------
    computed : dict of str to int
        Number of evaluations of each per-atom compute, by ID: arrays of earlier evaluations have been overwritten.
    installed : tuple of sequences of str
        Alternative lists of commands that set up the potential in force, in order of preference; `reissue` uses them to
        restore it after an error. Set by the potential when it is defined, updated by `reissue`.
    installs : int
        Number of times the potential has been changed.
    """

    computed: dict[str, int] = field(default_factory=dict)
    installed: tuple[Sequence[str], ...] = ()
    installs: int = 0
    _images: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.int32))
    _cell: FloatArray = field(default_factory=lambda: np.eye(3))
    _origin: FloatArray = field(default_factory=lambda: np.zeros(3))
    _displaced: bool = False
    _strained: bool = False
    _lists_elsewhere: bool = False

    # -- evaluations -------------------------------------------------------------------------------------------------

    def settle(self) -> FloatArray:
        """Build neighbour lists at the reference, and return the forces there, (n, 3).

        If LAMMPS itself has moved the atoms (a deck, a minimiser, a change of the cell), their new positions become the
        reference. One force evaluation. Atoms are wrapped into the cell and may change owner or order, so that per-atom
        arrays obtained earlier become invalid.

        Raises
        ------
        DeckError
            If LAMMPS stops, or frozen atoms are acted on by a fix defined after the one that freezes them.
        LammpsImplicitError
            If the evaluator is void.
        """
        self.require_valid()
        if self._displaced:
            self._owned("x", len(self.ids))[:] = self.positions
        self._displaced = True  # until the run has succeeded
        try:
            self._timed(self.command, "run 0 post no")
        except BaseException:
            self._take_order()
            self._listed = np.full_like(self.positions, np.inf)  # where lists were built is not known
            raise
        self.evaluations.forces += 1
        n = self.lmp.extract_setting("nlocal")
        self.ids = self._owned("id", n).astype(np.int64)
        self.types = self._owned("type", n).astype(np.int64)
        self.positions = self._owned("x", n).copy()
        self._images = self._owned("image", n).copy()
        self._cell, self._origin = self.cell, self.origin
        self._listed = self.positions
        self._take_constraints(n)
        self._displaced = self._strained = self._lists_elsewhere = False
        forces = self._owned("f", n).copy()
        if self.lmp.extract_setting("torque_flag"):
            require_no_torque(self.max_abs(self.lmp.numpy.extract_atom("torque")[:n]), self.pair_style)
        if self.max_abs(forces[~self.free]) > 0 and self.deck.dimension == 3:
            raise DeckError(
                "a fix exerts forces on atoms frozen by an earlier fix, so that they would move: define "
                "'fix setforce' last"
            )
        constrained = self.constrain(forces)
        if self.together_counts and self.max_abs(constrained - forces * self.free) > 1e-12 * self.max_abs(forces):
            raise DeckError(
                "a fix exerts forces on atoms of an earlier 'fix aveforce', so that they would not move together: "
                "define 'fix aveforce' last"
            )
        return constrained

    def reissue(self, lines: Sequence[str], complete: Sequence[str] = ()) -> FloatArray:
        """Issue commands that change the potential, and return the forces at the reference.

        One force evaluation. LAMMPS initialises the potential again and rebuilds its neighbour lists; the order of
        atoms is unchanged, as they are at the reference. After an error the previous potential is restored.

        Parameters
        ----------
        lines : sequence of str
            LAMMPS commands.
        complete : sequence of str, optional
            Commands that set up the same potential from scratch, in case LAMMPS does not accept `lines` a second time.

        Returns
        -------
        (n, 3) float array
            eV/Å.

        Raises
        ------
        DeckError
            If LAMMPS refuses the commands or stops.
        LammpsImplicitError
            If the evaluator is void, or becomes void because the previous potential cannot be restored.
        """
        self.require_valid()
        before = self.reference()
        with restoring(self, lambda: self._restore_potential(before), "the potential", after_success=False):
            self._owned("x", len(self.ids))[:] = self.positions
            for line in (*lines, *self.equilibration.commands):
                self.command(line)
            forces = self.settle()
            if not self.order_unchanged(before.ids):
                raise LammpsImplicitError(
                    "LAMMPS reordered its atoms while a potential was installed at fixed positions, so that "
                    "per-atom results would be wrong: run on one rank, or report this deck"
                )
        self.installed = (tuple(lines), tuple(complete)) if complete else (tuple(lines),)
        self.installs += 1
        return forces

    @property
    def parameter_stem(self) -> Path:
        """Path without suffix for parameter files of the next `reissue`; not that of the potential in force."""
        return self.scratch / f"theta{self.installs % 2}"

    def forces(self, displacement: FloatArray | None = None) -> FloatArray:
        """Return the forces at the reference plus a displacement; zero on frozen components. One force evaluation.

        Parameters
        ----------
        displacement : (n, 3) float array, optional
            Å, much smaller than the neighbour skin; default: none.

        Returns
        -------
        (n, 3) float array
            eV/Å in ``units metal``.

        Raises
        ------
        DeckError
            If LAMMPS stops, or a fix moves atoms.
        LammpsImplicitError
            If the evaluator is void.
        """
        self.require_valid()
        if self._lists_elsewhere and self.drift > self.skin / 4:
            self._return_to(self.reference())
        target = self.positions if displacement is None else self.positions + displacement
        n = len(self.ids)
        x = self._owned("x", n)
        self._displaced = True  # until the run has succeeded
        x[:] = target
        self._timed(self.command, "run 1 pre no post no")
        self.evaluations.forces += 1
        if self.max_abs(self._owned("x", n) - target) > self._rounding:
            raise DeckError(
                "a fix that the deck leaves defined moves atoms at every step: unfix it after the minimisation"
            )
        self._displaced = displacement is not None
        return self._owned("f", n) * self.free

    @property
    def unwrapped(self) -> FloatArray:
        """Positions, (n, 3), Å, in the periodic images of the deck's data file, which LAMMPS' flags keep."""
        bits = 10 if self._images.dtype.itemsize == 4 else 21  # LAMMPS' IMGBITS
        mask, packed = (1 << bits) - 1, self._images.astype(np.int64)
        counts = np.stack([packed & mask, packed >> bits & mask, packed >> 2 * bits], axis=1) - (1 << (bits - 1))
        return np.asarray(self.positions + counts @ self._cell)

    @property
    def skin(self) -> float:
        """Distance by which neighbour lists extend beyond the cutoff, Å (LAMMPS' defaults: 2.0, and 0.3 for ``lj``)."""
        default = 0.3 if self.deck.units == "lj" else 2.0
        return default if self.deck.skin is None else self.deck.skin

    def shift(self, displacement: FloatArray) -> None:
        """Move the reference by a displacement (n, 3), small compared with the skin; neighbour lists are kept."""
        self.positions = self.positions + displacement
        self._displaced = True

    def reference(self) -> Reference:
        """Return the present reference, to be restored with `set_reference`."""
        return Reference(self.ids, self.positions, self._images, self._cell)

    def set_reference(self, reference: Reference) -> None:
        """Restore an earlier reference, including the owners and the order of atoms.

        No force evaluation if these and the cell are unchanged: where neighbour lists were built far away, whatever is
        evaluated near the reference next builds them anew, for one more. After an error the evaluator is void.
        """
        with or_void(self, "the reference"):
            if not self.order_unchanged(reference.ids):
                self._restore_order(reference)
                return
            self.positions, self._images = reference.positions, reference.images
            if self._strained or not np.array_equal(reference.cell, self._cell):
                self._cell = reference.cell
                self.unstrain()
            self._owned("image", len(self.ids))[:] = self._images
            self._displaced = True
            # Built far away, or with atoms on the other side of the cell. Who comes and goes pays for one way only.
            self._lists_elsewhere = self.drift > self.skin / 4

    def return_to_reference(self) -> None:
        """Return to the reference, so that energy, pressure and computes are those of the reference.

        One force evaluation if LAMMPS is elsewhere.
        """
        if self._displaced:
            self.forces()

    def strained_forces(self, strain: FloatArray) -> FloatArray:
        """Strain the cell and the reference homogeneously, and return the forces there; LAMMPS stays in this state.

        One force evaluation. Call `unstrain` before anything else is evaluated.

        Parameters
        ----------
        strain : (3, 3) float array
            ε of x' = x₀ + (1 + ε)(x - x₀), x₀ the cell's origin. Upper triangular, which keeps the cell vectors in
            LAMMPS' orientation, and zero along non-periodic directions.

        Returns
        -------
        (n, 3) float array
            eV/Å; zero on frozen components.
        """
        self.require_valid()
        if not self._strained:
            self._owned("x", len(self.ids))[:] = self.positions
        self._strained = True  # also if LAMMPS stops on the way
        self._change_box(self._cell @ (np.eye(3) + strain).T)
        offset = self.positions - self._origin
        present = self._current_ids()
        self._owned("x", len(present))[:] = self._reordered(self.ids, self.positions + offset @ strain.T, present)
        self._timed(self.command, "run 0 post no")
        self.evaluations.forces += 1
        present = self._current_ids()
        return self._reordered(present, self._owned("f", len(present)), self.ids) * self.free

    def unstrain(self) -> FloatArray:
        """Return LAMMPS from a strained cell to the reference.

        One force evaluation, or three if atoms have changed owner or order. After an error the evaluator is void.

        Returns
        -------
        (n, 3) float array
            Forces at the reference, eV/Å.
        """
        with or_void(self, "the cell"):
            self._change_box(self._cell)
            return self._return_to(self.reference())

    def strain_reference(self, strain: FloatArray) -> FloatArray:
        """Strain the cell and the reference permanently, and return the forces there, (n, 3); see `strained_forces`.

        One force evaluation. Atoms may change owner or order.
        """
        self.require_valid()
        with restoring(self, self.unstrain, "the cell", after_success=False):
            self._owned("x", len(self.ids))[:] = self.positions
            self._change_box(self._cell @ (np.eye(3) + strain).T)
            self._displaced = False  # LAMMPS has carried the reference along
            return self.settle()

    def allow_tilt(self) -> None:
        """Make an orthogonal cell triclinic, with zero tilts.

        Call `settle` afterwards: atoms may change owner or order.
        """
        if not self.triclinic:
            self._owned("x", len(self.ids))[:] = self.positions
            self.command("change_box all triclinic")
            for words in self.deck.kspace:  # LAMMPS wants solvers to be set up anew
                self.command(" ".join(words))
            self._displaced = False  # atoms may have changed owner

    def minimize(self, ftol: float, maxiter: int, maxeval: int) -> FloatArray:
        """Run LAMMPS' minimiser from the reference, and return the forces at the new reference, (n, 3).

        Atoms may change owner or order.

        Parameters
        ----------
        ftol : float
            Norm of all forces at which to stop, eV/Å.
        maxiter, maxeval : int
            Limits on iterations and force evaluations.
        """
        self.require_valid()
        before = self.reference()
        with restoring(self, lambda: self._return_to(before), "the positions", after_success=False):
            self._owned("x", len(self.ids))[:] = self.positions
            self._displaced = True  # until the run has succeeded
            try:
                self.command("neigh_modify delay 0 every 1 check yes")
                self._timed(self.command, f"minimize 0.0 {ftol!r} {maxiter} {maxeval}")
                self.evaluations.forces += self._minimizer_evaluations()
            finally:
                self.command("neigh_modify delay 0 every 1000000000 check no")
            self._displaced = False  # the final positions become the reference
            return self.settle()

    def compute_atom(self, id: str, copy: bool = True) -> FloatArray:
        """Evaluate a per-atom compute at the last evaluated positions.

        Parameters
        ----------
        id : str
            ID of the compute.
        copy : bool
            Whether to copy the array. Otherwise it is LAMMPS' own memory: overwritten by the next evaluation of this
            compute, invalid after `settle`, freed by `close`.

        Returns
        -------
        (n, columns) float array

        Raises
        ------
        DeckError
            If LAMMPS cannot evaluate it.
        LammpsImplicitError
            If the evaluator is void.
        """
        self.require_valid()
        with self._reporting(f"LAMMPS could not evaluate compute {id}"):
            array = self._timed(self.lmp.numpy.extract_compute, id, STYLE_ATOM, TYPE_ARRAY)
        self.evaluations.descriptors += 1
        self.computed[id] = self.computed.get(id, 0) + 1
        present = self._current_ids() if self._strained else self.ids
        if not len(present):
            array = np.empty((0, self.lmp.extract_compute(id, STYLE_ATOM, SIZE_COLUMNS)))
        values = np.asarray(array, dtype=float)
        if self._strained:
            values = self._reordered(present, values[: len(present)], self.ids)
        return values.copy() if copy else values

    def neighbourhood(self) -> Neighbourhood:
        """Return owned and ghost atoms at the reference; one force evaluation if LAMMPS is elsewhere."""
        self.return_to_reference()
        total = self.lmp.extract_setting("nlocal") + self.lmp.extract_setting("nghost")
        alone = self._constraints.alone(partial(self._members, count=total), total)
        ids, types = (self._owned(name, total).astype(np.int64) for name in ("id", "type"))
        positions = self._owned("x", total).copy()
        # Atoms may have come closer by the skin since ghost atoms were chosen. Bonded interactions reach as far as
        # these, further than pairs with short cutoffs do.
        closer = min(self.skin, 2 * np.sqrt(3.0) * self.drift) if self.deck.bonded else self.skin
        reach = float(self._ghost_cutoff() - closer)
        return Neighbourhood(positions, ids, types, alone, reach)

    def write_structure(self) -> Path | None:
        """Write the atoms at the reference with all that their ``atom_style`` has as a data file; see `Evaluator`.

        None for ``atomic``, which has nothing more.

        Velocities, image flags and per-atom data of fixes are in it. Coefficients are if the deck has them from a data
        file, and expects them in this one.
        """
        self.require_valid()
        if self.lmp.extract_global("atom_style") == "atomic":
            return None
        self._owned("x", len(self.ids))[:] = self.positions
        self._displaced = True  # the forces may be those of another place
        path = self.scratch / "structure.data"
        kinds = [kind for kind in BONDED.values() if self.lmp.extract_setting(f"n{kind}types") > 0]
        for line in writing_commands(path, self.deck, any(kind not in self.deck.bonded for kind in kinds)):
            self.command(line)
        return path

    # -- inside ------------------------------------------------------------------------------------------------------

    def _change_box(self, cell: FloatArray) -> None:
        """Change the cell vectors at fixed origin, atoms moving along; they may change owner or order."""
        low = self._origin
        high = low + np.diag(cell)
        periodic = self.strainable
        words = [f"{'xyz'[axis]} final {low[axis]:.17g} {high[axis]:.17g}" for axis in np.flatnonzero(periodic)]
        if self.triclinic:
            tilts = [(row, column) for row, column in ((1, 0), (2, 0), (2, 1)) if periodic[row]]
            words += [f"{'xyz'[column]}{'xyz'[row]} final {cell[row, column]:.17g}" for row, column in tilts]
        self.command(f"change_box all {' '.join(words)} remap units box")

    @property
    def _rounding(self) -> float:
        """Bound on what is rounded off coordinates, Å.

        Some solvers of long-range forces take them to fractions of the cell and back.
        """
        return 64 * float(np.finfo(float).eps * np.abs([self._origin, self._origin + self._cell.sum(axis=0)]).max())

    def _current_ids(self) -> IntArray:
        """Ids of the atoms on this rank in LAMMPS' present order: different from `ids` while the cell is strained."""
        return self._owned("id", self.lmp.extract_setting("nlocal")).astype(np.int64)

    def _reordered(self, ids: IntArray, values: NDArray[Any], wanted: IntArray) -> NDArray[Any]:
        """Values of the atoms `wanted`, given those of `ids`; atoms may have changed rank."""
        return fetch(self.comm, ids, values, wanted) if self.any(not np.array_equal(ids, wanted)) else values

    def _take_order(self) -> None:
        """Reorder per-atom attributes after LAMMPS has migrated or reordered atoms and then stopped with an error."""
        present = self._current_ids()
        if not self.evaluations.forces or not self.any(not np.array_equal(present, self.ids)):
            return
        if self.sum(len(present)) != self.sum(len(self.ids)):
            self.void = "LAMMPS lost atoms, so that its state is unknown: start again from the deck"
            return
        for name in ("positions", "types", "free", "together", "_images", "_listed"):
            values = getattr(self, name)
            setattr(self, name, fetch(self.comm, self.ids, values, present).astype(values.dtype))
        self.ids = present

    def _return_to(self, reference: Reference) -> FloatArray:
        """Restore an earlier reference in the present cell; return the forces there, (n, 3)."""
        self._displaced = self._strained = False
        if self.any(not np.array_equal(self._current_ids(), reference.ids)):
            return self._restore_order(reference)
        n = len(reference.ids)
        self._owned("x", n)[:], self._owned("image", n)[:] = reference.positions, reference.images
        forces = self.settle()
        return forces if self.order_unchanged(reference.ids) else self._restore_order(reference)

    def _restore_potential(self, reference: Reference) -> None:
        """Restore the potential in force (`installed`) and an earlier reference in the present cell."""
        failure: Exception = LammpsImplicitError("the commands that set it up are not known")
        for lines in self.installed:
            try:
                for line in (*lines, *self.equilibration.commands):
                    self.command(line)
                self._return_to(reference)
                return
            except LammpsImplicitError as error:
                failure = error
        raise failure

    def _restore_order(self, reference: Reference) -> FloatArray:
        """Restore an earlier reference after atoms have changed owner or order; return the forces there, (n, 3).

        At the same positions in the same cell every atom has the same owner as before. The order of each rank's atoms
        is then restored by permuting their data.
        """
        if self._has_atom_data or any(self.lmp.extract_setting(flag) for flag in _UNORDERED):
            raise LammpsImplicitError(
                "atoms changed ranks or order, and this deck gives them per-atom data that cannot be reordered: run on "
                "one rank"
            )
        self._change_box(reference.cell)
        present = self._current_ids()
        self._owned("x", len(present))[:] = fetch(self.comm, reference.ids, reference.positions, present)
        self._owned("image", len(present))[:] = fetch(self.comm, reference.ids, reference.images, present)
        self._displaced = self._strained = False
        self.settle()
        if self.any(not np.array_equal(np.sort(self.ids), np.sort(reference.ids))):
            raise LammpsImplicitError(
                "atoms on the boundary between two ranks do not return to their rank: change the grid of ranks with "
                "'processors' in the deck, or run on one rank"
            )
        order = np.argsort(self.ids)[np.argsort(np.argsort(reference.ids))]
        n = len(order)
        for name in _PER_ATOM:
            array = self.lmp.numpy.extract_atom(name)
            if n and array is not None:
                array[:n] = array[:n][order]
        return self.settle()
