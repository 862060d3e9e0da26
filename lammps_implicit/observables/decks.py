"""What configurations say of decks, and of positions that come from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Union

from pydantic import Field, model_validator

from lammps_implicit.observables.configuration import Strict


class DeckSettings(Strict):
    """An input deck; its path counts from the folder of the configuration."""

    deck: Path
    variables: dict[str, Union[str, int, float]] = Field(default_factory=dict, description="of the deck")
    force_limit: float = Field(default=1e-2, gt=0, description="eV/Å; a deck that ends above is refused")

    def index_variables(self) -> dict[str, str]:
        """Variables as LAMMPS takes them."""
        return {name: str(value) for name, value in self.variables.items()}


class PositionSource(Strict):
    """Where positions come from: a LAMMPS data file, or a deck with the same atoms."""

    data: Optional[Path] = Field(default=None, description="LAMMPS data file")
    deck: Optional[Path] = Field(default=None, description="or a deck, whose structure is relaxed")
    variables: dict[str, Union[str, int, float]] = Field(default_factory=dict, description="of the deck")
    relax: bool = Field(default=True, description="whether to relax what the deck leaves")

    @model_validator(mode="after")
    def _one_of_both(self) -> PositionSource:
        if (self.data is None) == (self.deck is None):
            raise ValueError("give either data or deck")
        return self
