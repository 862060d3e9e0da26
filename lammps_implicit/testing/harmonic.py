"""An evaluator with a quadratic energy, for checks that need no potential."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood, Reference
from lammps_implicit.mpi.ownership import fetch


@dataclass(kw_only=True)
class Harmonic(Evaluator):
    """Atoms with U = ½ uᵀM u, where u is the displacement from rest; not periodic, zero pressure.

    Attributes
    ----------
    matrix : (3N, 3N) float array
        M, eV/Å², in id order. Every rank holds all of it, so N must be small.
    rest : (n, 3) float array
        Å; positions of this rank's atoms at which forces vanish.
    """

    matrix: FloatArray
    rest: FloatArray
    _energy: float = 0.0
    _displacement: FloatArray | None = field(default=None, repr=False)

    @classmethod
    def of(cls, matrix: FloatArray, comm: MPI.Comm, free: BoolArray | None = None) -> Harmonic:
        """Atoms at rest on a line, distributed over ranks.

        Parameters
        ----------
        matrix : (3N, 3N) float array
            M, eV/Å².
        comm : MPI.Comm
        free : (N, 3) bool array, optional
            False for frozen components; by default all are free.
        """
        ids = np.array_split(np.arange(len(matrix) // 3), comm.size)[comm.rank]
        rest = 3.0 * ids[:, None] * np.array([1.0, 0.0, 0.0])
        here = np.ones((len(ids), 3), bool) if free is None else free[ids]
        types = np.ones(len(ids), np.int64)
        atoms = {"ids": ids, "types": types, "positions": rest.copy(), "free": here, "_listed": rest}
        return cls(comm=comm, matrix=matrix, rest=rest, **atoms)

    def hessian_product(self, v: FloatArray) -> FloatArray:
        """M v, (n, 3) rows of this rank's atoms; counts as two force evaluations."""
        everywhere = fetch(self.comm, self.ids, v, np.arange(self.n_atoms)).reshape(-1)
        rows = (3 * self.ids[:, None] + np.arange(3)).reshape(-1)
        self.evaluations.forces += 2
        return (self.matrix[rows] @ everywhere).reshape(v.shape)

    @property
    def exact(self) -> bool:
        """Hessian products are exact."""
        return True

    def forces(self, displacement: FloatArray | None = None) -> FloatArray:
        """Forces -M u, (n, 3), zero on frozen components."""
        u = self.positions - self.rest + (0.0 if displacement is None else displacement)
        pull = self.hessian_product(u)
        self.evaluations.forces -= 1  # counts as one evaluation
        self._energy, self._displacement = 0.5 * self.dot(u, pull), displacement
        return -pull * self.free

    def settle(self) -> FloatArray:
        """Forces at the reference; there are no neighbour lists to build."""
        self._listed = self.positions
        return self.forces()

    def return_to_reference(self) -> None:
        """Evaluate at the reference if the last evaluation was elsewhere."""
        if self._displacement is not None:
            self.forces()

    def shift(self, displacement: FloatArray) -> None:
        """Move the reference by a displacement, (n, 3)."""
        self.positions = self.positions + displacement
        self._displacement = -displacement

    def reference(self) -> Reference:
        """The current reference."""
        return Reference(self.ids, self.positions, np.zeros(len(self.ids), np.int64), self.cell)

    def set_reference(self, reference: Reference) -> None:
        """Restore a reference."""
        self.shift(reference.positions - self.positions)

    def strained_forces(self, strain: FloatArray) -> FloatArray:
        """There is no cell to strain."""
        raise LammpsImplicitError("atoms without a cell cannot be strained")

    def unstrain(self) -> FloatArray:
        """Forces at the reference: it was never strained."""
        return self.forces()

    def strain_reference(self, strain: FloatArray) -> FloatArray:
        """Raise: there is no cell to strain."""
        raise LammpsImplicitError("atoms without a cell cannot be strained")

    def allow_tilt(self) -> None:
        """Raise: there is no cell to tilt."""
        raise LammpsImplicitError("atoms without a cell cannot be strained")

    def minimize(self, ftol: float, maxiter: int, maxeval: int) -> FloatArray:
        """Move the atoms to rest."""
        self.shift(self.rest - self.positions)
        return self.settle()

    def masses(self) -> FloatArray:
        """Mass of the only atom type, (1,)."""
        return np.ones(1)

    def neighbourhood(self) -> Neighbourhood:
        """This rank's atoms; there are no ghost atoms."""
        return Neighbourhood(self.positions, self.ids, self.types, self.free)

    @property
    def energy(self) -> float:
        """½ uᵀM u, eV, at the positions evaluated last."""
        return self._energy

    @property
    def pressure(self) -> FloatArray:
        """Zero pressure tensor, (3, 3)."""
        return np.zeros((3, 3))

    @property
    def versions(self) -> dict[str, Any]:
        """No versions: no library evaluates this energy."""
        return {}

    @property
    def skin(self) -> float:
        """1 Å, which sets the size of displacements in checks; there are no neighbour lists."""
        return 1.0

    @property
    def n_atoms(self) -> int:
        """Number of atoms on all ranks."""
        return len(self.matrix) // 3

    @property
    def n_types(self) -> int:
        """Number of atom types."""
        return 1

    @property
    def triclinic(self) -> bool:
        """False: there is no cell to tilt."""
        return False

    @property
    def periodic(self) -> tuple[bool, bool, bool]:
        """Not periodic in any direction."""
        return False, False, False

    @property
    def cell(self) -> FloatArray:
        """Unit matrix, (3, 3), as there is no cell."""
        return np.eye(3)

    @property
    def origin(self) -> FloatArray:
        """Origin, (3,)."""
        return np.zeros(3)
