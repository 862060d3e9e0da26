"""A quadratic energy in memory, for checks that need no potential."""

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
    """Atoms with U = ½ uᵀM u, where u counts from where they rest; not periodic, without a pressure.

    Attributes
    ----------
    matrix : (3N, 3N) float array
        M, in id order, on all ranks: for small N only.
    rest : (n, 3) float array
        Positions of this rank's atoms at which forces vanish.
    """

    matrix: FloatArray
    rest: FloatArray
    _energy: float = 0.0
    _displacement: FloatArray | None = field(default=None, repr=False)

    @classmethod
    def of(cls, matrix: FloatArray, comm: MPI.Comm, free: BoolArray | None = None) -> Harmonic:
        """Atoms at rest on a line, shared out between ranks; `free` is (N, 3), by default everywhere true."""
        ids = np.array_split(np.arange(len(matrix) // 3), comm.size)[comm.rank]
        rest = 3.0 * ids[:, None] * np.array([1.0, 0.0, 0.0])
        here = np.ones((len(ids), 3), bool) if free is None else free[ids]
        types = np.ones(len(ids), np.int64)
        atoms = {"ids": ids, "types": types, "positions": rest.copy(), "free": here, "_listed": rest}
        return cls(comm=comm, matrix=matrix, rest=rest, **atoms)

    def hessian_product(self, v: FloatArray) -> FloatArray:
        """M v of this rank's atoms, (n, 3)."""
        everywhere = fetch(self.comm, self.ids, v, np.arange(self.n_atoms)).reshape(-1)
        rows = (3 * self.ids[:, None] + np.arange(3)).reshape(-1)
        self.evaluations.forces += 2
        return (self.matrix[rows] @ everywhere).reshape(v.shape)

    @property
    def exact(self) -> bool:
        """Hessian products are exact."""
        return True

    def forces(self, displacement: FloatArray | None = None) -> FloatArray:
        """-M u, (n, 3)."""
        u = self.positions - self.rest + (0.0 if displacement is None else displacement)
        pull = self.hessian_product(u)
        self.evaluations.forces -= 1  # one evaluation, as any force
        self._energy, self._displacement = 0.5 * self.dot(u, pull), displacement
        return -pull * self.free

    def settle(self) -> FloatArray:
        """Forces at the reference: there are no lists."""
        self._listed = self.positions
        return self.forces()

    def return_to_reference(self) -> None:
        """Evaluate the reference where the last evaluation was elsewhere."""
        if self._displacement is not None:
            self.forces()

    def shift(self, displacement: FloatArray) -> None:
        """Move the reference."""
        self.positions = self.positions + displacement
        self._displacement = -displacement

    def reference(self) -> Reference:
        """Where it stands."""
        return Reference(self.ids, self.positions, np.zeros(len(self.ids), np.int64), self.cell)

    def set_reference(self, reference: Reference) -> None:
        """Stand there again."""
        self.shift(reference.positions - self.positions)

    def strained_forces(self, strain: FloatArray) -> FloatArray:
        """There is no cell to strain."""
        raise LammpsImplicitError("atoms without a cell cannot be strained")

    def unstrain(self) -> FloatArray:
        """Forces at the reference: it was never strained."""
        return self.forces()

    def strain_reference(self, strain: FloatArray) -> FloatArray:
        """There is no cell to strain."""
        raise LammpsImplicitError("atoms without a cell cannot be strained")

    def allow_tilt(self) -> None:
        """There is no cell to tilt."""
        raise LammpsImplicitError("atoms without a cell cannot be strained")

    def minimize(self, ftol: float, maxiter: int, maxeval: int) -> FloatArray:
        """Go to rest."""
        self.shift(self.rest - self.positions)
        return self.settle()

    def close(self) -> None:
        """There is nothing to let go of."""

    def masses(self) -> FloatArray:
        """One."""
        return np.ones(1)

    def neighbourhood(self) -> Neighbourhood:
        """This rank's atoms: there are no ghosts."""
        return Neighbourhood(self.positions, self.ids, self.types, self.free)

    @property
    def energy(self) -> float:
        """½ uᵀM u at the last evaluated positions."""
        return self._energy

    @property
    def pressure(self) -> FloatArray:
        """Zero, (3, 3)."""
        return np.zeros((3, 3))

    @property
    def versions(self) -> dict[str, Any]:
        """None."""
        return {}

    @property
    def skin(self) -> float:
        """1 Å: there are no lists."""
        return 1.0

    @property
    def n_atoms(self) -> int:
        """Number of atoms on all ranks."""
        return len(self.matrix) // 3

    @property
    def n_types(self) -> int:
        """One."""
        return 1

    @property
    def triclinic(self) -> bool:
        """Not."""
        return False

    @property
    def periodic(self) -> tuple[bool, bool, bool]:
        """Nowhere."""
        return False, False, False

    @property
    def cell(self) -> FloatArray:
        """Unit vectors, (3, 3)."""
        return np.eye(3)

    @property
    def origin(self) -> FloatArray:
        """Zero, (3,)."""
        return np.zeros(3)
