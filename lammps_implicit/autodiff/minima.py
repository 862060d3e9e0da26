"""Minima of JAX energies, starting from an ASE structure or from a minimum found by LAMMPS."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from mpi4py import MPI

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.autodiff import double_precision
from lammps_implicit.autodiff.derivatives import Derivatives
from lammps_implicit.autodiff.evaluator import AutodiffEvaluator, LocalEnergy
from lammps_implicit.autodiff.potential import AutodiffPotential
from lammps_implicit.errors import LammpsImplicitError, PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.minimum import Minimum
from lammps_implicit.results.snapshot import snapshot
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.structures import Structure, from_ase

Energy = Callable[..., Any] | LocalEnergy


def minimum(
    atoms: Any,
    energy: Energy,
    theta: Any,
    names: Sequence[str] | None = None,
    *,
    units: str = "metal",
    ftol: float = 1e-8,
    force_limit: float = np.inf,
    **options: Any,
) -> Minimum:
    """Relax an ASE structure with a JAX energy and return the minimum, ready to differentiate.

    Parameters
    ----------
    atoms : ase.Atoms
        ``FixAtoms`` constraints are kept; the cell must be in LAMMPS' orientation (a along x, b in the xy plane). Atom
        types number the elements in the order in which they first appear.
    energy : callable
        U(positions (N, 3), cell (3, 3), theta) in JAX: a differentiable scalar that respects the periodicity of
        `atoms`. Or an energy of this package, which uses neighbour lists (`pair_energy`, `JaxMDEnergy`).
    theta : (P,) array_like, or dictionary or other pytree of arrays
        Parameters in the form `energy` expects; results use them flattened.
    names : sequence of str, optional
        Labels of the P parameters. Default: the energy's own, or the paths of the pytree.
    units : str
        LAMMPS' name for the units of `energy`; sets the unit names in results and how tolerances in eV/Å are converted.
    ftol, force_limit : float
        eV/Å; as for `Minimum.from_deck`, but by default the initial forces may have any size.
    **options
        ``saddle``, ``progress``, ``cell``, ``pressure`` as for `Minimum.from_deck`.

    Returns
    -------
    Minimum
        All its methods work, and `second_jvp` accepts it.

    Raises
    ------
    LammpsImplicitError
        If the energy is not a finite scalar in double precision, or there is more than one process.
    PotentialError
        If a parameter changes neither the energy nor the forces.
    DeckError
        If the cell is not in LAMMPS' orientation.
    NotAMinimumError, ConvergenceError
        If relaxation ends at a saddle or does not converge.
    """
    structure, free = from_ase(atoms)
    deck = Deck(units=units)
    return _relaxed(structure, free, energy, theta, names, deck, ftol=ftol, force_limit=force_limit, **options)


def from_lammps(
    reference: Minimum,
    energy: Energy,
    theta: Any = None,
    names: Sequence[str] | None = None,
    *,
    ftol: float = 1e-8,
    force_limit: float = np.inf,
    **options: Any,
) -> Minimum:
    """Take structure, frozen components, units and pressure from LAMMPS' minimum, and continue in JAX.

    Parameters
    ----------
    reference : Minimum
        On one process; it is not changed.
    energy, names, ftol, force_limit, **options
        As for `minimum`.
    theta : array_like or pytree, optional
        Default: values and names of the parameters of `reference`.

    Returns
    -------
    Minimum

    Raises
    ------
    LammpsImplicitError
        If external forces act in LAMMPS, or as for `minimum`.
    """
    structure, free = structure_of(reference)
    if theta is None:
        theta, names = reference.potential.theta, reference.potential.names
    deck = reference.engine.deck
    found = _relaxed(structure, free, energy, theta, names, deck, ftol=ftol, force_limit=force_limit, **options)
    found.deck_name, found.deck_sha256 = reference.deck_name, reference.deck_sha256
    return found


def _relaxed(
    structure: Structure,
    free: BoolArray,
    energy: Energy,
    theta: Any,
    names: Sequence[str] | None,
    deck: Deck,
    **options: Any,
) -> Minimum:
    minimum = Minimum(*start(structure, free, energy, theta, names, deck), **options)
    scalars = len(jax.tree.leaves(_as_float_arrays(theta))) == len(minimum.potential.theta)
    _require_effect(minimum, refuse=scalars or hasattr(energy, "neighbours"))
    minimum.again = partial(_relaxed, structure, free, energy, theta, names, deck, **options)
    return minimum


def start(
    structure: Structure, free: BoolArray, energy: Energy, theta: Any, names: Sequence[str] | None, deck: Deck
) -> tuple[AutodiffEvaluator, AutodiffPotential]:
    """Create the evaluator and the potential of a JAX energy at a structure, without relaxing it.

    Parameters
    ----------
    structure : Structure
    free : (N, 3) bool array
        False for frozen components.
    energy, theta, names
        As for `minimum`.
    deck : Deck
        For its units.

    Returns
    -------
    AutodiffEvaluator
    AutodiffPotential

    Raises
    ------
    LammpsImplicitError
        On several processes; if the energy is not a scalar in double precision; if `theta` is empty or not finite, or
        has another number of entries than `names`.
    """
    if MPI.COMM_WORLD.size > 1:
        raise LammpsImplicitError("automatic differentiation runs on one process: start without mpirun")
    theta = _as_float_arrays(theta)
    flat, unravel = ravel_pytree(theta)
    local = cast(LocalEnergy, energy) if hasattr(energy, "neighbours") else None
    default = _labels(theta) if local is None else local.names
    labels = default if names is None else tuple(names)
    if len(labels) != len(flat) or len(set(labels)) != len(labels):
        raise LammpsImplicitError(
            f"{len(labels)} names ({len(set(labels))} distinct) for {len(flat)} parameters: give each one its own name"
        )
    if not len(flat) or not np.isfinite(flat).all():
        raise LammpsImplicitError("theta has no parameters, or values that are not finite")

    def of_flat(positions: Any, cell: Any, flat: Any, neighbours: Any) -> Any:
        return energy(positions, cell, unravel(flat), *(() if local is None else (neighbours,)))

    evaluator = AutodiffEvaluator(
        comm=MPI.COMM_SELF,
        deck=deck,
        free=free,
        derivatives=Derivatives(of_flat),
        structure=structure,
        theta=np.asarray(flat),
        local=local,
    )
    evaluator.wrap()
    double_precision.require(of_flat, evaluator.positions, evaluator.cell, flat, evaluator.lists)
    return evaluator, AutodiffPotential.of(dict(zip(labels, flat, strict=True)), structure.elements)


def structure_of(reference: StationaryPoint) -> tuple[Structure, BoolArray]:
    """Structure of a stationary point in id order, and its free components, (N, 3) bool.

    Raises
    ------
    LammpsImplicitError
        If external forces act in LAMMPS.
    """
    engine = reference.engine
    if engine.external:
        raise LammpsImplicitError(
            "external forces act in LAMMPS (a wall, an indenter, a field), which the JAX energy does not include"
        )
    taken = snapshot(reference)
    periodic = taken.periodic & (True, True, engine.deck.dimension == 3)
    return replace(taken, periodic=periodic), engine.free[np.argsort(engine.ids)]


def _require_effect(minimum: Minimum, refuse: bool) -> None:
    """Check that every parameter changes the energy or the forces; warn instead if `refuse` is false.

    Arrays in a pytree may have unused entries (types that do not occur), so these only draw a warning.
    """
    gradient = minimum.energy_gradient()
    for index in np.flatnonzero(gradient == 0):
        unit = np.zeros_like(gradient)
        unit[index] = 1.0
        if not minimum.mixed.times(unit).any():
            message = f"parameter '{minimum.potential.names[index]}' has no effect: leave it out of theta"
            if refuse:
                raise PotentialError(message)
            warnings.warn(message, stacklevel=4)
            return


def _as_float_arrays(theta: Any) -> Any:
    """Θ as a pytree of float arrays; a list of plain numbers becomes one array."""
    if isinstance(theta, list | tuple) and not hasattr(theta, "_fields") and all(map(np.isscalar, theta)):
        theta = np.array(theta)

    def leaf(values: Any) -> FloatArray:
        array = np.asarray(values)
        if array.dtype.kind not in "fiu" and array.size:
            raise LammpsImplicitError(
                f"theta contains {values!r}, which is not a real number or an array of real numbers"
            )
        return array.astype(float)

    return jax.tree.map(leaf, theta)


def _labels(theta: Any) -> tuple[str, ...]:
    """Labels from the paths of a pytree and the indices in its arrays, such as ``height`` or ``pair/epsilon 0 1``."""
    labels: list[str] = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(theta):
        name = "/".join(str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path)
        places = ["".join(f" {k}" for k in index) for index in np.ndindex(np.shape(leaf))]
        labels += [f"{name or 'theta'}{place}" for place in places]
    return tuple(labels)
