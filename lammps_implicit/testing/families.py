"""Checks of potential families at a stationary point: derivatives with respect to Θ, restoring of states, and files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import StrainFreedom, strain_freedom
from lammps_implicit.cell.voigt import components
from lammps_implicit.errors import OutputError
from lammps_implicit.operators.interface import MixedDerivative
from lammps_implicit.potentials.interface import Potential
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.stationary.relaxable import CellRequest
from lammps_implicit.stationary.states import State
from lammps_implicit.testing.comparison import (
    STENCIL,
    first_derivative,
    measured_order,
    random_change,
    require,
    require_equal,
    require_small,
    second_derivative,
)
from lammps_implicit.testing.engines import REACH, free_count, random_free, require_same_place, strains_of

THETA_STEP = 2e-3
"""Step of central differences with respect to Θ, relative to each parameter; with extrapolation the relative error is
about 1e-8 for terms as steep as σ¹²."""

SIZES = (2e-3, 1e-3, 5e-4)
"""Relative parameter changes at which Taylor remainders are compared."""

ROUND_OFF = 1e-14
"""Relative round-off of energies; remainders below ten times it say nothing about an order."""

STRUCTURE_NOISE = 1e-9
"""Å; difference between structures relaxed twice to the tightest force tolerance."""

VISIT = 1e-3
"""Relative parameter change, and strain, of the excursions in `check_restored`."""


def check_adjoint(
    point: StationaryPoint, *, cell: CellRequest | None = None, tol: float = 1e-6, solve: float = 1e-8, seed: int = 0
) -> float:
    """Check that `jvp` and `vjp` are adjoint: ⟨g, J δΘ⟩ = ⟨Jᵀ g, δΘ⟩ with J = dX*/dΘ.

    If the cell relaxes too, ⟨g, δX⟩ + ⟨s, δε⟩ = ⟨vjp(g, s), δΘ⟩ with s = ∂L/∂ε. Costs one linear solve for each
    product, and one for each strain.

    Parameters
    ----------
    point : StationaryPoint
    cell : str or StrainFreedom, optional
        As for `StationaryPoint.jvp`; by default the strains over which the point was relaxed last.
    tol : float
        Largest difference accepted, relative to its typical size, (‖g‖²‖δX‖²/n + ‖s δε‖²)½ with n free components.
    solve : float
        Relative tolerance of the linear solves.
    seed : int
        Seed of g, s and δΘ.

    Returns
    -------
    float
        Relative difference.

    Raises
    ------
    ConformanceError
        Usual cause: `times` and `transposed_times` of the mixed derivative are not each other's transposes.
    """
    engine, freedom, rng = point.engine, _freedom(point, cell), np.random.default_rng(seed)
    dtheta, pull = random_change(point.potential.theta, seed), random_free(engine, seed)
    if freedom.fixed:
        displacement, strain, weights = point.jvp(dtheta, solve), np.zeros(0), np.zeros(0)
        gradient = point.vjp(pull, solve)
    else:
        displacement, strain = point.jvp(dtheta, solve, cell=freedom)
        weights = rng.standard_normal(len(strain))
        gradient = point.vjp(pull, solve, strain_cotangent=weights, cell=freedom)
    typical = engine.norm(pull) * engine.norm(displacement) / free_count(engine) ** 0.5
    return require_equal(
        float(gradient @ dtheta),
        engine.dot(pull, displacement) + float(weights @ strain),
        float(np.hypot(typical, np.linalg.norm(weights * strain))),
        tol,
        f"⟨vjp(g), δΘ⟩ against ⟨g, jvp(δΘ)⟩ with cell '{freedom.label}'",
        "`times` and `transposed_times` of the mixed derivative do not match, or the Hessian is not symmetric",
    )


def check_mixed_derivative(
    point: StationaryPoint, *, tol: float = 1e-5, step: float = THETA_STEP, seed: int = 0
) -> dict[str, float]:
    """Check derivatives with respect to Θ at fixed positions against evaluations at changed parameters.

    With forces F, energy U and pressure P at Θ ± hδΘ and Θ ± ½hδΘ, it checks C δΘ = -dF/dh, ∂U/∂Θ δΘ = dU/dh, δΘᵀ
    ∂²U/∂Θ² δΘ = d²U/dh² and, if the cell can be strained, D δΘ = -V dP/dh. All forms of C must also agree with one
    another: `times` before and after `prepare`, `to_array`, `transposed_times`, `gram`, and those of the energy if
    `odd` is empty.

    Costs eight force evaluations and those of the family: possibly a sweep over the parameters, their second
    derivatives, and five evaluations per strain.

    Parameters
    ----------
    point : StationaryPoint
    tol : float
        Largest relative difference accepted; second derivatives are compared relative to first ones if these are
        larger.
    step : float
        h; δΘ changes each parameter by a random fraction of its value.
    seed : int
        Seed of δΘ.

    Returns
    -------
    dict of str to float
        Relative difference of each quantity.

    Raises
    ------
    ConformanceError
        Usual causes: a missing contribution, a wrong sign, a finite-difference step that is too long, or a potential
        that is declared linear but is not.
    """
    engine, potential, mixed = point.engine, point.potential, _new_mixed_derivative(point)
    change, v = random_change(potential.theta, seed), random_free(engine, seed)
    along = np.array(mixed.times(change))  # before `prepare`: some families use separate code then
    mixed.prepare()
    found = _forms_of_c(point, mixed, along, change, v, tol)
    gradient, bare = mixed.energy_gradient(), mixed.bare_second_derivative()
    fixed = np.zeros_like(point.positions)
    states = [point.state_at(s * step * change, fixed) for s in STENCIL]
    expected = -first_derivative([state.forces for state in states], step)
    found["C δΘ"] = require_small(
        _relative(point, along, expected),
        tol,
        "C δΘ against forces at changed parameters",
        "a contribution missing from C, a wrong sign, or a step that is too long for the parameter",
    )
    energies, typical = [state.energy for state in states], float(np.linalg.norm(gradient * change))
    found["∂U/∂Θ"] = require_equal(
        float(gradient @ change),
        float(first_derivative(energies, step)),
        typical,
        tol,
        "∂U/∂Θ δΘ against energies at changed parameters",
        "a contribution missing from the gradient, or `install` and `changed` that differ",
    )
    curvature = float(second_derivative(energies, point.energy, step))
    found["∂²U/∂Θ²"] = require_equal(
        float(change @ bare @ change),
        curvature,
        max(abs(curvature), typical),
        tol,
        "δΘᵀ ∂²U/∂Θ² δΘ at fixed positions against energies at changed parameters",
        "a potential that is not linear in its parameters, although it says so",
    )
    if strains_of(engine):
        found["D δΘ"] = _under_strain(point, mixed, states, change, step, tol)
    return found


def check_taylor(
    point: StationaryPoint,
    *,
    order: int = 2,
    cell: CellRequest | None = None,
    sizes: Sequence[float] = SIZES,
    margin: float = 0.2,
    seed: int = 3,
) -> dict[str, float]:
    """Check the orders of Taylor remainders by relaxing again at Θ + s δΘ for several s.

    The energy (the enthalpy, if the cell relaxes) has an error of O(s²) to first order, O(s³) to second order, and
    O(s⁴) if U is evaluated at the predicted structure. Displacements and volume to first order have errors of O(s²).
    Costs one relaxation for each size.

    Parameters
    ----------
    point : StationaryPoint
        Relaxed to 1e-9 eV/Å or better.
    order : int
        Highest order of the energy to check: 1, 2 or 3.
    cell : str or StrainFreedom, optional
        As for `StationaryPoint.relax`; by default the strains over which the point was relaxed last.
    sizes : sequence of float
        s; small enough that higher orders do not matter. δΘ changes each parameter by a random fraction of its value.
    margin : float
        By how much a measured order may fall short of the expected one.
    seed : int
        Seed of δΘ.

    Returns
    -------
    dict of str to float
        Measured orders, the slopes of log(error) over log(size); infinite if the errors are round-off.

    Raises
    ------
    ConformanceError
        Usual cause: a wrong first or second derivative, even if it is wrong by no more than the remainders.
    """
    freedom = _freedom(point, cell)
    change = random_change(point.potential.theta, seed)
    remainders = [_remainders(point, size * change, freedom, order) for size in sizes]
    noise = {"displacement": STRUCTURE_NOISE, "volume": STRUCTURE_NOISE * point.engine.volume ** (2 / 3)}
    found = {}
    for name, expected in {"displacement": 2, "volume": 2, "first": 2, "second": 3, "third": 4}.items():
        if name in remainders[0]:
            errors = [remainder[name] for remainder in remainders]
            found[name] = measured_order(sizes, errors, noise.get(name, 10 * ROUND_OFF * abs(point.energy)))
            what = name if name in noise else f"energy to {name} order"
            shown = ", ".join(f"{error:.2e} at {size:g}" for size, error in zip(sizes, errors, strict=True))
            require(
                found[name] >= expected - margin,
                f"{what}: errors fall with the power {found[name]:.2f} of the parameter change, expected at least "
                f"{expected - margin:g} ({shown})",
                "a wrong derivative, an energy that is not smooth, or sizes beyond the range of the expansion",
            )
    return found


def check_restored(point: StationaryPoint, *, tol: float = 1e-6, seed: int = 0) -> dict[str, float]:
    """Check that excursions to other parameters, and errors during them, leave a stationary point unchanged.

    Excursions go to changed parameters with displaced atoms, and to a strained cell if possible. The point is relaxed
    there, an error is raised there, and a sweep over the parameters is interrupted. After each of these, one `jvp` is
    computed for comparison.

    Parameters
    ----------
    point : StationaryPoint
    tol : float
        Largest change accepted in energy and forces, relative to the change that the excursion's parameters cause. The
        relative change of `jvp` may be ten times as large. Positions, rows and cell must be restored to round-off.
    seed : int
        Seed of δΘ and of the displacement.

    Returns
    -------
    dict of str to float
        Largest relative change after each excursion.

    Raises
    ------
    ConformanceError
        Usual causes: parameters that stay installed after an error, or an array of the evaluator that is kept and
        overwritten later.
    """
    engine = point.engine
    dtheta = VISIT * random_change(point.potential.theta, seed)
    displacement = REACH * engine.skin * random_free(engine, seed)
    work = float(np.linalg.norm(point.energy_gradient() * dtheta))
    pull = engine.norm(point.mixed.times(dtheta))

    def visit(strain: FloatArray | None = None) -> None:
        with point.excursion(dtheta, displacement, strain):
            pass

    def fail_inside() -> None:
        with point.excursion(dtheta):
            point.relax_away(1e-6)
            raise _InterruptedError

    visits: dict[str, Callable[[], object]] = {
        "a visit": visit,
        "relaxing there": lambda: point.relaxed_at(dtheta, 1e-6),
        "an error raised there": fail_inside,
        "an error while parameters were installed one by one": lambda: _new_mixed_derivative(point).prepare(_interrupt),
    }
    names = strains_of(engine)
    if names:
        visits["a strained visit"] = lambda: visit(VISIT * strain_freedom(names[0], point.target, engine).tensors()[0])
    found, theta, before = {}, point.potential.theta.copy(), point.jvp(dtheta, 1e-8)
    ids, positions, cell = np.array(engine.ids), np.array(engine.positions), np.array(engine.cell)
    forces, energy = np.array(engine.forces()), engine.energy
    for after, happen in visits.items():
        with suppress(_InterruptedError):
            happen()
        require(not engine.void, f"after {after} the evaluator is void ({engine.void})", "changes are not undone")
        require_same_place(engine, ids, positions, cell, f"after {after}")
        require(np.array_equal(theta, point.potential.theta), f"Θ differs after {after}", "changes are not undone")
        now = np.array(engine.forces())
        cause = "parameters that stay installed, or an array of the evaluator that is kept and overwritten later"
        found[after] = max(
            require_small(abs(engine.energy - energy) / work, tol, f"the energy after {after}", cause),
            require_small(engine.norm(now - forces) / pull, tol, f"forces after {after}", cause),
            require_small(_relative(point, point.jvp(dtheta, 1e-8), before), 10 * tol, f"jvp after {after}", cause),
        )
    return found


def check_written(
    potential: Potential, folder: Path, *, read: Callable[[list[Path]], ArrayLike] | None = None
) -> list[Path]:
    """Check that `Potential.write` never overwrites files unasked, and writes all digits.

    Nothing is evaluated.

    Parameters
    ----------
    potential : Potential
    folder : Path
        Empty folder to write to.
    read : callable, optional
        Called with the list of files written; returns Θ, (P,). For families whose files can be read again.

    Returns
    -------
    list of Path
        The files written, the main one first.

    Raises
    ------
    ConformanceError
        Usual cause: further files beside the main one are written without checking that they do not exist.
    """
    require(not any(folder.iterdir()), f"the folder {folder} is not empty", "a folder shared with other tests")
    written = potential.write(folder / "tuned", ["a comment"], overwrite=False)
    files = sorted(folder.iterdir())
    require(
        sorted(written) == files and bool(files),
        f"`write` returns {[path.name for path in written]}, but the folder holds {[path.name for path in files]}",
        "files written beside the main one that are not returned",
    )
    require("a comment" in written[0].read_text(), f"{written[0].name} lacks the comments", "`comments` is not used")
    if read is not None:
        theta = np.asarray(read(written), float)
        same = theta.shape == potential.theta.shape and np.array_equal(theta, potential.theta)
        require(
            same, f"Θ read from the files is {theta}, expected {potential.theta}", "numbers written with too few digits"
        )
    for path in files:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            taken = Path(name) / path.name
            taken.write_text("precious")
            try:
                potential.write(Path(name) / "tuned", ["a comment"], overwrite=False)
                refused = False
            except OutputError:
                refused = True
            left = taken.read_text()
            others = [other.name for other in Path(name).iterdir() if other != taken]
        require(
            refused and left == "precious",
            f"`write` with overwrite=False {'raises, but overwrites' if refused else 'does not refuse'} {path.name}",
            "files written without checking that they do not exist",
        )
        require(
            not others,
            f"`write` leaves {others} although {path.name} existed",
            "files written one by one instead of all or none",
        )
    potential.write(folder / "tuned", ["a comment"], overwrite=True)
    return written


class _InterruptedError(Exception):
    """Raised on purpose to interrupt an excursion or a sweep."""


def _interrupt(done: int, total: int) -> NoReturn:
    raise _InterruptedError


def _freedom(point: StationaryPoint, cell: CellRequest | None) -> StrainFreedom:
    return point.strain(point.freedom if cell is None else cell)


def _new_mixed_derivative(point: StationaryPoint) -> MixedDerivative:
    """A new mixed derivative, which has measured nothing yet."""
    return point.potential.mixed_derivative(point.engine, point.hessian)


def _relative(point: StationaryPoint, found: FloatArray, expected: FloatArray) -> float:
    size = point.engine.norm(expected)
    return point.engine.norm(found - expected) / size if size > 0 else np.nan


def _forms_of_c(
    point: StationaryPoint, mixed: MixedDerivative, along: FloatArray, change: FloatArray, v: FloatArray, tol: float
) -> dict[str, float]:
    """Relative differences between all products with C, after `prepare`."""
    engine, size = point.engine, point.engine.norm(along)
    cause = "products implemented by separate code that differ"
    known, vector = mixed.times(change), mixed.transposed_times(v)
    typical = engine.norm(v) * size / free_count(engine) ** 0.5
    found = {
        "array": require_small(
            _relative(point, mixed.to_array() @ change, along), tol, "C as an array against C δΘ", cause
        ),
        "times": require_small(_relative(point, known, along), tol, "C δΘ after `prepare` against before", cause),
        "Cᵀv": require_equal(
            float(vector @ change), engine.dot(v, known), typical, tol, "⟨Cᵀ v, δΘ⟩ against ⟨v, C δΘ⟩", cause
        ),
        "CᵀC": require_equal(
            float(change @ mixed.gram() @ change), size**2, size**2, tol, "δΘᵀ CᵀC δΘ against ‖C δΘ‖²", cause
        ),
    }
    if not mixed.odd.size:
        other = "directions along which forces are not the energy's gradient must be in `odd`"
        found["G"] = require_small(
            _relative(point, mixed.gradients_array() @ change, along),
            tol,
            "the energy's mixed derivative as an array against C δΘ",
            other,
        )
        found["Gᵀv"] = require_equal(
            float(mixed.gradients_transposed_times(v) @ change),
            float(vector @ change),
            typical,
            tol,
            "the transposed product of the energy's mixed derivative against that of the forces",
            other,
        )
    return found


def _under_strain(
    point: StationaryPoint,
    mixed: MixedDerivative,
    states: list[State],
    change: FloatArray,
    step: float,
    tol: float,
) -> float:
    """Relative difference between D δΘ and differences of pressures at changed parameters."""
    engine = point.engine
    freedom = strain_freedom(",".join(strains_of(engine)), point.pressure, engine)
    expected = -engine.volume * first_derivative([state.pressure for state in states], step)
    drive = freedom.basis.T @ components(expected)
    found = mixed.coupling(freedom).mixed @ change
    size = float(np.linalg.norm(drive))
    return require_small(
        float(np.linalg.norm(found - drive)) / size if size > 0 else np.nan,
        tol,
        "the derivative of the pressure with respect to Θ against pressures at changed parameters",
        "an error in `coupling`, or a contribution to the energy without its virial",
    )


def _remainders(point: StationaryPoint, dtheta: FloatArray, freedom: StrainFreedom, order: int) -> dict[str, float]:
    """Errors of the Taylor models at one parameter change δΘ."""
    solve, ftol, engine = 1e-8, 1e-10, point.engine
    displacement, strain = point.predicted_at(dtheta, solve, freedom)
    relaxed = point.relaxed_at(dtheta, ftol, cell=freedom)
    error = point.null_space().project(relaxed[0] - displacement)
    found, pressure, volume = {"displacement": engine.norm(error)}, 0.0, engine.volume
    energy = relaxed[1]
    if not freedom.fixed:
        now = float(np.linalg.det(relaxed[2]))
        found["volume"] = abs(now - volume * float(np.linalg.det(np.eye(3) + strain)))
        if not freedom.hydrostatic:
            return found
        pressure = float(freedom.target[0, 0])
        energy += pressure * now
    first = point.energy + pressure * volume + float(point.energy_gradient() @ dtheta)
    found["first"] = abs(first - energy)
    if order >= 2:
        second_term = 0.5 * float(dtheta @ point.energy_hessian(1e-7, cell=freedom) @ dtheta)
        found["second"] = abs(first + second_term - energy)
    if order >= 3:
        state = point.state_at(dtheta, displacement, strain)
        found["third"] = abs(state.energy + pressure * state.volume - energy)
    return found
