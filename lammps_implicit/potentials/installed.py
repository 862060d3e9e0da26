"""Potentials without descriptor computes: LAMMPS is told their parameters one by one, and forces say the rest.

What is measured is ∂U/∂Θ, C = ∂²U/∂X∂Θ and ∂P/∂Θ together: one evaluation a parameter where U is linear in it, central
differences else. A `Source` knows where in the deck's commands and files its parameters stand; several sources make one
potential.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import DeckError, PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.operators.interface import Hessian
from lammps_implicit.operators.sweep import STEP
from lammps_implicit.operators.swept_derivative import SweptDerivative
from lammps_implicit.potentials.commands import PairCommands
from lammps_implicit.potentials.interface import Source

TYPICAL = 1e-3
"""Share of a typical parameter below which a parameter counts as zero, for the step."""


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
