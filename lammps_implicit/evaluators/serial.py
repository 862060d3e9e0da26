"""Evaluators in one process: the whole of `Evaluator` from a single function of positions, cell and parameters."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from scipy import optimize
from scipy.spatial import cKDTree

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.images import images, shortest_vector
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood, Reference
from lammps_implicit.evaluators.restoring import or_void, restoring
from lammps_implicit.structures import Structure

T = TypeVar("T")

_FAR = 4.5
"""How far a neighbourhood reaches, in units of the mean nearest-neighbour distance. Chosen: as far as contacts between
molecules are looked for."""

SKIN = 1.0
"""Å; `SerialEvaluator.skin` of evaluators without neighbour lists: drift after which springs are checked again."""

STRIDE = 1.0
"""Å; largest change of a coordinate between two calls of `SerialEvaluator.settle` in `SerialEvaluator.minimize`."""

ROUNDS = 10
"""Largest number of minimisations in sequence, each within a box of that size."""


@dataclass(kw_only=True)
class SerialEvaluator(Evaluator):
    """Base of evaluators in one process: subclasses define `evaluate`, and inherit everything else.

    They may also override `exact` and `hessian_product`, or `list_neighbours` and `skin`.

    Attributes
    ----------
    structure : Structure
        Initial structure, in id order; see `structures.from_ase`.
    theta : (Q,) float array
        Parameters installed at present.
    deck : Deck
        Defines the units; default ``metal``.
    free : (N, 3) bool array
        False for components that are held fixed; default: all are free.

    Raises
    ------
    LammpsImplicitError
        If `comm` has several ranks.
    """

    structure: Structure
    theta: FloatArray
    deck: Deck = field(default_factory=lambda: Deck(units="metal"))
    _cell: FloatArray = field(default_factory=lambda: np.eye(3))
    _strained: FloatArray | None = None
    _tilts: bool = False
    _energy: float = 0.0
    _pressure: FloatArray = field(default_factory=lambda: np.zeros((3, 3)))
    _displaced: bool = False

    def __post_init__(self) -> None:
        if self.comm.size > 1:
            raise LammpsImplicitError(f"{type(self).__name__} runs in one process: start without mpirun")
        self.ids, self.types = self.structure.ids, self.structure.types
        self.positions, self._cell = self.structure.positions, self.structure.cell
        self._listed = self.positions
        self._tilts = bool(np.any(np.tril(self._cell, -1)))
        if not len(self.free):
            self.free = np.ones(self.positions.shape, bool)
        self.together = np.zeros(self.positions.shape, np.int64)

    @abstractmethod
    def evaluate(
        self, positions: FloatArray, cell: FloatArray, theta: FloatArray
    ) -> tuple[float, FloatArray, FloatArray]:
        """Evaluate energy, forces and pressure. The result depends on nothing but the arguments.

        Parameters
        ----------
        positions : (N, 3) float array
            In id order, possibly outside the cell.
        cell : (3, 3) float array
            Cell vectors as rows, lower triangular.
        theta : (Q,) float array

        Returns
        -------
        energy : float
        forces : (N, 3) float array
            Minus the gradient of the energy; those on frozen atoms are ignored.
        pressure : (3, 3) float array
            -1/V ∂U/∂ε, minus the stress: eV/Å³ in ``units metal``.
        """

    # -- evaluations -------------------------------------------------------------------------------------------------

    def forces(self, displacement: FloatArray | None = None) -> FloatArray:
        """Forces at the reference plus a displacement small against the skin, (n, 3)."""
        at = self.positions if displacement is None else self.positions + displacement
        forces = self._evaluate(at, self._cell)
        self._displaced, self._strained = displacement is not None, None
        return forces

    def settle(self) -> FloatArray:
        """Bring atoms back into the cell, build neighbour lists, and return the forces, (n, 3). One evaluation."""
        self.require_valid()
        self.wrap()
        return self.forces()

    def wrap(self) -> None:
        """Bring atoms back into the cell, and build neighbour lists."""
        before = self.positions
        fractional = (before - self.origin) @ np.linalg.inv(self._cell)
        self.positions = before - np.floor(fractional * self.periodic) @ self._cell
        try:
            self.list_neighbours()
        except BaseException:
            self.positions = before  # the lists that there are hold for these periodic images
            raise

    def list_neighbours(self) -> None:
        """Build neighbour lists at `positions` and `cell`. Subclasses that keep lists extend this."""
        self._listed = self.positions

    def return_to_reference(self) -> None:
        """Make `energy` and `pressure` those of the reference; one evaluation where the last was elsewhere."""
        if self._displaced:
            self.forces()

    def install(self, theta: FloatArray) -> FloatArray:
        """Install parameters (Q,) and return the forces at the reference, (n, 3); undone after an error."""
        self.require_valid()
        before = self.theta
        with restoring(self, lambda: self.take_parameters(before), "the parameters", after_success=False):
            self.take_parameters(theta)
            return self.forces()

    def take_parameters(self, theta: FloatArray) -> None:
        """Install parameters (Q,) without evaluating. Subclasses whose lists depend on them extend this."""
        self.theta = theta

    def strained_forces(self, strain: FloatArray) -> FloatArray:
        """Forces where cell and reference are strained, (n, 3); strained until `unstrain`. One evaluation."""
        deform = (np.eye(3) + strain).T
        cell = self._cell @ deform
        forces = self._evaluate(self.origin + (self.positions - self.origin) @ deform, cell)
        self._displaced, self._strained = True, cell
        return forces

    def unstrain(self) -> FloatArray:
        """Return to the reference after `strained_forces`; return the forces there, (n, 3). One evaluation."""
        return self.forces()

    def strain_reference(self, strain: FloatArray) -> FloatArray:
        """Strain the cell and the reference; return the forces there. One evaluation."""
        before, deform = self.reference(), (np.eye(3) + strain).T
        with restoring(self, lambda: self.set_reference(before), "the cell", after_success=False):
            self.positions = self.origin + (self.positions - self.origin) @ deform
            self._cell = self._cell @ deform
            return self.settle()

    def allow_tilt(self) -> None:
        """Let the cell be tilted."""
        self._tilts = True

    def minimize(self, ftol: float, maxiter: int, maxeval: int) -> FloatArray:
        """Move the reference downhill by SciPy's L-BFGS; return the forces there."""
        before = self.reference()
        with restoring(self, lambda: self.set_reference(before), "the positions", after_success=False):
            for _ in range(ROUNDS):  # neighbour lists are built anew between
                self.positions = self.positions + self._step_downhill(ftol, maxiter, maxeval)
                forces = self.settle()
                if self.max_abs(forces) <= ftol:
                    break
        return forces

    # -- state -------------------------------------------------------------------------------------------------------

    def shift(self, displacement: FloatArray) -> None:
        """Move the reference by a displacement small against the skin."""
        self.positions = self.positions + displacement
        self._displaced = True

    def reference(self) -> Reference:
        """The reference, to come back to with `set_reference`."""
        return Reference(self.ids, self.positions, np.zeros(len(self.ids), np.int64), self._cell)

    def set_reference(self, reference: Reference) -> None:
        """Make an earlier reference the reference again."""
        self.positions, moved = reference.positions, not np.array_equal(reference.cell, self._cell)
        self._cell, self._strained, self._displaced = reference.cell, None, True
        if moved or self.drift > self.skin / 4:
            with or_void(self, "the reference"):
                self.list_neighbours()  # atoms stay the periodic images that they are

    @property
    def versions(self) -> dict[str, Any]:
        """Name of the class; subclasses may add versions of the libraries they use."""
        return {"evaluator": type(self).__name__}

    @property
    def skin(self) -> float:
        """Reach of neighbour lists beyond the cutoff, Å."""
        return SKIN

    @property
    def stride(self) -> float:
        """Å; largest change of a coordinate between two calls of `settle` in `minimize`."""
        return STRIDE

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.ids)

    @property
    def n_types(self) -> int:
        """Number of atom types."""
        return len(self.structure.masses)

    @property
    def energy(self) -> float:
        """At the last evaluated positions."""
        return self._energy

    @property
    def pressure(self) -> FloatArray:
        """At the last evaluated positions, (3, 3), energy per volume."""
        return self._pressure

    @property
    def triclinic(self) -> bool:
        """Whether the cell may be tilted."""
        return self._tilts

    @property
    def periodic(self) -> tuple[bool, bool, bool]:
        """Which directions are periodic."""
        x, y, z = map(bool, self.structure.periodic)
        return x, y, z

    @property
    def cell(self) -> FloatArray:
        """Cell vectors as rows, (3, 3)."""
        return self._cell if self._strained is None else self._strained

    @property
    def origin(self) -> FloatArray:
        """Lower corner of the cell, (3,)."""
        return self.structure.origin

    def masses(self) -> FloatArray:
        """Mass of each type, (n_types,)."""
        return self.structure.masses

    def neighbourhood(self) -> Neighbourhood:
        """Atoms and periodic images as far as springs and contacts reach."""
        inside = self.positions - self.origin
        spacing = min(shortest_vector(self._cell, self.periodic), _spacing(inside))  # or less, through the boundary
        reach = _FAR * spacing
        indices, shifts = images(inside, self._cell, self.periodic, reach)
        around = self.positions[indices] + shifts @ self._cell
        return Neighbourhood(around, self.ids[indices], self.types[indices], self.free[indices], reach)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _evaluate(self, positions: FloatArray, cell: FloatArray) -> FloatArray:
        """Evaluate, store energy and pressure, and return the forces, zero on frozen components."""
        energy, forces, pressure = self._counted(lambda: self._checked(positions, cell))
        self._energy, self._pressure = energy, pressure
        return forces * self.free

    def _checked(self, positions: FloatArray, cell: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Call `evaluate` and check that what it returns is finite and has the right shapes.

        Raises
        ------
        LammpsImplicitError
            Also in place of any other exception of `evaluate`.
        """
        name = type(self).__name__
        try:
            energy, forces, pressure = (np.asarray(a, float) for a in self.evaluate(positions, cell, self.theta))
        except LammpsImplicitError:  # its message is clear already
            raise
        except Exception as error:  # whatever the engine raises
            text = str(error).strip().partition("\n")[0]
            raise LammpsImplicitError(f"{name} cannot evaluate the atoms ({type(error).__name__}: {text})") from error
        if (energy.shape, forces.shape, pressure.shape) != ((), positions.shape, (3, 3)):
            raise LammpsImplicitError(
                f"{name}.evaluate returns an energy of shape {energy.shape}, forces of shape {forces.shape} and a "
                f"pressure of shape {pressure.shape}; (), {positions.shape} and (3, 3) are expected"
            )
        if not all(np.isfinite(array).all() for array in (energy, forces, pressure)):
            raise LammpsImplicitError(f"{name} finds an energy, forces or a pressure that are not finite here")
        return float(energy), forces, (pressure + pressure.T) / 2

    def _counted(self, work: Callable[[], T], count: int = 1) -> T:
        """Do some work, count it as `count` force evaluations, and time it.

        Raises
        ------
        LammpsImplicitError
            If the evaluator is void.
        """
        self.require_valid()
        start = time.perf_counter()
        result = work()
        self.evaluations.forces += count
        self.seconds += time.perf_counter() - start
        return result

    def _step_downhill(self, ftol: float, maxiter: int, maxeval: int) -> FloatArray:
        """Displacement by L-BFGS from the reference, (n, 3), of no more than a `stride` in each component."""
        free = self.free

        def spread(flat: FloatArray) -> FloatArray:
            step = np.zeros_like(self.positions)
            step[free] = flat
            return step

        def slope(flat: FloatArray) -> tuple[float, FloatArray]:
            forces = self.forces(spread(flat))
            return self._energy, -forces[free]

        found = optimize.minimize(
            slope,
            np.zeros(np.count_nonzero(free)),
            jac=True,
            method="L-BFGS-B",
            bounds=optimize.Bounds(-self.stride, self.stride),
            options={"gtol": ftol, "ftol": 0.0, "maxiter": maxiter, "maxfun": maxeval},
        )
        return spread(found.x)


def _spacing(positions: FloatArray) -> float:
    """Mean distance to the nearest neighbour, periodic images aside; infinite for one atom."""
    return float(cKDTree(positions).query(positions, k=2)[0][:, 1].mean()) if len(positions) > 1 else np.inf
