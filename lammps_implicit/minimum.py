"""`Minimum`: a relaxed structure, its derivatives with respect to the parameters, and what is built on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from lammps_implicit.continuation.follow import ContinuationPath, follow
from lammps_implicit.ensembles.ensemble import as_ensemble
from lammps_implicit.ensembles.propagation import Propagation, propagate
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.expansion.directions import leading_directions
from lammps_implicit.expansion.taylor import Expansion, expand
from lammps_implicit.expansion.third_derivative import third_derivative
from lammps_implicit.observables.cells import enthalpy, volume
from lammps_implicit.observables.distances import distance_from_jacobian
from lammps_implicit.observables.observable import stability
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.response.cubic import LeadingDirections, ThirdDerivative
from lammps_implicit.results.sensitivity import Sensitivity, take_sensitivity
from lammps_implicit.stationary.checks import check_tolerance
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.stationary.standing import CellRequest
from lammps_implicit.units import Pressure


class Minimum(StationaryPoint):
    """A minimum X*(Θ) of a potential's energy, differentiated implicitly: H dX*/dΘ = -C.

    Make one with `from_deck` or `from_ase`. Use it as a context manager, or call `close`, to end LAMMPS.

    Examples
    --------
    >>> from lammps_implicit import Minimum
    >>> with Minimum.from_deck("lammps_scripts/in.ta_vacancy", variables={"n": "3"}) as vacancy:
    ...     jacobian = vacancy.jacobian(tol=1e-3)
    ...     print(vacancy.engine.n_atoms, len(vacancy.potential.theta))
    53 31
    """

    def sensitivity(
        self,
        tol: float = 1e-5,
        method: str = "auto",
        progress: Progress = no_progress,
        *,
        cell: CellRequest = "none",
        pressure: Pressure = None,
    ) -> Sensitivity:
        """Structure, Jacobian and energy derivatives as one result, which predicts and writes itself.

        Parameters
        ----------
        tol, method, progress, cell, pressure
            As for `jacobian`.

        Returns
        -------
        Sensitivity
            What `results.read_sensitivity` returns; on several ranks each holds its own atoms, in id order.

        Raises
        ------
        LammpsImplicitError
            At a stress that is not hydrostatic, before anything is evaluated.
        """
        check_tolerance(tol)
        return take_sensitivity(self, tol, self.strain(cell, pressure), method, progress)

    def third_derivative(self, directions: LeadingDirections, tol: float = 1e-5) -> ThirdDerivative:
        """Third derivatives of the relaxed energy or enthalpy, and second ones of the volume; kept as `third`.

        Four force evaluations and one of descriptors for each of (k + 1)(k + 2) structures, k(k + 1) where the cell was
        not relaxed.

        Parameters
        ----------
        directions : LeadingDirections
            k of them; see `third_derivative.leading_directions`.
        tol : float
            Of the Jacobian.
        """
        self.third = third_derivative(self, directions, tol, self.cell)
        return self.third

    def propagate(
        self,
        ensemble: Any,
        distances: Sequence[tuple[int, int]] = (),
        order: int = 3,
        tol: float = 1e-5,
        limit: float = 0.1,
    ) -> Propagation:
        """Distribution of energy, volume and distances over an ensemble of parameters, from derivatives alone.

        Parameters
        ----------
        ensemble : Ensemble, (S, P) array_like, fitted regression, or path
            See `ensembles.ensemble.as_ensemble`.
        distances : sequence of (int, int)
            Ids of two atoms each.
        order : int
            Of energies: 2, or 3, which measures `third_derivative` along the ensemble's directions, and brings volumes
            to second order.
        tol : float
            Of the Jacobian.
        limit : float
            Share of a change, or of the spread, that an estimated error may be before a sample is flagged.
        """

        if order not in (2, 3):
            raise LammpsImplicitError(f"order {order} is not 2 or 3")
        known = self.engine.on_root(lambda: as_ensemble(ensemble, self.parameters))
        self.third = None  # that of another ensemble is of no use
        if order == 3:
            hessians, changes = [self.relaxation_hessian(tol, cell=self.cell)], known.changes(self.potential.theta)
            # On one rank, so that all go along the same directions to the last digit.
            self.third_derivative(self.engine.on_root(lambda: leading_directions(changes, hessians)), tol)
        found = {"energy" if self.cell == "none" else "enthalpy": enthalpy(self, tol)}
        if self.cell != "none":
            found["volume"] = volume(self, tol)
        if self.third is not None:
            found["stability"] = stability(self.third.softening)
        found |= {f"distance {a}-{b}": distance_from_jacobian(self, (a, b), tol) for a, b in distances}
        metric = self.third.directions.response_metric if self.third is not None else None
        return propagate(found, self.potential.theta, known, limit, metric)

    def expansion(
        self,
        order: int = 2,
        cell: CellRequest = "none",
        pressure: Pressure = None,
        tol: float = 1e-5,
    ) -> Expansion:
        """Taylor model of structure, cell, energy and pressure at changed parameters, from one Jacobian.

        Parameters
        ----------
        order : int
            Of energies: 1, 2, or 3, which re-evaluates U at each predicted structure. Structures are of first order.
        cell, pressure
            As for `jvp`.
        tol : float
            Of the Jacobian.
        """
        return expand(self, order, self.strain(cell, pressure), tol)

    def follow(
        self,
        theta: ArrayLike,
        *,
        ftol: float = 1e-8,
        cell: CellRequest = "none",
        pressure: Pressure = None,
        missed: float = 0.02,
        stop_at_new_neighbours: bool = True,
        progress: Progress = no_progress,
    ) -> ContinuationPath:
        """Follow the minimum to other parameters, however far: predictions from the derivative, relaxed one by one.

        Parameters
        ----------
        theta : (P,) array_like
        ftol : float
            eV/Å, of every relaxation.
        cell, pressure
            As for `relax`.
        missed : float
            Å; how far atoms may be from where they were predicted: what steps are as long as.
        stop_at_new_neighbours : bool
            Whether to end where atoms get other neighbours.
        progress : callable, optional
            Called with thousandths of the way.

        Returns
        -------
        ContinuationPath
            Its steps, and why it ended. The minimum stands at the last one: the parameters asked for where ``reached``,
            else the last good minimum on the way, where it disappears or changes its topology.
        """
        with self._meter.measured("relaxation", ftol):
            return follow(self, theta, ftol, cell, pressure, missed, stop_at_new_neighbours, progress)
