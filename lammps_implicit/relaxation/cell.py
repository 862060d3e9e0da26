"""Relaxation of the cell together with the positions: Newton steps in the strain, positions eliminated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import StrainFreedom, driving_force
from lammps_implicit.cell.system import AT_TARGET, CellSystem
from lammps_implicit.errors import ConvergenceError, NotAMinimumError
from lammps_implicit.evaluators.interface import Evaluator

CELL_CONVERGED = 1e-10
"""Strain by which a relaxed cell may be off its target."""

CELL_NOISE = 1e-8
"""Strain that may be left where further steps do not make it smaller: where the cell is soft, round-off of the pressure
leaves as much."""

CELL_STEP = 0.02
"""Largest strain of the cell in one step: within it the energy is about quadratic."""

CELL_STEPS = 60
"""Steps after which the relaxation of a cell gives up; ten suffice for metals from 10 GPa away."""

ROUGH = 1e-3
"""Relative tolerance of the solves on the way: Newton's method corrects what they miss."""


class CellSystemAt(Protocol):
    """Measures the coupled system at the reference."""

    def __call__(self, freedom: StrainFreedom, tol: float, follow: bool = True) -> CellSystem:
        """See `LinearResponse.cell_system`."""
        ...


def relax_cell(
    engine: Evaluator,
    freedom: StrainFreedom,
    cell_system: CellSystemAt,
    pressure: Callable[[], FloatArray],
    take: Callable[[FloatArray], None],
    relax_atoms: Callable[[], None],
) -> None:
    """Bring a cell with relaxed positions to its target.

    The derivatives of one step serve the next ones while they bring the target ten times closer each.

    Parameters
    ----------
    engine : Evaluator
    freedom : StrainFreedom
    cell_system : callable
        Measures the coupled system at the reference.
    pressure : callable
        Pressure tensor at the reference, (3, 3), energy per volume.
    take : callable
        Called with the forces (n, 3) at a reference that has been strained.
    relax_atoms : callable
        Relaxes positions in the cell as it is.

    Raises
    ------
    ConvergenceError
        If the target is not reached.
    NotAMinimumError
        If the enthalpy curves downwards there.
    """
    steps, size, start = 0, np.inf, engine.volume
    system: CellSystem | None = None
    while steps < CELL_STEPS and 0.5 < engine.volume / start < 2.0:
        fresh = system is None
        if system is None:
            system = _system_on_the_way(cell_system, freedom, size)
        drive = driving_force(engine.volume, pressure(), np.zeros((3, 3)), freedom.target)
        strain = system.step(freedom.basis.T @ drive)
        last, size = size, float(np.abs(strain).max())
        if size <= CELL_CONVERGED or (fresh and size <= CELL_NOISE and size > 0.5 * last):
            if not system.positions_follow:  # a saddle here would stay one
                system = cell_system(freedom, ROUGH)
            system.require_minimum()
            return
        if size > 0.1 * last and not fresh:
            system = None
            continue
        steps += 1
        ids, strain = engine.ids, strain * min(1.0, CELL_STEP / size)
        engine.shift(-system.relaxed @ strain)
        take(engine.strain_reference(np.tensordot(strain, freedom.tensors(), axes=1)))
        if not engine.owns_still(ids):
            system = None
        relax_atoms()
    raise ConvergenceError(
        f"the cell did not reach its pressure in {steps} steps, from a volume of {start:.6g} to {engine.volume:.6g} (a "
        f"strain of {size:.1e} is missing): there may be no minimum of the enthalpy near"
    )


def _system_on_the_way(cell_system: CellSystemAt, freedom: StrainFreedom, missing: float) -> CellSystem:
    """Coupled system of a cell that is not yet at its target, where positions may still be at a saddle.

    Such positions may be stable in the cell they are on the way to: the cell then goes on alone, and they follow.

    Raises
    ------
    NotAMinimumError
        If all but nothing is missing.
    """
    try:
        return cell_system(freedom, ROUGH)
    except NotAMinimumError:
        if missing <= AT_TARGET:
            raise
        return cell_system(freedom, ROUGH, follow=False)
