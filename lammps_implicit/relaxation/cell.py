"""Relaxation of the cell together with the positions: Newton steps in the strain, with positions eliminated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import StrainFreedom, driving_force
from lammps_implicit.cell.system import AT_TARGET, CellSystem
from lammps_implicit.errors import ConvergenceError, NotAMinimumError
from lammps_implicit.evaluators.interface import Evaluator

_CONVERGED = 1e-10
"""Strain at which the cell counts as relaxed."""

_NOISE = 1e-8
"""Strain accepted if further steps do not reduce it: round-off of the pressure leaves about as much in soft cells."""

_LONGEST_STEP = 0.02
"""Largest strain in one step, within which the energy is about quadratic."""

_STEPS = 60
"""Limit on the number of steps; ten suffice for metals from 10 GPa away."""

_ROUGH = 1e-3
"""Relative tolerance of the linear solves; later Newton steps correct their errors."""


class CellSystemAt(Protocol):
    """Function that evaluates the coupled system of positions and cell at the reference."""

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
    """Relax a cell whose positions are relaxed to its target pressure.

    The derivatives of one step serve the following ones as long as each step reduces the remaining strain tenfold.

    Parameters
    ----------
    engine : Evaluator
    freedom : StrainFreedom
        Strains of the cell and target pressure.
    cell_system : callable
        Evaluates the coupled system at the reference, see `LinearResponse.cell_system`.
    pressure : callable
        Returns the pressure tensor at the reference, (3, 3), energy per volume.
    take : callable
        Called with the forces (n, 3), eV/Å, after the reference has been strained.
    relax_atoms : callable
        Relaxes positions in the present cell.

    Raises
    ------
    ConvergenceError
        If the target is not reached, or the volume halves or doubles on the way.
    NotAMinimumError
        If the enthalpy has negative curvature at the target.
    """
    steps, size, start = 0, np.inf, engine.volume
    system: CellSystem | None = None
    while steps < _STEPS and 0.5 < engine.volume / start < 2.0:
        fresh = system is None
        if system is None:
            system = _system_on_the_way(cell_system, freedom, size)
            system.require_resistance()
        drive = driving_force(engine.volume, pressure(), np.zeros((3, 3)), freedom.target)
        strain = system.step(freedom.basis.T @ drive)
        last, size = size, float(np.abs(strain).max())
        if size <= _CONVERGED or (fresh and size <= _NOISE and size > 0.5 * last):
            if not system.positions_follow:  # positions must be at a minimum at the target
                system = cell_system(freedom, _ROUGH)
            system.require_minimum()
            return
        if size > 0.1 * last and not fresh:
            system = None
            continue
        steps += 1
        ids, strain = engine.ids, strain * min(1.0, _LONGEST_STEP / size)
        engine.shift(-system.relaxed @ strain)
        take(engine.strain_reference(np.tensordot(strain, freedom.tensors(), axes=1)))
        relax_atoms()
        if not engine.order_unchanged(ids):
            system = None
    raise ConvergenceError(
        f"the cell did not reach its target pressure in {steps} steps (volume {start:.6g} at the start, "
        f"{engine.volume:.6g} at the end, remaining strain {size:.1e}): there may be no minimum of the enthalpy "
        "nearby; start closer to it, or from another pressure"
    )


def _system_on_the_way(cell_system: CellSystemAt, freedom: StrainFreedom, remaining: float) -> CellSystem:
    """Coupled system of a cell that is not yet at its target, and whose positions may be at a saddle.

    Positions that are unstable here may be stable in the cell at its target: the cell is then strained at fixed
    fractional coordinates, and positions are relaxed afterwards.

    Raises
    ------
    NotAMinimumError
        If positions are at a saddle and the cell is already at its target.
    """
    try:
        return cell_system(freedom, _ROUGH)
    except NotAMinimumError:
        if remaining <= AT_TARGET:
            raise
        return cell_system(freedom, _ROUGH, follow=False)
