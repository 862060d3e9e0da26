"""Potentials that are differentiated by installing changed parameters in LAMMPS one at a time.

∂U/∂Θ, C = ∂²U/∂X∂Θ and ∂P/∂Θ are measured together: one force evaluation per parameter in which U is linear, two for
central differences otherwise. A `Source` knows where its parameters are in the commands and files of the deck; a
potential combines several sources.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.errors import DeckError, PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.operators.interface import Hessian
from lammps_implicit.operators.sweep import steps_of
from lammps_implicit.operators.swept_derivative import SweptDerivative
from lammps_implicit.potentials.commands import PotentialCommands
from lammps_implicit.potentials.interface import Prepared, Source
from lammps_implicit.potentials.output import write_text, write_together

_NAMED = 2
"""Changed parameters that a message names at most: more are no steps of a sweep."""


@dataclass(frozen=True)
class InstalledPotential:
    """Parameters of a deck, installed by issuing its pair commands again; a `Potential`.

    Attributes
    ----------
    sources : tuple of Source
        Where the parameters are.
    values : (Q,) float array
        All parameters of all sources, in the units of the deck.
    selected : (P,) int array
        Indices of the parameters with respect to which derivatives are taken.
    deck : Deck
        Has the pair commands.
    types : int
        Number of atom types.
    """

    sources: tuple[Source, ...]
    values: FloatArray
    selected: IntArray
    deck: Deck
    types: int

    @classmethod
    def of(cls, sources: Sequence[Source], deck: Deck, types: int) -> InstalledPotential:
        """The potential with the sources' values in the deck, all of them selected."""
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
        """Labels and values of all parameters, as JSON."""
        names = [name for source in self.sources for name in source.names]
        return json.dumps(dict(zip(names, self.values.tolist(), strict=True)), indent=0)

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Chemical element of each atom type, None where no source names it."""
        named = max((source.elements for source in self.sources), key=len, default=())
        return named if named else (None,) * self.types

    @property
    def linear(self) -> BoolArray:
        """Whether U is linear in each selected parameter, (P,)."""
        every = np.concatenate([np.full(len(source.names), source.linear) for source in self.sources])
        return np.asarray(every[self.selected])

    def select(self, indices: IntArray) -> InstalledPotential:
        """The same potential with these of its selected parameters selected."""
        return replace(self, selected=self.selected[indices])

    def define(self, engine: Engine) -> None:
        """Have the sources prepare the engine, and tell it the commands that restore these parameters."""
        for source in self.sources:
            if isinstance(source, Prepared):
                source.define(engine)
        engine.installed = self._prepared(engine, self.values, engine.scratch / "deck")

    def changed(self, dtheta: FloatArray) -> InstalledPotential:
        """The same potential with Θ + δΘ."""
        values = self.values.copy()
        values[self.selected] += dtheta
        return replace(self, values=values)

    def mixed_derivative(self, engine: Engine, hessian: Hessian) -> SweptDerivative:
        """C at the reference, to be measured by a sweep over the parameters."""
        return SweptDerivative(engine, self, hessian)

    def install(self, engine: Engine, dtheta: FloatArray) -> FloatArray:
        """Install Θ + δΘ and return the forces at the reference, (n, 3). One force evaluation.

        Raises
        ------
        PotentialError
            If LAMMPS rejects the commands; the previous parameters are in force again.
        """
        lines, complete = self._prepared(engine, self.changed(dtheta).values, engine.parameter_stem)
        try:
            return engine.reissue(lines, complete)
        except DeckError as error:
            raise PotentialError(self._refused(dtheta, error)) from None

    def _refused(self, dtheta: FloatArray, error: DeckError) -> str:
        """What to say where LAMMPS refuses Θ + δΘ: which parameter it was, if few were changed, and what to do."""
        changed = [name for name, change in zip(self.names, dtheta, strict=True) if change]
        if not 1 <= len(changed) <= _NAMED:
            return f"these parameters cannot be changed after the deck ran: {error}"
        named, without = (", ".join(f"'{sign}{name}'" for name in changed) for sign in ("", "!"))
        return f"{named} cannot be changed after the deck ran: {error}; leave it out with --parameters {without}"

    def steps(self) -> FloatArray:
        """Steps of the parameters, (P,): see `operators.sweep.steps_of`."""
        return steps_of(self.theta, self.linear, self.names)

    def write(self, stem: Path, comments: Sequence[str], overwrite: bool) -> list[Path]:
        """Write an include file, ``.lmp``, with commands that follow the deck's potential, and the files they name.

        Parameters
        ----------
        stem : Path
            Beginning of the file names.
        comments : sequence of str
            Comment lines at the top of the include file.
        overwrite : bool
            Whether to replace existing files.

        Returns
        -------
        list of Path
            The include file first.

        Raises
        ------
        OutputError
            If one of the files exists and `overwrite` is false: nothing is written then.
        """
        commands, files = self._edited(self.values, stem.absolute())
        text = "".join(f"# {line}\n" for line in comments) + "\n".join(commands.lines()) + "\n"
        return write_together({stem.with_name(f"{stem.name}.lmp"): text, **files}, overwrite)

    def _prepared(self, engine: Engine, values: FloatArray, stem: Path) -> tuple[list[str], list[str]]:
        """Write the parameter files on rank 0; return the fewest commands that install them, and the complete ones."""

        def write() -> tuple[list[str], list[str]]:
            commands, files = self._edited(values, stem)
            for path, text in files.items():
                write_text(path, text)
            return commands.lines(), commands.complete_lines()

        return engine.on_root(write)

    def _edited(self, values: FloatArray, stem: Path) -> tuple[PotentialCommands, dict[Path, str]]:
        """The deck's commands with other values, (Q,), and the text of each file that they name."""
        commands, start = PotentialCommands.of(self.deck), 0
        files: dict[Path, str] = {}
        for source in self.sources:
            mine = slice(start, start + len(source.names))
            # What is neither selected nor changed stays as the deck has it, and other sources may change its words.
            if np.isin(np.arange(mine.start, mine.stop), self.selected).any() or (values[mine] != source.values).any():
                files |= source.edit(commands, values[mine], stem)
            start = mine.stop
        return commands, files
