"""Atoms whose energy is a JAX function: what LAMMPS is elsewhere (`evaluator.Evaluator`), on one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import numpy as np
from scipy import optimize

from lammps_implicit.arrays import FloatArray
from lammps_implicit.autodiff.derivatives import Derivatives
from lammps_implicit.autodiff.neighbours import images
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood, Reference
from lammps_implicit.solvers.springs import REACH
from lammps_implicit.structures import Structure

DEFAULT_SKIN = 1.0
"""Distance that a reference of an energy without neighbour lists may move before springs are looked at again."""


class LocalEnergy(Protocol):
    """An energy of atoms within a cutoff of each other: U(positions, cell, theta, neighbours)."""

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of its parameters."""
        ...

    @property
    def skin(self) -> float:
        """Reach of the lists beyond the cutoff."""
        ...

    def cutoff(self, theta: FloatArray) -> float:
        """Distance from which atoms do not feel each other."""
        ...

    def neighbours(self, structure: Structure, theta: FloatArray) -> Any:
        """Lists that hold while no atom moves more than half the skin, as arrays for JAX."""
        ...

    def __call__(self, positions: Any, cell: Any, theta: Any, neighbours: Any) -> Any:
        """A number."""
        ...


@dataclass(kw_only=True)
class AutodiffEvaluator(Evaluator):
    """Atoms and their JAX energy.

    Attributes
    ----------
    derivatives : Derivatives
    structure : Structure
        As it was given.
    theta : (P,) float array
        Parameters installed.
    local : LocalEnergy or None
        For its neighbour lists.
    lists : pytree of arrays
        Those.
    """

    derivatives: Derivatives
    structure: Structure
    theta: FloatArray
    local: LocalEnergy | None = None
    lists: Any = None
    _cell: FloatArray = field(default_factory=lambda: np.eye(3))
    _tilts: bool = False
    _energy: float = 0.0
    _pressure: FloatArray = field(default_factory=lambda: np.zeros((3, 3)))
    _displaced: bool = False
    _reach: float = 0.0

    def __post_init__(self) -> None:
        self.ids, self.types = self.structure.ids, self.structure.types
        self.positions, self._cell = self.structure.positions, self.structure.cell
        self._tilts = bool(np.any(np.tril(self._cell, -1)))

    # -- evaluations -------------------------------------------------------------------------------------------------

    def apply(self, derivative: Callable[..., Any], *way: Any, count: int = 2) -> Any:
        """A derivative at the reference; counts as two force evaluations."""
        return self._run(derivative, self.positions, *way, count=count)

    def settle(self) -> FloatArray:
        """Bring atoms back into the cell, build neighbour lists, and return the forces, (n, 3). One evaluation."""
        self.wrap()
        return self.forces()

    def wrap(self) -> None:
        """Bring atoms back into the cell, and build neighbour lists."""
        fractional = (self.positions - self.origin) @ np.linalg.inv(self._cell)
        self.positions = self.positions - np.floor(fractional * self.periodic) @ self._cell
        self._list_neighbours()

    def _list_neighbours(self) -> None:
        if self.local is not None:
            at = Structure(**{**vars(self.structure), "positions": self.positions, "cell": self._cell})
            self.lists = jax.device_put(self.local.neighbours(at, self.theta))
            self._reach = self.local.cutoff(self.theta)
        self._listed = self.positions

    def forces(self, displacement: FloatArray | None = None) -> FloatArray:
        """Forces at the reference plus a displacement small against the skin, (n, 3)."""
        at = self.positions if displacement is None else self.positions + displacement
        energy, (pull, drive) = self._run(self.derivatives.value_and_slope, at, count=1)
        self._energy, self._pressure = float(energy), -(drive + drive.T) / (2 * self.volume)
        self._displaced = displacement is not None
        return -pull * self.free

    @property
    def exact(self) -> bool:
        """Hessian products are exact."""
        return True

    def hessian_product(self, v: FloatArray) -> FloatArray:
        """H v at the reference, (n, 3); counts as two force evaluations."""
        return self.apply(self.derivatives.product, v)

    def return_to_reference(self) -> None:
        """Make `energy` and `pressure` those of the reference; one evaluation where the last was elsewhere."""
        if self._displaced:
            self.forces()

    def install(self, theta: FloatArray) -> FloatArray:
        """Take other parameters; return the forces at the reference."""
        self.theta = theta
        if self.local is not None and self.local.cutoff(theta) != self._reach:
            self._list_neighbours()
        return self.forces()

    def strain_reference(self, strain: FloatArray) -> FloatArray:
        """Strain the cell and the reference; return the forces there. One evaluation."""
        deform = (np.eye(3) + strain).T
        self.positions = self.origin + (self.positions - self.origin) @ deform
        self._cell = self._cell @ deform
        return self.settle()

    def allow_tilt(self) -> None:
        """Let the cell be tilted."""
        self._tilts = True

    def minimize(self, ftol: float, maxiter: int, maxeval: int) -> FloatArray:
        """Move the reference downhill by SciPy's L-BFGS; return the forces there."""
        free = self.free
        # One box of the size that the lists allow.
        bound = 1.0 if self.local is None else min(self.skin / np.sqrt(12), 1.0)

        def spread(flat: FloatArray) -> FloatArray:
            step = np.zeros_like(self.positions)
            step[free] = flat
            return step

        def slope(flat: FloatArray) -> tuple[float, FloatArray]:
            forces = self.forces(spread(flat))
            return self._energy, -forces[free]

        for _ in range(10):  # neighbour lists are built anew between
            found = optimize.minimize(
                slope,
                np.zeros(np.count_nonzero(free)),
                jac=True,
                method="L-BFGS-B",
                bounds=optimize.Bounds(-bound, bound),
                options={"gtol": ftol, "ftol": 0.0, "maxiter": maxiter, "maxfun": maxeval},
            )
            self.positions = self.positions + spread(found.x)
            forces = self.settle()
            if self.max_abs(forces) <= ftol:
                break
        return forces

    def close(self) -> None:
        """Let go of the neighbour lists."""
        self.lists = None

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
        self._cell, self._displaced = reference.cell, True
        if moved or self.drift > self.skin / 4:
            self._list_neighbours()  # atoms stay the periodic images that they are

    @property
    def versions(self) -> dict[str, Any]:
        """JAX' version."""
        return {"jax_version": jax.__version__}

    @property
    def skin(self) -> float:
        """Reach of the neighbour lists beyond the cutoff."""
        return DEFAULT_SKIN if self.local is None else self.local.skin

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
        return self._cell

    @property
    def origin(self) -> FloatArray:
        """Lower corner of the cell, (3,)."""
        return self.structure.origin

    def masses(self) -> FloatArray:
        """Mass of each type, (n_types,)."""
        return self.structure.masses

    def neighbourhood(self) -> Neighbourhood:
        """Atoms and periodic images as far as springs reach."""
        inside = self.positions - self.origin
        widths = 1 / np.linalg.norm(np.linalg.inv(self._cell), axis=0)
        spacing = min([*widths[list(self.periodic)], _nearest(inside)])
        indices, shifts = images(inside, self._cell, self.periodic, 1.05 * REACH * spacing)
        around = self.positions[indices] + shifts @ self._cell
        return Neighbourhood(around, self.ids[indices], self.types[indices], self.free[indices])

    # -- inside ------------------------------------------------------------------------------------------------------

    def _run(self, derivative: Callable[..., Any], positions: FloatArray, *way: Any, count: int) -> Any:
        start = time.perf_counter()
        # `along` and `twice` take ways of all three variables at once, others one or two of them.
        arguments = (positions, np.zeros((3, 3)), self.theta, *way, self._cell, self.origin, self.lists)
        result = jax.tree.map(np.asarray, derivative(*arguments))
        self.evaluations.forces += count
        self.seconds += time.perf_counter() - start
        if not all(np.isfinite(array).all() for array in jax.tree.leaves(result)):
            raise LammpsImplicitError(
                "the energy function or a derivative of it is not finite here: are atoms on top of each other, or is a "
                "square root of zero differentiated?"
            )
        return result


def _nearest(positions: FloatArray) -> float:
    """Mean distance to the nearest neighbour, periodic images aside; infinite for one atom."""
    from scipy.spatial import cKDTree

    return float(cKDTree(positions).query(positions, k=2)[0][:, 1].mean()) if len(positions) > 1 else np.inf
