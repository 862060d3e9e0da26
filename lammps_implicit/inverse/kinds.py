"""Kinds of loss terms that a configuration may name; see `loss`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import ClassVar, Literal, Optional

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from lammps_implicit.arrays import BoolArray
from lammps_implicit.ensembles.ensemble import read_ensemble
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.inverse.loss import LossContext, LossKind
from lammps_implicit.inverse.terms import Number, Positions, Prior, Term, UserFunction, UserTerm, positions
from lammps_implicit.observables.configuration import Strict
from lammps_implicit.observables.decks import PositionSource
from lammps_implicit.observables.kind import Cells
from lammps_implicit.observables.targets import read_positions
from lammps_implicit.stationary.point import StationaryPoint


class PositionsLoss(LossKind):
    """Positions that a cell is to have."""

    kind: Literal["positions"] = "positions"
    least_squares: ClassVar[bool] = True
    cell: str
    target: PositionSource
    ids: Optional[list[int]] = Field(default=None, min_length=1, description="atoms that count; default: all")
    near: Optional[int] = Field(default=None, description="or those around the atom with this id")
    radius: float = Field(default=10.0, gt=0, description="Å; how far around it")
    weight: float = Field(default=1.0, gt=0, description="Å⁻²")

    @model_validator(mode="after")
    def _one_choice(self) -> PositionsLoss:
        if self.ids is not None and self.near is not None:
            raise ValueError("give either ids or near")
        return self

    def cells(self) -> list[str]:
        return [self.cell]

    def check(self, cells: Cells) -> None:
        self._chosen(cells[self.cell])

    def build(self, context: LossContext) -> Positions:
        minimum = context.cells[self.cell]
        target, chosen = read_positions(self.target, minimum, self.cell), self._chosen(minimum)
        weights = np.full(int(chosen.sum()), self.weight)
        name = f"positions of {self.cell} ({context.number})"
        return positions(context.cells, self.cell, minimum.ids[chosen], target[chosen], weights, name)

    def _chosen(self, minimum: StationaryPoint) -> BoolArray:
        """Which of this rank's atoms count, (n,)."""
        engine, name = minimum.engine, f"positions of {self.cell}"
        if self.ids is not None:
            chosen = np.isin(minimum.ids, self.ids)
            missing = len(set(self.ids)) - int(engine.sum(int(chosen.sum())))
            if missing:
                raise LammpsImplicitError(f"{name}: {missing} of the ids asked for are no atoms of it")
            return chosen
        if self.near is None:
            return np.ones(len(minimum.ids), bool)
        here = (minimum.ids == self.near).astype(float)
        if not engine.sum(float(here.sum())):
            raise LammpsImplicitError(f"{name}: there is no atom {self.near}")
        centre = np.asarray(engine.sum(here @ minimum.positions))
        near: BoolArray = np.linalg.norm(engine.nearest_image(minimum.positions - centre), axis=1) <= self.radius
        return near


class Aim(Strict):
    """Value that an observable is to have."""

    target: Optional[float] = Field(default=None, description="the value")
    change: Optional[float] = Field(default=None, description="or by how much it is to change")
    scale: float = Field(default=1.0, gt=0, description="deviation that counts as one")

    @model_validator(mode="after")
    def _one_of_both(self) -> Aim:
        if (self.target is None) == (self.change is None):
            raise ValueError("give either target or change")
        return self


class ObservableLoss(LossKind, Aim):
    """Value that an observable of the configuration is to have."""

    kind: Literal["observable"] = "observable"
    least_squares: ClassVar[bool] = True
    observable: str = Field(description="its name")

    def cells(self) -> list[str]:
        return []

    def observables(self) -> list[str]:
        return [self.observable]

    def build(self, context: LossContext) -> Number:
        name, target = self.observable, self.target
        if target is None:
            assert self.change is not None
            target = context.start[name] + self.change
        return Number(name, context.measures[name], target, self.scale)


class FunctionLoss(LossKind):
    """A Python function of a cell, a `Minimum`, to (value, ∂L/∂X of this rank's atoms), or with ∂L/∂ε as a third."""

    kind: Literal["function"] = "function"
    cell: str
    file: Path
    function: str = Field(default="loss", min_length=1, description="its name in the file")

    _loaded: Optional[UserFunction] = PrivateAttr(default=None)

    def cells(self) -> list[str]:
        return [self.cell]

    def prepare(self) -> None:
        self._loaded = self._load()

    def build(self, context: LossContext) -> UserTerm:
        name = f"{self.function} of {self.file.name} ({self.cell})"
        return UserTerm(self.cell, self._loaded or self._load(), name)

    def _load(self) -> UserFunction:
        spec = importlib.util.spec_from_file_location(f"loss_in_{self.file.stem}", self.file)
        if spec is None or spec.loader is None:
            raise LammpsImplicitError(f"{self.file} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look there
        try:
            spec.loader.exec_module(module)
            function: UserFunction = getattr(module, self.function)
        except Exception as error:  # whatever the user's file raises
            raise LammpsImplicitError(f"{self.file}: {self.function} cannot be imported ({error})") from None
        return function


class PriorLoss(LossKind):
    """Penalty for changes of the parameters from where they started."""

    kind: Literal["prior"] = "prior"
    least_squares: ClassVar[bool] = True
    ridge: float = Field(default=0.0, ge=0, description="strength, in units of the parameters' scales")
    covariance: Optional[Path] = Field(
        default=None, description="ensemble file; its inverse covariance is the strength"
    )
    weight: float = Field(default=1.0, gt=0, description="of the covariance's term")

    def cells(self) -> list[str]:
        return []

    def build(self, context: LossContext) -> list[Term]:
        theta, scale, terms = context.theta, context.scale, list[Term]()
        if self.ridge:
            terms.append(Prior(theta, np.diag(self.ridge / scale**2), "ridge"))
        if self.covariance is not None:
            file, parameters = self.covariance, context.first.parameters
            covariance = context.first.engine.on_root(
                lambda: read_ensemble(file, parameters, allow_singular=True).covariance
            )
            # Directions without spread: as stiff as the stiffest that has some.
            values, vectors = np.linalg.eigh(covariance * np.outer(1 / scale, 1 / scale))
            inverse = vectors @ np.diag(1 / np.maximum(values, 1e-10 * values[-1])) @ vectors.T
            terms.append(Prior(theta, self.weight * inverse / np.outer(scale, scale), "covariance"))
        return terms
