"""How curvatures uᵀHu change with positions, strain and parameters: third derivatives of the energy, twice along u.

All follow from the states at X ± ηu: ∂(uᵀHu)/∂X is minus the second difference of the forces, the change with a strain
comes from that of the pressure, and that with parameters in which the energy is linear from that of the descriptors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.operators.interface import Hessian, MixedDerivative
from lammps_implicit.progress import Progress, no_progress

STEP = 1e-3
"""Å; displacement of the atom that moves most, to begin with. Measured: truncation then leaves 1e-6 in W, and 1e-4 in a
Lennard-Jones cluster in reduced units; round-off 1e-7."""

SHORTEST, LONGEST = 3e-5, 1.6e-2
"""Å; limits on the step."""

SMOOTH = 1e-6
"""Relative difference of second differences with a step and twice that at which no other steps are tried. Chosen."""


@dataclass(frozen=True)
class Mirror:
    """A symmetry of the reference that turns a displacement into its opposite.

    Attributes
    ----------
    forces : callable
        Maps changes of forces, (n, 3), at the displaced positions to those at the opposite ones.
    rotation : (3, 3) float array
        Of the operation.
    """

    forces: Callable[[FloatArray], FloatArray]
    rotation: FloatArray


@dataclass(frozen=True)
class CurvatureChange:
    """Change of one curvature c = uᵀHu.

    Attributes
    ----------
    curvature : float
        c, from the same forces.
    positions : (n, 3) float array
        ∂c/∂X at fixed u; zero on components that are held.
    strain : (3, 3) float array
        ∂c/∂ε at fixed u, for strains of the cell and all atoms in it; symmetric, of symmetric strains.
    parameters : (P,) float array
        ∂c/∂Θ at fixed positions; empty if it was not asked for.
    """

    curvature: float
    positions: FloatArray
    strain: FloatArray
    parameters: FloatArray


class CurvatureChanges:
    """Measures changes of curvatures at the engine's reference.

    Parameters
    ----------
    engine : Evaluator
    hessian : Hessian
    mixed : MixedDerivative or None
        None if derivatives with respect to parameters are not wanted.

    Attributes
    ----------
    step : float
        Å.
    error : float
        Relative error of second differences of the forces, as estimated by comparing steps; NaN before `choose_step`.
    """

    def __init__(self, engine: Evaluator, hessian: Hessian, mixed: MixedDerivative | None) -> None:
        self.engine = engine
        self.hessian = hessian
        self.mixed = mixed
        self.step, self.error = STEP, float("nan")
        self._pressure: FloatArray | None = None
        self._descriptors: FloatArray | None = None

    def choose_step(self, u: FloatArray) -> None:
        """Compare steps along u, (n, 3), by halves or doubles as long as neighbours agree better and better.

        Four force evaluations, and two for each further step.
        """
        bends: dict[float, FloatArray] = {}

        def missed(step: float) -> float:
            """Relative difference of the second differences with a step and twice that."""
            for wanted in (2 * step, step):
                if wanted not in bends:
                    bends[wanted] = self._bend(u, wanted)
            size = self.engine.norm(bends[step])
            return self.engine.norm(bends[2 * step] - bends[step]) / size if size > 0 else 0.0

        self.step, self.error = STEP, missed(STEP)
        for factor in (0.5, 2.0):
            start = self.step
            while self.error > SMOOTH and SHORTEST <= self.step * factor <= LONGEST / 2:
                found = missed(self.step * factor)
                if not found < self.error:
                    break
                self.step, self.error = self.step * factor, found
            if self.step != start:
                break

    def _bend(self, u: FloatArray, step: float) -> FloatArray:
        scale = step / self.engine.max_abs(u)
        forces = [self.engine.forces(sign * scale * u) for sign in (1, -1)]
        return (forces[0] + forces[1] - 2 * self.hessian.reference_forces) / scale**2

    def along(
        self,
        displacements: Sequence[FloatArray],
        progress: Progress = no_progress,
        mirrors: Sequence[Mirror | None] | None = None,
    ) -> list[CurvatureChange]:
        """Changes of the curvatures along displacements u, (n, 3) each.

        Two force evaluations each, two descriptor evaluations more if energies are linear in descriptors, and two or
        four force evaluations for each parameter if they are not: see `MixedDerivative.curvatures`.
        Half of that where a mirror tells the forces at the opposite displacement.
        """
        found = []
        for done, u in enumerate(displacements):
            found.append(self._change(u, mirrors[done] if mirrors is not None else None))
            progress(done + 1, len(displacements))
        self.engine.return_to_reference()
        return found if self.mixed is None else self._with_installed(found, displacements, self.mixed)

    def _with_installed(
        self, found: list[CurvatureChange], displacements: Sequence[FloatArray], mixed: MixedDerivative
    ) -> list[CurvatureChange]:
        """Add what only changed parameters tell: all derivatives, or those along directions that are not consistent."""
        if mixed.collects and not mixed.odd.size:
            return found
        scales = [self._scale(u) for u in displacements]
        measured = mixed.curvatures([scale * u for scale, u in zip(scales, displacements, strict=True)])
        measured = measured / np.square(scales)[:, None]
        if mixed.collects:
            known = np.array([one.parameters for one in found])
            measured = known + (measured - known @ mixed.odd) @ mixed.odd.T
        return [replace(one, parameters=row) for one, row in zip(found, measured, strict=True)]

    def _scale(self, u: FloatArray) -> float:
        largest = self.engine.max_abs(u)
        return self.step / largest if largest > 0 else 1.0

    def _change(self, u: FloatArray, mirror: Mirror | None) -> CurvatureChange:
        engine, mixed = self.engine, self.mixed
        collecting = mixed is not None and mixed.collects
        if self._pressure is None:
            engine.return_to_reference()
            self._pressure = engine.pressure
            if collecting:
                assert mixed is not None
                self._descriptors = mixed.collect().copy()
        scale = self._scale(u)
        here = self.hessian.reference_forces
        forces: list[FloatArray] = []
        pressures: list[FloatArray] = []
        descriptors: list[FloatArray] = []
        for sign in (1, -1):
            if sign < 0 and mirror is not None:
                # Changes only: what relaxation has left at the reference is not symmetric.
                forces.append(here + mirror.forces(forces[0] - here))
                turn = mirror.rotation
                pressures.append(self._pressure + turn @ (pressures[0] - self._pressure) @ turn.T)
                descriptors.append(descriptors[0] if collecting else np.zeros(0))
                break
            forces.append(engine.forces(sign * scale * u))
            pressures.append(engine.pressure)
            if collecting:
                assert mixed is not None
                descriptors.append(mixed.collect().copy())
        bend = (forces[0] + forces[1] - 2 * here) / scale**2
        product = (forces[1] - forces[0]) / (2 * scale)
        work = -engine.volume * (pressures[0] + pressures[1] - 2 * self._pressure) / scale**2
        turned = np.asarray(engine.sum(u.T @ product))
        parameters = np.zeros(0)
        if collecting:
            assert mixed is not None and self._descriptors is not None
            # Differences before sums: the sums are large and cancel. Symmetry does not change sums.
            parameters = mixed.summed((descriptors[0] + descriptors[1] - 2 * self._descriptors) / scale**2)
        return CurvatureChange(engine.dot(u, product), -bend, work - turned - turned.T, parameters)
