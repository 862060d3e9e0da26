"""`StationaryPoint`: a structure at which forces vanish, and its derivatives with respect to the parameters."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any, Literal, overload

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike
from typing_extensions import Self

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import (
    require_strainable,
)
from lammps_implicit.errors import LammpsImplicitError, NotAMinimumError
from lammps_implicit.evaluators.ase_deck import temporary_deck
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.evaluators.registry import EVALUATORS
from lammps_implicit.evaluators.restoring import restoring
from lammps_implicit.files import sha256
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.potentials.without_parameters import require_parameters
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.solvers.backend import backend
from lammps_implicit.stationary.calculator import PointCalculator
from lammps_implicit.stationary.checks import checked_vector, require_same_atoms
from lammps_implicit.stationary.differentiable import DifferentiablePoint
from lammps_implicit.stationary.relaxable import CellRequest
from lammps_implicit.stationary.states import Excursion, Relaxed, SavedState, State
from lammps_implicit.stationary.twins import require_alike, way_to
from lammps_implicit.units import Pressure

PUSH_OFF = 0.05
"""Å by which the atom that moves most is displaced off a saddle point. Chosen: well above noise, well below a bond."""

SADDLES = 3
"""Saddle points that one relaxation may leave in succession. Chosen."""


class StationaryPoint(DifferentiablePoint):
    """A structure X*(Θ) at which forces vanish, differentiated implicitly: H dX*/dΘ = -C.

    Create one with `from_deck` or `from_ase`. `Minimum` adds what is built on these derivatives: Taylor models,
    propagation over ensembles, continuation.

    Notes
    -----
    Implicit differentiation: I. Maliyov, P. Grigorev, T. D. Swinburne, npj Comput. Mater. 11, 22 (2025). Energies are
    in eV and lengths in Å in ``units metal``; forces in arguments are in eV/Å in all unit styles but ``lj``.

    Attributes
    ----------
    again : callable or None
        Makes the point anew, as it was made at first.
    """

    again: Callable[[], Any] | None = None

    def __repr__(self) -> str:
        what = f"<{type(self).__name__} of {self.deck_name or 'a structure'}"
        if self.engine.void:
            return f"{what}: {self.engine.void}>"
        kind = "saddle" if self.saddle else f"{len(self.potential.theta)} parameters"
        return f"{what}: {self.engine.n_atoms} atoms, {kind}, {self.energy:.9g} {self.units.energy}>"

    # -- constructors ------------------------------------------------------------------------------------------------

    @classmethod
    def from_deck(
        cls,
        path: str | os.PathLike[str],
        comm: MPI.Comm | None = None,
        parameters: str | Sequence[str] | None = None,
        *,
        variables: Mapping[str, str] | None = None,
        ftol: float = 1e-8,
        force_limit: float = 1e-2,
        saddle: bool = False,
        progress: Progress = no_progress,
        cell: str = "none",
        pressure: Pressure = None,
        evaluator: str = "lammps",
        petsc_options: Mapping[str, Any] | None = None,
        accept_accuracy: float = 0.0,
        relax: bool = False,
        differentiable: bool = False,
    ) -> Self:
        """Run a LAMMPS input deck unchanged and take over at its final state.

        Parameters
        ----------
        path : path-like
            The deck; it runs in its own folder.
        comm : MPI.Comm, optional
            Default: ``MPI.COMM_WORLD``.
        parameters : str or sequence of str, optional
            Shell patterns of parameter labels, such as ``"Be:*"``. Default: all parameters that are known, possibly
            none: relaxing, energies and vibrations need none. An empty sequence asks for none.
        variables : mapping of str to str, optional
            Index variables of the deck to set, as ``lmp -var name value`` does.
        ftol : float
            Largest force component, eV/Å, at which derivatives are taken. A deck that ends with larger forces is
            relaxed further.
        force_limit : float
            Largest force component, eV/Å, at the end of the deck that still counts as relaxed. With ``inf`` the deck's
            structure is relaxed however far it moves, as with `relax`.
        saddle : bool
            Whether to accept a stationary point that is not a minimum, such as the transition state of a migration. It
            is relaxed by Newton's method, and linear systems are solved by MINRES.
        progress : callable, optional
            Callback of the relaxation to `ftol`, called with (steps done, steps expected).
        cell, pressure
            If the cell is to be relaxed too: as for `relax`.
        evaluator : str
            ``lammps``; ``jax``, the deck's pair style in JAX; or one that another package registers under
            ``lammps_implicit.evaluators``.
        petsc_options : mapping, optional
            PETSc options without prefix, ``{"ksp_monitor": None, "pc_type": "jacobi"}``; used on several ranks only.
        accept_accuracy : float
            Products whose own checks find a relative error of more than ten times their tolerance are refused, unless
            the error is at most this.
        relax : bool
            Whether to relax what the deck leaves, however far; `relaxation` and a warning say how far it was. The
            `force_limit` is ignored then.
        differentiable : bool
            Whether a potential without parameters is an error, raised before the structure is relaxed. Otherwise
            products with the parameters raise it.

        Raises
        ------
        DeckError
            If LAMMPS cannot run the deck, or the deck leaves something that cannot be differentiated.
        PotentialError
            If no label matches a pattern; or there are no parameters, if `differentiable`.
        NotAMinimumError, ConvergenceError
            If the deck does not end near a minimum.

        Examples
        --------
        >>> from lammps_implicit import Minimum
        >>> with Minimum.from_deck("lammps_scripts/in.ta_vacancy", variables={"n": "3"}) as vacancy:
        ...     print(f"{vacancy.engine.n_atoms} atoms, {len(vacancy.potential.theta)} parameters")
        ...     print(f"{vacancy.energy:.3f} eV")
        53 atoms, 31 parameters
        -625.346 eV
        """
        deck = deck_path(path)
        comm = MPI.COMM_WORLD if comm is None else comm
        backend(comm)  # raises before a long deck runs if a library is missing
        force_limit = np.inf if relax else force_limit
        settings = {"ftol": ftol, "force_limit": force_limit, "saddle": saddle}
        digest = sha256(deck)  # a deck may remove its own file
        engine, potential = EVALUATORS.load(evaluator)(deck, comm, parameters, variables or {}, **settings)
        try:
            if differentiable:
                require_parameters(potential)
            point = cls(
                engine,
                potential,
                ftol,
                force_limit,
                saddle,
                progress,
                cell,
                pressure,
                petsc_options,
                accept_accuracy,
            )
        except BaseException:
            engine.close()
            raise
        point.deck_name, point.deck_sha256 = deck.name, digest
        point.again = partial(
            cls.from_deck,
            deck,
            comm,
            parameters,
            variables=variables,
            ftol=ftol,
            force_limit=force_limit,
            saddle=saddle,
            cell=cell,
            pressure=pressure,
            evaluator=evaluator,
            petsc_options=petsc_options,
            accept_accuracy=accept_accuracy,
        )
        if relax and comm.rank == 0:
            warnings.warn(f"{deck.name}: {point.relaxation}", stacklevel=2)
        point.recipe = {
            "path": str(deck),
            "parameters": parameters if parameters is None or isinstance(parameters, str) else list(parameters),
            "variables": {name: str(value) for name, value in (variables or {}).items()},
            "ftol": float(ftol),
            "force_limit": float(force_limit),
            "saddle": bool(saddle),
            "cell": cell,
            "pressure": pressure if pressure is None or isinstance(pressure, str) else np.asarray(pressure).tolist(),
            "evaluator": evaluator,
            "accept_accuracy": float(accept_accuracy),
        }
        return point

    @classmethod
    def from_ase(
        cls,
        atoms: Any,
        potential: str | os.PathLike[str] | Sequence[str],
        comm: MPI.Comm | None = None,
        parameters: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """Relax an ASE structure in LAMMPS at fixed cell and take over.

        Parameters
        ----------
        atoms : ase.Atoms
            The structure; that of the communicator's rank 0 is used. ``FixAtoms`` constraints are kept. The cell must
            be in LAMMPS' orientation (a along x, b in the xy plane).
        potential : path-like or sequence of str
            A LAMMPS include file with ``pair_style`` and ``pair_coeff`` lines, such as ``W_2940_2017_2.snap``, or those
            lines. Atom types number the elements in the order in which they first appear in `atoms`.
        comm, parameters, **options
            As for `from_deck`.

        Raises
        ------
        LammpsImplicitError
            As for `from_deck`.
        """
        comm = MPI.COMM_WORLD if comm is None else comm
        with temporary_deck(atoms, potential, comm) as deck:
            point = cls.from_deck(deck, comm, parameters, **options)
        point.recipe = {}  # the temporary deck no longer exists
        point.again = partial(cls.from_ase, deepcopy(atoms), potential, comm, parameters, **options)
        return point

    def twin(self, *, saddle: bool | None = None) -> Self:
        """Make a second point with an evaluator of its own, with these parameters, positions and cell.

        The deck runs again, or the structure is relaxed again; then it moves here.

        Parameters
        ----------
        saddle : bool, optional
            Whether the second point may be a saddle. Default: as this one.

        Raises
        ------
        LammpsImplicitError
            If it is not known how this point was made, or the deck no longer makes these atoms with these energies.
        """
        if self.again is None:
            raise LammpsImplicitError("a second evaluator of this point cannot be started: make it from a deck or ASE")
        twin: Self = self.again()
        try:
            require_same_atoms(self.engine, twin.engine, "the deck, run again,")
            displacement, strain = way_to(twin, self)
            twin.saddle = self.saddle if saddle is None else saddle
            with twin.excursion(self.potential.theta - twin.potential.theta, displacement, strain) as trip:
                trip.stay = True
            require_alike(twin, self)
            twin.freedom, twin.recipe["saddle"] = self.freedom, twin.saddle
        except BaseException:
            twin.close()
            raise
        return twin

    # -- for ASE -----------------------------------------------------------------------------------------------------

    def calculator(self) -> PointCalculator:
        """ASE calculator with energy, forces and stress of the present potential, in eV and Å.

        For any positions of the same atoms, and any cell that the deck's can be strained to; ``get_atoms()`` of the
        calculator gives the atoms at the reference. Positions are LAMMPS' own coordinates. Others are recognised by
        their arrays ``id`` and ``type`` where they have these, else by their order and their elements. The point stays
        as it is. Each new structure is one force evaluation, counted with all others (two in a strained cell). On
        several ranks, all work together: each has the same atoms and calls the calculator at the same time.

        Returns
        -------
        PointCalculator
            Valid until the point is closed.

        Raises
        ------
        LammpsImplicitError
            If the deck has ``units lj``.

        Examples
        --------
        For the Ta vacancy of `from_deck`:

        >>> atoms = minimum.calculator().get_atoms()
        >>> print(f"{atoms.get_potential_energy():.3f} eV")
        -625.346 eV
        """
        return PointCalculator(self.engine, self.potential.elements)

    # -- excursions to other parameters -------------------------------------------------------------------------------

    @contextmanager
    def excursion(
        self, dtheta: ArrayLike, displacement: FloatArray | None = None, strain: FloatArray | None = None
    ) -> Iterator[Excursion]:
        """Context with other parameters, positions and cell; the point and all its derivatives are restored on leaving.

        Parameters
        ----------
        dtheta : (P,) array_like
            δΘ.
        displacement : (n, 3) float array, optional
            Å; Cartesian, including the part that follows the cell.
        strain : (3, 3) float array, optional
            Upper triangular.

        Yields
        ------
        Excursion
            Set its ``stay`` to keep the structure of that moment, with Θ + δΘ, instead of returning.
        """
        dtheta = checked_vector(self.engine, dtheta, (len(self.potential.theta),), "dtheta")
        engine, trip = self.engine, Excursion()
        strain = checked_vector(engine, np.zeros((3, 3)) if strain is None else strain, (3, 3), "strain")
        if displacement is not None:
            displacement = checked_vector(engine, displacement, self.positions.shape, "displacement")
        require_strainable(engine, strain)
        saved = SavedState(
            engine.reference(),
            self.response,
            self.freedom,
            self.preconditioner.fitted,
            self._meter.statistics,
            self._meter.overall,
        )

        def come_back() -> None:
            if trip.stay:
                self.settle()
            else:
                self._restore(saved)

        with restoring(engine, come_back, "where the structure stood before"):
            try:
                changed = self.potential.changed(dtheta)
                forces = changed.install(engine, np.zeros_like(dtheta))
                if displacement is not None:
                    # The displacement beyond the homogeneous one, in the axes of the unstrained cell.
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
        """Return to a saved state."""
        self.engine.set_reference(saved.reference)
        self._response, self.freedom = saved.response, saved.freedom
        self._meter.statistics, self._meter.overall = saved.statistics, saved.overall
        self.potential.install(self.engine, np.zeros(len(self.potential.theta)))
        self.preconditioner.fitted = saved.fitted

    def state_at(
        self, dtheta: ArrayLike, displacement: ArrayLike, strain: FloatArray | None = None, gradient: bool = False
    ) -> State:
        """Energy, forces and pressure at X* + δX in a strained cell with Θ + δΘ, not relaxed.

        Parameters
        ----------
        dtheta, displacement, strain
            As for `excursion`.
        gradient : bool
            Whether to evaluate ∂U/∂Θ too.

        Returns
        -------
        State
            Rows of its forces are those of `ids`.
        """
        moved, ids = checked_vector(self.engine, displacement, self.positions.shape, "displacement"), self.ids
        with self.excursion(dtheta, moved, strain):
            forces = fetch(self.engine.comm, self.ids, self.response.hessian.reference_forces, ids)
            slope = self.response.energy_gradient() if gradient else None
            return State(self.energy, forces, self.pressure, self.engine.volume, slope)

    def energy_at(self, dtheta: ArrayLike, displacement: ArrayLike) -> float:
        """U(X* + δX, Θ + δΘ), eV, not relaxed; for δX = jvp(δΘ) it is the relaxed energy to third order in δΘ."""
        return self.state_at(dtheta, displacement).energy

    def relax_away(
        self,
        ftol: float,
        cell: CellRequest = "none",
        pressure: Pressure = None,
        leave_saddles: bool = False,
        within: float = np.inf,
    ) -> float:
        """Relax during an excursion, as `relax` does; return the largest displacement of an atom, Å.

        A saddle is searched for `within` a distance, Å: where there is none left, the search would take long.

        With `leave_saddles` a structure that symmetry keeps on a saddle point is displaced off it along its softest
        mode, unless the point is to be a saddle.
        """
        start, ids, freedom = self.positions, self.ids, self.strain(cell, pressure)
        for attempts_left in range(SADDLES if leave_saddles and not self.saddle else 0, -1, -1):
            try:
                self._relax_within(ftol, freedom, within if self.saddle else np.inf)
                break
            except NotAMinimumError:
                if not attempts_left:
                    raise
                mode = self.softest_mode()
                if mode.curvature >= 0:
                    raise
                self.engine.shift(PUSH_OFF / self.engine.max_abs(mode.vector) * mode.vector)
                self._take(self.engine.settle())
        moved = self.engine.nearest_image(self.positions - fetch(self.engine.comm, ids, start, self.ids))
        return self.engine.max(float(np.linalg.norm(moved, axis=1).max(initial=0.0)))

    def predicted_at(
        self, dtheta: FloatArray, tol: float, cell: CellRequest, pressure: Pressure = None
    ) -> tuple[FloatArray, FloatArray]:
        """Displacement, (n, 3), Å, and strain, (3, 3), along δΘ to first order; the strain of a fixed cell is zero."""
        freedom = self.strain(cell, pressure)
        if freedom.fixed:
            return self.jvp(dtheta, tol), np.zeros((3, 3))
        response = self.jvp(dtheta, tol, cell=freedom)
        return response.displacement, np.tensordot(response.strain, freedom.tensors(), 1)

    @overload
    def relaxed_at(  # type: ignore[overload-overlap]
        self, dtheta: ArrayLike, ftol: float = ..., *, cell: Literal["none"] = ...
    ) -> tuple[FloatArray, float]: ...

    @overload
    def relaxed_at(
        self, dtheta: ArrayLike, ftol: float = ..., *, cell: CellRequest, pressure: Pressure = ...
    ) -> Relaxed: ...

    def relaxed_at(
        self, dtheta: ArrayLike, ftol: float = 1e-8, *, cell: CellRequest = "none", pressure: Pressure = None
    ) -> tuple[FloatArray, float] | Relaxed:
        """Relax the structure with Θ + δΘ, by brute force, and return to Θ: a check of predictions.

        Parameters
        ----------
        dtheta : (P,) array_like
            δΘ.
        ftol : float
            Force tolerance, eV/Å.
        cell, pressure
            As for `relax`.

        Returns
        -------
        displacement : (n, 3) float array
            From X*(Θ) to X*(Θ + δΘ), nearest images, Å.
        energy : float
            Energy of the structure relaxed with Θ + δΘ, eV in ``units metal``.
        cell : (3, 3) float array
            Its cell vectors as rows, Å; only if the cell is relaxed too, as the third field of `Relaxed`.

        Raises
        ------
        NotAMinimumError, ConvergenceError
            If there is no minimum nearby.

        Examples
        --------
        For the Ta vacancy of `from_deck`, with all coefficients 1% larger:

        >>> moved, energy = minimum.relaxed_at(0.01 * minimum.potential.theta)
        >>> print(f"largest component {abs(moved).max():.5f} Å, energy {energy:.3f} eV")
        largest component 0.00152 Å, energy -634.107 eV
        """
        start, ids, freedom = self.positions, self.ids, self.strain(cell, pressure)
        with self.excursion(dtheta):
            self._relax_within(ftol, freedom)
            relaxed = fetch(self.engine.comm, self.ids, self.positions, ids)
            displacement = self.engine.nearest_image(relaxed - start)
            if freedom.fixed:
                return displacement, self.energy
            return Relaxed(displacement, self.energy, self.engine.cell)
