"""Constraints on changes of the parameters: free parameters, linear equalities, and observables that are held fixed.

Allowed changes are a linear space, given by columns that are orthonormal in units of the parameters' scales.
Observables are held to first order through their gradients; a corrector removes their drift of second order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.potentials.labels import select

DEPENDENT = 1e-10
"""Relative singular value below which a constraint depends linearly on the others.

Well above the round-off of double precision, and below the errors of observables' gradients, about the tolerance of
solves.
"""


def free_space(
    names: Sequence[str],
    scale: FloatArray,
    patterns: str | Sequence[str] | None = None,
    equalities: FloatArray | None = None,
    held: FloatArray | None = None,
) -> FloatArray:
    """Basis of the changes of the parameters that all constraints allow.

    Parameters
    ----------
    names : sequence of str
        Labels of the parameters.
    scale : (P,) float array
        Scales of the parameters, positive.
    patterns : str or sequence of str, optional
        Patterns of the labels of free parameters; default: all.
    equalities : (m, P) float array, optional
        Rows a of constraints a·δΘ = 0.
    held : (k, P) float array, optional
        Gradients of observables that are held fixed.

    Returns
    -------
    (P, f) float array
        Columns q, orthonormal; allowed changes are δΘ = scale * (q @ s) for any s.

    Raises
    ------
    LammpsImplicitError
        If no change is allowed, or a pattern matches no parameter.
    """
    chosen = np.arange(len(names)) if patterns is None else select(names, patterns)
    rows = [array for array in (equalities, held) if array is not None and len(array)]
    units = np.eye(len(names))[:, chosen]
    if not rows:
        return units
    # In units of the scales and with rows of unit norm, so that the rank does not depend on units.
    scaled = (np.concatenate(rows) * scale)[:, chosen]
    sizes = np.linalg.norm(scaled, axis=1)
    scaled = scaled[sizes > 0] / sizes[sizes > 0, None]
    if not len(scaled):
        return units
    _, values, right = np.linalg.svd(scaled)
    rank = int(np.count_nonzero(values > DEPENDENT * values[0]))
    if rank == len(chosen):
        raise LammpsImplicitError(
            f"{rank} independent constraints leave no freedom to the {len(chosen)} free parameters: remove constraints "
            "or free more parameters"
        )
    return units @ right[rank:].T


def correction(gradients: FloatArray, missing: FloatArray, scale: FloatArray, allowed: FloatArray) -> FloatArray:
    """Smallest allowed change of the parameters, in units of their scales, that changes observables by given amounts.

    Parameters
    ----------
    gradients : (k, P) float array
        Of the observables.
    missing : (k,) float array
        Required change of each observable, to first order.
    scale : (P,) float array
        Scales of the parameters.
    allowed : (P, f) float array
        Allowed changes, from `free_space`.

    Returns
    -------
    (P,) float array
        δΘ; the least-squares solution if the observables cannot all be met.
    """
    slopes = (gradients * scale) @ allowed
    # Rows of unit norm, so that the rank does not depend on the units of the observables.
    sizes = np.linalg.norm(slopes, axis=1)
    sizes[sizes == 0] = 1.0
    return scale * (allowed @ np.linalg.lstsq(slopes / sizes[:, None], missing / sizes, rcond=DEPENDENT)[0])
