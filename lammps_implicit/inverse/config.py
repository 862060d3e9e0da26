"""Settings of ``lammps-implicit invert``: cells, a loss over them, and which parameters may change."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Optional, Union

from pydantic import Field, field_validator, model_validator

from lammps_implicit.inverse.kinds import Aim, FunctionLoss, ObservableLoss, PositionsLoss, PriorLoss
from lammps_implicit.inverse.loss import LossKind, RegisteredLoss
from lammps_implicit.inverse.problem import JUMP, TRUST
from lammps_implicit.observables.configuration import Force, Length, Name, Strict, path_fields, validate_cell
from lammps_implicit.observables.decks import StructureSettings, require_ends
from lammps_implicit.observables.kind import RegisteredObservable


class CellSettings(StructureSettings):
    """A structure of the loss: a deck and the strains that its cell may take, or the saddle between two other cells."""

    cell: str = Field(default="none", description="none, iso, ortho, full, or strains such as zz")
    pressure: Union[float, str, list[float], None] = Field(default=None, description="target pressure of the cell")
    from_start: bool = Field(
        default=False,
        description="whether every trial relaxes the initial structure, so that this structure relaxes to the target "
        "with the tuned potential",
    )

    _cell_is_known = field_validator("cell")(validate_cell)

    @model_validator(mode="after")
    def _saddles_are_followed(self) -> CellSettings:
        if self.is_saddle and self.from_start:
            raise ValueError("from_start: a saddle is followed from step to step; leave it out")
        if self.barrier is not None and (self.cell != "none" or self.pressure is not None):
            raise ValueError(
                "cell, pressure: those of a saddle between two cells are those of the cells; leave them out"
            )
        return self


class Loss(Strict):
    """Sum of all terms; the first four settings are short forms of terms of these kinds."""

    positions: list[PositionsLoss] = Field(default_factory=list, description="target positions")
    observables: dict[Name, Aim] = Field(default_factory=dict, description="target values of observables")
    functions: list[FunctionLoss] = Field(default_factory=list, description="Python functions")
    prior: PriorLoss = Field(default_factory=PriorLoss, description="penalty for changes of the parameters")
    terms: list[RegisteredLoss] = Field(default_factory=list, description="terms of any kind")

    def all_terms(self) -> list[LossKind]:
        """Every term; those given in short form come first."""
        aims = [ObservableLoss(observable=name, **aim.model_dump()) for name, aim in self.observables.items()]
        return [*self.positions, *aims, *self.functions, self.prior, *self.terms]

    @model_validator(mode="after")
    def _is_not_empty(self) -> Loss:
        if all(isinstance(term, PriorLoss) for term in self.all_terms()):
            raise ValueError("there is nothing to minimise: give positions, observables, functions or other terms")
        return self


class Bound(Strict):
    """Limits of a parameter."""

    low: Optional[float] = Field(default=None, description="smallest value")
    high: Optional[float] = Field(default=None, description="largest value")
    within: Optional[float] = Field(default=None, gt=0, description="or the largest relative change")

    @model_validator(mode="after")
    def _is_consistent(self) -> Bound:
        if (self.within is None) == (self.low is None and self.high is None):
            raise ValueError("give either 'within', or 'low', 'high' or both of these")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low is above high")
        return self


class Equality(Strict):
    """A linear equality Σ a_k Θ_k = value."""

    coefficients: dict[str, float] = Field(min_length=1, description="a_k, by parameter label")
    value: Optional[float] = Field(default=None, description="default: the initial value")


class ParameterSettings(Strict):
    """Which parameters may change, and how far."""

    free: str = Field(default="*", description="patterns of labels, separated by commas")
    scale: Literal["relative", "uniform"] = Field(
        default="relative", description="unit of changes: each parameter's own size, or one typical size for all"
    )
    bounds: dict[str, Bound] = Field(default_factory=dict, description="limits, by patterns of labels")
    equalities: list[Equality] = Field(default_factory=list, description="linear constraints")


class Hold(Strict):
    """Observables that are held fixed."""

    observables: list[Name] = Field(default_factory=list, description="their names")
    tol: float = Field(default=1e-7, gt=0, lt=1e-2, description="largest relative deviation from their initial values")


class InversionSettings(Strict):
    """All settings of the command ``invert``."""

    cells: dict[Name, CellSettings] = Field(
        min_length=1, description="structures by name, each the final structure of a deck, or a saddle between others"
    )
    loss: Loss = Field(description="what is minimised")
    observables: dict[Name, RegisteredObservable] = Field(
        default_factory=dict, description="observables of the cells, by name"
    )
    hold: Hold = Field(default_factory=Hold, description="observables that are held fixed")
    parameters: ParameterSettings = Field(
        default_factory=ParameterSettings, description="which parameters may change, and how far"
    )
    optimizer: Literal["auto", "gauss-newton", "lbfgs"] = Field(
        default="auto",
        description="auto: gauss-newton if all terms are sums of squares, else (functions, for example) lbfgs",
    )
    iterations: int = Field(default=50, ge=0, description="largest number of iterations")
    reduction: float = Field(
        default=1e-8, ge=0, lt=1, description="share of the initial loss at which the inversion has converged"
    )
    first_step: float = Field(default=1.0, gt=0, description="longest first step, in units of the scales")
    tol: float = Field(default=1e-5, ge=1e-10, lt=1, description="relative tolerance of linear solves")
    ftol: Force = Field(default=1e-8, gt=0, description="eV/Å; force tolerance of relaxations")
    trust: Length = Field(
        default=TRUST, gt=0, description="Å; largest estimated error of a predicted structure that is tried"
    )
    jump: Length = Field(
        default=JUMP, gt=0, description="Å; deviation from the prediction above which a structure is in another basin"
    )
    structures: bool = Field(default=True, description="whether to write structures at every iteration")

    @model_validator(mode="after")
    def _names_are_known(self) -> InversionSettings:
        require_ends(self.cells)
        for name, kind in self.observables.items():
            _require(list(self.cells), kind.cells(), f"observables: {name}", "cells")
        for term in self.loss.all_terms():
            _require(list(self.cells), term.cells(), "loss", "cells")
            _require(list(self.observables), term.observables(), "loss", "observables")
        _require(list(self.observables), self.hold.observables, "hold", "observables")
        aimed = {name for term in self.loss.all_terms() for name in term.observables()}
        both = [name for name in self.hold.observables if name in aimed]
        if both:
            raise ValueError(f"hold: {both[0]} also has a target in the loss: remove one")
        return self


def _require(known: list[str], names: list[str], place: str, what: str) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{place}: {unknown[0]} is not one of the {what}")


def inputs(settings: InversionSettings) -> list[Path]:
    """All files that the settings refer to."""
    return [getattr(model, field) for _, model, field in path_fields(settings)]
