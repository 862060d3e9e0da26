"""Derivatives with respect to parameters, found by installing changed parameters one at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.operators.interface import Descriptors, Swept
from lammps_implicit.operators.trial_parameters import trial_parameters
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.units import units_of

STEP = 1e-5
"""Step of central differences, relative to the parameter. Truncation (even for σ¹²) and round-off leave a relative
error of about 1e-8."""

SECOND_STEP = 2e-4
"""Step of second differences of the energy, relative to the parameter: near ε^(1/4) = 1.2e-4, where truncation and
round-off balance."""

NO_ENERGY, NO_FORCE, NO_WORK = 1e-14, 1e-11, 1e-12
"""Changes that count as round-off: of the energy, relative to itself, of a force, eV/Å, and of pressure times volume,
relative to the energy."""

MANY = 2_000
"""Force evaluations of second derivatives beyond which they are told beforehand."""

TYPICAL = 1e-3
"""Share of a typical parameter below which a parameter counts as zero, for the step."""

_LISTED = 12
"""Parameters without effect that are named."""

UNSMOOTH = 1e-4
"""Relative difference of the derivatives with a single and a doubled step beyond which forces count as not smooth.
Chosen well above the relative error of 1e-8 that smooth forces leave."""

Install = Callable[[FloatArray], FloatArray]
"""Function that installs Θ + δΘ and returns the forces: see `trial_parameters`."""


def steps_of(theta: FloatArray, linear: BoolArray, names: Sequence[str]) -> FloatArray:
    """Steps of parameters, (P,): as long as themselves where U is linear, `STEP` of that for others.

    Of those that are next to nothing, as long as fits others of their kind: of all that are linear, or of the same last
    word of the name (``sigma``).

    Parameters
    ----------
    theta : (P,) float array
    linear : (P,) bool array
    names : sequence of str
    """
    sizes = np.abs(theta)
    kinds = np.where(linear, "", [name.rpartition(" ")[2] for name in names])
    for kind in set(kinds):
        alike = sizes[kinds == kind]
        typical = float(np.median(alike[alike > 0])) if alike.any() else 1.0 / TYPICAL
        sizes[kinds == kind] = np.maximum(alike, TYPICAL * typical)
    return np.where(linear, sizes, STEP * sizes)


@dataclass(frozen=True)
class Sweep:
    """Derivatives of energy, forces and pressure with respect to every parameter.

    Attributes
    ----------
    energies : (P,) float array
        ∂U/∂Θ, eV per unit of Θ.
    forces : (n, 3, P) float array
        C = -∂F/∂Θ, eV/Å per unit of Θ.
    pressures : (P, 3, 3) float array
        ∂P/∂Θ, energy per volume and unit of Θ.
    """

    energies: FloatArray
    forces: FloatArray
    pressures: FloatArray


def sweep_parameters(
    potential: Swept, engine: Evaluator, forces: FloatArray, progress: Progress = no_progress
) -> Sweep:
    """Differentiate energy, forces and pressure at the reference with respect to every parameter.

    Costs one force evaluation per parameter in which U is linear, two per other parameter, two to check these, and one
    to install Θ again, which also happens after an error.

    Parameters
    ----------
    potential : Swept
    engine : Evaluator
    forces : (n, 3) float array
        Forces at the reference, eV/Å.
    progress : callable, optional
        Callback called with (done, total), in parameters.

    Returns
    -------
    Sweep

    Raises
    ------
    PotentialError
        If no parameter has an effect, the energy is not finite beside one, or forces are not smooth in them. A warning
        says which parameters have no effect, such as the range of a repulsion of zero strength: derivatives with
        respect to them are zero.
    """
    count, steps, linear = len(potential.theta), potential.steps(), potential.linear
    found = Sweep(np.zeros(count), np.zeros((*forces.shape, count)), np.zeros((count, 3, 3)))
    engine.return_to_reference()
    here = engine.energy, forces, engine.pressure
    idle: list[str] = []
    with trial_parameters(potential, engine) as install:
        for index, step in enumerate(steps):
            unit = np.zeros(count)
            unit[index] = step
            up = _state(install, engine, unit)
            down, width = (here, step) if linear[index] else (_state(install, engine, -unit), 2 * step)
            if not np.isfinite(up[0] - down[0]):
                raise PotentialError(
                    f"the energy has no derivative by '{potential.names[index]}': it is not finite at "
                    f"{potential.theta[index]:g} ± {step:g}; leave it out of --parameters ('!{potential.names[index]}')"
                )
            found.energies[index] = (up[0] - down[0]) / width
            found.forces[:, :, index] = (down[1] - up[1]) / width
            found.pressures[index] = (up[2] - down[2]) / width
            progress(index + 1, count)
            moved = engine.max_abs(up[1] - down[1]) / units_of(engine.deck.units).force_factor
            work = engine.volume * float(np.abs(up[2] - down[2]).max())  # perfect crystals feel the pressure only
            same = abs(up[0] - down[0]) <= NO_ENERGY * abs(here[0]) and work <= NO_WORK * abs(here[0])
            if not linear[index] and same and moved <= NO_FORCE:
                idle.append(potential.names[index])
        if idle:
            _tell_idle(idle, count, engine)
        if not linear.all():
            _check_steps(install, engine, found, steps, linear)
    return found


def _tell_idle(idle: Sequence[str], count: int, engine: Evaluator) -> None:
    """Warn of parameters without effect, on rank 0; raise if no parameter has any."""
    rest = len(idle) - _LISTED
    named = ", ".join(f"'{name}'" for name in idle[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
    what = f"{named} {'has' if len(idle) == 1 else 'have'} no effect"
    if len(idle) == count:
        raise PotentialError(
            f"{what}: a later line of the deck overrules it, its type does not occur, its atoms are out of reach of "
            "each other, or what it belongs to is zero; choose others with --parameters"
        )
    if engine.comm.rank == 0:
        warnings.warn(
            f"{what}: derivatives with respect to {'it' if len(idle) == 1 else 'them'} are zero", stacklevel=2
        )


def _check_steps(install: Install, engine: Evaluator, found: Sweep, steps: FloatArray, linear: BoolArray) -> None:
    """Compare with a doubled step, along one combination of all parameters in which U is not linear."""
    signs = np.where(np.arange(len(steps)) % 2, 1.0, -1.0) * ~linear
    direction = 2 * signs * steps / np.sqrt(max(1, int(np.count_nonzero(signs))))
    up, down = (_state(install, engine, sign * direction) for sign in (1, -1))
    require_smooth(engine, (down[1] - up[1]) / 2, found.forces @ direction)


def require_smooth(engine: Evaluator, doubled: FloatArray, single: FloatArray) -> None:
    """Check that central differences of forces with a single and a doubled step agree to `UNSMOOTH`.

    Parameters
    ----------
    engine : Evaluator
    doubled, single : (n, 3) float arrays
        Changes of the forces over the single step as both steps find them, eV/Å.

    Raises
    ------
    PotentialError
        If they do not.
    """
    missed, size = engine.norm(doubled - single), engine.norm(single)
    # Where every force vanishes by symmetry, changes are round-off.
    noise = NO_FORCE * units_of(engine.deck.units).force_factor * (3 * engine.n_atoms) ** 0.5
    if missed > UNSMOOTH * size + noise:
        raise PotentialError(
            f"forces are not smooth in the parameters: derivatives with steps of {STEP:g} and {2 * STEP:g} differ by "
            f"{missed / size:.1e} relative to their size; is one of them a cutoff? Leave it out"
        )


def sweep_curvatures(
    potential: Swept | Descriptors,
    engine: Evaluator,
    steps: Sequence[FloatArray],
    directions: FloatArray,
    linear: BoolArray,
) -> FloatArray:
    """Change of curvatures c = sᵀHs along directions of Θ, each over its whole length, to first order.

    c is found from the forces at X ± s. Costs two force evaluations for each displacement, as many for each direction
    in which U is linear and twice as many for others, and one for each installation.

    Parameters
    ----------
    potential : Swept or Descriptors
    engine : Evaluator
        At its reference.
    steps : sequence of p (n, 3) float arrays
        s, Å.
    directions : (q, P) float array
    linear : (q,) bool array
        Whether U is linear along each.

    Returns
    -------
    (p, q) float array
        Energy: ∂c/∂Θ times each direction.
    """
    found = np.zeros((len(steps), len(directions)))
    if not found.size:
        return found

    def curvatures() -> FloatArray:
        ends = [[engine.dot(step, engine.forces(sign * step)) for sign in (-1, 1)] for step in steps]
        return np.array([(behind - ahead) / 2 for behind, ahead in ends])

    here = curvatures() if linear.any() else np.zeros(len(steps))
    with trial_parameters(potential, engine) as install:
        for place, direction in enumerate(directions):
            install(direction)
            up = curvatures()
            if linear[place]:
                found[:, place] = up - here
            else:
                install(-direction)
                found[:, place] = (up - curvatures()) / 2
    return found


def bare_evaluations(linear: BoolArray) -> int:
    """Force evaluations of `bare_second_derivative`, from whether U is linear in each parameter, (P,)."""
    return 0 if linear.all() else 2 * sum(1 for _ in _pairs(linear)) + 2


def bare_second_derivative(potential: Swept, engine: Evaluator) -> FloatArray:
    """∂²U/∂Θ² at fixed positions, (P, P), by second differences of the energy; zero between linear parameters.

    Costs two force evaluations per element on and above the diagonal that is not zero, one at Θ, and one to install Θ
    again, which also happens after an error.

    Parameters
    ----------
    potential : Swept
    engine : Engine
        At its reference.

    Returns
    -------
    (P, P) float array
        Energy per unit of each of the two parameters.
    """
    count, linear = len(potential.theta), potential.linear
    steps = np.where(linear, potential.steps(), SECOND_STEP / STEP * potential.steps())
    hessian = np.zeros((count, count))
    if linear.all():
        return hessian
    units = np.diag(steps)
    with trial_parameters(potential, engine) as install:
        middle = _state(install, engine, np.zeros(count))[0]
        # U(Θ + s) + U(Θ - s) - 2 U(Θ) = sᵀ ∂²U/∂Θ² s + O(s⁴), along one parameter and along two at once.
        bent = np.array([0.0 if linear[k] else _bend(install, engine, units[k], middle) for k in range(count)])
        for row, column in _pairs(linear):
            if row == column:
                value = bent[row]
            else:
                value = (_bend(install, engine, units[row] + units[column], middle) - bent[row] - bent[column]) / 2
            hessian[row, column] = hessian[column, row] = value / (steps[row] * steps[column])
    return hessian


def _bend(install: Install, engine: Evaluator, step: FloatArray, middle: float) -> float:
    """U(Θ + step) + U(Θ - step) - 2 U(Θ). Two force evaluations."""
    up, down = (_state(install, engine, sign * step)[0] for sign in (1, -1))
    return (up - middle) + (down - middle)


def _pairs(linear: BoolArray) -> Iterator[tuple[int, int]]:
    """Pairs of parameters, and parameters with themselves, in which U is not linear."""
    for row in range(len(linear)):
        for column in range(row + 1):
            if not (linear[row] and linear[column]):
                yield row, column


def _state(install: Install, engine: Evaluator, change: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    forces = install(change)
    return engine.energy, forces, engine.pressure
