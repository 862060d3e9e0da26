"""Protocols of the Hessian, of the mixed derivative, and of the parameters they need.

Implementations use differences of forces (`differenced_hessian`), LAMMPS' descriptors (`descriptor_derivative`), a
sweep over the parameters (`swept_derivative`), or automatic differentiation (`exact_hessian`, `autodiff.derivatives`).
"""

from __future__ import annotations

from collections.abc import Sequence
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
        eV/Å.
    stiffness : float
        ‖Hw‖/‖w‖ of a random w, eV/Å², known after `calibrate`.
    excess : float
        Root of the sum of squares of the estimated errors of all products, each divided by its allowed error.
    """

    reference_forces: FloatArray
    stiffness: float
    excess: float

    def product(self, v: FloatArray, accuracy: float = 0.0, size: float | None = None) -> FloatArray:
        """H v to a relative accuracy, (n, 3); `size` is an estimate of ‖H v‖."""
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

    def measure(self, v: FloatArray) -> FloatArray:
        """H v, (n, 3), with the difference step that a measurement along v shows to be best; later products use it."""
        ...

    def second(self, v: FloatArray) -> FloatArray:
        """H v, (n, 3), found in another way than by `product`, with another step: to check solutions with."""
        ...


class MixedDerivative(Protocol):
    """C = ∂²U/∂X∂Θ at a reference, (3N, P), restricted to free components.

    Attributes
    ----------
    odd : (P, m) float array
        Orthonormal directions of Θ along which forces are not minus the gradient of the energy; usually m = 0.
    """

    odd: FloatArray

    @property
    def differenced(self) -> bool:
        """Whether `transposed_times` takes differences along its vector and `times` does not: one checks the other."""
        ...

    def prepare(self, progress: Progress = ...) -> None:
        """Evaluate now what `transposed_times` needs: cheapest while the engine is at the reference."""
        ...

    def to_array(self) -> FloatArray:
        """C as an (n, 3, P) array, eV/Å per unit of Θ; evaluated once and kept."""
        ...

    def gradients_array(self) -> FloatArray:
        """∂(∂U/∂Θ)/∂X, (n, 3, P); differs from C = -∂F/∂Θ along the `odd` directions only."""
        ...

    def times(self, dtheta: FloatArray) -> FloatArray:
        """C δΘ, (n, 3)."""
        ...

    def transposed_times(self, vector: FloatArray) -> FloatArray:
        """Cᵀ v, (P,), summed over ranks."""
        ...

    def gradients_transposed_times(self, vector: FloatArray) -> FloatArray:
        """Transpose of `gradients_array` times v, (P,), summed over ranks."""
        ...

    def gram(self) -> FloatArray:
        """CᵀC, (P, P)."""
        ...

    def energy_gradient(self) -> FloatArray:
        """∂U/∂Θ, (P,), eV per unit of Θ."""
        ...

    def bare_second_derivative(self) -> FloatArray:
        """∂²U/∂Θ² at fixed positions, (P, P)."""
        ...

    def coupling(self, freedom: StrainFreedom, steps: Sequence[float] = ...) -> Coupling:
        """Derivatives with respect to the strains of `freedom`; see `measure_coupling` for `steps`."""
        ...

    @property
    def collects(self) -> bool:
        """Whether `collect` returns values whose changes tell those of ∂U/∂Θ."""
        ...

    def collect(self) -> FloatArray:
        """Per-atom values at the positions and in the cell that the engine is in, (n, K); empty if not `collects`."""
        ...

    def summed(self, collected: FloatArray) -> FloatArray:
        """∂U/∂Θ less its constants, (P,), from what `collect` returned, or a linear combination of such."""
        ...

    def curvatures(self, steps: Sequence[FloatArray]) -> FloatArray:
        """∂(sᵀHs)/∂Θ along the `odd` directions, (p, m), or, if not `collects`, along each parameter, (p, P).

        Parameters
        ----------
        steps : sequence of (n, 3) float arrays
            s, Å: displacements that differences are taken over.
        """
        ...


class StrainedDerivative(MixedDerivative, Protocol):
    """A mixed derivative whose strain derivatives are found by differences: see `coupling.measure_coupling`."""

    @property
    def engine(self) -> Evaluator:
        """The evaluator, which can strain its cell."""
        ...

    def under_strain(self, basis: FloatArray, changes: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """D = ∂²U/∂e∂Θ, (k, P), from the pressure and from the energy.

        Parameters
        ----------
        basis : (6, k) float array
            Components (xx, yy, zz, yz, xz, xy) of each strain.
        changes : list of float arrays
            Derivative of what `collect` returned with respect to each strain.
        """
        ...


class Installable(Protocol):
    """Parameters that can be installed in an engine: the part of a potential that operators need."""

    @property
    def theta(self) -> FloatArray:
        """Values of the selected parameters, (P,)."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the selected parameters."""
        ...

    def install(self, engine: Any, dtheta: FloatArray) -> FloatArray:
        """Install Θ + δΘ and return the forces at the reference, (n, 3). One force evaluation."""
        ...


class Swept(Installable, Protocol):
    """Parameters whose derivatives are found by differences, each with its own step."""

    @property
    def linear(self) -> BoolArray:
        """Whether U is linear in each selected parameter, (P,)."""
        ...

    def steps(self) -> FloatArray:
        """Difference step of each parameter, (P,): its own size where U is linear in it."""
        ...


class Descriptors(Installable, Protocol):
    """A potential linear in its parameters, U = Σ_k Θ_k B_k(X) + fixed part, for which LAMMPS computes B and ∂B/∂X."""

    def atom_descriptors(self, engine: Any) -> FloatArray:
        """Per-atom descriptors at the last evaluated positions, (n, K), valid until the next call. One evaluation."""
        ...

    def sum_descriptors(self, engine: Any, atoms: FloatArray) -> FloatArray:
        """Sum per-atom descriptors over all atoms, (P,): one number per selected parameter, zero for constant terms."""
        ...

    def counts(self, engine: Any) -> FloatArray:
        """∂U/∂Θ of the selected constant terms, that is numbers of atoms, (P,); zero for all others."""
        ...

    def gradient_bytes(self, n_atoms: int) -> int:
        """Bytes that LAMMPS needs for the descriptor gradients of `n_atoms` atoms."""
        ...

    def gradients(self, engine: Any) -> FloatArray:
        """∂B/∂X at the last evaluated positions, in LAMMPS' layout. One descriptor evaluation."""
        ...

    def gradients_times(self, gradients: FloatArray, dtheta: FloatArray) -> FloatArray:
        """∂B/∂X δΘ, (n, 3)."""
        ...

    def gradients_transposed_times(self, gradients: FloatArray, vector: FloatArray) -> FloatArray:
        """(∂B/∂X)ᵀ v, (P,), of this rank's atoms alone."""
        ...

    def gradients_array(self, gradients: FloatArray) -> FloatArray:
        """∂B/∂X, (n, 3, P)."""
        ...

    def inconsistent_directions(self) -> FloatArray:
        """Orthonormal directions of Θ along which forces are not -Σ_k Θ_k ∂B_k/∂X, (P, m); usually m = 0."""
        ...
