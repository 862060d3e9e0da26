"""Atoms at a reference, and the interface of what evaluates their energy there: LAMMPS (`lammps`) or other (`serial`).

Per-atom arrays hold the atoms this rank owns. Atoms are identified by id.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.images import nearest_image
from lammps_implicit.mpi.on_root import on_root

T = TypeVar("T")

REACH = 1.3
"""How far a neighbourhood reaches at least, in units of the mean nearest-neighbour distance: the longest spring."""


@dataclass
class Evaluations:
    """Work done.

    Attributes
    ----------
    forces : int
        Force evaluations; an exact Hessian product or mixed product of JAX counts as two.
    descriptors : int
        Evaluations of descriptor sums (about a third of a force evaluation) or their gradients (about one).
    """

    forces: int = 0
    descriptors: int = 0

    @property
    def total(self) -> int:
        """Both together, each counted as one force evaluation."""
        return self.forces + self.descriptors

    def copy(self) -> Evaluations:
        """Return a snapshot."""
        return Evaluations(self.forces, self.descriptors)

    def since(self, start: Evaluations) -> Evaluations:
        """Return what was added after the snapshot `start`."""
        return Evaluations(self.forces - start.forces, self.descriptors - start.descriptors)


@dataclass
class Neighbourhood:
    """Owned and ghost atoms around this rank.

    Attributes
    ----------
    positions : (n_owned + n_ghost, 3) float array
        Å; owned atoms first, ghosts as the periodic images they are.
    ids : (n_owned + n_ghost,) int array
    types : (n_owned + n_ghost,) int array
    free : (n_owned + n_ghost, 3) bool array
    """

    positions: FloatArray
    ids: IntArray
    types: IntArray
    free: BoolArray


class Reference(NamedTuple):
    """A state to come back to.

    Attributes
    ----------
    ids : (n,) int array
        Owners and order.
    positions : (n, 3) float array
    images : (n,) int array
    cell : (3, 3) float array
    """

    ids: IntArray
    positions: FloatArray
    images: NDArray[Any]
    cell: FloatArray


@dataclass(kw_only=True)
class Evaluator(ABC):
    """Atoms at a reference, their energy's derivatives there, and reductions over ranks.

    Attributes
    ----------
    comm : MPI.Comm
    deck : Deck
        What was declared of them.
    ids, types : (n,) int arrays
        Of the atoms this rank owns.
    positions : (n, 3) float array
        Reference positions that displacements are counted from.
    free : (n, 3) bool array
        False for components that are held fixed.
    external : bool
        Whether forces from outside (walls, indenters, springs, fields) act.
    evaluations : Evaluations
        Work done since the state was taken over.
    seconds : float
        Time spent in them.
    void : str
        Why its state is unknown, after something failed that could not be undone; empty while it is known.
    """

    comm: MPI.Comm
    deck: Deck = field(default_factory=Deck)
    ids: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    types: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    positions: FloatArray = field(default_factory=lambda: np.empty((0, 3)))
    free: BoolArray = field(default_factory=lambda: np.empty((0, 3), bool))
    external: bool = False
    evaluations: Evaluations = field(default_factory=Evaluations)
    seconds: float = 0.0
    void: str = ""
    _listed: FloatArray = field(default_factory=lambda: np.empty((0, 3)))

    def require_valid(self) -> None:
        """Check that the state is known.

        Raises
        ------
        LammpsImplicitError
            If the engine is `void`.
        """
        if self.void:
            raise LammpsImplicitError(self.void)

    # -- evaluations -------------------------------------------------------------------------------------------------

    @abstractmethod
    def settle(self) -> FloatArray:
        """Build neighbour lists at the reference and return the forces, (n, 3); atoms may change owner or order."""

    @abstractmethod
    def forces(self, displacement: FloatArray | None = None) -> FloatArray:
        """Forces at the reference plus a small displacement, (n, 3); frozen components are zero."""

    @property
    def exact(self) -> bool:
        """Whether `hessian_product` exists; else products are differences of forces."""
        return False

    def hessian_product(self, v: FloatArray) -> FloatArray:
        """H v at the reference for v of shape (n, 3), exact, where `exact`."""
        raise NotImplementedError(f"{type(self).__name__} has no exact Hessian products")

    @abstractmethod
    def return_to_reference(self) -> None:
        """Make `energy` and `pressure` those of the reference."""

    @abstractmethod
    def strained_forces(self, strain: FloatArray) -> FloatArray:
        """Forces where the cell and the reference in it are strained, (n, 3), by rows of the reference. One evaluation.

        `energy`, `pressure`, `cell` and `volume` are those of the strained state until `unstrain`. Nothing else comes
        between but further strains, each counted from the reference.

        Parameters
        ----------
        strain : (3, 3) float array
            ε of x' = x₀ + (1 + ε)(x - x₀), x₀ the cell's origin; upper triangular. Zero along directions that are not
            periodic.
        """

    @abstractmethod
    def unstrain(self) -> FloatArray:
        """Come back from `strained_forces` to the reference; return the forces there, (n, 3)."""

    @abstractmethod
    def strain_reference(self, strain: FloatArray) -> FloatArray:
        """Strain the cell and the reference for good; return the forces there. Atoms may change owner or order."""

    @abstractmethod
    def allow_tilt(self) -> None:
        """Let the cell be tilted. Atoms may change owner or order: `settle`."""

    @abstractmethod
    def minimize(self, ftol: float, maxiter: int, maxeval: int) -> FloatArray:
        """Move the reference downhill from far off; return the forces there. Atoms may change owner or order."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything."""

    # -- state -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def shift(self, displacement: FloatArray) -> None:
        """Move the reference by a displacement small against the neighbour skin; lists and order stay."""

    @abstractmethod
    def reference(self) -> Reference:
        """The reference, to come back to with `set_reference`."""

    @abstractmethod
    def set_reference(self, reference: Reference) -> None:
        """Make an earlier reference the reference again, owners and order included."""

    @property
    @abstractmethod
    def versions(self) -> dict[str, Any]:
        """What results were computed with, by name."""

    @property
    @abstractmethod
    def skin(self) -> float:
        """Reach of the neighbour lists beyond the cutoff."""

    @property
    @abstractmethod
    def n_atoms(self) -> int:
        """Number of atoms on all ranks."""

    @property
    @abstractmethod
    def n_types(self) -> int:
        """Number of atom types."""

    @property
    @abstractmethod
    def energy(self) -> float:
        """Potential energy at the last evaluated positions."""

    @property
    @abstractmethod
    def pressure(self) -> FloatArray:
        """Pressure tensor at the last evaluated positions, (3, 3), energy per volume.

        For a homogeneous strain ε of cell and atoms, dU = -V Σ_ab P_ab ε_ab.
        """

    @property
    @abstractmethod
    def triclinic(self) -> bool:
        """Whether the cell may be tilted."""

    @property
    @abstractmethod
    def periodic(self) -> tuple[bool, bool, bool]:
        """Which directions are periodic."""

    @property
    @abstractmethod
    def cell(self) -> FloatArray:
        """Cell vectors as rows, (3, 3), lower triangular."""

    @property
    @abstractmethod
    def origin(self) -> FloatArray:
        """Lower corner of the cell, (3,)."""

    @abstractmethod
    def masses(self) -> FloatArray:
        """Mass of each type, (n_types,)."""

    @abstractmethod
    def neighbourhood(self) -> Neighbourhood:
        """Owned and ghost atoms at the reference."""

    @property
    def volume(self) -> float:
        """Of the cell."""
        return float(np.prod(np.diag(self.cell)))

    @property
    def drift(self) -> float:
        """Largest distance component any atom of the reference has moved since neighbour lists were built."""
        return self.max_abs(self.positions - self._listed)

    def nearest_image(self, vectors: FloatArray) -> FloatArray:
        """Nearest periodic images of vectors (n, 3): each shifted by cell vectors to be as short as it can be."""
        return nearest_image(vectors, self.cell, self.periodic)

    # -- reductions over ranks ---------------------------------------------------------------------------------------

    @overload
    def sum(self, value: int | np.integer[Any]) -> int: ...

    @overload
    def sum(self, value: float) -> float: ...

    @overload
    def sum(self, value: NDArray[Any]) -> NDArray[Any]: ...

    def sum(self, value: NDArray[Any] | np.integer[Any] | float) -> NDArray[Any] | np.integer[Any] | float:
        """Sum numbers or arrays of the same shape over all ranks."""
        if self.comm.size == 1:
            return value
        total = np.array(value, int if isinstance(value, (bool, np.bool_)) else None)
        self.comm.Allreduce(MPI.IN_PLACE, total)
        return total if isinstance(value, np.ndarray) else total.item()

    def max(self, value: float) -> float:
        """Largest value over all ranks; not a number where it is none on any rank."""
        if self.comm.size == 1:
            return float(value)
        # MPI.MAX alone may find different values on different ranks where one is not a number.
        largest = np.array([np.isnan(value), -np.inf if np.isnan(value) else value], float)
        self.comm.Allreduce(MPI.IN_PLACE, largest, op=MPI.MAX)
        return float("nan") if largest[0] else float(largest[1])

    def any(self, condition: bool) -> bool:
        """Whether a condition holds on any rank: what ranks raise, they raise together."""
        return self.max(float(condition)) > 0

    def owns_still(self, ids: IntArray) -> bool:
        """Whether every rank still has the atoms, in the same order, whose `ids` it noted earlier."""
        return not self.any(not np.array_equal(ids, self.ids))

    def dot(self, a: FloatArray, b: FloatArray) -> float:
        """Inner product of two distributed arrays."""
        return float(self.sum(float(np.vdot(a, b))))

    def norm(self, a: FloatArray) -> float:
        """Euclidean norm of a distributed array."""
        return float(np.sqrt(self.dot(a, a)))

    def max_abs(self, a: FloatArray) -> float:
        """Largest magnitude in a distributed array."""
        return self.max(float(np.max(np.abs(a), initial=0.0)))

    def on_root(self, task: Callable[[], T]) -> T:
        """Run a task on rank 0 and give its result, or its error, to every rank."""
        return on_root(self.comm, task)
