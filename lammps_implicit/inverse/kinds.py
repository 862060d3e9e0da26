"""The kinds of loss terms of this package that a configuration can name; see `loss`."""

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
from lammps_implicit.observables.configuration import Length, Quantity, Strict
from lammps_implicit.observables.decks import PositionSource
from lammps_implicit.observables.error_context import errors_about
from lammps_implicit.observables.kind import Cells
from lammps_implicit.observables.targets import read_positions
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.units import PRESSURES, in_unit, split_unit

FAR = 1000.0
"""Ratio of a target to the initial value beyond which another unit was probably meant: GPa and bar are 10,000 apart."""

MAX_DEVIATION = 1e50
"""Largest initial deviation from a target in units of its scale, whose square is still a number."""

TINY = 1e-4
"""Ratio of a change without a unit to a value in bar or atm below which GPa was probably meant."""

MIN_VARIANCE = 1e-10
"""Smallest variance of a direction relative to the largest: keeps the inverse of a singular covariance finite."""


class PositionsLoss(LossKind):
    """Target positions of the atoms of a cell."""

    kind: Literal["positions"] = "positions"
    least_squares: ClassVar[bool] = True
    cell: str
    target: PositionSource
    ids: Optional[list[int]] = Field(default=None, min_length=1, description="ids of the atoms; default: all")
    near: Optional[int] = Field(default=None, description="or all atoms around the atom with this id")
    radius: Length = Field(default=10.0, gt=0, description="Å; within this distance of it")
    weight: float = Field(default=1.0, gt=0, description="Å⁻²")

    @model_validator(mode="after")
    def _at_most_one(self) -> PositionsLoss:
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
        """Mask of this rank's atoms that the term applies to, (n,)."""
        engine, name = minimum.engine, f"positions of {self.cell}"
        if self.ids is not None:
            chosen = np.isin(minimum.ids, self.ids)
            missing = len(set(self.ids)) - int(engine.sum(int(chosen.sum())))
            if missing:
                raise LammpsImplicitError(f"{name}: {missing} of the given ids do not exist in this cell")
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
    """Target value of an observable."""

    target: Optional[Quantity] = Field(default=None, description="target value, as 3.2 or '160 GPa'")
    change: Optional[Quantity] = Field(default=None, description="or the change from the initial value")
    scale: Quantity = Field(default=1.0, description="unit of deviations from the target")
    accept: bool = Field(
        default=False, description=f"whether the target may be {FAR:g} times the initial value, or a {FAR:g}th of it"
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Aim:
        if (self.target is None) == (self.change is None):
            raise ValueError("give either target or change")
        if not split_unit(self.scale)[0] > 0:
            raise ValueError("scale: give a positive one")
        return self


class ObservableLoss(LossKind, Aim):
    """Target value of an observable of the configuration."""

    kind: Literal["observable"] = "observable"
    least_squares: ClassVar[bool] = True
    observable: str = Field(description="name of the observable")

    def cells(self) -> list[str]:
        return []

    def observables(self) -> list[str]:
        return [self.observable]

    def build(self, context: LossContext) -> Number:
        name, start = self.observable, context.start[self.observable]
        unit = context.measures[name](context.cells, 0).units
        with errors_about(f"target of {name}"):
            target, scale = self._target(start, unit), in_unit(self.scale, unit)
            if abs(target - start) > MAX_DEVIATION * scale:
                raise LammpsImplicitError(
                    f"{target:g} {unit} is {abs(target - start) / scale:.1e} scales away: raise it"
                )
            return Number(name, context.measures[name], target, scale)

    def _target(self, start: float, unit: str) -> float:
        """The target in the observable's unit; asks for its unit where it is far from the initial value."""
        given = self.target if self.change is None else self.change
        assert given is not None
        value = in_unit(given, unit)
        ratio = abs(value / start) if start else 1.0
        far = ratio > FAR or (self.change is None and 0 < ratio < 1 / FAR)
        if self.change is not None and unit in PRESSURES and not split_unit(given)[1]:
            far = far or 0 < ratio < TINY
        if far and not self.accept:
            raise LammpsImplicitError(
                f"{value:g} {unit} is {ratio:.3g} times the initial value, {start:.6g} {unit}: give the unit that is "
                "meant, as '160 GPa', or 'accept: true'"
            )
        return value if self.change is None else start + value


class FunctionLoss(LossKind):
    """A Python function of a cell (a `Minimum`) that returns its value, ∂L/∂X of this rank's atoms, and maybe ∂L/∂ε."""

    kind: Literal["function"] = "function"
    cell: str
    file: Path
    function: str = Field(default="loss", min_length=1, description="name of the function in the file")

    _loaded: Optional[UserFunction] = PrivateAttr(default=None)

    def cells(self) -> list[str]:
        return [self.cell]

    def code(self) -> list[Path]:
        return [self.file]

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
        sys.modules[spec.name] = module  # dataclasses look up their module there
        try:
            spec.loader.exec_module(module)
            function: UserFunction = getattr(module, self.function)
        except (Exception, SystemExit) as error:  # the user's file may raise anything
            raise LammpsImplicitError(f"{self.file}: {self.function} cannot be imported ({error!r})") from None
        return function


class PriorLoss(LossKind):
    """Penalty for changes of the parameters from their initial values."""

    kind: Literal["prior"] = "prior"
    least_squares: ClassVar[bool] = True
    ridge: float = Field(default=0.0, ge=0, description="strength, in units of the parameters' scales")
    covariance: Optional[Path] = Field(
        default=None, description="ensemble file; the inverse of its covariance is the strength"
    )
    matrix: bool = Field(
        default=False, description="whether a .npy or .csv file there holds the covariance itself, not samples"
    )
    weight: float = Field(default=1.0, gt=0, description="factor of the term with the covariance")

    def cells(self) -> list[str]:
        return []

    def build(self, context: LossContext) -> list[Term]:
        theta, scale, terms = context.theta, context.scale, list[Term]()
        if self.ridge:
            terms.append(Prior(theta, np.diag(self.ridge / scale**2), "ridge"))
        if self.covariance is not None:
            file, parameters = self.covariance, context.first.parameters
            covariance = context.first.engine.on_root(
                lambda: read_ensemble(file, parameters, allow_singular=True, covariance=self.matrix).covariance
            )
            # Directions without spread get a large but finite stiffness.
            values, vectors = np.linalg.eigh(covariance * np.outer(1 / scale, 1 / scale))
            inverse = vectors @ np.diag(1 / np.maximum(values, MIN_VARIANCE * values[-1])) @ vectors.T
            terms.append(Prior(theta, self.weight * inverse / np.outer(scale, scale), "covariance"))
        return terms
