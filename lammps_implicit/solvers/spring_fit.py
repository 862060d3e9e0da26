"""Fitting the stiffnesses of springs to Hessian-vector products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import nnls

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.solvers.bends import Bends
from lammps_implicit.solvers.bonds import Bonds
from lammps_implicit.solvers.springs import Springs, random_vector


@dataclass(frozen=True)
class Probe:
    """A product that springs are fitted to.

    Attributes
    ----------
    values : (n_owned + n_ghost, 3) float array
        w, zero at frozen components.
    product : (n_owned, 3) float array
        H w.
    """

    values: FloatArray
    product: FloatArray


def random_probe(around: Neighbourhood, product: FloatArray, seed: int = 0) -> Probe:
    """Return the product H w, (n, 3), with w = `random_vector` of the seed, frozen components set to zero."""
    return Probe(random_vector(around.ids, seed) * around.free, product)


def soft_probe(engine: Evaluator, around: Neighbourhood, vector: FloatArray, product: FloatArray) -> Probe:
    """Return a product H w with any w, (n, 3), whose values on ghost atoms are fetched."""
    return Probe(fetch(engine.comm, engine.ids, vector, around.ids), product)


def fit_springs(
    engine: Evaluator, bonds: Bonds, bends: tuple[Bends, ...], probes: Sequence[Probe], signed: bool = False
) -> Springs:
    """Fit springs to Hessian-vector products, each weighted by the inverse of its norm.

    Parameters
    ----------
    engine : Evaluator
    bonds : Bonds
    bends : tuple of Bends
    probes : sequence of Probe
        At the reference.
    signed : bool
        Whether stiffnesses of contacts may be negative, so that K need not be positive.

    Raises
    ------
    NotAMinimumError
        If a product vanishes.
    """
    sizes = [bonds.unknowns, bonds.unknowns, *(angles.n_kinds for angles in bends)]
    unknowns = sum(sizes)
    gram, right = np.zeros((unknowns, unknowns)), np.zeros(unknowns)
    for probe in probes:
        size = engine.norm(probe.product)
        if size == 0:
            raise NotAMinimumError(
                "displacements cause no forces: the energy does not depend on positions here; check the potential's "
                "cutoff"
            )
        for atoms, part in bonds.chunks(len(engine.ids)):
            free = engine.alone[atoms].T.ravel()
            angles = [kind.design_matrix(atoms, probe.values) for kind in bends]
            design = (
                sparse.hstack([design_matrix(bonds, atoms, part, probe.values), *angles], format="csr")[free] / size
            )
            target = probe.product[atoms].T.ravel()[free] / size
            gram += (design.T @ design).toarray()
            right += design.T @ target
    gram, right = engine.sum(gram), engine.sum(right)
    # Solved on one rank, so that the springs are identical on all.
    free = np.zeros(unknowns, bool)
    free[: 2 * bonds.unknowns] = signed & np.tile(bonds.beyond, 2)
    stiffness = engine.on_root(lambda: _least_squares(gram, right, free))
    squared_error = len(probes) - 2 * right @ stiffness + stiffness @ gram @ stiffness
    longitudinal, transverse, *angular = np.split(stiffness, np.cumsum(sizes[:-1]))
    misfit = float(np.sqrt(max(float(squared_error), 0.0) / len(probes)))
    return Springs(bonds, bends, longitudinal, transverse, tuple(angular), misfit)


def design_matrix(bonds: Bonds, atoms: slice, part: slice, values: FloatArray) -> sparse.csr_matrix:
    """Return K w of some atoms for unit weights of each hat function.

    Parameters
    ----------
    bonds : Bonds
    atoms, part : slice
        A chunk of owned atoms and its bonds, see `Bonds.chunks`.
    values : (n_owned + n_ghost, 3) float array
        w.

    Returns
    -------
    (3 · number of atoms, 2 · number of hat functions) CSR matrix
        Rows: the x components of all atoms, then y, then z. Columns: longitudinal, then transverse stiffnesses.
    """
    directions, lengths = bonds.directions(part)
    hats = bonds.hats(part, lengths)
    stretch = values[bonds.start[part]] - values[bonds.end[part]]
    along = directions * np.einsum("ma,ma->m", directions, stretch)[:, None]
    # Bonds are sorted by atom, so that those of one atom are consecutive columns.
    starts = np.searchsorted(bonds.start[part], np.arange(atoms.start, atoms.stop))
    count = len(lengths)
    indptr = np.concatenate([*(starts + axis * count for axis in range(3)), [3 * count]])
    shape = 3 * len(starts), count

    def gathered(motion: FloatArray) -> sparse.csr_matrix:
        return sparse.csr_matrix((motion.T.ravel(), np.tile(np.arange(count), 3), indptr), shape=shape) @ hats

    return sparse.hstack([gathered(along), gathered(stretch - along)], format="csr")


def _least_squares(gram: FloatArray, right: FloatArray, free: BoolArray) -> FloatArray:
    """Minimise ½cᵀGc - rᵀc over c that are not negative where they are not `free`.

    Columns are scaled to unit norm, with a relative regularisation of 1e-8.
    """
    norms = np.sqrt(np.diag(gram))
    used = norms > 0
    scale = np.where(used, norms, 1.0)
    scaled = gram / np.outer(scale, scale) + 1e-8 * np.eye(len(right))
    target = right / scale
    bound, unbound = np.flatnonzero(used & ~free), np.flatnonzero(used & free)
    solution = np.zeros(len(right))
    # The free ones follow the others linearly: eliminated, they leave a smaller problem of the same kind.
    follow = cho_solve(
        cho_factor(scaled[np.ix_(unbound, unbound)]), np.column_stack([target[unbound], scaled[np.ix_(unbound, bound)]])
    )
    coupled = scaled[np.ix_(bound, unbound)] @ follow
    factor = cholesky(scaled[np.ix_(bound, bound)] - coupled[:, 1:])
    solution[bound] = nnls(factor, solve_triangular(factor, target[bound] - coupled[:, 0], trans="T"))[0]
    solution[unbound] = follow[:, 0] - follow[:, 1:] @ solution[bound]
    return solution / scale
