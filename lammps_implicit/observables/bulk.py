"""Properties of a perfect crystal: lattice parameters, cohesive energy, elastic constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.system import CellSystem
from lammps_implicit.cell.voigt import COMPONENTS, tensor
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.cache import ObservableCache
from lammps_implicit.observables.cells import composition, enthalpy, require_relaxed_cell, unknown_gradient
from lammps_implicit.observables.observable import Observable, combine
from lammps_implicit.operators.coupling import FINITE_STRAIN, STRAIN_STEPS
from lammps_implicit.response.jacobian import Jacobian
from lammps_implicit.response.statistics import GOOD, caution
from lammps_implicit.stationary.point import StationaryPoint

ELASTIC_STEP = 1e-3
"""Relative step of the parameters in central differences of elastic constants.

The truncation error is of the order of its square, 1e-6. The error of the solves is divided by it, so that the gradient
is accurate to about tol / ELASTIC_STEP.
"""

WIDER = 3.0
"""Multiple of the step at which gradients are taken once more, over finite strains: both span the intervals of a
table."""

SAME = 3e-2
"""Relative difference of a constant's gradient with the two steps that is told; beyond `REFUSED` times as much the
constants are refused. Chosen: smooth energies leave 1e-4, rough tables 0.4, and 0.1 with finite strains
(measured)."""

FEW = 6
"""Number of parameters up to which all of them are tried with the longer step. Chosen: a table has about as many."""

SMALL = 0.1
"""Part of the largest of the constants' gradients to which the differences of smaller ones are related: among them are
those that would vanish by symmetry."""

EQUAL = 0.9
"""Part of the largest difference that counts as equal to it."""

CUBIC_CONSTANTS = ("C11", "C12", "C44")
"""Elastic constants of a cubic crystal."""

_caches: WeakKeyDictionary[StationaryPoint, dict[tuple[float, float], ObservableCache]] = WeakKeyDictionary()
"""Elastic constants of each crystal, by tolerance and step: one measurement yields all of them."""


def lattice_parameters(
    bulk: StationaryPoint, repeat: Sequence[int] = (1, 1, 1), tol: float = 1e-6, order: int = 1
) -> Observable:
    """Lattice parameters: lengths of the cell vectors divided by the number of unit cells along each.

    Parameters
    ----------
    bulk : StationaryPoint
        With a relaxed cell.
    repeat : sequence of 3 int
        Unit cells along each cell vector.
    tol : float
        Relative tolerance of the solves.
    order : int
        Order of the derivatives: 0 for the values only, 1 to include the gradients, 2 to include second derivatives if
        `StationaryPoint.third` has those of the strains, and they are known well enough.

    Returns
    -------
    Observable
        Of shape (3,), in LAMMPS' unit of length.

    Raises
    ------
    LammpsImplicitError
        If the cell was not relaxed, or `repeat` is not three positive numbers.
    """
    require_relaxed_cell(bulk, "lattice parameters depend")
    counts = np.asarray(repeat, float)
    if counts.shape != (3,) or not (counts > 0).all():
        raise LammpsImplicitError(f"repeat {list(repeat)}: give three positive numbers of unit cells")
    vectors = bulk.engine.cell
    lengths = np.linalg.norm(vectors, axis=1)
    if order == 0:
        return Observable(lengths / counts, unknown_gradient(bulk, 3), bulk.units.length)
    system = bulk.cell_system(tol, bulk.cell)
    # d|a| = a·(ε a)/|a| for each cell vector a, and |a| d²|a| = |ε a|² - (d|a|)².
    stretched = vectors @ np.swapaxes(system.freedom.tensors(), 1, 2)  # (s, 3, 3): rows ε a
    slopes = np.einsum("va,sva->sv", vectors, stretched) / lengths
    gradient, hessian, error = system.strain_jacobian @ slopes, None, None
    strains = bulk.third.strains if bulk.third is not None and order >= 2 else None
    if strains is not None and strains.known:
        answers = system.strain_jacobian
        bends = np.einsum("sva,tva->stv", stretched, stretched) - np.einsum("sv,tv->stv", slopes, slopes)
        curved = np.einsum("ps,stv,qt->pqv", answers, bends / lengths, answers)
        hessian = (curved + np.stack([strains.hessian(slope) for slope in slopes.T], axis=-1)) / counts
        error = np.array([strains.error(slope) for slope in slopes.T]) / counts
    return Observable(
        lengths / counts,
        gradient / counts,
        bulk.units.length,
        hessian,
        second_order_error=error,
        caution=system.caution,
    )


def cohesive_energy(
    bulk: StationaryPoint, isolated: float | Mapping[str, float] = 0.0, tol: float = 1e-5, order: int = 2
) -> Observable:
    """Cohesive energy: the energy of isolated atoms minus that of the crystal, per atom.

    Parameters
    ----------
    bulk : StationaryPoint
    isolated : float or mapping of str to float
        Energy of an isolated atom, for all elements or by element, in LAMMPS' unit of energy. Taken as independent of
        Θ.
    tol : float
        Relative tolerance of the Jacobian.
    order : int
        Order of the derivatives; see `cells.enthalpy`.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of energy.

    Raises
    ------
    LammpsImplicitError
        If the energy of an element is missing, or the cell is held at a stress that is not hydrostatic.
    """
    counts = composition(bulk)
    atoms = isolated if isinstance(isolated, Mapping) else dict.fromkeys(counts, float(isolated))
    unknown = [element for element in counts if element not in atoms]
    if unknown:
        raise LammpsImplicitError(f"the energy of an isolated atom of {', '.join(unknown)} is missing: give it")
    free = sum(atoms[element] * count for element, count in counts.items()) / bulk.engine.n_atoms
    return combine([(-1.0 / bulk.engine.n_atoms, enthalpy(bulk, tol, order))], free)


def elastic_constants(
    bulk: StationaryPoint, tol: float = 1e-6, order: int = 1, step: float = ELASTIC_STEP
) -> Observable:
    """Elastic constants C_ij of a relaxed crystal, with internal relaxation.

    Gradients are central differences of C_ij with respect to each parameter, at structures predicted to first order:
    some 60 force evaluations per parameter, so use the smallest cell. For the parameters that matter most to a constant
    a longer step and finite strains are tried. Where these see another gradient, all gradients are taken again over
    finite strains, for some 30 evaluations per parameter, and where they still depend on the step, the constant's
    `Observable.caution` says so. The result is cached until the crystal changes.

    Parameters
    ----------
    bulk : StationaryPoint
        Relaxed with ``cell="full"``.
    tol : float
        Relative tolerance of the solves.
    order : int
        Order of the derivatives: 0 for the values only, else with gradients.
    step : float
        Relative step of the parameters. With tables whose second derivative jumps from one interval to the next,
        gradients depend on it: choose the uncertainty of the parameters.

    Returns
    -------
    Observable
        Of shape (6, 6), indices in the order xx, yy, zz, yz, xz, xy; in LAMMPS' unit of pressure.

    Raises
    ------
    LammpsImplicitError
        If the crystal was not relaxed under all strains.
    AccuracyError
        If the gradient of a constant with the longer step is another one, see `SAME`, and `accept_accuracy` of the
        crystal is less.
    """
    require_all_strains(bulk)
    cache = _caches.setdefault(bulk, {}).setdefault((tol, step), ObservableCache())
    return cache.get([bulk.state], min(order, 1), lambda: _elastic_constants(bulk, tol, order, step))


def named_constants(constants: Observable, names: Sequence[str] = CUBIC_CONSTANTS) -> dict[str, Observable]:
    """Select components of the elastic constants by name.

    Parameters
    ----------
    constants : Observable
        Of shape (6, 6), from `elastic_constants`.
    names : sequence of str
        Such as ``C12``.

    Returns
    -------
    dict of str to Observable
        Scalars.
    """
    return {name: constants.component(int(name[1]) - 1, int(name[2]) - 1) for name in names}


def require_all_strains(bulk: StationaryPoint) -> None:
    """Check that a crystal was relaxed under all strains.

    Raises
    ------
    LammpsImplicitError
        If it was not.
    """
    if bulk.units.dimension == 2:
        raise LammpsImplicitError(
            f"{bulk.deck_name}: elastic constants are those of crystals in three dimensions; the stiffness of a "
            "two-dimensional one is free_cell_system().stiffness over its area"
        )
    if bulk.cell == "full" and len(bulk.freedom.names) < len(COMPONENTS):
        raise LammpsImplicitError(
            f"{bulk.deck_name}: elastic constants need all strains, and this cell is not periodic everywhere"
        )
    if bulk.cell != "full":
        raise LammpsImplicitError(f"{bulk.deck_name}: elastic constants need all strains: relax with cell 'full'")


def _elastic_constants(bulk: StationaryPoint, tol: float, order: int, step: float) -> Observable:
    value = _stiffness(bulk, tol)
    if order == 0:
        return Observable(value, unknown_gradient(bulk, 6, 6), bulk.units.pressure)
    jacobian = bulk.jacobian(max(tol, 1e-6), cell="full")
    theta = bulk.potential.theta
    steps = step * np.maximum(np.abs(theta), 1e-3 * (float(np.abs(theta).mean()) or 1.0))
    units, lengths = np.diag(steps), (step, WIDER * step)
    finite = (FINITE_STRAIN,)
    longer: dict[int, FloatArray] = {}
    # Small strains see the curvature at the very structure, which jumps with it where tables are rough: averaged over
    # finite strains it does so less.
    for strains in (STRAIN_STEPS, finite):
        gradient = np.stack([_slope(bulk, jacobian, unit, tol, strains) for unit in units])
        changes = gradient * steps[:, None, None]
        sizes = np.linalg.norm(changes, axis=0)
        sizes = np.maximum(sizes, SMALL * sizes.max())
        tried = _worth_trying(changes)
        new = [index for index in tried if index not in longer]
        longer |= {index: _slope(bulk, jacobian, WIDER * units[index], tol, finite) for index in new}
        missed = np.abs(np.stack([longer[index] for index in tried]) * steps[tried, None, None] - changes[tried])
        differs = np.linalg.norm(missed, axis=0) / np.where(sizes > 0, sizes, 1.0)
        if differs.max() <= SAME:
            break
    _judge(bulk, differs, lengths)
    most = np.array(tried)[np.argmax(missed, axis=0)]
    told: dict[tuple[int, ...], str] = {
        (row, column): caution(
            f"gradients are those that changes of {lengths[0]:g} of a parameter see",
            f"changes of {lengths[1]:g}",
            float(differs[row, column]),
            f", most of it for {bulk.potential.names[most[row, column]]}",
        )
        for row, column in np.argwhere(differs > SAME).tolist()
    }
    return Observable(value, gradient, bulk.units.pressure, cautions=told)


def _judge(bulk: StationaryPoint, differs: FloatArray, lengths: tuple[float, float]) -> None:
    """Take the relative differences of the constants' gradients with two steps into the quality of the crystal.

    Raises
    ------
    AccuracyError
        If they are larger than is accepted.
    """
    worst = float(differs.max())
    # Of constants that are equal by symmetry, the first.
    row, column = np.unravel_index(int(np.argmax(differs >= EQUAL * worst)), differs.shape)
    name = f"the gradient of C{row + 1}{column + 1}"
    told = SAME < worst <= GOOD * SAME  # beyond, the check itself is told
    bulk.take_in(
        worst,
        SAME,
        f"{name}, from changes of {lengths[0]:g} and {lengths[1]:g} of a parameter, is",
        "Choose the step as long as the changes of the parameters will be (elastic_constants, step)",
        f"{name} depends on the change of the parameters, by {100 * worst:.2g} %" if told else "",
    )


def _worth_trying(changes: FloatArray) -> list[int]:
    """Parameters tried with a longer step: all if they are few, else those that change a constant most."""
    if len(changes) <= FEW:
        return list(range(len(changes)))
    sizes = np.linalg.norm(changes, axis=0)
    return sorted(set(np.argmax(np.abs(changes), axis=0)[sizes >= SMALL * sizes.max()].tolist()))


def _slope(
    bulk: StationaryPoint, jacobian: Jacobian, change: FloatArray, tol: float, strains: Sequence[float]
) -> FloatArray:
    """Central difference of the elastic constants along a change of one parameter, per unit of it, (6, 6)."""
    assert jacobian.strain_jacobian is not None
    ends = []
    for dtheta in (change, -change):
        with bulk.excursion(dtheta, jacobian.dot(dtheta), tensor(dtheta @ jacobian.strain_jacobian)):
            ends.append(_stiffness(bulk, tol, strains))
    return np.asarray((ends[0] - ends[1]) / (2 * change.sum()))


def _stiffness(bulk: StationaryPoint, tol: float, steps: Sequence[float] = STRAIN_STEPS) -> FloatArray:
    """d(stress)/d(strain) at the present pressure, symmetrised: (6, 6), in LAMMPS' unit of pressure."""
    system: CellSystem = bulk.free_cell_system(tol, steps)
    stiffness = system.stiffness * bulk.units.pressure_factor / bulk.engine.volume
    if stiffness.shape != (len(COMPONENTS),) * 2:
        raise LammpsImplicitError(f"{bulk.deck_name}: the cell cannot take all strains")
    return (stiffness + stiffness.T) / 2
