"""The configuration of ``lammps-implicit observables``: which decks are the bulk, the defects, the reservoirs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Union

from pydantic import Field, field_validator, model_validator

from lammps_implicit.cell.freedom import strains
from lammps_implicit.errors import DeckError, LammpsImplicitError
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.observables.configuration import Strict, read_yaml


def known_cell(cell: str) -> str:
    """Check what a cell may do; for fields of models."""
    try:
        if cell != "none":
            strains(cell)
    except LammpsImplicitError as error:
        raise ValueError(str(error)) from None
    return cell


class Deck(Strict):
    """An input deck; its path counts from the folder of the configuration."""

    deck: Path
    variables: dict[str, Union[str, int, float]] = Field(default_factory=dict)
    force_limit: float = Field(default=1e-2, gt=0, description="eV/Å; a deck that ends above is not relaxed")

    def settings(self) -> dict[str, str]:
        """Index variables as LAMMPS takes them."""
        return {name: str(value) for name, value in self.variables.items()}


class Bulk(Deck):
    """The perfect crystal."""

    repeat: tuple[int, int, int] = Field(default=(1, 1, 1), description="unit cells along each vector")


class Defect(Deck):
    """A cell with a defect."""

    sites: Union[int, None] = Field(default=None, gt=0, description="lattice sites of its cell without the defect")


class Binding(Strict):
    """A complex and the defects it is made of."""

    complex: str
    parts: list[str] = Field(min_length=2)


class Configuration(Strict):
    """Everything the command needs to know.

    Attributes
    ----------
    bulk : Bulk
    defects : dict of str to Defect
        The relaxation volume is left out where their ``sites`` are not given.
    reservoirs : dict of str to (Deck or float)
        Cells of pure elements, or chemical potentials, of elements that the bulk does not fix.
    bindings : dict of str to Binding
    isolated : dict of str to float
        Energies of isolated atoms; the cohesive energy is left out without them.
    elastic_constants : bool
    cell, pressure
        As for `Minimum.relax`; what every cell may do, and what it is held at. Default: iso, and what each deck's
        ``fix box/relax`` says, else zero.
    parameters : str or None
        Patterns of parameter labels.
    tol : float
        Of Jacobians.
    second : bool
        Whether to take second derivatives of energies, which need a Jacobian of every cell.
    """

    bulk: Bulk
    defects: dict[str, Defect] = Field(default_factory=dict)
    reservoirs: dict[str, Union[Deck, float]] = Field(default_factory=dict)
    bindings: dict[str, Binding] = Field(default_factory=dict)
    isolated: dict[str, float] = Field(default_factory=dict)
    elastic_constants: bool = False
    cell: str = "iso"
    pressure: Union[float, str, list[float], None] = None
    parameters: Union[str, None] = None
    tol: float = Field(default=1e-5, ge=1e-10, lt=1)
    second: bool = True

    _cell_is_known = field_validator("cell")(known_cell)

    @model_validator(mode="after")
    def _pressure_needs_a_cell(self) -> Configuration:
        if self.cell == "none" and self.pressure is not None:
            raise ValueError("pressure: a cell that does not answer ('cell: none') is held at none")
        return self

    @model_validator(mode="after")
    def _bindings_name_defects(self) -> Configuration:
        for name, binding in self.bindings.items():
            unknown = [defect for defect in (binding.complex, *binding.parts) if defect not in self.defects]
            if unknown:
                raise ValueError(f"bindings: {name}: {unknown[0]} is not one of the defects")
        return self


def read_configuration(path: str | os.PathLike[str]) -> Configuration:
    """Read a YAML file; decks named in it are found from its folder.

    Raises
    ------
    LammpsImplicitError
        With the place in the file and what is wrong there.
    DeckError
        If a deck does not exist.
    """
    configuration = read_yaml(path, Configuration)
    folder = Path(path).absolute().parent
    decks = {"bulk": configuration.bulk, **configuration.defects, **configuration.reservoirs}
    for name, deck in decks.items():
        if isinstance(deck, Deck):
            deck.deck = folder / deck.deck
            try:
                deck_path(deck.deck)
            except DeckError as error:
                raise DeckError(f"{name}: {error}") from None
    return configuration
