"""Linear solvers for H x = b behind one protocol, and the learned preconditioner K⁻¹.

`interface` defines `LinearSystem`, `LinearSolver`, `Solution` and `Status`; the solvers are `conjugate_gradients`
(SciPy) and `petsc_krylov` for single right-hand sides, `conjugate_directions` for many, `dense` for very small cells
and `minimal_residual` for saddles; `backend` chooses among them. `nullspace` projects rigid motions out. `springs`
describes springs between the pairs of `bonds`, and `bends` those of angles; `spring_fit` fits them to one Hessian
product, or to three, of which `yielding` makes use; `spring_inverse` and `petsc_spring_inverse` invert them,
`preconditioner` keeps the last fit, `softest` finds the softest modes of H. Files named ``petsc_`` are
loaded on several ranks only.

Functions named like their file (`backend`, `spring_inverse`) are imported from there.
"""

from lammps_implicit.solvers.backend import Backend
from lammps_implicit.solvers.conjugate_directions import ConjugateDirections
from lammps_implicit.solvers.conjugate_gradients import ConjugateGradients
from lammps_implicit.solvers.dense import Dense
from lammps_implicit.solvers.interface import LinearSolver, LinearSystem, Operator, Solution, Status
from lammps_implicit.solvers.minimal_residual import MinimalResidual
from lammps_implicit.solvers.nullspace import NullSpace, find_null_space, rigid_motions
from lammps_implicit.solvers.preconditioner import Fitted, Preconditioner
from lammps_implicit.solvers.softest import EqualModes, Mode, softest_modes
from lammps_implicit.solvers.spring_fit import fit_springs
from lammps_implicit.solvers.springs import Springs, random_vector

__all__ = [
    "Backend",
    "ConjugateDirections",
    "ConjugateGradients",
    "Dense",
    "EqualModes",
    "Fitted",
    "LinearSolver",
    "LinearSystem",
    "MinimalResidual",
    "Mode",
    "NullSpace",
    "Operator",
    "Preconditioner",
    "Solution",
    "Springs",
    "Status",
    "find_null_space",
    "fit_springs",
    "random_vector",
    "rigid_motions",
    "softest_modes",
]
