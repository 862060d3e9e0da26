"""Settings of input decks, and of positions read from another file or deck."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Optional, Union

from pydantic import ConfigDict, Field, model_validator

from lammps_implicit.observables.configuration import Force, Strict


class _Source(Strict):
    """What a structure is taken from, and how."""

    deck: Optional[Path] = None
    variables: dict[str, Union[str, int, float]] = Field(default_factory=dict, description="variables of the deck")
    accept_accuracy: float = Field(
        default=0.0, ge=0, lt=1, description="relative error up to which products that miss tol tenfold are accepted"
    )
    force_limit: Force = Field(default=1e-2, gt=0, description="eV/Å; a deck that ends with a larger force is an error")

    relax: bool = Field(
        default=False, description="whether to relax the structure that the deck ends with, however large its forces"
    )

    def index_variables(self) -> dict[str, str]:
        """Values of the variables as strings, as LAMMPS takes them."""
        return {name: str(value) for name, value in self.variables.items()}

    def of_deck(self) -> list[str]:
        """Names of the settings that only a deck has, and that are not at their defaults."""
        fields = type(self).model_fields
        return [
            name
            for name in ("variables", "accept_accuracy", "force_limit", "relax")
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        ]


class DeckSettings(_Source):
    """An input deck; its path is relative to the folder of the configuration."""

    deck: Path


class BarrierEnds(Strict):
    """The two minima that a saddle lies between."""

    model_config = ConfigDict(populate_by_name=True)

    initial: str = Field(alias="from", description="cell with the minimum that the path starts from")
    final: str = Field(alias="to", description="cell with the minimum that it leads to")


class StructureSettings(_Source):
    """A structure: what an input deck ends with, or the saddle between two other cells."""

    saddle: bool = Field(
        default=False, description="whether the deck ends near a saddle, which has exactly one negative mode"
    )
    barrier: Optional[BarrierEnds] = Field(
        default=None, description="instead of deck: {from: CELL, to: CELL}, the highest saddle between two other cells"
    )

    @property
    def is_saddle(self) -> bool:
        """Whether the structure is a saddle, of a deck or between two cells."""
        return self.saddle or self.barrier is not None

    @model_validator(mode="after")
    def _exactly_one(self) -> StructureSettings:
        if (self.deck is None) == (self.barrier is None):
            raise ValueError("give either deck or barrier")
        if self.barrier is not None and (given := self.of_deck()):
            raise ValueError(f"{given[0]}: a saddle between two cells is of no deck of its own; leave it out")
        return self


def require_ends(known: Mapping[str, _Source]) -> None:
    """Check that the ends of all barriers are two minima among the cells.

    Parameters
    ----------
    known : mapping of str to settings
        All cells, by name.

    Raises
    ------
    ValueError
        If they are not.
    """
    for name, cell in known.items():
        ends = cell.barrier if isinstance(cell, StructureSettings) else None
        if ends is None:
            continue
        for end in (ends.initial, ends.final):
            if end not in known:
                raise ValueError(f"{name}: barrier: {end} is not one of the cells {', '.join(known)}")
            other = known[end]
            if isinstance(other, StructureSettings) and other.is_saddle:
                what = "this saddle itself" if end == name else "a saddle"
                raise ValueError(f"{name}: barrier: {end} is {what}: name two cells with minima")
        if ends.initial == ends.final:
            raise ValueError(f"{name}: barrier: from and to are both {ends.final}: name two cells")


class PositionSource(Strict):
    """Source of positions: a LAMMPS data file, or a deck with the same atoms."""

    data: Optional[Path] = Field(default=None, description="LAMMPS data file")
    deck: Optional[Path] = Field(default=None, description="or a deck, whose structure is relaxed")
    variables: dict[str, Union[str, int, float]] = Field(default_factory=dict, description="variables of the deck")
    relax: bool = Field(default=True, description="whether to relax the structure that the deck ends with")

    @model_validator(mode="after")
    def _exactly_one(self) -> PositionSource:
        if (self.data is None) == (self.deck is None):
            raise ValueError("give either data or deck")
        return self
