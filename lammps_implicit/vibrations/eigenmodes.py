"""Vibrational modes of a structure: all of them, the softest, or those nearest a frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray, read_only
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.response.linear_response import LinearResponse
from lammps_implicit.solvers.springs import random_vector
from lammps_implicit.vibrations.constants import vibration_units
from lammps_implicit.vibrations.coordinates import MassWeighted
from lammps_implicit.vibrations.iterative import Eigenpairs, nearest, ritz, softest
from lammps_implicit.vibrations.levels import Choice, signed_roots
from lammps_implicit.vibrations.spectrum import columns_needed, diagonalised, dynamical_matrix
from lammps_implicit.vibrations.weighted_hessian import MassWeightedHessian

LARGEST, LARGEST_ON_RANKS = 6_000, 2_000
"""Independent displacements up to which D is held whole, on one process and on several ranks: 290 MB; each rank has it.
"""

_PER_DIGIT = 2.5
"""Products for each mode and digit of the tolerance in Davidson's method. Measured: 14 to 1e-6, of 8
modes of a vacancy in 863 atoms."""

_ONE_SIDED = 1e-6
"""Tolerance down to which a product takes one force evaluation; two below."""


@dataclass(frozen=True)
class Modes:
    """Vibrational modes, in ascending order of their eigenvalues.

    Attributes
    ----------
    eigenvalues : (k,) float array
        λ = ω² of D = M⁻¹ᐟ² H M⁻¹ᐟ², in energy/(length² mass) of the deck's units.
    frequencies : (k,) float array
        ω/2π, THz; 1/τ in ``units lj``. Negative for imaginary ones.
    vectors : (k, n, 3) float array
        Eigenvectors e on the atoms of this rank, mass-weighted (u = M⁻¹ᐟ² e), orthonormal over all ranks.
    participation : (k,) float array
        1 / (N Σ_i |e_i|⁴): about 1 if all N atoms move, 1/N if one does.
    zero_modes : int
        Number of motions that cost no energy, which are left out.
    residuals : (k,) float array
        ‖D e - λ e‖, found with products of their own; of a matrix held whole, its error for a random vector.
    evaluations : int
        Force evaluations that it took.
    method : str
        How they were found.
    """

    eigenvalues: FloatArray
    frequencies: FloatArray
    vectors: FloatArray
    participation: FloatArray
    zero_modes: int
    residuals: FloatArray
    evaluations: int
    method: str


def modes_of(
    response: LinearResponse,
    count: int | None,
    near: float | None = None,
    tol: float = 1e-6,
    progress: Progress = no_progress,
) -> Modes:
    """Vibrational modes of a structure: all, the softest, or those nearest a frequency.

    In small cells D is evaluated whole, where it has symmetry from few displacements. In large ones the softest modes
    are found by Davidson's method, on several ranks that of SLEPc, with the springs of linear solves as the
    preconditioner; those nearest a frequency with all below it, of which there must be few. Whichever is predicted to
    take fewer force evaluations is chosen.

    Parameters
    ----------
    response : LinearResponse
    count : int or None
        Number of modes; None for all. There may be more, as modes of equal frequency (`levels.LEVEL`) are all returned
        or none, and fewer if the structure has no more.
    near : float, optional
        Frequency in THz, 1/τ in ``units lj``, negative among imaginary ones. Default: the softest, imaginary ones
        first.
    tol : float
        Largest residual relative to the spread of the spectrum (the root mean square of its eigenvalues). Errors of
        eigenvalues are of second order in it.
    progress : callable, optional
        Callback called with (products done, products expected) where D is evaluated whole.

    Raises
    ------
    LammpsImplicitError
        If an argument is not what it should be, if all modes of a large cell are asked for, if every atom is frozen, or
        if on several ranks slepc4py cannot be imported.
    DeckError
        If an atom has no mass.
    ConvergenceError
        If modes are not found, or residuals are larger than `tol` allows.
    """
    _check(count, near, tol)
    engine = response.engine
    before, units = engine.evaluations.copy(), vibration_units(engine.deck.units)
    matrix = MassWeightedHessian(response)
    possible = engine.n_free - len(matrix.null_space.vectors)
    root = None if near is None else near / units.frequency_factor
    choice = Choice(min(count or possible, possible), root, 10 * tol**2 * matrix.spread)
    if possible == 0:
        found = ritz(matrix, [])
        method = "nothing but rigid motions is possible"
    elif _whole(response, matrix, count, choice, tol):
        found, method = _dense(response, choice, progress)
    elif root is None:
        found, method = softest(matrix, choice, possible, tol)
    else:
        found, method = nearest(matrix, choice, possible, tol)
    _require_found(found, choice, tol * matrix.spread)
    vectors = _signed(engine, found.vectors)
    squares = (vectors**2).sum(axis=2)
    return Modes(
        read_only(found.values),
        read_only(signed_roots(found.values) * units.frequency_factor),
        read_only(vectors),
        read_only(1 / (engine.n_atoms * np.asarray(engine.sum((squares**2).sum(axis=1))))),
        len(matrix.null_space.vectors),
        read_only(found.residuals),
        engine.evaluations.since(before).total,
        method,
    )


def _check(count: int | None, near: float | None, tol: float) -> None:
    if count is not None and (isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1):
        raise LammpsImplicitError(f"count = {count!r}: give the number of modes, at least 1, or None for all")
    if near is not None and not np.isfinite(near):
        raise LammpsImplicitError(f"near = {near!r} is no frequency: give a finite number")
    if near is not None and count is None:
        raise LammpsImplicitError(
            "all modes are asked for, and those near a frequency: give a count, or leave out near"
        )
    if not 0 < tol < 1:
        raise LammpsImplicitError(f"tol = {tol!r}: give a number between 0 and 1, such as 1e-6")


def _whole(
    response: LinearResponse, matrix: MassWeightedHessian, count: int | None, choice: Choice, tol: float
) -> bool:
    """Whether to evaluate D whole: if it is small enough, and iterations would take more evaluations.

    Raises
    ------
    LammpsImplicitError
        If all modes are asked for, and it is too large.
    """
    size, ranks = response.engine.n_free, response.engine.comm.size
    largest = LARGEST if ranks == 1 else LARGEST_ON_RANKS
    if size > largest:
        if count is None:
            raise LammpsImplicitError(
                f"all modes of {size:,} displacements are asked for, where the matrix is held whole up to {largest:,}: "
                "ask for a number of modes" + ("" if ranks == 1 or size > LARGEST else ", or run on one rank")
            )
        return False
    if count is None:
        return True
    wanted = float(choice.count)
    if choice.near is not None and choice.near > 0 and matrix.spread > 0:
        # As many modes are below as in a Debye solid; twice as many are found in the course of it.
        wanted += 2 * size * (choice.near / np.sqrt(matrix.spread)) ** 3
    products = _PER_DIGIT * -np.log10(tol) * (1 if tol >= _ONE_SIDED else 2) + 2
    return 2 * columns_needed(response) <= products * min(wanted + 3, size)


def _dense(response: LinearResponse, choice: Choice, progress: Progress) -> tuple[Eigenpairs, str]:
    """Modes from all columns of D, or by symmetry from those that others do not follow from."""
    coordinates = MassWeighted(response.engine)
    matrix, displacements = dynamical_matrix(response, coordinates, progress)
    values, vectors, _ = diagonalised(response, coordinates, matrix)
    kept = choice.of(values)
    values, chosen = values[kept], coordinates.local(vectors[:, kept])
    random = vectors @ np.random.default_rng(2).standard_normal(vectors.shape[1])
    product = coordinates.of_force(response.hessian.second(coordinates.displacement(random)))
    product = vectors @ (vectors.T @ product)
    missed = np.linalg.norm(matrix @ random - product) / np.linalg.norm(random)
    products = coordinates.size if displacements is None else len(displacements)
    method = f"dense: {products} products" + ("" if displacements is None else ", the others by symmetry")
    return Eigenpairs(values, chosen, values[:, None, None] * chosen, np.full(len(values), missed)), method


def _require_found(found: Eigenpairs, choice: Choice, residual: float) -> None:
    """Check that there are as many modes as were asked for, with small residuals.

    Raises
    ------
    ConvergenceError
        If not.
    """
    if len(found.values) < choice.count:
        raise ConvergenceError(
            f"only {len(found.values)} of {choice.count} modes were found: ask for a looser tolerance, or fewer modes"
        )
    worst = float(found.residuals.max(initial=0.0))
    if not worst <= residual:
        raise ConvergenceError(
            f"residuals of modes are up to {worst:.1e} where {residual:.1e} is asked for: ask for a looser tolerance, "
            "relax to smaller forces first, or check with 'lammps-implicit check' whether forces are smooth"
        )


def _signed(engine: Evaluator, vectors: FloatArray) -> FloatArray:
    """Vectors whose signs do not depend on the method or the number of ranks: a random projection is positive."""
    projections = np.asarray(engine.sum(np.tensordot(vectors, random_vector(engine.ids, 97), 2)))
    return np.where(projections < 0, -1.0, 1.0)[:, None, None] * vectors
