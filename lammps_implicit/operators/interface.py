"""Interfaces of the Hessian and the mixed derivative as operators on displacements, and of the parameters they need.

By differences of LAMMPS forces (`differenced_hessian`), from LAMMPS' descriptors (`descriptor_derivative`), by
installing every parameter (`swept_derivative`), or exact (`autodiff.derivatives`).
"""

from __future__ import annotations

from typing import Any, Protocol

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.cell.freedom import Coupling, StrainFreedom
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.progress import Progress


class Hessian(Protocol):
    """H = ∂²U/∂X² at a reference, restricted to free components.

    Attributes
    ----------
    reference_forces : (n, 3) float array
    stiffness : float
        ‖Hw‖/‖w‖ of a random w, known after `calibrate`.
    excess : float
        Root of the sum of squares of the estimated errors of all products, each in units of what it was allowed.
    """

    reference_forces: FloatArray
    stiffness: float
    excess: float

    def product(self, v: FloatArray, accuracy: float = 0.0, size: float | None = None) -> FloatArray:
        """H v to a relative accuracy, (n, 3); `size` is ‖H v‖ as far as it is known."""
        ...

    def one_sided(self, v: FloatArray) -> FloatArray:
        """H v at the lowest cost, (n, 3)."""
        ...

    def central(self, v: FloatArray) -> FloatArray:
        """H v as accurately as possible, (n, 3)."""
        ...

    def calibrate(self, v: FloatArray) -> FloatArray:
        """H v of a random v, (n, 3); measures `stiffness`."""
        ...


class MixedDerivative(Protocol):
    """C = ∂²U/∂X∂Θ at a reference, (3N, P), restricted to free components.

    Attributes
    ----------
    odd : (P, m) float array
        Orthonormal directions of Θ along which forces are not the gradient of the energy; mostly none.
    """

    odd: FloatArray

    def prepare(self, progress: Progress = ...) -> None:
        """Evaluate what `transposed_times` will need now: cheapest while the engine stands at the reference."""
        ...

    def to_array(self) -> FloatArray:
        """C as an (n, 3, P) array; what it evaluates is kept for further calls."""
        ...

    def gradients_array(self) -> FloatArray:
        """That of the energy, which differs from C along `odd` directions, (n, 3, P)."""
        ...

    def times(self, dtheta: FloatArray) -> FloatArray:
        """C δΘ, (n, 3)."""
        ...

    def transposed_times(self, vector: FloatArray) -> FloatArray:
        """Cᵀ v, (P,)."""
        ...

    def gradients_transposed_times(self, vector: FloatArray) -> FloatArray:
        """That of the energy, which differs from Cᵀ v along odd directions, (P,)."""
        ...

    def gram(self) -> FloatArray:
        """CᵀC, (P, P)."""
        ...

    def energy_gradient(self) -> FloatArray:
        """∂U/∂Θ, (P,)."""
        ...

    def bare_second_derivative(self) -> FloatArray:
        """∂²U/∂Θ² at fixed positions, (P, P)."""
        ...

    def coupling(self, freedom: StrainFreedom) -> Coupling:
        """Derivatives under strain."""
        ...


class StrainedDerivative(MixedDerivative, Protocol):
    """A mixed derivative whose derivatives under strain are differenced: see `coupling.measure_coupling`."""

    @property
    def engine(self) -> Evaluator:
        """Evaluator that strains its cell."""
        ...

    def collect(self) -> FloatArray:
        """Per-atom values at the strained state where the engine stands, for `under_strain`."""
        ...

    def under_strain(self, basis: FloatArray, changes: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """D = ∂²U/∂e∂Θ, (k, P): that of the pressure, and that of the energy.

        Parameters
        ----------
        basis : (6, k) float array
            Strains.
        changes : list of arrays
            Derivatives of what `collect` returned with respect to each strain.
        """
        ...


class Installable(Protocol):
    """Parameters that can be installed in an engine: what operators need of a potential."""

    @property
    def theta(self) -> FloatArray:
        """Values of the selected parameters, (P,)."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Their labels."""
        ...

    def install(self, engine: Any, dtheta: FloatArray) -> FloatArray:
        """Install Θ + δΘ and return the forces at the reference, (n, 3). One force evaluation."""
        ...


class Swept(Installable, Protocol):
    """Parameters whose derivatives are differences over steps of their own."""

    @property
    def linear(self) -> BoolArray:
        """Whether U is linear in each selected parameter, (P,)."""
        ...

    def steps(self) -> FloatArray:
        """Steps of the parameters, (P,): as long as themselves where U is linear."""
        ...


class Descriptors(Installable, Protocol):
    """A potential linear in its parameters, U = Σ_k Θ_k B_k(X) + fixed part, with LAMMPS computes of B and ∂B/∂X."""

    def atom_descriptors(self, engine: Any) -> FloatArray:
        """Per-atom descriptors at the last evaluated positions, (n, K), until the next. One descriptor evaluation."""
        ...

    def sum_descriptors(self, engine: Any, atoms: FloatArray) -> FloatArray:
        """Sum per-atom descriptors to one number per selected parameter, (P,), constant terms left at zero."""
        ...

    def counts(self, engine: Any) -> FloatArray:
        """∂U/∂Θ of the selected constant terms, i.e. numbers of atoms, (P,); zero elsewhere."""
        ...

    def gradient_bytes(self, n_atoms: int) -> int:
        """Memory that LAMMPS takes for the descriptors' gradients of so many atoms."""
        ...

    def gradients(self, engine: Any) -> FloatArray:
        """∂B/∂X at the last evaluated positions as LAMMPS holds it. One descriptor evaluation."""
        ...

    def gradients_times(self, gradients: FloatArray, dtheta: FloatArray) -> FloatArray:
        """∂B/∂X δΘ, (n, 3)."""
        ...

    def gradients_transposed_times(self, gradients: FloatArray, vector: FloatArray) -> FloatArray:
        """(∂B/∂X)ᵀ v over this rank's atoms, (P,)."""
        ...

    def gradients_array(self, gradients: FloatArray) -> FloatArray:
        """∂B/∂X, (n, 3, P)."""
        ...

    def inconsistent_directions(self) -> FloatArray:
        """Orthonormal directions of Θ along which LAMMPS' forces are not -Σ_k Θ_k ∂B_k/∂X, (P, m); mostly none."""
        ...
