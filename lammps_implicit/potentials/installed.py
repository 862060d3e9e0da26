"""Potentials without descriptor computes: LAMMPS is told their parameters one by one, and forces say the rest.

What is measured is ∂U/∂Θ, C = ∂²U/∂X∂Θ and ∂P/∂Θ together: one evaluation a parameter where U is linear in it, central
differences else. A `Source` knows where in the deck's commands and files its parameters stand; several sources make one
potential.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.deck import Deck
from lammps_implicit.errors import DeckError, PotentialError
from lammps_implicit.operators import Progress, no_progress
from lammps_implicit.potentials.commands import PairCommands
from lammps_implicit.units import units_of

if TYPE_CHECKING:
    from lammps_implicit.engine import Engine
    from lammps_implicit.operators import Hessian
    from lammps_implicit.swept_derivative import SweptDerivative

FloatArray = NDArray[np.float64]

STEP = 1e-5
"""Of central differences, relative to the parameter: truncation (of σ¹² too) and round-off leave about 1e-8."""

SECOND_STEP = 2e-4
"""Of second differences of the energy."""

TYPICAL = 1e-3
"""Share of a typical parameter below which a parameter counts as zero, for the step."""

NO_ENERGY, NO_FORCE = 1e-14, 1e-11
"""Change of the energy, relative to itself, and of a force, eV/Å, that is round-off."""

UNSMOOTH = 1e-4
"""Relative difference of derivatives with a single and a doubled step from which the step is not right."""


class Source(Protocol):
    """Part of a deck that holds parameters."""

    @property
    def names(self) -> tuple[str, ...]:
        """Labels, each its own."""
        ...

    @property
    def values(self) -> FloatArray:
        """As the deck has them."""
        ...

    @property
    def linear(self) -> bool:
        """Whether U is linear in all of them."""
        ...

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Chemical element of each atom type, where the source names them; else empty."""
        ...

    def edit(self, commands: PairCommands, values: FloatArray, stem: Path) -> None:
        """Write values into the deck's commands; files that these name are written with the beginning `stem`."""
        ...


@dataclass(frozen=True)
class InstalledPotential:
    """Parameters of a deck that LAMMPS has no descriptors for.

    Attributes
    ----------
    sources : tuple of Source
    values : (Q,) float array
        Of all sources.
    selected : (P,) int array
        Those that derivatives are taken for.
    deck : Deck
        For its pair style and coefficients.
    types : int
        Number of atom types.
    """

    sources: tuple[Source, ...]
    values: FloatArray
    selected: NDArray[np.int64]
    deck: Deck
    types: int

    @classmethod
    def of(cls, sources: Sequence[Source], deck: Deck, types: int) -> InstalledPotential:
        """Take the sources' parameters as they are, all of them selected."""
        values = np.concatenate([source.values for source in sources])
        return cls(tuple(sources), values, np.arange(len(values)), deck, types)

    @property
    def theta(self) -> FloatArray:
        """Selected parameters, (P,)."""
        return self.values[self.selected]

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the selected parameters."""
        names = [name for source in self.sources for name in source.names]
        return tuple(names[index] for index in self.selected)

    @property
    def fixed(self) -> dict[str, str]:
        """The pair style."""
        return {"pair_style": " ".join(self.deck.pair_style)}

    @property
    def text(self) -> str:
        """All labels and values."""
        names = [name for source in self.sources for name in source.names]
        return json.dumps(dict(zip(names, self.values.tolist(), strict=True)), indent=0)

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Of each atom type, as far as a source names it."""
        named = max((source.elements for source in self.sources), key=len, default=())
        return named if named else (None,) * self.types

    @property
    def linear(self) -> NDArray[np.bool_]:
        """Whether U is linear in each selected parameter, (P,)."""
        every = np.concatenate([np.full(len(source.names), source.linear) for source in self.sources])
        return np.asarray(every[self.selected])

    def define(self, engine: Engine) -> None:
        """There are no computes to define."""

    def changed(self, dtheta: FloatArray) -> InstalledPotential:
        """The same potential with Θ + δΘ."""
        values = self.values.copy()
        values[self.selected] += dtheta
        return replace(self, values=values)

    def mixed_derivative(self, engine: Engine, hessian: Hessian) -> SweptDerivative:
        """C at the reference, from a sweep over the parameters."""
        from lammps_implicit.swept_derivative import SweptDerivative

        return SweptDerivative(engine, self, hessian)

    def install(self, engine: Engine, dtheta: FloatArray) -> FloatArray:
        """Install Θ + δΘ and return the forces at the reference, (n, 3).

        Raises
        ------
        PotentialError
            If LAMMPS does not take them.
        """
        values = self.changed(dtheta).values
        commands = engine.on_root(lambda: self._commands(values, engine.scratch / "theta"))
        try:
            return engine.reissue(commands)
        except DeckError as error:
            raise PotentialError(f"these parameters cannot be changed after the deck ran: {error}") from None

    def steps(self) -> FloatArray:
        """Steps of the parameters, (P,): as long as themselves where U is linear.

        Of those that are next to nothing, as long as fits others of their kind: of all that are linear, or of the same
        name (``sigma``).
        """
        sizes, linear = np.abs(self.theta), self.linear
        named = [name.rpartition(" ")[2] for name in self.names]
        kinds = np.where(linear, "", named)
        for kind in set(kinds):
            alike = sizes[kinds == kind]
            typical = float(np.median(alike[alike > 0])) if alike.any() else 1.0 / TYPICAL
            sizes[kinds == kind] = np.maximum(alike, TYPICAL * typical)
        return np.where(linear, sizes, STEP * sizes)

    def write(self, stem: Path, comments: Sequence[str], overwrite: bool) -> list[Path]:
        """Write ``.lmp``, commands to include after the deck's potential, and the files that they name."""
        from lammps_implicit.files import written_whole

        include = stem.with_name(f"{stem.name}.lmp")
        head = "".join(f"# {line}\n" for line in comments)
        with written_whole(include, overwrite) as temporary:
            commands = self._commands(self.values, stem.absolute())
            temporary.write_text(head + "\n".join(commands) + "\n", encoding="utf-8")
        return [include]

    def _commands(self, values: FloatArray, stem: Path) -> list[str]:
        commands, start = PairCommands.of(self.deck), 0
        for source in self.sources:
            count = len(source.names)
            source.edit(commands, values[start : start + count], stem)
            start += count
        return commands.lines()


@dataclass(frozen=True)
class Sweep:
    """What installing every parameter tells.

    Attributes
    ----------
    energies : (P,) float array
        ∂U/∂Θ.
    forces : (n, 3, P) float array
        C = -∂F/∂Θ.
    pressures : (P, 3, 3) float array
        ∂P/∂Θ, energy per volume.
    """

    energies: FloatArray
    forces: FloatArray
    pressures: FloatArray


def sweep(potential: InstalledPotential, engine: Engine, forces: FloatArray, progress: Progress = no_progress) -> Sweep:
    """Measure derivatives at the reference: one evaluation a linear parameter, two for others, three to check.

    Parameters
    ----------
    potential : InstalledPotential
    engine : Engine
    forces : (n, 3) float array
        At the reference.
    progress : callable, optional
        Called with the parameters done and their number.

    Raises
    ------
    PotentialError
        If a parameter changes nothing, or the energy is not smooth in the parameters.
    """
    count, steps, linear = len(potential.theta), potential.steps(), potential.linear
    found = Sweep(np.zeros(count), np.zeros((*forces.shape, count)), np.zeros((count, 3, 3)))
    engine.return_to_reference()
    here = engine.energy, forces, engine.pressure
    for index, step in enumerate(steps):
        unit = np.zeros(count)
        unit[index] = step
        up = _state(potential, engine, unit)
        down, width = (here, step) if linear[index] else (_state(potential, engine, -unit), 2 * step)
        found.energies[index] = (up[0] - down[0]) / width
        found.forces[:, :, index] = (down[1] - up[1]) / width
        found.pressures[index] = (up[2] - down[2]) / width
        progress(index + 1, count)
        moved = engine.max_abs(up[1] - down[1]) / units_of(engine.deck.units).force
        if not linear[index] and abs(up[0] - down[0]) <= NO_ENERGY * abs(here[0]) and moved <= NO_FORCE:
            potential.install(engine, np.zeros(count))
            raise PotentialError(f"parameter '{potential.names[index]}' has no effect: leave it out with --parameters")
    try:
        if not linear.all():
            _check_steps(potential, engine, found, steps)
    finally:
        potential.install(engine, np.zeros(count))
    return found


def _check_steps(potential: InstalledPotential, engine: Engine, found: Sweep, steps: FloatArray) -> None:
    """Compare with a doubled step along one direction of all parameters that are not linear."""
    signs = np.where(np.arange(len(steps)) % 2, 1.0, -1.0) * ~potential.linear
    direction = 2 * signs * steps / np.sqrt(max(1, int(np.count_nonzero(signs))))
    up, down = (_state(potential, engine, sign * direction) for sign in (1, -1))
    require_smooth(engine, (down[1] - up[1]) / 2, found.forces @ direction)


def require_smooth(engine: Engine, doubled: FloatArray, single: FloatArray) -> None:
    """Check that central differences of forces, (n, 3), over a step and its double agree.

    Raises
    ------
    PotentialError
    """
    missed, size = engine.norm(doubled - single), engine.norm(single)
    if missed > UNSMOOTH * size and not math.isclose(size, 0.0, abs_tol=1e-12):
        raise PotentialError(
            f"forces are not smooth in the parameters: derivatives with steps of {STEP:g} and {2 * STEP:g} differ by "
            f"{missed / size:.1e}. Is a cutoff among them?"
        )


def bare_second_derivative(potential: InstalledPotential, engine: Engine) -> FloatArray:
    """∂²U/∂Θ² at fixed positions, (P, P): zero between linear parameters."""
    count, linear = len(potential.theta), potential.linear
    steps = np.where(linear, potential.steps(), SECOND_STEP / STEP * potential.steps())
    hessian = np.zeros((count, count))
    if linear.all():
        return hessian
    zero = np.zeros(count)
    middle = _state(potential, engine, zero)[0]
    for row, column in _pairs(linear):
        ends = []
        for first, second in ((1, 1), (1, -1), (-1, 1), (-1, -1)) if row != column else ((1, 0), (-1, 0)):
            change = zero.copy()
            change[row] += first * steps[row]
            change[column] += second * steps[column]
            ends.append(_state(potential, engine, change)[0])
        if row == column:
            value = (ends[0] + ends[1] - 2 * middle) / steps[row] ** 2
        else:
            value = (ends[0] - ends[1] - ends[2] + ends[3]) / (4 * steps[row] * steps[column])
        hessian[row, column] = hessian[column, row] = value
    potential.install(engine, zero)
    return hessian


def _pairs(linear: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    for row in range(len(linear)):
        for column in range(row + 1):
            if not (linear[row] and linear[column]):
                yield row, column


def _state(potential: InstalledPotential, engine: Engine, change: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    forces = potential.install(engine, change)
    return engine.energy, forces, engine.pressure
