"""Atoms whose energy is a JAX function, in one process: exact Hessian products, and neighbour lists kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import jax
import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.autodiff.derivatives import Derivatives
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.serial import SerialEvaluator
from lammps_implicit.structures import Structure


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
class AutodiffEvaluator(SerialEvaluator):
    """Atoms and their JAX energy.

    Attributes
    ----------
    derivatives : Derivatives
    local : LocalEnergy or None
        For its neighbour lists.
    lists : pytree of arrays
        Those.
    """

    derivatives: Derivatives
    local: LocalEnergy | None = None
    lists: Any = None
    _reach: float = 0.0

    def evaluate(
        self, positions: FloatArray, cell: FloatArray, theta: FloatArray
    ) -> tuple[float, FloatArray, FloatArray]:
        """See `SerialEvaluator.evaluate`."""
        energy, (pull, drive) = self._run(self.derivatives.value_and_slope, positions, cell, theta)
        return float(energy), -pull, -(drive + drive.T) / (2 * float(np.prod(np.diag(cell)[: self.deck.dimension])))

    def apply(self, derivative: Callable[..., Any], *way: Any, count: int = 2) -> Any:
        """A derivative at the reference; counts as two force evaluations."""
        return self._counted(lambda: self._run(derivative, self.positions, self.cell, self.theta, *way), count)

    @property
    def exact(self) -> bool:
        """Hessian products are exact."""
        return True

    def hessian_product(self, v: FloatArray) -> FloatArray:
        """H v at the reference, (n, 3); counts as two force evaluations."""
        return self.apply(self.derivatives.product, v)

    def list_neighbours(self) -> None:
        """Build neighbour lists where the energy takes some."""
        if self.local is not None:
            at = replace(self.structure, positions=self.positions, cell=self.cell)
            self.lists = jax.device_put(self.local.neighbours(at, self.theta))
            self._reach = self.local.cutoff(self.theta)
        super().list_neighbours()

    def take_parameters(self, theta: FloatArray) -> None:
        """Take other parameters; new lists where they change the cutoff."""
        super().take_parameters(theta)
        if self.local is not None and self.local.cutoff(theta) != self._reach:
            self.list_neighbours()

    def close(self) -> None:
        """Let go of the neighbour lists."""
        super().close()
        self.lists = None

    @property
    def versions(self) -> dict[str, Any]:
        """JAX' version."""
        return {"jax_version": jax.__version__}

    @property
    def skin(self) -> float:
        """Reach of the neighbour lists beyond the cutoff."""
        return super().skin if self.local is None else self.local.skin

    @property
    def stride(self) -> float:
        """Å that `minimize` may move a component: within the lists' reach whatever the direction."""
        return super().stride if self.local is None else min(self.skin / np.sqrt(12), super().stride)

    def _run(
        self, derivative: Callable[..., Any], positions: FloatArray, cell: FloatArray, theta: FloatArray, *way: Any
    ) -> Any:
        """A derivative as NumPy arrays.

        Raises
        ------
        LammpsImplicitError
            If it is not finite.
        """
        # `along` and `twice` take ways of all three variables at once, others one or two of them.
        arguments = (positions, np.zeros((3, 3)), theta, *way, cell, self.origin, self.lists)
        result = jax.tree.map(np.asarray, derivative(*arguments))
        if not all(np.isfinite(array).all() for array in jax.tree.leaves(result)):
            raise LammpsImplicitError(
                "the energy function or a derivative of it is not finite here: are atoms on top of each other, or is a "
                "square root of zero differentiated?"
            )
        return result
