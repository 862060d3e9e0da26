"""`Minimum`: a relaxed structure, its derivatives with respect to the parameters, and analyses built on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from lammps_implicit.continuation.follow import ContinuationPath, follow
from lammps_implicit.ensembles.ensemble import as_ensemble
from lammps_implicit.ensembles.propagation import Propagation, propagate
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.expansion.directions import leading_directions, relaxation_sizes
from lammps_implicit.expansion.taylor import Expansion, expand
from lammps_implicit.expansion.third_derivative import third_derivative
from lammps_implicit.observables.cells import enthalpy, volume
from lammps_implicit.observables.distances import distance_from_jacobian
from lammps_implicit.observables.observable import stabilities
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.response.cubic import LeadingDirections, ThirdDerivative
from lammps_implicit.results.sensitivity import Sensitivity, take_sensitivity
from lammps_implicit.saddles.searching import SaddlesAround, saddles_around
from lammps_implicit.saddles.starting import Push
from lammps_implicit.stationary.checks import check_tolerance
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.stationary.relaxable import CellRequest
from lammps_implicit.units import Pressure
from lammps_implicit.vibrations.free_energy import FreeEnergy, gibbs_energy, harmonic_free_energy
from lammps_implicit.vibrations.modes import DifferentiatedModes, differentiated_modes


class Minimum(StationaryPoint):
    """A minimum X*(Θ) of the potential energy, differentiated implicitly: H dX*/dΘ = -C.

    Create one with `from_deck` or `from_ase`. Use it as a context manager, or call `close`, to end LAMMPS.

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
        energy_hessian: bool | None = None,
    ) -> Sensitivity:
        """Structure, Jacobian and energy derivatives as one result, for predictions and files.

        Parameters
        ----------
        tol, method, progress, cell, pressure
            As for `jacobian`.
        energy_hessian : bool, optional
            Whether to include the second derivative of the energy, which takes about P² force evaluations where the
            energy is not linear in P parameters. Default: unless these are more than 2,000 and ten times those of the
            Jacobian; a warning says so.

        Returns
        -------
        Sensitivity
            The class that `results.read_sensitivity` returns too. On several ranks each holds its own atoms, in id
            order.

        Raises
        ------
        LammpsImplicitError
            If the cell is held at a stress that is not hydrostatic; nothing has been evaluated then. If the second
            derivative is to be left out, but third derivatives have been taken.
        NotAMinimumError
            As for `jvp`.

        Examples
        --------
        For the Ta vacancy of `from_deck`; ``result.write("ta.h5")`` would write a file:

        >>> result = minimum.sensitivity(tol=1e-5)
        >>> moved = result.displacement(0.01 * result.theta)
        >>> print(f"{result.energy:.3f} eV, largest component {abs(moved).max():.5f} Å")
        -625.346 eV, largest component 0.00151 Å
        """
        check_tolerance(tol)
        return take_sensitivity(self, tol, self.strain(cell, pressure), method, progress, energy_hessian)

    def third_derivative(self, directions: LeadingDirections, tol: float = 1e-5) -> ThirdDerivative:
        """Third derivatives of the relaxed energy or enthalpy, and second derivatives of the volume; kept as `third`.

        Costs four force evaluations and one descriptor evaluation for each of (k + 1)(k + 2) structures, or of k(k + 1)
        structures if the cell is not relaxed, along k directions.

        Parameters
        ----------
        directions : LeadingDirections
            The k directions: see `expansion.directions.leading_directions`.
        tol : float
            Relative tolerance of each column of the Jacobian.

        Returns
        -------
        ThirdDerivative
        """
        self.third = third_derivative(self, directions, tol, self.cell)
        return self.third

    def saddles(
        self,
        count: int = 0,
        *,
        modes: Sequence[Push] = (),
        seed: int = 0,
        ftol: float = 1e-8,
        progress: Progress = no_progress,
    ) -> SaddlesAround:
        """Search for saddles around this minimum: see `saddles.saddles_around`.

        Parameters
        ----------
        count, modes, seed, ftol, progress
            As there.

        Examples
        --------
        For the Ta vacancy of `from_deck`; `saddles.barrier_over` makes a `Barrier` of one:

        >>> found = minimum.saddles(modes=[(2, (-1.0, -1.0, -1.0))])
        >>> print(f"{found.saddles[0].barrier:.3f} eV")
        1.123 eV
        """
        return saddles_around(self, count, modes=modes, seed=seed, ftol=ftol, progress=progress)

    def modes(
        self,
        count: int | None = None,
        near: float | None = None,
        *,
        cell: CellRequest = "none",
        pressure: Pressure = None,
        gradient: bool | None = None,
        tol: float = 1e-6,
        progress: Progress = no_progress,
    ) -> DifferentiatedModes:
        """Vibrational modes: all, the softest, or those nearest a frequency, with derivatives of their frequencies.

        Parameters
        ----------
        count : int, optional
            Number of modes; there may be more, as modes of equal frequency are not torn apart. Default: all.
        near : float, optional
            Frequency in THz, 1/τ in ``units lj``. Default: the softest.
        cell, pressure
            As for `jvp`: whether the cell follows the parameters.
        gradient : bool, optional
            Whether to differentiate frequencies with respect to Θ and the volume. Default: if there are parameters.
        tol : float
            Largest residual relative to the spread of the spectrum, and relative tolerance of linear solves.
        progress : callable, optional
            Callback called with (done, total).

        Returns
        -------
        DifferentiatedModes

        Raises
        ------
        LammpsImplicitError
            If all modes of a large cell are asked for.
        ConvergenceError
            If modes are not found to the tolerance.
        DeckError
            If an atom has no mass.

        Examples
        --------
        For the Ta vacancy of `from_deck`, whose softest level is threefold:

        >>> softest = minimum.modes(3)
        >>> print(", ".join(f"{value:.3f} THz" for value in softest.frequencies))
        1.896 THz, 1.896 THz, 1.896 THz
        >>> softest.frequency_gradient.shape
        (3, 31)
        """
        freedom = self.strain(cell, pressure)
        wanted = bool(len(self.potential.theta)) if gradient is None else gradient
        with self._meter.measured("vibrations", tol):
            return differentiated_modes(self, count, near, freedom, wanted, tol, progress)

    def free_energy(
        self,
        temperatures: ArrayLike,
        quantum: bool = True,
        probes: int | None = None,
        *,
        cell: CellRequest = "none",
        pressure: Pressure = None,
        gradient: bool | None = None,
        method: str = "auto",
        tol: float = 1e-6,
        progress: Progress = no_progress,
    ) -> FreeEnergy:
        """Free energy, energy, entropy and heat capacity in the harmonic approximation, with gradients.

        Parameters
        ----------
        temperatures : float or (T,) array_like
            K; in reduced units, ε/k.
        quantum : bool
            Whether modes are quantum-mechanical oscillators; else classical ones.
        probes : int, optional
            Number of random probes, with which cells of any size can be treated; errors are then standard errors.
            Default: all modes, where that is predicted to cost less than 32 probes.
        cell, pressure
            As for `jvp`. If the cell is not fixed, it minimises the Gibbs energy at each temperature (quasi-harmonic
            approximation), and the result has its expansion.
        gradient : bool, optional
            Whether to differentiate with respect to Θ. Default: if the potential has parameters.
        method : {"auto", "exact", "probes"}
            ``exact`` uses all modes.
        tol : float
            Relative tolerance of linear solves.
        progress : callable, optional
            Callback called with (done, total).

        Returns
        -------
        FreeEnergy

        Raises
        ------
        LammpsImplicitError
            If a temperature is not positive, ħ is needed in reduced units, or the method does not fit the cell.
        NotAMinimumError
            If modes are negative, or cost no energy though they are no rigid motions.
        DeckError
            If an atom has no mass.

        Examples
        --------
        For the Ta vacancy of `from_deck`:

        >>> thermal = minimum.free_energy([300.0, 1000.0])
        >>> print(", ".join(f"{value:.3f} eV" for value in thermal.free_energy))
        -627.765 eV, -649.760 eV
        >>> thermal.entropy_gradient.shape
        (2, 31)
        """
        freedom = self.strain(cell, pressure)
        with self._meter.measured("vibrations", tol):
            if freedom.fixed:
                return harmonic_free_energy(
                    self, temperatures, quantum, probes, gradient=gradient, method=method, tol=tol, progress=progress
                )
            if probes is not None or method == "probes":
                raise LammpsImplicitError(
                    "expansion with temperature needs all modes: leave out probes, or keep the cell fixed"
                )
            return gibbs_energy(
                self, temperatures, quantum, freedom=freedom, gradient=gradient, tol=tol, progress=progress
            )

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
            Pairs of atom ids, whose distances are propagated too.
        order : int
            Order of the energies: 2; or 3, which measures `third_derivative` along the leading directions of the
            ensemble, and takes volumes to second order.
        tol : float
            Relative tolerance of each column of the Jacobian.
        limit : float
            Estimated error, as a fraction of a sample's change or of the spread, beyond which a sample is flagged.

        Returns
        -------
        Propagation

        Raises
        ------
        LammpsImplicitError
            If the order is not 2 or 3, or the ensemble does not fit the parameters.
        """

        if order not in (2, 3):
            raise LammpsImplicitError(f"order {order} is not 2 or 3")
        known = self.engine.on_root(lambda: as_ensemble(ensemble, self.parameters))
        self.third = None  # it may belong to another ensemble
        if order == 3:
            hessians, changes = [relaxation_sizes(self, tol, self.cell)], known.changes(self.potential.theta)
            # On one rank, so that all use the same directions to the last digit.
            self.third_derivative(self.engine.on_root(lambda: leading_directions(changes, hessians)), tol)
        found = {"energy" if self.cell == "none" else "enthalpy": enthalpy(self, tol)}
        if self.cell != "none":
            found["volume"] = volume(self, tol)
        if self.third is not None:
            found |= stabilities(self.third.softening)
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
            Order of the energies: 1, 2, or 3, which evaluates U at each predicted structure. Structures are predicted
            to first order.
        cell, pressure
            As for `jvp`.
        tol : float
            Relative tolerance of each column of the Jacobian.

        Returns
        -------
        Expansion

        Raises
        ------
        LammpsImplicitError
            If the order is not 1, 2 or 3, or the cell is held at a stress that is not hydrostatic.
        NotAMinimumError
            As for `jvp`.

        Examples
        --------
        For the Ta vacancy of `from_deck`, with all coefficients 1% larger:

        >>> model = minimum.expansion(order=2)
        >>> predicted = model.predict(0.01 * minimum.potential.theta)
        >>> predicted.displacement.shape
        (53, 3)
        >>> print(f"{predicted.energy:.3f} eV")
        -634.107 eV
        >>> bool(predicted.energy_error < 1e-5)
        True
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
        """Follow the minimum, or the saddle, to other parameters, however far, by predictor-corrector steps.

        Parameters
        ----------
        theta : (P,) array_like
            Parameters to reach.
        ftol : float
            Force tolerance of every relaxation, eV/Å.
        cell, pressure
            As for `relax`.
        missed : float
            Largest distance of an atom from its predicted position that steps aim at, Å; it sets their length.
        stop_at_new_neighbours : bool
            Whether to end the path where the graph of neighbours changes.
        progress : callable, optional
            Callback called with (done, 1000), in thousandths of the path.

        Returns
        -------
        ContinuationPath
            The steps, and the reason for its end. The minimum is then at the last step: at `theta` if ``reached``, else
            at the last good minimum before it disappears or its neighbours change. A saddle is followed until it merges
            with a minimum, where the barrier vanishes, or a second mode becomes negative.

        Raises
        ------
        NotAMinimumError
            If the first prediction fails already, or a saddle does not have exactly one negative mode.
        """
        with self._meter.measured("relaxation", ftol):
            return follow(self, theta, ftol, cell, pressure, missed, stop_at_new_neighbours, progress)
