"""Which changes of the parameters are allowed: free parameters, linear equalities, and physics that is held fixed.

Allowed changes are a space of columns, orthonormal in units of the parameters' scales. What an observable's gradient
excludes is excluded to first order; the drift of second order is taken back by a corrector.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.potentials.labels import select

DEPENDENT = 1e-10
"""Relative size below which a constraint says nothing that others have not said."""


def free_space(
    names: Sequence[str],
    scale: FloatArray,
    patterns: str | Sequence[str] | None = None,
    equalities: FloatArray | None = None,
    held: FloatArray | None = None,
) -> FloatArray:
    """Find the allowed changes, (P, f), orthonormal in units of `scale`.

    Parameters
    ----------
    names : sequence of str
        Labels of the parameters.
    scale : (P,) float array
        Positive.
    patterns : str or sequence of str, optional
        Parameters that may change; default all.
    equalities : (m, P) float array, optional
        Rows a with a·δΘ = 0.
    held : (k, P) float array, optional
        Gradients of observables that are held fixed.

    Raises
    ------
    LammpsImplicitError
        If nothing is left free.
    """
    chosen = np.arange(len(names)) if patterns is None else select(names, patterns)
    rows = [array for array in (equalities, held) if array is not None and len(array)]
    units = np.eye(len(names))[:, chosen]
    if not rows:
        return units
    # In units of the scales, each row of size one, so that no unit of an observable decides what depends on what.
    scaled = (np.concatenate(rows) * scale)[:, chosen]
    sizes = np.linalg.norm(scaled, axis=1)
    scaled = scaled[sizes > 0] / sizes[sizes > 0, None]
    if not len(scaled):
        return units
    _, values, right = np.linalg.svd(scaled)
    rank = int(np.count_nonzero(values > DEPENDENT * values[0]))
    if rank == len(chosen):
        raise LammpsImplicitError(
            f"{rank} independent constraints leave none of the {len(chosen)} free parameters any freedom"
        )
    return units @ right[rank:].T


def correction(gradients: FloatArray, missing: FloatArray, scale: FloatArray, allowed: FloatArray) -> FloatArray:
    """Smallest change of the parameters that brings observables back, (P,).

    Parameters
    ----------
    gradients : (k, P) float array
    missing : (k,) float array
        By how much each observable is to change.
    scale : (P,) float array
    allowed : (P, f) float array
        Changes that free parameters and equalities allow.
    """
    reach = (gradients * scale) @ allowed
    # Each row of size one, so that no unit of an observable decides what depends on what.
    sizes = np.linalg.norm(reach, axis=1)
    sizes[sizes == 0] = 1.0
    return scale * (allowed @ np.linalg.lstsq(reach / sizes[:, None], missing / sizes, rcond=DEPENDENT)[0])
