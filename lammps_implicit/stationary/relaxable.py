"""The current state of a structure, and its relaxation."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Self

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.cell.freedom import (
    StrainFreedom,
    left_out,
    require_tiltable,
    strain_freedom,
)
from lammps_implicit.cell.system import CellSystem
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError
from lammps_implicit.evaluators.fixes import minimised_without
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.evaluators.restoring import restoring
from lammps_implicit.mpi.id_order import IdOrder
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.operators.coupling import STRAIN_STEPS
from lammps_implicit.operators.hessian import hessian_of
from lammps_implicit.potentials.interface import Parameters, Potential
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.relaxation.cell import relax_cell
from lammps_implicit.relaxation.climbing import climb
from lammps_implicit.relaxation.lbfgs import relax
from lammps_implicit.relaxation.newton import newton
from lammps_implicit.response.cubic import ThirdDerivative
from lammps_implicit.response.linear_response import LinearResponse
from lammps_implicit.response.softest_modes import ROUGHLY, softest_modes_of
from lammps_implicit.response.statistics import Meter, Statistics
from lammps_implicit.solvers.backend import backend
from lammps_implicit.solvers.preconditioner import Preconditioner
from lammps_implicit.stationary.checks import check_positive, checked_acceptance
from lammps_implicit.stationary.plausible import absurdities
from lammps_implicit.stationary.states import Relaxation
from lammps_implicit.units import Pressure, Units, units_of

_Array = TypeVar("_Array", FloatArray, IntArray)

CellRequest = Union[str, StrainFreedom]
"""Strains of the cell: ``none``, ``iso``, ``ortho``, ``full``, components such as ``"zz"``, or a `StrainFreedom`."""

FAR_FROM_MINIMUM = 50.0
"""eV/Å; from larger forces LAMMPS' own minimiser starts, in place of the preconditioned one, whose springs assume a
structure near a minimum. Chosen: overlapping atoms exceed it by far, unrelaxed defects do not."""

NEIGHBOURHOOD = 0.1
"""Å that an atom may move from the end of the deck for the minimum to be the one that the deck found. Chosen: a small
part of a bond."""


RELAX_REMEDY = (
    "relax what is left with --relax (relax=True), accept it as a start with --force-limit (force_limit=), or let the "
    "deck minimise further (for example 'minimize 0 1e-8 10000 100000')"
)
"""What to do about a deck that ends too far from a minimum."""


class RelaxablePoint:
    """A structure with its evaluator, potential and linear response, which can be relaxed.

    Base class of `StationaryPoint`. Use it as a context manager, or call `close`, to end LAMMPS.

    Parameters
    ----------
    engine : Evaluator
        Taken over already.
    potential : Potential
    ftol : float
        Largest force component, eV/Å, at which derivatives are taken; the structure is relaxed to it first.
    force_limit : float
        Largest force component, eV/Å, allowed before that relaxation.
    saddle : bool
        Whether the stationary point may be a saddle point.
    progress : callable
        Callback of the relaxation, called with (steps done, steps expected).
    cell, pressure
        If the cell is to be relaxed too: as for `relax`.
    petsc_options : mapping, optional
        PETSc options without prefix, ``{"ksp_monitor": None, "pc_type": "jacobi"}``; used on several ranks only.
    accept_accuracy : float
        Relative error up to which products are returned although it is more than ten times their tolerance.

    Attributes
    ----------
    engine : Evaluator
    freedom : StrainFreedom
        Strains over which the cell was last relaxed, and the pressure at which it is held.
    recipe : dict
        Arguments of `from_deck` that recreate this point.
    setup : Evaluations
        Spent on taking over from the deck and on the relaxation to `ftol`.
    setup_seconds : float
        Wall time of that relaxation.
    initial_force, initial_volume : float
        Largest force component, eV/Å in ``units metal``, and volume, Å³, before that relaxation.
    relaxation : Relaxation
        What that relaxation has done: how far atoms moved, and by how much the energy changed.
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
        accept_accuracy: float = 0.0,
    ) -> None:
        begun = time.perf_counter()
        self.engine = engine
        self.relaxation: Relaxation | None = None
        self.deck_name = ""
        self.deck_sha256 = ""
        self.recipe: dict[str, Any] = {}
        self.units: Units = units_of(engine.deck.units, engine.deck.dimension)
        self.saddle = saddle
        self._backend = backend(engine.comm, petsc_options)
        self.preconditioner = Preconditioner(engine, partial(_cheap_product, engine), self._backend.spring_inverse)
        self._meter = Meter(engine, checked_acceptance(accept_accuracy))
        self.freedom = strain_freedom("none", self.units.pressure_tensor(engine.deck.pressure), engine)
        freedom = self.strain(cell, pressure)
        if left_out(freedom) and engine.deck.dimension == 3 and engine.comm.rank == 0:
            warnings.warn(left_out(freedom), stacklevel=3)
        self._take(engine.settle(), potential)
        self.initial_force, self.initial_volume = self.max_force, engine.volume
        check_positive(force_limit, "force_limit", infinite=True)
        limit = force_limit * self.units.force_factor
        if self.max_force > limit:
            raise NotAMinimumError(
                f"the deck does not end in a minimum: its largest force component is {self.max_force:.3g} "
                f"{self.units.force}, above the limit of {limit:.3g}{engine.deck.history}; {RELAX_REMEDY}"
                f"{minimised_without(engine.deck)}"
            )
        start, energy = (engine.ids, engine.positions, engine.cell), self.energy
        self.relax(ftol, NEIGHBOURHOOD if np.isfinite(force_limit) else np.inf, progress, cell=freedom)
        self.relaxation = self._relaxation_from(start, energy)
        rise = "" if self.saddle or not freedom.fixed else self.relaxation.rise(self.energy)
        for doubt in [*self._absurdities(start), *filter(None, [rise])]:
            if engine.comm.rank == 0:
                warnings.warn(doubt, stacklevel=3)
        self.setup, self.setup_seconds = engine.evaluations.copy(), time.perf_counter() - begun

    def absurdities(self) -> list[str]:
        """Sentences that say why this structure may be no material; none for nearly all. See `plausible`."""
        return self._absurdities()

    def _relaxation_from(self, start: tuple[IntArray, FloatArray, FloatArray], energy: float) -> Relaxation:
        """What relaxing has done since these ids, positions and cell vectors, and this energy."""
        ids, positions, cell = start
        strain = np.linalg.solve(cell, self.engine.cell)
        carried = (fetch(self.engine.comm, ids, positions, self.ids) - self.engine.origin) @ strain
        moved = self.engine.nearest_image(self.positions - self.engine.origin - carried)
        farthest = self.engine.max(float(np.linalg.norm(moved, axis=1).max(initial=0.0)))
        volumes = self.initial_volume, self.engine.volume
        return Relaxation(self.initial_force, self.max_force, farthest, self.energy - energy, volumes, self.units)

    def _absurdities(self, start: tuple[IntArray, FloatArray, FloatArray] | None = None) -> list[str]:
        return absurdities(self.engine, self.energy, self.potential.elements, self.units, self.initial_volume, start)

    def close(self) -> None:
        """End LAMMPS; arrays obtained before stay valid."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- state -------------------------------------------------------------------------------------------------------

    @property
    def response(self) -> LinearResponse:
        """Linear response at the current reference, with everything computed there."""
        if self.engine.void:
            raise LammpsImplicitError(self.engine.void)
        return self._response

    @property
    def potential(self) -> Potential:
        """The potential; its ``theta``, (P,), and ``names`` are the parameters that derivatives refer to."""
        return self._response.potential

    @property
    def parameters(self) -> Parameters:
        """Names and values of the parameters, with the text of their file."""
        return Parameters(self.potential.names, self.potential.theta, self.potential.text)

    @property
    def ids(self) -> IntArray:
        """Ids of the atoms this rank owns, (n,); read-only."""
        return _seen(self.engine.ids)

    @property
    def positions(self) -> FloatArray:
        """Positions of this rank's atoms, (n, 3), Å, in the order of `ids`, inside the cell; read-only."""
        return _seen(self.engine.positions)

    @property
    def unwrapped(self) -> FloatArray:
        """The same in the periodic images in which ASE, or the deck's data file, gave the atoms, (n, 3), Å."""
        return self.engine.unwrapped

    @property
    def energy(self) -> float:
        """Potential energy, eV in ``units metal``."""
        return self._response.energy

    @property
    def enthalpy(self) -> float:
        """U + pV at the pressure at which the cell is held; the energy where the cell was not relaxed."""
        held = float(np.trace(self.target)) / 3 if self.cell != "none" else 0.0
        return self.energy + held * self.engine.volume

    @property
    def pressure(self) -> FloatArray:
        """Pressure tensor, (3, 3), eV/Å³ in ``units metal``; times ``units.pressure_factor`` it is in LAMMPS' unit."""
        return self._response.pressure

    @property
    def max_force(self) -> float:
        """Largest force component on a free degree of freedom, eV/Å in ``units metal``."""
        return self._response.max_force

    @property
    def state(self) -> int:
        """Identifying number of the current positions, cell and parameters: each change of them gives a new one."""
        return self._response.state

    @property
    def cell(self) -> str:
        """Strains over which the cell was last relaxed, such as ``iso``; ``none`` if it was not."""
        return self.freedom.label

    @property
    def target(self) -> FloatArray:
        """Pressure tensor at which the cell is held, (3, 3), energy per volume."""
        return self.freedom.target

    @property
    def statistics(self) -> Statistics:
        """Cost and quality of the last product."""
        return self._meter.statistics

    @property
    def overall(self) -> Statistics:
        """Quality of all products at this reference: what their checks found, the worst of them."""
        return self._meter.overall

    def take_in(self, found: float, tol: float, what: str, remedy: str, caution: str = "") -> None:
        """Take a check of something made of several products into their quality: see `Statistics`.

        Raises
        ------
        AccuracyError
            As for a product, see `Statistics.require_accurate`.
        """
        with self._meter.measured("combined", tol) as counted:
            counted.checked(found, tol, what, remedy)
            counted.caution = caution

    @property
    def third(self) -> ThirdDerivative | None:
        """Third derivatives along an ensemble's directions, if they were measured at this reference."""
        return self._response.third

    @third.setter
    def third(self, measured: ThirdDerivative | None) -> None:
        self._response.third = measured

    def gather(self, array: ArrayLike) -> NDArray[Any] | None:
        """Gather a per-atom array, (n, …), from all ranks in id order, (N, …), on rank 0; None on the others."""
        return IdOrder(self.engine.comm, self.ids).gather(np.asarray(array))

    def strain(self, cell: CellRequest = "iso", pressure: Pressure = None) -> StrainFreedom:
        """Parse and check strains and pressure once; every method that has an argument `cell` takes the result.

        Parameters
        ----------
        cell : str or StrainFreedom
            ``none``, ``iso``, ``ortho`` (xx, yy, zz), ``full`` (all six), or components such as ``"xx,yy"``; the first
            three without those along which the cell is not periodic, or z in two dimensions.
        pressure : float, str or array_like, optional
            As for `Units.pressure_tensor`: ``"10 GPa"``. Default: `target`.

        Raises
        ------
        LammpsImplicitError
            If this cell cannot be strained so, or a pressure is given for a fixed cell.
        """
        self.engine.require_valid()
        if pressure is not None and (isinstance(cell, StrainFreedom) or cell == "none"):
            given = "a StrainFreedom, which has its own" if isinstance(cell, StrainFreedom) else "a fixed cell"
            raise LammpsImplicitError(
                f"a pressure is given for {given}: name the strains of the cell, such as cell='iso'"
            )
        if isinstance(cell, StrainFreedom):  # it may come from another cell
            if cell.units != self.engine.deck.units and not cell.fixed:
                raise LammpsImplicitError(
                    f"strains '{cell.label}' at a pressure in units {cell.units} are given to a cell in units "
                    f"{self.engine.deck.units}: make them with its own strain(...)"
                )
            allowed = strain_freedom(cell.label, cell.target, self.engine)
            if not np.array_equal(allowed.basis, cell.basis):
                raise LammpsImplicitError(
                    f"strains '{cell.label}' ({len(cell.names)} of them) of another cell are not those of this one "
                    f"({len(allowed.names)}), which is not periodic along the same directions: name the components"
                )
            return allowed
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
        """Relax until no force component on a free degree of freedom exceeds `ftol`.

        Positions are relaxed by L-BFGS, preconditioned by the learned springs; LAMMPS' conjugate gradients take over
        far from a minimum or where no descent is found. The cell is relaxed by Newton steps in between. If atoms move,
        call for derivatives and per-atom arrays again: atoms may have moved to other ranks.

        Parameters
        ----------
        ftol : float
            Force tolerance, eV/Å.
        within : float
            Largest allowed displacement of any atom at fixed cell, Å.
        progress : callable, optional
            Callback called with (steps done, steps expected).
        cell, pressure
            Strains of the cell and the pressure at which it is held, as for `jvp`; they become `freedom`.

        Raises
        ------
        ConvergenceError
            If forces stop decreasing, or the minimum is further away than `within`.
        NotAMinimumError
            If the enthalpy has negative curvature under strain. After any error the structure is as before.

        Examples
        --------
        For the Ta vacancy of `from_deck`:

        >>> minimum.relax(ftol=1e-9)
        >>> minimum.max_force <= 1e-9
        True
        """
        check_positive(ftol, "ftol", infinite=True)
        freedom, start = self.strain(cell, pressure), self.engine.reference()

        def come_back() -> None:
            self.engine.set_reference(start)
            # Neighbour lists may have been built far from it.
            far = self.engine.drift > self.engine.skin / 4
            self._take(self.engine.settle() if far else self.engine.forces())

        with (
            self._meter.measured("relaxation", ftol * self.units.force_factor),
            restoring(self.engine, come_back, "the structure before relaxing", after_success=False),
        ):
            self._relax_within(ftol, freedom, within, progress, may_tilt=True)

    def _relax_within(
        self,
        ftol: float,
        freedom: StrainFreedom,
        within: float = np.inf,
        progress: Progress = no_progress,
        may_tilt: bool = False,
    ) -> None:
        """Relax positions, then the cell unless it is fixed; `ftol` in eV/Å."""
        check_positive(ftol, "ftol", infinite=True)
        check_positive(within, "within", infinite=True)
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
            self._cell_system_on_the_way,
            lambda: self.pressure,
            self._take,
            lambda: self._relax_atoms(ftol, np.inf, progress),
        )
        self.freedom = freedom

    def _cell_system_on_the_way(self, freedom: StrainFreedom, tol: float, follow: bool = True) -> CellSystem:
        """Coupled system of cell and positions at the current reference, whatever that now is; not checked."""
        return self.response.cell_system(freedom, tol, follow, STRAIN_STEPS[:1])

    def _relax_atoms(self, ftol: float, within: float, progress: Progress) -> None:
        """Relax positions at fixed cell; `ftol` in LAMMPS' unit of force."""
        engine = self.engine
        if self.max_force <= ftol:
            self.settle()
            return
        forces = self.response.hessian.reference_forces
        try:
            if self.saddle:
                forces = self._relax_saddle(forces, ftol, within, progress)
            else:
                far = FAR_FROM_MINIMUM * self.units.force_factor
                forces = relax(
                    engine, forces, partial(self.preconditioner.near, short=True), ftol, far, within, progress
                )
        except ConvergenceError as error:
            self._take(engine.settle())  # the reference is now wherever it stopped
            self._require_held(error)
            raise
        self._take(forces)
        self.settle()

    def _relax_saddle(self, forces: FloatArray, ftol: float, within: float, progress: Progress) -> FloatArray:
        """Relax to a nearby stationary point, or climb to a saddle from farther away; return the forces there."""
        try:
            return newton(self.engine, forces, partial(self.response.solve, probe=False), ftol, self._moved)
        except (ConvergenceError, NotAMinimumError):
            self._take(self.engine.settle())
            forces, mode = self.response.hessian.reference_forces, softest_modes_of(self.response, ROUGHLY)[0].modes[0]
            near = partial(self.preconditioner.near, saddle=True)
            return climb(self.engine, forces, near, mode.vector, ftol, within, progress=progress).forces

    def _require_held(self, error: ConvergenceError) -> None:
        """Say so if a relaxation failed as external forces push all atoms the same way."""
        forces = self.response.hessian.reference_forces
        net, all_ = self.engine.sum(forces.sum(axis=0)), self.engine.sum(float(np.abs(forces).sum()))
        if self.engine.external and all_ > 0 and np.abs(net).sum() > 0.5 * all_:
            raise ConvergenceError(
                f"external forces push all atoms the same way, with ({', '.join(f'{f:.3g}' for f in net)}) in total, "
                f"and nothing holds them: hold some atoms with 'fix setforce 0 0 0' ({error})"
            ) from None

    def _moved(self, forces: FloatArray) -> None:
        self.response.hessian.reference_forces = forces

    def settle(self) -> None:
        """Assign atoms to the ranks they are near, and move those outside the cell back into it.

        Needed before other parameters are installed, and for displacements that follow the cell, which depend on an
        atom's periodic image. One force evaluation if atoms have moved; on several ranks rows may change.
        """
        if self.engine.drift > 0:
            self._take(self.engine.settle())

    def forget(self) -> None:
        """Discard all derivatives, so that they are computed anew; fitted springs are kept. One force evaluation."""
        self._take(self.engine.forces())

    def _take(self, forces: FloatArray, potential: Potential | None = None) -> None:
        """Make the engine's reference, with these forces, the current state, whose response is yet to be computed."""
        self._meter.begin()
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


def _seen(array: _Array) -> _Array:
    """A view of an array of the engine that cannot be changed in place."""
    view = array.view()
    view.setflags(write=False)
    return view


def _cheap_product(engine: Evaluator, forces: FloatArray, v: FloatArray) -> FloatArray:
    return hessian_of(engine, forces).one_sided(v)
