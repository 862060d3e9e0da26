"""The configuration of ``lammps-implicit invert``: cells, a loss over them, and which parameters may change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Optional, Union

from pydantic import BaseModel, Field, field_validator, model_validator

from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.inverse.problem import JUMP, TRUST
from lammps_implicit.observables.bulk import CONSTANTS
from lammps_implicit.observables.config import Deck, known_cell
from lammps_implicit.observables.configuration import Strict, read_yaml

Name = Annotated[str, Field(min_length=1)]

CellName = Annotated[str, Field(pattern=r"^[^/\\\x00]+$")]
"""Part of the names of files."""


class Cell(Deck):
    """A structure of the loss: a deck, and what its cell may do."""

    cell: str = Field(default="none", description="none, iso, ortho, full, or strains such as zz")
    pressure: Union[float, str, list[float], None] = Field(default=None, description="what the cell is held at")
    relax: bool = Field(default=False, description="whether to relax what the deck leaves, however far it is")

    from_start: bool = Field(
        default=False,
        description="whether every trial relaxes the first structure, so that the tuned potential leads from there",
    )

    _cell_is_known = field_validator("cell")(known_cell)


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


class Target(Strict):
    """Positions that a cell is to have."""

    cell: Name
    target: PositionSource
    ids: Optional[list[int]] = Field(default=None, min_length=1, description="atoms that count; default: all")
    near: Optional[int] = Field(default=None, description="or those around the atom with this id")
    radius: float = Field(default=10.0, gt=0, description="Å; how far around it")
    weight: float = Field(default=1.0, gt=0, description="Å⁻²")

    @model_validator(mode="after")
    def _one_choice(self) -> Target:
        if self.ids is not None and self.near is not None:
            raise ValueError("give either ids or near")
        return self


class Aim(Strict):
    """Value that an observable is to have."""

    target: Optional[float] = Field(default=None, description="the value")
    change: Optional[float] = Field(default=None, description="or by how much it is to change")
    scale: float = Field(default=1.0, gt=0, description="what counts as a miss of size one")

    @model_validator(mode="after")
    def _one_of_both(self) -> Aim:
        if (self.target is None) == (self.change is None):
            raise ValueError("give either target or change")
        return self


class Prior(Strict):
    """What keeps parameters near where they started."""

    ridge: float = Field(default=0.0, ge=0, description="strength, in units of the parameters' scales")
    covariance: Optional[Path] = Field(
        default=None, description="ensemble file; its inverse covariance is the strength"
    )
    weight: float = Field(default=1.0, gt=0, description="of the covariance's term")


class Function(Strict):
    """A Python function of a cell: Minimum to (value, ∂L/∂X of this rank's atoms)."""

    cell: Name
    file: Path
    function: Name = Field(default="loss", description="its name in the file")


class Loss(Strict):
    """Sum of all that is to become small."""

    positions: list[Target] = Field(default_factory=list)
    observables: dict[Name, Aim] = Field(default_factory=dict)
    functions: list[Function] = Field(default_factory=list)
    prior: Prior = Field(default_factory=Prior)


class Energy(Strict):
    """Energy of a cell, or enthalpy under pressure; less that of another cell, if one is named."""

    kind: Literal["energy"]
    cell: Name
    less: Optional[Name] = None

    def cells(self) -> list[str]:
        return [self.cell] if self.less is None else [self.cell, self.less]


class Volume(Strict):
    """Volume of a cell that is relaxed."""

    kind: Literal["volume"]
    cell: Name

    def cells(self) -> list[str]:
        return [self.cell]


class Formation(Strict):
    """Formation energy, formation volume, or, with the number of lattice sites, relaxation volume of a defect."""

    kind: Literal["formation energy", "formation volume", "relaxation volume"]
    defect: Name
    bulk: Name
    reservoirs: dict[str, Union[float, str]] = Field(default_factory=dict, description="cells, or potentials μ")
    sites: Optional[int] = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _sites_are_known(self) -> Formation:
        if self.kind == "relaxation volume" and self.sites is None:
            raise ValueError("a relaxation volume needs sites")
        return self

    def cells(self) -> list[str]:
        return [self.defect, self.bulk, *(name for name in self.reservoirs.values() if isinstance(name, str))]


class Lattice(Strict):
    """Length of a cell vector, divided by its repetitions."""

    kind: Literal["lattice parameter"]
    cell: Name
    axis: Literal["a", "b", "c"] = "a"
    repeat: int = Field(default=1, gt=0)

    def cells(self) -> list[str]:
        return [self.cell]


class Elastic(Strict):
    """Elastic constant of a crystal whose cell is 'full'."""

    kind: Literal["elastic constant"]
    cell: Name
    constant: str = Field(default=CONSTANTS[0], pattern="^C[1-6][1-6]$")

    def cells(self) -> list[str]:
        return [self.cell]


class Distance(Strict):
    """Distance between the nearest images of two atoms."""

    kind: Literal["distance"]
    cell: Name
    ids: tuple[int, int]

    def cells(self) -> list[str]:
        return [self.cell]


class Distortion(Strict):
    """Mean square displacement from ideal sites, the net translation removed."""

    kind: Literal["lattice distortion"]
    cell: Name
    sites: PositionSource

    def cells(self) -> list[str]:
        return [self.cell]


Quantity = Annotated[
    Union[Energy, Volume, Formation, Lattice, Elastic, Distance, Distortion], Field(discriminator="kind")
]


class Bound(Strict):
    """Limits of a parameter."""

    low: Optional[float] = Field(default=None, description="least value")
    high: Optional[float] = Field(default=None, description="largest value")
    within: Optional[float] = Field(default=None, gt=0, description="or the largest relative change")

    @model_validator(mode="after")
    def _something(self) -> Bound:
        if (self.within is None) == (self.low is None and self.high is None):
            raise ValueError("give either within, or low, high, or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low is above high")
        return self


class Equality(Strict):
    """A linear equality Σ a_k Θ_k = value."""

    coefficients: dict[Name, float] = Field(min_length=1, description="of parameters by label")
    value: Optional[float] = Field(default=None, description="default: what it is at the start")


class ParameterSettings(Strict):
    """Which parameters may change, and how far."""

    free: str = Field(default="*", description="patterns of labels, separated by commas")
    scale: Literal["relative", "uniform"] = Field(
        default="relative", description="a change of size one: each parameter itself, or one size for all"
    )
    bounds: dict[Name, Bound] = Field(default_factory=dict, description="limits, by patterns of labels")
    equalities: list[Equality] = Field(default_factory=list)


class Hold(Strict):
    """Observables that are held fixed."""

    observables: list[Name] = Field(default_factory=list, description="their names")
    tol: float = Field(default=1e-7, gt=0, lt=1e-2, description="by how much they may be off, relative to their values")


class Configuration(Strict):
    """Everything the command needs to know."""

    cells: dict[CellName, Cell] = Field(min_length=1, description="structures, each the end of a deck")
    loss: Loss = Field(description="what is to become small")
    observables: dict[Name, Quantity] = Field(default_factory=dict, description="numbers of the cells, by name")
    hold: Hold = Field(default_factory=Hold, description="what is to stay as it is")
    parameters: ParameterSettings = Field(default_factory=ParameterSettings, description="what may change")
    optimizer: Literal["auto", "gauss-newton", "lbfgs"] = Field(
        default="auto", description="auto: gauss-newton, but lbfgs with functions"
    )
    iterations: int = Field(default=50, ge=0, description="at most")
    reduction: float = Field(default=1e-8, ge=0, lt=1, description="of the loss, at which it is good enough")
    first_step: float = Field(default=1.0, gt=0, description="longest first step, in units of the scales")
    tol: float = Field(default=1e-5, ge=1e-10, lt=1, description="relative, of linear solves")
    ftol: float = Field(default=1e-8, gt=0, description="eV/Å, of relaxations")
    trust: float = Field(default=TRUST, gt=0, description="Å; estimated error of predicted structures that is tried")
    jump: float = Field(default=JUMP, gt=0, description="Å; miss of a prediction from which a basin is another")
    structures: bool = Field(default=True, description="whether to write structures at every iteration")

    @model_validator(mode="after")
    def _names_are_known(self) -> Configuration:
        for name, quantity in self.observables.items():
            _require(self.cells, quantity.cells(), f"observables: {name}", "cells")
        of_cells = [term.cell for term in self.loss.positions] + [term.cell for term in self.loss.functions]
        _require(self.cells, of_cells, "loss", "cells")
        _require(self.observables, list(self.loss.observables), "loss: observables", "observables")
        _require(self.observables, self.hold.observables, "hold", "observables")
        both = [name for name in self.hold.observables if name in self.loss.observables]
        if both:
            raise ValueError(f"hold: {both[0]} has a target too")
        if not (self.loss.positions or self.loss.observables or self.loss.functions):
            raise ValueError("loss: there is nothing to make small: give positions, observables, or functions")
        return self


def _require(known: object, names: list[str], place: str, what: str) -> None:
    assert isinstance(known, dict)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{place}: {unknown[0]} is not one of the {what}")


def read_configuration(path: str | os.PathLike[str]) -> Configuration:
    """Read a YAML file; files named in it are found from its folder.

    Raises
    ------
    LammpsImplicitError
        With the place in the file and what is wrong there.
    DeckError
        If a deck or another file does not exist.
    """
    configuration = read_yaml(path, Configuration)
    folder = Path(path).absolute().parent
    for place, holder, field in _files(configuration):
        file = getattr(holder, field)
        if file is not None:
            try:
                setattr(holder, field, deck_path(folder / file))
            except DeckError:
                raise DeckError(f"{path}: {place}: {field} {file} does not exist or cannot be read") from None
    return configuration


def inputs(configuration: Configuration) -> list[Path]:
    """All files that a configuration names."""
    return [file for _, holder, field in _files(configuration) if (file := getattr(holder, field)) is not None]


def _files(configuration: Configuration) -> Iterator[tuple[str, BaseModel, str]]:
    """Models that name files: where they stand, and the names of their fields."""
    for name, cell in configuration.cells.items():
        yield f"cells: {name}", cell, "deck"
    sources = [("loss: positions", term.target) for term in configuration.loss.positions]
    for name, quantity in configuration.observables.items():
        if isinstance(quantity, Distortion):
            sources.append((f"observables: {name}", quantity.sites))
    for place, source in sources:
        yield place, source, "deck"
        yield place, source, "data"
    for function in configuration.loss.functions:
        yield "loss: functions", function, "file"
    yield "loss: prior", configuration.loss.prior, "covariance"


def described() -> str:
    """All options with their defaults, as lines of help."""
    lines: list[str] = []
    sections: list[tuple[str, type[BaseModel]]] = [
        ("", Configuration),
        ("cells: NAME", Cell),
        ("loss", Loss),
        ("loss: positions, each", Target),
        ("loss: observables: NAME", Aim),
        ("loss: functions, each", Function),
        ("loss: prior", Prior),
        ("target or sites", PositionSource),
        ("hold", Hold),
        ("parameters", ParameterSettings),
        ("parameters: bounds: PATTERN", Bound),
        ("parameters: equalities, each", Equality),
        *(
            ("observables: NAME", model)
            for model in (Energy, Volume, Formation, Lattice, Elastic, Distance, Distortion)
        ),
    ]
    for title, model in sections:
        lines += ["", f"{title or 'Settings of CONFIG.yaml'}: {(model.__doc__ or '').splitlines()[0]}"]
        for name, field in model.model_fields.items():
            default = (
                "required" if field.is_required() else f"default {_shown(field.get_default(call_default_factory=True))}"
            )
            told = f"  {name} ({default})" if name != "kind" else f"  kind: {_kinds(model)}"
            lines.append(told + (f": {field.description}" if field.description else ""))
    return "\n".join(lines)


def _kinds(model: type[BaseModel]) -> str:
    return " or ".join(model.model_fields["kind"].annotation.__args__)  # type: ignore[union-attr]


def _shown(value: object) -> str:
    if value is None or isinstance(value, BaseModel):
        return "none"
    return "yes" if value is True else "no" if value is False else str(value) or "none"
