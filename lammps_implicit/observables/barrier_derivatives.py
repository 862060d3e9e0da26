"""A barrier with all its derivatives, how accurate they are, and the derivatives of the path over it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.conformance.costs import DEAR, is_dear
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.observables.cells import enthalpy, volume
from lammps_implicit.observables.config import OF_SADDLES
from lammps_implicit.observables.observable import Observable, combine
from lammps_implicit.operators.swept_derivative import SweptDerivative
from lammps_implicit.response.statistics import Statistics, combined
from lammps_implicit.results.costs import hessian_evaluations
from lammps_implicit.saddles.barrier import Barrier, carried
from lammps_implicit.solvers.nullspace import unresisted
from lammps_implicit.stationary.point import StationaryPoint

FORWARD, BACKWARD, VOLUME = OF_SADDLES
"""Names of the observables of a barrier."""

_ROUGH = 1e-2
"""Relative tolerance of estimates of errors. Chosen: two digits are plenty."""

_SHOWN = 3
"""Atoms that move most, as far as they are told."""


@dataclass(frozen=True)
class BarrierDerivatives:
    """Observables of a barrier and their quality.

    Attributes
    ----------
    barrier : Barrier
    observables : dict of str to Observable
        `FORWARD` and `BACKWARD`; `VOLUME` too where the cell is relaxed.
    gradient_errors : dict of str to (P,) float array
        Estimated errors of the gradients of the barriers.
    mode_ids : (n,) int array
        Ids of this rank's atoms, the rows of the mode.
    quality : Statistics
        Of the products at the three states: the worst.
    """

    barrier: Barrier
    observables: dict[str, Observable]
    gradient_errors: dict[str, FloatArray]
    mode_ids: IntArray
    quality: Statistics

    @property
    def states(self) -> dict[str, StationaryPoint]:
        """The two minima and the saddle, by name."""
        barrier = self.barrier
        return {"initial": barrier.initial, "saddle": barrier.saddle, "final": barrier.final}

    def path_deviations(self, covariance: FloatArray) -> FloatArray | None:
        """Standard deviation of the energy of each image above the initial minimum, to first order, (m,).

        Parameters
        ----------
        covariance : (P, P) float array
            Of the parameters.
        """
        path = self.barrier.path
        if path is None or path.energy_gradients is None:
            return None
        return path_deviations(path.energy_gradients, covariance)


def path_deviations(gradients: FloatArray, covariance: FloatArray) -> FloatArray:
    """Standard deviations of energies above that of the first image, √(gᵀ Σ g), (m,).

    Parameters
    ----------
    gradients : (m, P) float array
        ∂U/∂Θ at the images.
    covariance : (P, P) float array
    """
    relative = gradients - gradients[0]
    return np.sqrt(np.maximum(np.einsum("mp,pq,mq->m", relative, covariance, relative), 0.0))


def differentiate_barrier(
    barrier: Barrier, tol: float = 1e-5, energy_hessian: bool | None = None
) -> BarrierDerivatives:
    """Differentiate a barrier from both sides.

    The gradient needs no solve, its second derivative the Jacobians of the minima and the saddle.

    Parameters
    ----------
    barrier : Barrier
    tol : float
        Relative tolerance of the Jacobians.
    energy_hessian : bool, optional
        Whether to take second derivatives. Default: unless those at fixed positions cost more than 2,000 evaluations
        and ten times those of the Jacobians; a warning says so.

    Returns
    -------
    BarrierDerivatives

    Raises
    ------
    LammpsImplicitError
        If the cells are held at a stress that is not hydrostatic.
    """
    mode_ids = barrier.saddle.ids.copy()
    points = barrier.saddle, barrier.initial, barrier.final
    parameters = len(barrier.saddle.potential.theta)
    order = (2 if _wants_hessian(points, tol, energy_hessian) else 1) if parameters else 0
    try:
        energies = [enthalpy(point, tol, order) for point in points]
    except ConvergenceError as error:
        if energy_hessian:
            raise
        _warn(points[0], f"second derivatives of the barriers are left out: {error}")
        energies = [enthalpy(point, tol, 1) for point in points]
    found = {
        name: combine([(1, energies[0]), (-1, end)])
        for name, end in zip((FORWARD, BACKWARD), energies[1:], strict=True)
    }
    if barrier.saddle.cell != "none":
        volumes = [volume(point, tol, min(order, 1)) for point in points[:2]]
        found[VOLUME] = combine([(1, volumes[0]), (-1, volumes[1])])
    names = "saddle", "initial", "final"
    quality = combined({name: point.overall for name, point in zip(names, points, strict=True)})
    errors = [gradient_error(point, tol) if parameters else np.zeros(0) for point in points]
    return BarrierDerivatives(
        barrier,
        found,
        {FORWARD: errors[0] + errors[1], BACKWARD: errors[0] + errors[2]},
        mode_ids,
        quality,
    )


def gradient_error(point: StationaryPoint, tol: float = 1e-5) -> FloatArray:
    """Estimated error of ∂U/∂Θ at a point, (P,), from the forces F that are left: |Cᵀ H⁻¹ F|, one solve.

    The energy itself is wrong by ½ Fᵀ H⁻¹ F only.

    Parameters
    ----------
    point : StationaryPoint
    tol : float
        The tolerance of products at this point; no tighter solve is asked for than `_ROUGH`.
    """
    forces = point.response.hessian.reference_forces
    if point.engine.max_abs(forces) == 0:
        return np.zeros(len(point.potential.theta))
    return np.abs(point.vjp(forces, max(tol, _ROUGH), cell=point.freedom))


def farthest_atoms(barrier: Barrier) -> list[tuple[int, float]]:
    """Ids of the atoms that move most from one minimum to the other, and how far, Å; the same on all ranks."""
    initial, engine = barrier.initial, barrier.initial.engine
    moved = engine.nearest_image(carried(initial, barrier.final) - initial.positions)
    moved = unresisted(engine).project(moved)
    lengths = np.linalg.norm(moved, axis=1)
    first = np.argsort(-lengths)[:_SHOWN]
    mine = list(zip(initial.ids[first].tolist(), lengths[first].tolist(), strict=True))
    everyone = [pair for pairs in engine.comm.allgather(mine) for pair in pairs]
    return sorted(everyone, key=lambda pair: (-round(pair[1], 6), pair[0]))[:_SHOWN]


def _wants_hessian(points: tuple[StationaryPoint, ...], tol: float, wanted: bool | None) -> bool:
    """Whether second derivatives are taken; by default unless they are dear, of which a warning tells."""
    if wanted is not None:
        return wanted
    expected = sum(hessian_evaluations(point) for point in points)
    if expected <= DEAR:
        return True
    jacobians = [point.jacobian(tol, cell=point.freedom) for point in points]
    known = sum(jacobian.statistics.evaluations.total for jacobian in jacobians)
    if not is_dear(expected, known):
        return True
    _warn(
        points[0],
        f"second derivatives of the barriers are left out: they would take {expected:,} force evaluations, and the "
        f"Jacobians took {known:,}; '--energy-hessian' takes them all the same, and '--parameters' fewer",
    )
    return False


def _warn(point: StationaryPoint, message: str) -> None:
    if point.engine.comm.rank == 0:
        warnings.warn(message, stacklevel=4)


def affords_path_gradients(point: StationaryPoint, images: int) -> bool:
    """Whether ∂U/∂Θ at each image of a path over one saddle is worth its cost; if not, a warning says so.

    Parameters
    ----------
    point : StationaryPoint
        One of the minima.
    images : int
        Between a minimum and the saddle.
    """
    parameters = len(point.potential.theta)
    expected = 2 * parameters * (2 * images + 3) if isinstance(point.mixed, SweptDerivative) else 0
    if expected > DEAR:
        _warn(
            point,
            f"derivatives along the path are left out: they would take {expected:,} force evaluations; '--images' and "
            "'--parameters' take fewer",
        )
    return parameters > 0 and expected <= DEAR
