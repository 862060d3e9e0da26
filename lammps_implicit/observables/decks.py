"""Settings of input decks, and of positions read from another file or deck."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Union

from pydantic import Field, model_validator

from lammps_implicit.observables.configuration import Force, Strict


class DeckSettings(Strict):
    """An input deck; its path is relative to the folder of the configuration."""

    deck: Path
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
