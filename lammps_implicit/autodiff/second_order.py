"""Exact second implicit derivatives d²X*/dΘ²; third derivatives of U enter as nested directional derivatives.

Let y = (u, e) be displacements and strain (see `cell`). Differentiating ∇E(y*(Θ), Θ) = 0 twice, along δ₁ and δ₂, gives

    ∇²E y₁₂ = -D²[∇E]((y₁, δ₁), (y₂, δ₂)),    y₁ = dy*/dΘ δ₁,  y₂ = dy*/dΘ δ₂.

The right-hand side is two nested Jacobian-vector products of the gradient. The operator on the left is that of a first
derivative, so each second derivative takes one linear solve.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.autodiff.evaluator import AutodiffEvaluator
from lammps_implicit.cell.freedom import CellResponse
from lammps_implicit.cell.system import CellSystem
from lammps_implicit.cell.voigt import components
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.minimum import Minimum


class Tangent(NamedTuple):
    """Change (u, e, δΘ) of y* and Θ: u (N, 3), components of the strain e (k,), δΘ (P,)."""

    displacement: FloatArray
    strain: FloatArray
    dtheta: FloatArray


@overload
def second_jvp(  # type: ignore[overload-overlap]
    minimum: Minimum,
    first: ArrayLike,
    second: ArrayLike | None = None,
    tol: float = ...,
    *,
    cell: Literal["none"] = ...,
) -> FloatArray: ...


@overload
def second_jvp(
    minimum: Minimum,
    first: ArrayLike,
    second: ArrayLike | None = None,
    tol: float = ...,
    *,
    cell: str,
    pressure: float | str | ArrayLike | None = ...,
) -> CellResponse: ...


def second_jvp(
    minimum: Minimum,
    first: ArrayLike,
    second: ArrayLike | None = None,
    tol: float = 1e-8,
    *,
    cell: str = "none",
    pressure: float | str | ArrayLike | None = None,
) -> FloatArray | CellResponse:
    """d²X*/dΘ² along two parameter changes: X*(Θ + δ) = X* + jvp(δ) + ½ second_jvp(δ) + O(|δ|³).

    Parameters
    ----------
    minimum : Minimum
        Of a JAX energy.
    first, second : (P,) array_like
        Changes δ₁ and δ₂ of the parameters; `second` defaults to `first`.
    tol : float
        Relative residual of each linear solve. There are three solves, or two if `second` is not given.
    cell, pressure
        As for `Minimum.jvp`.

    Returns
    -------
    (N, 3) float array, or CellResponse
        Å, bilinear and symmetric in δ₁ and δ₂. If the cell relaxes too, displacement and strain.

    Raises
    ------
    LammpsImplicitError
        If the minimum was evaluated by LAMMPS, or a change does not have P numbers.
    """
    system = None if cell == "none" else minimum.cell_system(tol, cell, pressure)
    one = _tangent(minimum, first, tol, system)
    two = one if second is None else _tangent(minimum, second, tol, system)
    displacement, strain = _second(minimum, one, two, tol, system)
    return displacement if system is None else CellResponse(displacement, strain)


def second_jacobian(minimum: Minimum, tol: float = 1e-8) -> FloatArray:
    """The whole of d²X*/dΘ² at fixed cell; for small systems, as it takes P + P(P + 1)/2 linear solves.

    Parameters
    ----------
    minimum : Minimum
        Of a JAX energy.
    tol : float
        Relative residual of each solve.

    Returns
    -------
    (P, P, N, 3) float array
        Å per unit of each of the two parameters; symmetric in the first two indices.

    Raises
    ------
    LammpsImplicitError
        If the minimum was evaluated by LAMMPS.
    """
    tangents = [_tangent(minimum, unit, tol, None) for unit in np.eye(len(minimum.potential.theta))]
    found = np.zeros((len(tangents), len(tangents), *minimum.positions.shape))
    for row, one in enumerate(tangents):
        for column, two in enumerate(tangents[: row + 1]):
            found[row, column] = found[column, row] = _second(minimum, one, two, tol, None)[0]
    return found


def _tangent(minimum: Minimum, change: ArrayLike, tol: float, system: CellSystem | None) -> Tangent:
    """First derivatives along a parameter change."""
    _autodiff_evaluator(minimum)
    displacement, dtheta = minimum.jvp(change, tol), np.asarray(change, float)
    if system is None:
        return Tangent(displacement, np.zeros(0), dtheta)
    strain = dtheta @ system.strain_jacobian
    return Tangent(displacement - system.relaxed @ strain, strain, dtheta)


def _second(
    minimum: Minimum, one: Tangent, two: Tangent, tol: float, system: CellSystem | None
) -> tuple[FloatArray, FloatArray]:
    """Second derivative along two tangents: displacement (N, 3) and components of the strain (k,)."""
    engine = _autodiff_evaluator(minimum)
    first, second = _strain_tensor(one, system), _strain_tensor(two, system)
    tangents = [(tangent.displacement, strain, tangent.dtheta) for tangent, strain in ((one, first), (two, second))]
    position_part, strain_part = engine.apply(engine.derivatives.second_tangent, *tangents, count=4)
    position_part = position_part * engine.free
    displacement = minimum.response.solve(-position_part, tol)
    if system is None:
        return displacement, np.zeros(0)
    strain_part = strain_part + engine.volume * _second_work(first, second, system.freedom.target)
    eliminated = np.einsum("nak,na->k", system.relaxed, position_part)
    strain = -np.linalg.solve(system.stiffness, system.freedom.basis.T @ components(strain_part) - eliminated)
    # x₀ + (1 + ε)(X + u - x₀) contains the product of ε and u.
    product = two.displacement @ first.T + one.displacement @ second.T
    return displacement + np.tensordot(strain, system.patterns(), axes=1) + product, strain


def _strain_tensor(tangent: Tangent, system: CellSystem | None) -> FloatArray:
    return np.zeros((3, 3)) if system is None else np.tensordot(tangent.strain, system.freedom.tensors(), axes=1)


def _second_work(first: FloatArray, second: FloatArray, target: FloatArray) -> FloatArray:
    """Second derivative of det(F) T F⁻ᵀ, F = 1 + ε, along two strains, where T is the applied pressure tensor."""

    def work_gradient(strain: Any) -> Any:
        deformation = jnp.eye(3) + strain
        return jnp.linalg.det(deformation) * target @ jnp.linalg.inv(deformation).T

    def along_second(strain: Any) -> Any:
        return jax.jvp(work_gradient, (strain,), (jnp.asarray(second),))[1]

    return np.asarray(jax.jvp(along_second, (jnp.zeros((3, 3)),), (jnp.asarray(first),))[1])


def _autodiff_evaluator(minimum: Minimum) -> AutodiffEvaluator:
    if not isinstance(minimum.engine, AutodiffEvaluator):
        raise LammpsImplicitError(
            "second derivatives of structures need a JAX energy: take the structure over with autodiff.from_lammps"
        )
    return minimum.engine
