"""The configuration of ``lammps-implicit observables``: which decks are the bulk, the defects, the reservoirs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Union

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lammps_implicit.errors import LammpsImplicitError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Deck(_Strict):
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


class Binding(_Strict):
    """A complex and the defects it is made of."""

    complex: str
    parts: list[str] = Field(min_length=2)


class Configuration(_Strict):
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
    """
    import yaml

    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "no such file" if not file.exists() else getattr(error, "strerror", None) or "not a text file"
        raise LammpsImplicitError(f"cannot read the configuration {path}: {reason}") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LammpsImplicitError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise LammpsImplicitError(f"{path} holds no settings: 'bulk:' and 'defects:' are expected")
    try:
        configuration = Configuration.model_validate(values)
    except ValidationError as error:
        raise LammpsImplicitError(f"{path}: {_explained(error)}") from None
    folder = file.absolute().parent
    decks: list[Any] = [configuration.bulk, *configuration.defects.values(), *configuration.reservoirs.values()]
    for deck in decks:
        if isinstance(deck, Deck):
            deck.deck = folder / deck.deck
    return configuration


def _explained(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ": ".join(str(part) for part in first["loc"])
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
