"""Second implicit derivatives d²X*/dΘ², exact: third derivatives of U enter as nested directional ones.

Differentiating ∇E(y*(Θ), Θ) = 0 twice, with y = (u, e) displacements and strain (see `cell`), along δ₁ and δ₂:

    ∇²E y₁₂ = -D²[∇E]((y₁, δ₁), (y₂, δ₂)),    y₁ = dy*/dΘ δ₁,  y₂ = dy*/dΘ δ₂.

The right-hand side is two nested jvp's of the gradient, the left-hand side that of a first derivative: one solve.
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


class Way(NamedTuple):
    """How y* and Θ change together: u (N, 3), the components of the strain e (k,), and δΘ (P,)."""

    moved: FloatArray
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
    """d²X*/dΘ² along two changes of the parameters: X*(Θ + δ) = X* + jvp(δ) + ½ second_jvp(δ) + O(|δ|³).

    Parameters
    ----------
    minimum : Minimum
        Of a JAX energy.
    first, second : (P,) array_like
        δ₁ and δ₂; `second` is `first` by default.
    tol : float
        Relative residual of each solve: three, two if δ₁ is δ₂.
    cell, pressure
        As for `Minimum.jvp`.

    Returns
    -------
    (N, 3) float array, or CellResponse
        Å per unit of δ₁ and of δ₂; symmetric in them. With a cell that answers also its strain's second derivative.

    Raises
    ------
    LammpsImplicitError
        If the minimum is LAMMPS', or a change is not of P numbers.
    """
    system = None if cell == "none" else minimum.cell_system(tol, cell, pressure)
    one = _way(minimum, first, tol, system)
    two = one if second is None else _way(minimum, second, tol, system)
    moved, strain = _second(minimum, one, two, tol, system)
    return moved if system is None else CellResponse(moved, strain)


def second_jacobian(minimum: Minimum, tol: float = 1e-8) -> FloatArray:
    """All of d²X*/dΘ² in the cell as it is, (P, P, N, 3): P first and P(P + 1)/2 second solves, for small systems."""
    ways = [_way(minimum, unit, tol, None) for unit in np.eye(len(minimum.potential.theta))]
    found = np.zeros((len(ways), len(ways), *minimum.positions.shape))
    for row, one in enumerate(ways):
        for column, two in enumerate(ways[: row + 1]):
            found[row, column] = found[column, row] = _second(minimum, one, two, tol, None)[0]
    return found


def _way(minimum: Minimum, change: ArrayLike, tol: float, system: CellSystem | None) -> Way:
    """First derivatives along a change."""
    _exact(minimum)
    moved, dtheta = minimum.jvp(change, tol), np.asarray(change, float)
    if system is None:
        return Way(moved, np.zeros(0), dtheta)
    strain = dtheta @ system.strain_jacobian
    return Way(moved - system.relaxed @ strain, strain, dtheta)


def _second(
    minimum: Minimum, one: Way, two: Way, tol: float, system: CellSystem | None
) -> tuple[FloatArray, FloatArray]:
    engine = _exact(minimum)
    first, second = _strain(one, system), _strain(two, system)
    ways = [(way.moved, strain, way.dtheta) for way, strain in ((one, first), (two, second))]
    pull, drive = engine.apply(engine.derivatives.twice, *ways, count=4)
    pull = pull * engine.free
    moved = minimum.response.solve(-pull, tol)
    if system is None:
        return moved, np.zeros(0)
    drive = drive + engine.volume * _work(first, second, system.freedom.target)
    eliminated = np.einsum("nak,na->k", system.relaxed, pull)
    strain = -np.linalg.solve(system.stiffness, system.freedom.basis.T @ components(drive) - eliminated)
    bent = two.moved @ first.T + one.moved @ second.T  # x₀ + (1 + ε)(X + u - x₀) has a part with both ε and u
    return moved + np.tensordot(strain, system.patterns(), axes=1) + bent, strain


def _strain(way: Way, system: CellSystem | None) -> FloatArray:
    return np.zeros((3, 3)) if system is None else np.tensordot(way.strain, system.freedom.tensors(), axes=1)


def _work(first: FloatArray, second: FloatArray, target: FloatArray) -> FloatArray:
    """Second derivative of det(F) T F⁻ᵀ, F = 1 + ε, along two strains: work done against what holds the cell."""

    def slope(strain: Any) -> Any:
        deform = jnp.eye(3) + strain
        return jnp.linalg.det(deform) * target @ jnp.linalg.inv(deform).T

    still = jnp.zeros((3, 3))
    along = jax.jvp(lambda at: jax.jvp(slope, (at,), (jnp.asarray(second),))[1], (still,), (jnp.asarray(first),))[1]
    return np.asarray(along)


def _exact(minimum: Minimum) -> AutodiffEvaluator:
    if not isinstance(minimum.engine, AutodiffEvaluator):
        raise LammpsImplicitError(
            "second derivatives of structures need a JAX energy: take the structure over with autodiff.from_lammps"
        )
    return minimum.engine
