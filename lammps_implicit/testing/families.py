"""Checks of potential families at a stationary point: derivatives by Θ, what is restored, and files."""

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
"""Of central differences by Θ, relative to each parameter: extrapolation leaves about 1e-8 of what goes with σ¹²."""

SIZES = (2e-3, 1e-3, 5e-4)
"""Relative changes of the parameters at which Taylor remainders are compared."""

ROUND_OFF = 1e-14
"""Of an energy, relative to itself: remainders below ten times it have no order."""

STRUCTURE_NOISE = 1e-9
"""Å by which structures relaxed to the tightest tolerance differ."""

VISIT = 1e-3
"""Relative change of the parameters, and strain, of visits that `check_restored` comes back from."""


def check_adjoint(
    point: StationaryPoint, *, cell: CellRequest | None = None, tol: float = 1e-6, solve: float = 1e-8, seed: int = 0
) -> float:
    """Check that forward and backward products are adjoint: ⟨g, J δΘ⟩ = ⟨Jᵀ g, δΘ⟩ with J = dX*/dΘ.

    With a cell that is relaxed too, ⟨g, δX⟩ + ⟨s, δε⟩ = ⟨vjp(g, s), δΘ⟩, where s = ∂L/∂ε.

    Parameters
    ----------
    point : StationaryPoint
    cell : str or StrainFreedom, optional
        As for `jvp`; default that over which the point was relaxed last, ``point.cell``.
    tol : float
        Largest difference, relative to its typical size: ‖g‖‖δX‖/√n, and ‖s‖‖δε‖ beside it.
    solve : float
        Tolerance of the solves. Each product costs one, and one for each strain.
    seed : int
        Of g, s and δΘ.

    Returns
    -------
    float
        Relative difference.

    Raises
    ------
    ConformanceError
        Most often: `times` and `transposed_times` of the mixed derivative are not transposed to each other.
    """
    engine, freedom, rng = point.engine, _freedom(point, cell), np.random.default_rng(seed)
    dtheta, pull = random_change(point.potential.theta, seed), random_free(engine, seed)
    if freedom.fixed:
        moved, strain, weights = point.jvp(dtheta, solve), np.zeros(0), np.zeros(0)
        gradient = point.vjp(pull, solve)
    else:
        moved, strain = point.jvp(dtheta, solve, cell=freedom)
        weights = rng.standard_normal(len(strain))
        gradient = point.vjp(pull, solve, strain_cotangent=weights, cell=freedom)
    typical = engine.norm(pull) * engine.norm(moved) / free_count(engine) ** 0.5
    return require_equal(
        float(gradient @ dtheta),
        engine.dot(pull, moved) + float(weights @ strain),
        float(np.hypot(typical, np.linalg.norm(weights * strain))),
        tol,
        f"⟨vjp(g), δΘ⟩ against ⟨g, jvp(δΘ)⟩ with cell '{freedom.label}'",
        "`times` and `transposed_times` of the mixed derivative differ, or a Hessian that is not symmetric",
    )


def check_mixed_derivative(
    point: StationaryPoint, *, tol: float = 1e-5, step: float = THETA_STEP, seed: int = 0
) -> dict[str, float]:
    """Check derivatives by Θ at fixed positions against installed parameters.

    With F, U and P evaluated at Θ ± hδΘ and Θ ± ½hδΘ: C δΘ = -dF/dh, ∂U/∂Θ δΘ = dU/dh, δΘᵀ ∂²U/∂Θ² δΘ = d²U/dh² and,
    where the cell can be strained, D δΘ = -V dP/dh. All forms of C must agree: `times` before and after `prepare`,
    `to_array`, `transposed_times`, `gram`, and those of the energy where no direction is odd.

    Parameters
    ----------
    point : StationaryPoint
    tol : float
        Largest relative difference; of second derivatives relative to first ones, where these are larger.
    step : float
        h, for δΘ that changes each parameter by a random share of its value.
    seed : int

    Returns
    -------
    dict of str to float
        Relative difference of each. Eight force evaluations, and what the family needs: a sweep over its parameters for
        those that are installed, their second derivatives, and five evaluations a strain.

    Raises
    ------
    ConformanceError
    """
    engine, potential, mixed = point.engine, point.potential, _anew(point)
    change, v = random_change(potential.theta, seed), random_free(engine, seed)
    along = np.array(mixed.times(change))  # before C is known as a whole: some families have another way then
    mixed.prepare()
    found = _forms_of_c(point, mixed, along, change, v, tol)
    gradient, bare = mixed.energy_gradient(), mixed.bare_second_derivative()
    still = np.zeros_like(point.positions)
    states = [point.state_at(s * step * change, still) for s in STENCIL]
    pull = -first_derivative([state.forces for state in states], step)
    found["C δΘ"] = require_small(
        _relative(point, along, pull),
        tol,
        "C δΘ against forces with installed parameters",
        "a contribution that is missing in C, another sign, or a step that is too long for the parameter",
    )
    energies, typical = [state.energy for state in states], float(np.linalg.norm(gradient * change))
    found["∂U/∂Θ"] = require_equal(
        float(gradient @ change),
        float(first_derivative(energies, step)),
        typical,
        tol,
        "∂U/∂Θ δΘ against energies with installed parameters",
        "a contribution that is missing in the gradient, or `install` and `changed` that differ",
    )
    bend = float(second_derivative(energies, point.energy, step))
    found["∂²U/∂Θ²"] = require_equal(
        float(change @ bare @ change),
        bend,
        max(abs(bend), typical),
        tol,
        "δΘᵀ ∂²U/∂Θ² δΘ at fixed positions against energies with installed parameters",
        "a potential that is not linear in its parameters, as it says it is",
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
    """Check the orders of Taylor remainders against relaxing again at Θ + s δΘ for several s.

    The energy (of a relaxed cell: the enthalpy) to first order is off by O(s²), to second order by O(s³), and U at the
    predicted structure by O(s⁴). Displacements and the volume to first order are off by O(s²).

    Parameters
    ----------
    point : StationaryPoint
        Relaxed to 1e-9 eV/Å or better.
    order : int
        1, 2 or 3: up to which energies are compared.
    cell : str or StrainFreedom, optional
        As for `relax`; default ``point.cell``.
    sizes : sequence of float
        Relative changes of the parameters, each by a random share; so small that higher orders do not matter. Each
        costs one relaxation.
    margin : float
        How far an order may be below what is expected.
    seed : int
        Of δΘ.

    Returns
    -------
    dict of str to float
        Measured orders: slopes of log(error) over log(size), infinite where errors are round-off.

    Raises
    ------
    ConformanceError
        Most often: a first or second derivative that is wrong, by as little as leaves an error of the size of the
        remainders.
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
                f"{what}: errors fall with the power {found[name]:.2f} of the change of the parameters, expected at "
                f"least {expected - margin:g} ({shown})",
                "a wrong derivative, an energy that is not smooth, or sizes beyond the range of the expansion",
            )
    return found


def check_restored(point: StationaryPoint, *, tol: float = 1e-6, seed: int = 0) -> dict[str, float]:
    """Check that a point is as it was after visits to other parameters, and after errors on the way.

    It visits changed parameters with displaced atoms, and a strained cell where it can be strained; relaxes there;
    raises an error after relaxing there; and interrupts what the family measures parameter by parameter.

    Parameters
    ----------
    point : StationaryPoint
    tol : float
        Largest change of energy and forces, relative to what staying with the other parameters would change; that of
        `jvp`, relative to itself, may be ten times as large. Positions, rows and cell must be the same to round-off.
    seed : int

    Returns
    -------
    dict of str to float
        Largest relative change after each. Each costs what happens there and one `jvp`.

    Raises
    ------
    ConformanceError
        Most often: parameters that stay installed after an error, or an array of the engine's that is kept and written
        over later.
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
        "an error while parameters were installed one by one": lambda: _anew(point).prepare(_interrupt),
    }
    names = strains_of(engine)
    if names:
        visits["a strained visit"] = lambda: visit(VISIT * strain_freedom(names[0], point.target, engine).tensors()[0])
    found, theta, moved = {}, point.potential.theta.copy(), point.jvp(dtheta, 1e-8)
    ids, positions, cell = np.array(engine.ids), np.array(engine.positions), np.array(engine.cell)
    forces, energy = np.array(engine.forces()), engine.energy
    for after, happen in visits.items():
        with suppress(_InterruptedError):
            happen()
        require(not engine.void, f"after {after} the point is void ({engine.void})", "what was changed is not undone")
        require_same_place(engine, ids, positions, cell, f"after {after}")
        require(
            np.array_equal(theta, point.potential.theta), f"Θ differs after {after}", "what was changed is not undone"
        )
        now = np.array(engine.forces())
        cause = "parameters that stay installed, or an array of the engine's that is kept and written over later"
        found[after] = max(
            require_small(abs(engine.energy - energy) / work, tol, f"the energy after {after}", cause),
            require_small(engine.norm(now - forces) / pull, tol, f"forces after {after}", cause),
            require_small(_relative(point, point.jvp(dtheta, 1e-8), moved), 10 * tol, f"jvp after {after}", cause),
        )
    return found


def check_written(
    potential: Potential, folder: Path, *, read: Callable[[list[Path]], ArrayLike] | None = None
) -> list[Path]:
    """Check that `Potential.write` overwrites no file unless told to, and loses no digit.

    Parameters
    ----------
    potential : Potential
    folder : Path
        For the files; must be empty.
    read : callable, optional
        The files written to Θ, (P,), for families that can be read again.

    Returns
    -------
    list of Path
        The files, the main one first. No force evaluation.

    Raises
    ------
    ConformanceError
        Most often: files beside the first are written without looking whether they exist.
    """
    require(not any(folder.iterdir()), f"the folder {folder} is not empty", "a folder that other tests use")
    written = potential.write(folder / "tuned", ["a comment"], overwrite=False)
    files = sorted(folder.iterdir())
    require(
        sorted(written) == files and bool(files),
        f"`write` returns {[path.name for path in written]}, the folder holds {[path.name for path in files]}",
        "files that are written beside the main one and not returned",
    )
    require("a comment" in written[0].read_text(), f"{written[0].name} lacks the comments", "`comments` is not used")
    if read is not None:
        theta = np.asarray(read(written), float)
        same = theta.shape == potential.theta.shape and np.array_equal(theta, potential.theta)
        require(same, f"Θ is read again as {theta}, expected {potential.theta}", "numbers written with too few digits")
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
            "files that are written without looking whether they exist",
        )
        require(not others, f"`write` leaves {others} though {path.name} existed", "files that are written one by one")
    potential.write(folder / "tuned", ["a comment"], overwrite=True)
    return written


class _InterruptedError(Exception):
    """Raised on purpose."""


def _interrupt(done: int, total: int) -> NoReturn:
    raise _InterruptedError


def _freedom(point: StationaryPoint, cell: CellRequest | None) -> StrainFreedom:
    return point.strain(point.freedom if cell is None else cell)


def _anew(point: StationaryPoint) -> MixedDerivative:
    """The mixed derivative, with nothing measured yet."""
    return point.potential.mixed_derivative(point.engine, point.hessian)


def _relative(point: StationaryPoint, found: FloatArray, expected: FloatArray) -> float:
    size = point.engine.norm(expected)
    return point.engine.norm(found - expected) / size if size > 0 else np.nan


def _forms_of_c(
    point: StationaryPoint, mixed: MixedDerivative, along: FloatArray, change: FloatArray, v: FloatArray, tol: float
) -> dict[str, float]:
    """Relative differences between the ways to apply C, after `prepare`."""
    engine, size = point.engine, point.engine.norm(along)
    cause = "products that were written one by one and differ"
    known, vector = mixed.times(change), mixed.transposed_times(v)
    typical = engine.norm(v) * size / free_count(engine) ** 0.5
    found = {
        "array": require_small(
            _relative(point, mixed.to_array() @ change, along), tol, "C as an array against C δΘ", cause
        ),
        "times": require_small(_relative(point, known, along), tol, "C δΘ once C is known against before", cause),
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
            "the transposed product of the energy's mixed derivative against that of the forces'",
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
    """D δΘ against pressures with installed parameters."""
    engine = point.engine
    freedom = strain_freedom(",".join(strains_of(engine)), point.pressure, engine)
    expected = -engine.volume * first_derivative([state.pressure for state in states], step)
    drive = freedom.basis.T @ components(expected)
    found = mixed.coupling(freedom).mixed @ change
    size = float(np.linalg.norm(drive))
    return require_small(
        float(np.linalg.norm(found - drive)) / size if size > 0 else np.nan,
        tol,
        "the derivative of the pressure by Θ against pressures with installed parameters",
        "`coupling`, or a contribution without its virial",
    )


def _remainders(point: StationaryPoint, dtheta: FloatArray, freedom: StrainFreedom, order: int) -> dict[str, float]:
    """Errors of Taylor models at one change of the parameters."""
    solve, ftol, engine = 1e-8, 1e-10, point.engine
    displacement, strain = point.predicted_at(dtheta, solve, freedom)
    relaxed = point.relaxed_at(dtheta, ftol, cell=freedom)
    missed = point.null_space().project(relaxed[0] - displacement)
    found, pressure, volume = {"displacement": engine.norm(missed)}, 0.0, engine.volume
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
        bend = 0.5 * float(dtheta @ point.energy_hessian(1e-7, cell=freedom) @ dtheta)
        found["second"] = abs(first + bend - energy)
    if order >= 3:
        state = point.state_at(dtheta, displacement, strain)
        found["third"] = abs(state.energy + pressure * state.volume - energy)
    return found
