"""The interface of evaluators (`lammps`, `serial`): atoms at a reference, and their energy, forces and pressure there.

LAMMPS (`evaluators.lammps`) and JAX (`autodiff.evaluator`) implement it. Per-atom arrays hold the atoms this rank owns;
atoms are identified by id. Lengths are in Å, energies in eV, forces in eV/Å for decks with ``units metal``, in the
deck's units otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
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


CLOSED = "{} has been closed, at the end of the 'with' block or by 'close': start again from the deck or structure"
"""Why an evaluator is void after `Evaluator.close`."""


@dataclass
class Evaluations:
    """Counts of the evaluations done so far.

    Attributes
    ----------
    forces : int
        Force evaluations; an exact product with H or C in JAX counts as two.
    descriptors : int
        Evaluations of descriptor sums (about a third of the cost of a force evaluation) or of their gradients (about
        the same cost).
    """

    forces: int = 0
    descriptors: int = 0

    @property
    def total(self) -> int:
        """Sum of both, counting each as one force evaluation."""
        return self.forces + self.descriptors

    def copy(self) -> Evaluations:
        """Return a copy of the present counts."""
        return Evaluations(self.forces, self.descriptors)

    def since(self, start: Evaluations) -> Evaluations:
        """Return the evaluations done after the counts `start` were copied."""
        return Evaluations(self.forces - start.forces, self.descriptors - start.descriptors)


@dataclass
class Neighbourhood:
    """The atoms this rank owns, followed by its ghost atoms.

    Attributes
    ----------
    positions : (n_owned + n_ghost, 3) float array
        Å; ghost atoms at the periodic images they represent.
    ids : (n_owned + n_ghost,) int array
        Atom ids.
    types : (n_owned + n_ghost,) int array
        Atom types, counted from 1.
    free : (n_owned + n_ghost, 3) bool array
        False for components that are held fixed or move together with others.
    reach : float
        Å; all atoms closer than this to an owned atom are among them, on every rank.
    """

    positions: FloatArray
    ids: IntArray
    types: IntArray
    free: BoolArray
    reach: float = np.inf


class Reference(NamedTuple):
    """A saved reference, to be restored with `Evaluator.set_reference`.

    Attributes
    ----------
    ids : (n,) int array
        Ids of the atoms this rank owned, in their order.
    positions : (n, 3) float array
        Å.
    images : (n,) int array
        Image flags in LAMMPS' packed form; empty for other evaluators.
    cell : (3, 3) float array
        Cell vectors as rows, Å.
    """

    ids: IntArray
    positions: FloatArray
    images: NDArray[Any]
    cell: FloatArray


@dataclass(kw_only=True)
class Evaluator(ABC):
    """Energy, forces and pressure of atoms at and around a reference, and reductions over ranks.

    All methods are collective: they are called on all ranks of `comm` together.

    Attributes
    ----------
    comm : MPI.Comm
    deck : Deck
        Settings of the deck the atoms come from.
    ids, types : (n,) int arrays
        Ids, and types counted from 1, of the atoms this rank owns.
    positions : (n, 3) float array
        Reference positions, Å, from which displacements are counted.
    free : (n, 3) bool array
        False for components that are held fixed.
    together : (n, 3) int array
        Number, from 1, of the group with which a component moves as one; 0 where it moves alone. Such groups are a
        linear constraint: see `constrain`.
    together_counts : tuple of int
        Number of atoms of each of these groups, on all ranks.
    external : bool
        Whether external forces act (walls, indenters, springs, fields).
    follows_atoms : bool
        Whether a boundary of the cell follows the outermost atoms, and the volume with it.
    background : float
        Charge of the uniform background that neutralises the cell in sums over long ranges; zero if there is none.
    evaluations : Evaluations
        Evaluations done since the deck ended.
    seconds : float
        Wall time spent in them.
    void : str
        Why the state of the evaluator is unknown, after an error that could not be undone; empty if it is known.
    aside : MPI.Comm or None
        Communicator on which failed ranks find out whether all have failed; None on one rank.
    """

    comm: MPI.Comm
    deck: Deck = field(default_factory=Deck)
    ids: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    types: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    positions: FloatArray = field(default_factory=lambda: np.empty((0, 3)))
    free: BoolArray = field(default_factory=lambda: np.empty((0, 3), bool))
    together: IntArray = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    together_counts: tuple[int, ...] = ()
    external: bool = False
    follows_atoms: bool = False
    background: float = 0.0
    evaluations: Evaluations = field(default_factory=Evaluations)
    seconds: float = 0.0
    void: str = ""
    aside: MPI.Comm | None = None
    _listed: FloatArray = field(default_factory=lambda: np.empty((0, 3)))

    def require_valid(self) -> None:
        """Check that the state of the evaluator is known.

        Raises
        ------
        LammpsImplicitError
            If the evaluator is `void`.
        """
        if self.void:
            raise LammpsImplicitError(self.void)

    # -- evaluations -------------------------------------------------------------------------------------------------

    @abstractmethod
    def settle(self) -> FloatArray:
        """Build neighbour lists at the reference and return the forces, (n, 3).

        Atoms may change owner or order: `ids` and all per-atom attributes are updated.
        """

    @abstractmethod
    def forces(self, displacement: FloatArray | None = None) -> FloatArray:
        """Return the forces at the reference plus a displacement, (n, 3); zero on frozen components.

        Parameters
        ----------
        displacement : (n, 3) float array, optional
            Small compared with the neighbour skin; default: none.
        """

    @property
    def exact(self) -> bool:
        """Whether `hessian_product` is available; otherwise Hessian products are differences of forces."""
        return False

    def hessian_product(self, v: FloatArray) -> FloatArray:
        """Return H v at the reference exactly, (n, 3), for v of shape (n, 3); available if `exact`."""
        raise NotImplementedError(f"{type(self).__name__} has no exact Hessian products")

    @abstractmethod
    def return_to_reference(self) -> None:
        """Return to the reference, so that `energy` and `pressure` are those of the reference."""

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
        """Strain the cell and the reference permanently, and return the forces there, (n, 3).

        Atoms may change owner or order.

        Parameters
        ----------
        strain : (3, 3) float array
            Upper triangular ε of x' = x₀ + (1 + ε)(x - x₀), x₀ the cell's origin.
        """

    @abstractmethod
    def allow_tilt(self) -> None:
        """Allow the cell to be tilted. Call `settle` afterwards: atoms may change owner or order."""

    @abstractmethod
    def minimize(self, ftol: float, maxiter: int, maxeval: int) -> FloatArray:
        """Minimise the energy from a reference far from a minimum, and return the forces at the new reference, (n, 3).

        Atoms may change owner or order.

        Parameters
        ----------
        ftol : float
            Force tolerance at which to stop, eV/Å.
        maxiter, maxeval : int
            Limits on iterations and force evaluations.
        """

    def close(self) -> None:
        """Release all resources; whatever would evaluate raises from then on. Subclasses that have some extend this."""
        self.void = CLOSED.format(type(self).__name__)

    def write_structure(self) -> Path | None:
        """Write all that the evaluator knows of its atoms at the reference as a LAMMPS data file.

        Returns
        -------
        Path or None
            The temporary file, on a disk that rank 0 can read, to be moved or removed by the caller; None if the
            evaluator knows no more than ids, types, positions, cell and masses.
        """
        return None

    # -- state -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def shift(self, displacement: FloatArray) -> None:
        """Move the reference by a displacement (n, 3), small compared with the skin; neighbour lists are kept."""

    @abstractmethod
    def reference(self) -> Reference:
        """Return the present reference, to be restored with `set_reference`."""

    @abstractmethod
    def set_reference(self, reference: Reference) -> None:
        """Restore an earlier reference, including the owners and the order of atoms."""

    @property
    @abstractmethod
    def versions(self) -> dict[str, Any]:
        """Versions of the software that results are computed with, by name."""

    @property
    @abstractmethod
    def skin(self) -> float:
        """Distance by which neighbour lists extend beyond the cutoff, Å."""

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
        """Potential energy of all atoms at the last evaluated positions, eV."""

    @property
    @abstractmethod
    def pressure(self) -> FloatArray:
        """Pressure tensor P at the last evaluated positions, without kinetic part, (3, 3), eV/Å³ (eV/Å² if flat).

        Defined by dU = -V Σ_ab P_ab ε_ab for a homogeneous strain ε of cell and atoms.
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
        """Cell vectors as rows, (3, 3), lower triangular, Å."""

    @property
    @abstractmethod
    def origin(self) -> FloatArray:
        """Lower corner of the cell, (3,), Å."""

    @abstractmethod
    def masses(self) -> FloatArray:
        """Return the mass of each type, (n_types,), in the deck's units."""

    def atom_masses(self) -> FloatArray:
        """Return the mass of each of this rank's atoms, (n,), in the deck's units; zero where there is none."""
        return self.masses()[self.types - 1]

    @abstractmethod
    def neighbourhood(self) -> Neighbourhood:
        """Return owned and ghost atoms at the reference."""

    @property
    def strainable(self) -> tuple[bool, bool, bool]:
        """Directions along which the cell may be strained: periodic ones, without z of a two-dimensional deck."""
        x, y, z = self.periodic
        return x, y, z and self.deck.dimension == 3

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³; of a two-dimensional deck its area, Å², which LAMMPS' pressures refer to."""
        return float(np.prod(np.diag(self.cell)[: self.deck.dimension]))

    @property
    def spacing(self) -> float:
        """Root of the volume (or area) per atom, Å: about the distance of neighbours."""
        return float((self.volume / max(self.n_atoms, 1)) ** (1 / self.deck.dimension))

    @property
    def drift(self) -> float:
        """Largest displacement component of any atom since neighbour lists were built, Å."""
        return self.max_abs(self.positions - self._listed)

    @property
    def pair_style(self) -> str:
        """The deck's pair style with its arguments; empty if it has none."""
        return " ".join(self.deck.pair_style)

    @property
    def unwrapped(self) -> FloatArray:
        """Positions, (n, 3), Å, in the periodic images in which atoms were given, where the evaluator keeps these."""
        return self.positions

    def nearest_image(self, vectors: FloatArray) -> FloatArray:
        """Return the shortest periodic image of each vector, (n, 3), see `evaluators.images.nearest_image`."""
        return nearest_image(vectors, self.cell, self.periodic)

    # -- constraints ---------------------------------------------------------------------------------------------------

    @property
    def alone(self) -> BoolArray:
        """Components that are neither held fixed nor move together with others, (n, 3)."""
        return self.free & (self.together == 0) if self.together_counts else self.free

    @property
    def n_free(self) -> int:
        """Number of displacements that atoms can make independently, on all ranks."""
        return self.sum(int(np.count_nonzero(self.alone))) + sum(count > 0 for count in self.together_counts)

    def constrain(self, vector: FloatArray) -> FloatArray:
        """Project a vector P v on the displacements that atoms can make.

        It is zero at components that are held fixed, and the mean of those that move together. P is symmetric; forces
        are P F already, so H and C are P H P and P C, and solutions stay within the range of P.

        Parameters
        ----------
        vector : (n, 3, ...) float array
            Or several, along further axes.
        """
        return self.constraint()(vector)

    def constraint(self) -> Callable[[FloatArray], FloatArray]:
        """The function `constrain` for the present order of atoms, whatever order they have when it is called."""
        free, together = self.free, self.together

        def constrain(vector: FloatArray) -> FloatArray:
            vector = vector * free.reshape(*free.shape, *[1] * (vector.ndim - 2))
            for number, count in enumerate(self.together_counts, 1):
                members = together == number
                vector[members] = self.sum(np.asarray(vector[members].sum(axis=0))) / max(count, 1)
            return vector

        return constrain

    # -- reductions over ranks ---------------------------------------------------------------------------------------

    @overload
    def sum(self, value: int | np.integer[Any]) -> int: ...

    @overload
    def sum(self, value: float) -> float: ...

    @overload
    def sum(self, value: NDArray[Any]) -> NDArray[Any]: ...

    def sum(self, value: NDArray[Any] | np.integer[Any] | float) -> NDArray[Any] | np.integer[Any] | float:
        """Sum a number, or an array of the same shape on each rank, over all ranks."""
        if self.comm.size == 1:
            return value
        total = np.array(value, int if isinstance(value, (bool, np.bool_)) else None)
        self.comm.Allreduce(MPI.IN_PLACE, total)
        return total if isinstance(value, np.ndarray) else total.item()

    def max(self, value: float) -> float:
        """Return the largest value over all ranks; NaN if it is NaN on any rank."""
        if self.comm.size == 1:
            return float(value)
        # MPI.MAX alone may return different values on different ranks if one of them is NaN.
        largest = np.array([np.isnan(value), -np.inf if np.isnan(value) else value], float)
        self.comm.Allreduce(MPI.IN_PLACE, largest, op=MPI.MAX)
        return float("nan") if largest[0] else float(largest[1])

    def any(self, condition: bool) -> bool:
        """Return whether a condition holds on any rank, so that all ranks raise an error together."""
        return self.max(float(condition)) > 0

    def order_unchanged(self, ids: IntArray) -> bool:
        """Return whether every rank still owns the atoms with these ids, (n,), in the same order."""
        return not self.any(not np.array_equal(ids, self.ids))

    def dot(self, a: FloatArray, b: FloatArray) -> float:
        """Return the inner product of two distributed arrays."""
        return float(self.sum(float(np.vdot(a, b))))

    def norm(self, a: FloatArray) -> float:
        """Return the Euclidean norm of a distributed array."""
        return float(np.sqrt(self.dot(a, a)))

    def max_abs(self, a: FloatArray) -> float:
        """Return the largest magnitude in a distributed array."""
        return self.max(float(np.max(np.abs(a), initial=0.0)))

    def on_root(self, task: Callable[[], T]) -> T:
        """Run a task on rank 0 and return its result, or raise its error, on every rank; see `mpi.on_root`."""
        return on_root(self.comm, task)
