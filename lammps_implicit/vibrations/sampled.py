"""Thermal functions from random probes: Lanczos quadrature with Hutchinson's estimate of traces, for cells of any size.

With a random z of independent components ±1, the mean of zᵀq(D)z is Tr q(D), and that of wᵀdD w with w = |q'(D)|¹ᐟ² z
is |Tr[q'(D) dD]|. One Krylov space of D and z gives both, for all temperatures; w is made for a few functions of which
all q' are linear combinations. M. F. Hutchinson, Commun. Stat. Simul. Comput. 19, 433 (1990); S. Ubaru, J. Chen,
Y. Saad, SIAM J. Matrix Anal. Appl. 38, 1075 (2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.cell.freedom import StrainFreedom
from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.operators.curvature_changes import CurvatureChanges
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.response.linear_response import LinearResponse
from lammps_implicit.response.softest_modes import mode_below_zero
from lammps_implicit.solvers.springs import random_vector
from lammps_implicit.vibrations.constants import vibration_units
from lammps_implicit.vibrations.lanczos import DynamicalMatrix, KrylovSpace, krylov_space
from lammps_implicit.vibrations.probes import FUNCTIONS, combination, common_shifts
from lammps_implicit.vibrations.result import Vibrations
from lammps_implicit.vibrations.thermal import mode_functions

PROBES = 32
"""Number of probes by default. Chosen: standard errors are then known to an eighth."""

BATCHES = 16
"""Number of batches of probes whose gradients are told apart for their standard error, each with a solve of its own."""

_PRODUCTS = 1e-5
"""Relative accuracy of products with H: one-sided differences."""

_CONVERGED = 1e-6
"""Relative change of a quadrature from one Krylov space to the next at which it counts as converged. Chosen: the
vectors w, whose errors are of the order of its root, are then well below the statistical error."""

_MOST_PRODUCTS = 300
"""Limit on the size of a Krylov space."""

_FITTED = 1e-4
"""Relative error of functions q', see `combination`."""

_GRID = 200
"""Eigenvalues for which functions are fitted."""


@dataclass(frozen=True)
class _Functions:
    """Functions φ_b = 1/(λ + s_b), and the weights (4, T, b) with which they sum up to the q'."""

    shifts: FloatArray
    weights: FloatArray


def sampled_vibrations(
    response: LinearResponse,
    temperatures: FloatArray,
    quantum: bool,
    freedom: StrainFreedom,
    gradient: bool,
    tol: float,
    count: int = PROBES,
    alike: IntArray | None = None,
    progress: Progress = no_progress,
) -> Vibrations:
    """Estimate thermal functions with random probes.

    Parameters
    ----------
    response : LinearResponse
    temperatures : (T,) float array
    quantum, gradient : bool
        See `exact_vibrations`.
    freedom : StrainFreedom
    tol : float
        Relative tolerance of solves.
    count : int
        Number of probes, at least two.
    alike : (n,) int array, optional
        For each of this rank's atoms the number that its random components are made of. Default: its id. Where atoms
        of two cells have the same numbers, they have the same probes, and differences converge.
    progress : callable, optional
        Callback called with (probes done, probes expected).

    Raises
    ------
    NotAMinimumError
        If D has a negative eigenvalue, apart from that of a saddle.
    """
    engine = response.engine
    prepared = response.prepared()
    left_out = [mode_below_zero(response, engine.atom_masses())] if response.saddle else []
    matrix = DynamicalMatrix(
        engine, response.hessian.product, prepared.system.null_space, [mode.vector for mode in left_out]
    )
    units = vibration_units(engine.deck.units)
    parameters = len(response.potential.theta)
    changes = CurvatureChanges(engine, response.hessian, response.mixed if parameters else None)
    system = response.held_cell_system(freedom, tol) if gradient and not freedom.fixed else None
    ids = engine.ids if alike is None else alike
    seen: list[KrylovSpace] = []
    samples, direct, strains = [], [], []
    functions: _Functions | None = None
    batches = min(BATCHES, count)
    pulls: list[list[FloatArray]] = [[] for _ in range(batches)]
    for number in range(count):
        signs = np.where(random_vector(ids, number + 1) >= 0, 1.0, -1.0)
        probe = matrix.outside.project(signs)
        # The trace of 1 is known: without this every estimate would share the error of that one.
        probe = probe * (matrix.modes**0.5 / engine.norm(probe))

        def enough(space: KrylovSpace) -> bool:
            _require_positive(space)
            seen.append(space)
            return len(seen) > 1 and _converged(seen[-2], seen[-1])

        seen.clear()
        space = krylov_space(matrix, probe, _PRODUCTS, _MOST_PRODUCTS, enough)
        _require_positive(space)
        found = mode_functions(space.values, temperatures, quantum, units)
        samples.append(found.values @ space.weights)
        if gradient:
            if functions is None:
                functions = _fitted(space, temperatures, quantum, response)
            moves = [space.function((space.values + s) ** -0.5) / matrix.roots for s in functions.shifts]
            if number == 0:
                changes.choose_step(moves[0])
            measured = changes.along(moves)
            direct.append(np.array([change.parameters for change in measured]).reshape(len(moves), parameters))
            strains.append(np.array([change.strain for change in measured]))
            batch = pulls[number * batches // count]
            for place, change in enumerate(measured):
                if place == len(batch):
                    batch.append(np.zeros_like(change.positions))
                batch[place] += change.positions
        progress(number + 1, count)
    values = np.array(samples)
    gradients = by_strain = None
    gradient_samples = np.zeros((0, 4, len(temperatures), parameters))
    if gradient:
        assert functions is not None
        groups = np.arange(count) * batches // count
        found_gradients, found_strains = [], []
        for batch_number, batch in enumerate(pulls):
            size = int(np.count_nonzero(groups == batch_number))
            mean = np.mean([row for row, group in zip(direct, groups, strict=True) if group == batch_number], axis=0)
            strain = np.zeros((len(batch), 0))
            mean = mean - np.array([_response_of(response, pull / size, tol) for pull in batch])
            if system is not None:
                whole = np.mean([row for row, group in zip(strains, groups, strict=True) if group == batch_number], 0)
                follows = np.array([np.einsum("na,nak->k", pull / size, system.relaxed) for pull in batch])
                strain = whole.reshape(-1, 9) @ freedom.tensors().reshape(-1, 9).T - np.asarray(engine.sum(follows))
                mean = mean + strain @ system.strain_jacobian.T
            found_gradients.append(functions.weights @ mean)
            found_strains.append(functions.weights @ strain)
        sizes = np.bincount(groups, minlength=batches) / count
        gradient_samples = np.array(found_gradients)
        gradients = np.tensordot(sizes, gradient_samples, axes=1)
        by_strain = np.tensordot(sizes, np.array(found_strains), axes=1)
    return Vibrations(
        values.mean(axis=0),
        gradients,
        by_strain,
        matrix.modes,
        matrix.zero_modes,
        values,
        gradient_samples,
        f"{count} random probes",
        changes.error,
    )


def _response_of(response: LinearResponse, pull: FloatArray, tol: float) -> FloatArray:
    """(dX*/dΘ)ᵀ g with a minus sign, (P,), of a cotangent g, (n, 3)."""
    if not len(response.potential.theta):
        return np.zeros(0)
    return response.checked_transposed_times(response.checked_solve(pull, tol), tol)


def _require_positive(space: KrylovSpace) -> None:
    if not space.values[0] > 0:
        raise NotAMinimumError(
            "vibrations have a negative mode: this is no minimum; relax the structure from elsewhere, or open it as a "
            "saddle if it is one"
        )


def _converged(before: KrylovSpace, after: KrylovSpace) -> bool:
    """Whether zᵀD⁻¹z, which converges last of all functions, has converged."""
    sums = [float(space.weights @ (1 / space.values)) for space in (before, after)]
    return abs(sums[1] - sums[0]) <= _CONVERGED * abs(sums[1])


def _fitted(space: KrylovSpace, temperatures: FloatArray, quantum: bool, response: LinearResponse) -> _Functions:
    """Functions for the range of eigenvalues that a Krylov space shows, with some room at its ends."""
    grid = np.geomspace(space.values[0] / 2, space.values[-1] * 1.05, _GRID)
    slopes = mode_functions(grid, temperatures, quantum, vibration_units(response.engine.deck.units)).slopes
    for count in range(1, FUNCTIONS + 1):
        shifts = common_shifts(grid, count)
        weights, missed = combination(grid, slopes.reshape(-1, _GRID), shifts)
        if missed <= _FITTED:
            break
    return _Functions(shifts, weights.reshape(*slopes.shape[:-1], -1))
