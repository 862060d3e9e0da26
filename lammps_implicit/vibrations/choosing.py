"""Whether thermal functions are found from all modes or from random probes: whichever is predicted to cost less."""

from __future__ import annotations

import warnings

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.cell.freedom import StrainFreedom
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.response.linear_response import LinearResponse
from lammps_implicit.vibrations.exact import exact_vibrations
from lammps_implicit.vibrations.result import Vibrations
from lammps_implicit.vibrations.sampled import PROBES, sampled_vibrations
from lammps_implicit.vibrations.spectrum import columns_needed

METHODS = ("auto", "exact", "probes")
"""Ways to find thermal functions."""

LARGEST = 6_000
"""Independent displacements of a cell up to which its dynamical matrix is held whole: 290 MB, and a minute or two to
diagonalise."""

_FUNCTIONS = 14
"""Functions that derivatives at several temperatures take, for the prediction; one classically."""

_PRODUCTS = 40
"""Products that a probe takes, for the prediction. Measured: 20 to 50."""


def vibrations_of(
    response: LinearResponse,
    temperatures: FloatArray,
    quantum: bool,
    freedom: StrainFreedom,
    gradient: bool,
    tol: float,
    method: str = "auto",
    probes: int | None = None,
    alike: IntArray | None = None,
    progress: Progress = no_progress,
) -> Vibrations:
    """Thermal functions of the vibrations of a structure, with their derivatives.

    Parameters
    ----------
    response : LinearResponse
    temperatures : (T,) float array
    quantum, freedom, gradient, tol
        See `exact_vibrations`.
    method : {"auto", "exact", "probes"}
    probes : int, optional
        Number of random probes; given, it chooses them. Default: `PROBES`.
    alike : (n,) int array, optional
        See `sampled_vibrations`.
    progress : callable, optional
        Callback called with (done, total).

    Raises
    ------
    LammpsImplicitError
        If a cell is too large for the method, or the number of probes is not at least two.
    NotAMinimumError
        If the structure is not what it should be: see `exact_vibrations`.
    """
    if method not in METHODS:
        raise LammpsImplicitError(f"method '{method}' is not one of {', '.join(METHODS)}")
    if probes is not None and (isinstance(probes, bool) or not isinstance(probes, int) or probes < 2):
        raise LammpsImplicitError(f"probes = {probes!r}: give at least 2, whose spread tells their error")
    if method == "exact" and probes is not None:
        raise LammpsImplicitError("method 'exact' takes no probes: leave them out, or use method 'probes'")
    if response.engine.external and response.engine.comm.rank == 0:
        warnings.warn("external forces act on the atoms: vibrations are those in them", stacklevel=4)
    size = response.engine.n_free
    if method == "exact" and size > LARGEST:
        raise LammpsImplicitError(
            f"method 'exact' would hold a matrix of {size:,} by {size:,} on each rank: use method 'probes' above "
            f"{LARGEST:,} displacements"
        )
    if method == "auto":
        exact = probes is None and size <= LARGEST and _exact_is_cheaper(response, quantum, gradient)
        method = "exact" if exact else "probes"
    if method == "exact":
        return exact_vibrations(response, temperatures, quantum, freedom, gradient, tol, progress)
    count = PROBES if probes is None else probes
    return sampled_vibrations(
        response, temperatures, quantum, freedom, gradient, max(tol, 1e-4), count, alike, progress
    )


def _exact_is_cheaper(response: LinearResponse, quantum: bool, gradient: bool) -> bool:
    """Whether all modes are predicted to take fewer evaluations than random probes."""
    size, columns = response.engine.n_free, columns_needed(response)
    functions = _FUNCTIONS if quantum else 1
    changes = 4 * min(size, functions * columns) if gradient else 0
    sampled = PROBES * (_PRODUCTS + (4 * functions if gradient else 0))
    return 2 * columns + changes <= sampled
