"""Where a structure stands, how it relaxes, and visits to other parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Self

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.cell.freedom import (
    StrainFreedom,
    require_strainable,
    require_tiltable,
    strain_freedom,
)
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.evaluators.restoring import restoring
from lammps_implicit.mpi.id_order import IdOrder
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.operators.hessian import hessian_of
from lammps_implicit.potentials.interface import Parameters, Potential
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.relaxation.cell import relax_cell
from lammps_implicit.relaxation.lbfgs import relax
from lammps_implicit.relaxation.newton import newton
from lammps_implicit.response.cubic import ThirdDerivative
from lammps_implicit.response.linear_response import LinearResponse
from lammps_implicit.response.statistics import Meter, Statistics
from lammps_implicit.solvers.backend import backend
from lammps_implicit.solvers.preconditioner import Preconditioner
from lammps_implicit.solvers.softest import Mode, softest_mode
from lammps_implicit.stationary.checks import checked_vector
from lammps_implicit.stationary.states import Excursion, SavedState, State
from lammps_implicit.units import Pressure, Units, units_of

CellRequest = Union[str, StrainFreedom]
"""What the cell may do: ``none``, ``iso``, ``ortho``, ``full``, components as ``"zz"``; or that, read already."""

FAR_FROM_MINIMUM = 50.0
"""Largest force, eV/Å, from which the preconditioned relaxation starts; LAMMPS' own minimiser comes first beyond."""

NEIGHBOURHOOD = 0.1
"""Å that atoms may move from where the deck ends for its minimum to be the one that was meant."""

PUSH_OFF = 0.05
"""Å that the atom which moves most is pushed off a saddle: well beyond the noise, well below a bond."""

SADDLES = 3
"""Saddles left one after the other."""


class Standing:
    """Where a structure stands: its evaluator, its potential and what is known there. It relaxes, and visits others.

    Use it as a context manager, or call `close`, to end LAMMPS.

    Parameters
    ----------
    engine : Evaluator
        That has been taken over.
    potential : Potential
    ftol : float
        Largest force component, eV/Å, that derivatives are taken at; it is relaxed to that first.
    force_limit : float
        Largest force component, eV/Å, with which it may begin.
    saddle : bool
        Whether it may be a saddle.
    progress : callable
        Of the relaxation: called with (steps done, expected in all).
    cell, pressure
        The cell is relaxed too, as `relax` does.
    petsc_options : mapping, optional
        Options of PETSc without prefix, as ``{"ksp_monitor": None, "pc_type": "jacobi"}``; several ranks only.

    Attributes
    ----------
    engine : Evaluator
    freedom : StrainFreedom
        Which strains the cell was relaxed over last, and the pressure it is held at.
    recipe : dict
        Arguments of `from_deck` that make it again.
    setup : Evaluations
        Spent on taking over from the deck, the relaxation to `ftol` included.
    initial_force, initial_volume : float
        Before that.
    """

    def __init__(
        self,
        engine: Evaluator,
        potential: Potential,
        ftol: float,
        force_limit: float,
        saddle: bool = False,
        progress: Progress = no_progress,
        cell: CellRequest = "none",
        pressure: Pressure = None,
        petsc_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.engine = engine
        self.deck_name = ""
        self.deck_sha256 = ""
        self.recipe: dict[str, Any] = {}
        self.units: Units = units_of(engine.deck.units)
        self.saddle = saddle
        self._backend = backend(engine.comm, petsc_options)
        self.preconditioner = Preconditioner(engine, partial(_cheap_product, engine), self._backend.spring_inverse)
        self._meter = Meter(engine)
        self.freedom = strain_freedom("none", self.units.pressure_tensor(engine.deck.pressure), engine)
        freedom = self.strain(cell, pressure)
        self._take(engine.settle(), potential)
        self.initial_force, self.initial_volume = self.max_force, engine.volume
        limit = force_limit * self.units.force_factor
        if self.max_force > limit:
            raise NotAMinimumError(
                f"the deck does not end in a minimum: its largest force component is {self.max_force:.3g} "
                f"{self.units.force}, the limit {limit:.3g}; let it minimise further "
                "(for example 'minimize 0 1e-8 10000 100000')"
            )
        self.relax(ftol, NEIGHBOURHOOD if np.isfinite(force_limit) else np.inf, progress, cell=freedom)
        self.setup = engine.evaluations.copy()

    def close(self) -> None:
        """End LAMMPS; arrays already taken stay valid."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- state -------------------------------------------------------------------------------------------------------

    @property
    def response(self) -> LinearResponse:
        """What is known of this reference."""
        if self.engine.void:
            raise LammpsImplicitError(self.engine.void)
        return self._response

    @property
    def potential(self) -> Potential:
        """``potential.theta`` (P,) and ``potential.names``: the parameters that derivatives are taken for."""
        return self._response.potential

    @property
    def parameters(self) -> Parameters:
        """Names and values of the parameters, with the file that they stand in."""
        return Parameters(self.potential.names, self.potential.theta, self.potential.text)

    @property
    def ids(self) -> IntArray:
        """Ids of the atoms this rank owns, (n,)."""
        return self.engine.ids

    @property
    def positions(self) -> FloatArray:
        """Relaxed positions of this rank's atoms, (n, 3), Å."""
        return self.engine.positions

    @property
    def energy(self) -> float:
        """Potential energy, eV in ``units metal``."""
        return self._response.energy

    @property
    def pressure(self) -> FloatArray:
        """Pressure tensor, (3, 3), eV/Å³ in ``units metal``; times ``units.pressure_factor`` in LAMMPS' unit."""
        return self._response.pressure

    @property
    def max_force(self) -> float:
        """Largest force component on a free degree of freedom, eV/Å in ``units metal``."""
        return self._response.max_force

    @property
    def state(self) -> int:
        """A number of its own for each set of positions, cell and parameters that it has stood at."""
        return self._response.state

    @property
    def cell(self) -> str:
        """What the cell was relaxed over last, ``none`` if it was not."""
        return self.freedom.label

    @property
    def target(self) -> FloatArray:
        """Pressure tensor that the cell is held at, (3, 3), energy per volume."""
        return self.freedom.target

    @property
    def statistics(self) -> Statistics:
        """Cost and quality of the last product."""
        return self._meter.statistics

    @property
    def third(self) -> ThirdDerivative | None:
        """Third derivatives along an ensemble's directions, where they were measured at this reference."""
        return self._response.third

    @third.setter
    def third(self, measured: ThirdDerivative | None) -> None:
        self._response.third = measured

    def gather(self, array: ArrayLike) -> NDArray[Any] | None:
        """Collect a per-atom array (n, …) from all ranks in id order on rank 0; None on the others."""
        return IdOrder(self.engine.comm, self.ids).gather(np.asarray(array))

    def strain(self, cell: CellRequest = "iso", pressure: Pressure = None) -> StrainFreedom:
        """Read once which strains the cell may take and what it is held at; products take the result as `cell`.

        Parameters
        ----------
        cell : str
            ``none``, ``iso``, ``ortho`` (xx, yy, zz), ``full`` (all six), or components as ``"zz"`` or ``"xx,yy"``.
        pressure : float, str or array_like, optional
            See `Units.pressure_tensor`: ``"10 GPa"``; default `target`.

        Raises
        ------
        LammpsImplicitError
            If this cell cannot take such strains, or a fixed cell is to be held at a pressure.
        """
        if pressure is not None and (isinstance(cell, StrainFreedom) or cell == "none"):
            given = "a freedom that holds one already" if isinstance(cell, StrainFreedom) else "a cell that is fixed"
            raise LammpsImplicitError(f"a pressure is given beside {given}: name the strains that it is to work on")
        if isinstance(cell, StrainFreedom):
            return cell
        target = self.target if pressure is None else self.units.pressure_tensor(pressure)
        return strain_freedom(cell, target, self.engine)

    # -- relaxing ----------------------------------------------------------------------------------------------------

    def relax(
        self,
        ftol: float = 1e-8,
        within: float = np.inf,
        progress: Progress = no_progress,
        *,
        cell: CellRequest = "none",
        pressure: Pressure = None,
    ) -> None:
        """Relax until no force component on a free degree of freedom exceeds `ftol` eV/Å.

        L-BFGS preconditioned by the learned springs, with LAMMPS' conjugate gradients where it is far from a minimum or
        finds no way down. A cell takes Newton steps between. Derivatives taken before are void if atoms move; arrays
        too, as atoms may change owner.

        Parameters
        ----------
        ftol : float
            eV/Å.
        within : float
            Å; how far any atom may move in the cell as it is.
        progress : callable, optional
            Called with (steps done, expected in all).
        cell, pressure
            Strains that the cell may take, and what it is held at, as for `jvp`; they become `freedom`.

        Raises
        ------
        ConvergenceError
            If forces stop falling, or the minimum is further away than `within`.
        NotAMinimumError
            If the cell ends where its enthalpy curves downwards. After either it stands where it stood before.

        Examples
        --------
        >>> minimum.relax(ftol=1e-9)
        >>> minimum.max_force <= 1e-9
        True
        """
        if not ftol > 0:
            raise LammpsImplicitError(f"force tolerance {ftol:g} is not positive")
        freedom, start = self.strain(cell, pressure), self.engine.reference()
        with self._meter.measured("relaxation", ftol * self.units.force_factor):
            try:
                self._relax_within(ftol, freedom, within, progress, may_tilt=True)
            except (ConvergenceError, NotAMinimumError):
                self.engine.set_reference(start)
                # Neighbour lists may have been built far from there.
                far = self.engine.drift > self.engine.skin / 4
                self._take(self.engine.settle() if far else self.engine.forces())
                raise

    def _relax_within(
        self,
        ftol: float,
        freedom: StrainFreedom,
        within: float = np.inf,
        progress: Progress = no_progress,
        may_tilt: bool = False,
    ) -> None:
        """Relax positions, then the cell if it may strain; forces in eV/Å."""
        ftol *= self.units.force_factor
        self._relax_atoms(ftol, within, progress)
        if freedom.fixed:
            return
        if may_tilt and np.any(freedom.basis[3:]) and not self.engine.triclinic:
            self.engine.allow_tilt()
            self._take(self.engine.settle())
        require_tiltable(self.engine, freedom)
        relax_cell(
            self.engine,
            freedom,
            lambda *request, **how: self.response.cell_system(*request, **how),
            lambda: self.pressure,
            self._take,
            lambda: self._relax_atoms(ftol, np.inf, progress),
        )
        self.freedom = freedom

    def _relax_atoms(self, ftol: float, within: float, progress: Progress) -> None:
        """Relax positions in the cell as it is, forces in LAMMPS' unit."""
        engine = self.engine
        if self.max_force <= ftol:
            return
        forces = self.response.hessian.reference_forces
        try:
            if self.saddle:
                forces = newton(engine, forces, partial(self.response.solve, probe=False), ftol, self._moved)
            else:
                far = FAR_FROM_MINIMUM * self.units.force_factor
                forces = relax(engine, forces, self.preconditioner.near, ftol, far, within, progress)
        except ConvergenceError:
            self._take(engine.settle())  # wherever it stopped is where it stands now
            raise
        self._take(forces)
        self.settle()

    def _moved(self, forces: FloatArray) -> None:
        self.response.hessian.reference_forces = forces

    def settle(self) -> None:
        """Let ranks own the atoms that have come near them, and bring those that have left the cell back into it.

        A potential can be installed only where ranks own what is near them, and a displacement that follows the cell is
        that of the periodic image where an atom is. One force evaluation; rows may change on several ranks.
        """
        if self.engine.drift > 0:
            self._take(self.engine.settle())

    def forget(self) -> None:
        """Forget all derivatives, so that the next ones are computed anew; springs that still hold are kept."""
        self._take(self.engine.forces())

    def _take(self, forces: FloatArray, potential: Potential | None = None) -> None:
        """Take the engine's reference, with these forces, as where it stands; what was known is of another state."""
        self._response = LinearResponse(
            self.engine,
            self.potential if potential is None else potential,
            forces,
            self.preconditioner,
            self._backend,
            self.saddle,
            self.units,
            self._meter,
        )

    # -- visits to other parameters ----------------------------------------------------------------------------------

    @contextmanager
    def excursion(
        self, dtheta: ArrayLike, displacement: FloatArray | None = None, strain: FloatArray | None = None
    ) -> Iterator[Excursion]:
        """Stand at other parameters, positions and cell; everything known of this point is restored on leaving.

        Parameters
        ----------
        dtheta : (P,) array_like
        displacement : (n, 3) float array, optional
            Å; Cartesian, the part that follows the cell included.
        strain : (3, 3) float array, optional
            Upper triangular.

        Yields
        ------
        Excursion
            Set its ``stay`` to make where it stands then, with Θ + δΘ, the point.
        """
        dtheta = checked_vector(self.engine, dtheta, (len(self.potential.theta),), "dtheta")
        engine, trip = self.engine, Excursion()
        strain = np.zeros((3, 3)) if strain is None else strain
        require_strainable(engine, strain)
        saved = SavedState(
            engine.reference(), self.response, self.freedom, self.preconditioner.fitted, self._meter.statistics
        )
        back = lambda: None if trip.stay else self._restore(saved)  # noqa: E731
        with restoring(engine, back, "where the structure stood before"):
            try:
                changed = self.potential.changed(dtheta)
                forces = changed.install(engine, np.zeros_like(dtheta))
                if displacement is not None:
                    # What is left of it in the cell before it is strained.
                    beyond = displacement - (self.positions - engine.origin) @ strain.T
                    engine.shift(np.asarray(np.linalg.solve(np.eye(3) + strain, beyond.T).T, np.float64))
                if strain.any():
                    forces = engine.strain_reference(strain)
                elif engine.drift > engine.skin / 4:
                    forces = engine.settle()
                elif engine.drift > 0:
                    forces = engine.forces()
                self._take(forces, changed)
                yield trip
            except BaseException:
                trip.stay = False
                raise

    def _restore(self, saved: SavedState) -> None:
        """Stand again where it stood."""
        self.engine.set_reference(saved.reference)
        self._response, self.freedom = saved.response, saved.freedom
        self._meter.statistics = saved.statistics
        self.potential.install(self.engine, np.zeros(len(self.potential.theta)))
        self.preconditioner.fitted = saved.fitted

    def state_at(
        self, dtheta: ArrayLike, displacement: ArrayLike, strain: FloatArray | None = None, gradient: bool = False
    ) -> State:
        """Energy, forces and pressure at X* + δX in a strained cell with Θ + δΘ, unrelaxed.

        Parameters
        ----------
        dtheta : (P,) array_like
        displacement : (n, 3) array_like
            Å; Cartesian, the part that follows the cell included.
        strain : (3, 3) float array, optional
            Upper triangular.
        gradient : bool
            Whether to evaluate ∂U/∂Θ too.
        """
        moved, ids = checked_vector(self.engine, displacement, self.positions.shape, "displacement"), self.ids
        with self.excursion(dtheta, moved, strain):
            forces = fetch(self.engine.comm, self.ids, self.response.hessian.reference_forces, ids)
            slope = self.response.energy_gradient() if gradient else None
            return State(self.energy, forces, self.pressure, self.engine.volume, slope)

    def energy_at(self, dtheta: ArrayLike, displacement: ArrayLike) -> float:
        """U(X* + δX, Θ + δΘ), unrelaxed. With δX = jvp(δΘ) it equals the relaxed energy to third order in δΘ."""
        return self.state_at(dtheta, displacement).energy

    def softest_mode(self, start: ArrayLike | None = None) -> Mode:
        """The mode that resists least, measured against the springs: see `solvers.softest`.

        Parameters
        ----------
        start : (n, 3) array_like, optional
            Its ``pull`` from an earlier call, as guess; default random.
        """
        known = self.response.prepared()
        guess = known.probe if start is None else np.asarray(start, float)
        return softest_mode(replace(known.system, saddle=True), guess)

    def relax_away(
        self, ftol: float, cell: CellRequest = "none", pressure: Pressure = None, leave_saddles: bool = False
    ) -> float:
        """Relax as `relax` does, during an excursion; return the largest distance that an atom moved, Å.

        With `leave_saddles` positions that symmetry keeps on a saddle are pushed off it, along their softest mode.
        """
        start, ids, freedom = self.positions, self.ids, self.strain(cell, pressure)
        for left in range(SADDLES if leave_saddles else 0, -1, -1):
            try:
                self._relax_within(ftol, freedom)
                break
            except NotAMinimumError:
                if not left:
                    raise
                mode = self.softest_mode()
                if mode.curvature >= 0:
                    raise
                self.engine.shift(PUSH_OFF / self.engine.max_abs(mode.vector) * mode.vector)
                self._take(self.engine.settle())
        moved = self.engine.nearest_image(self.positions - fetch(self.engine.comm, ids, start, self.ids))
        return self.engine.max(float(np.linalg.norm(moved, axis=1).max(initial=0.0)))


def _cheap_product(engine: Evaluator, forces: FloatArray, v: FloatArray) -> FloatArray:
    return hessian_of(engine, forces).one_sided(v)
