"""Settings of ``lammps-implicit observables``: the decks of the bulk, the defects and the reservoirs."""

from __future__ import annotations

from typing import Union

import numpy as np
from pydantic import Field, field_validator, model_validator

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.bulk import CUBIC_CONSTANTS
from lammps_implicit.observables.configuration import Energy, PathName, Strict, validate_cell
from lammps_implicit.observables.decks import DeckSettings, StructureSettings, require_ends
from lammps_implicit.observables.kind import RegisteredObservable
from lammps_implicit.observables.observable import STABILITIES
from lammps_implicit.units import units_of

ENERGIES_PER_ATOM = ("bulk energy per atom", "cohesive energy")
"""Names of the observables that are energies per atom of the perfect crystal."""

LATTICE_PARAMETERS = tuple(f"lattice parameter {axis}" for axis in "abc")
"""Names of the lattice parameters among the observables."""

OF_SADDLES = ("barrier", "backward barrier", "migration volume")
"""Names of the observables of a saddle between two cells: from the first, from the second, and from the first."""


class Bulk(DeckSettings):
    """The perfect crystal."""

    repeat: tuple[int, int, int] = Field(default=(1, 1, 1), description="unit cells along each cell vector")


class Defect(StructureSettings):
    """A cell with a defect, or a saddle between two other cells."""

    sites: Union[int, None] = Field(
        default=None, gt=0, lt=10**12, description="lattice sites of the cell without the defect"
    )


class Binding(Strict):
    """A defect complex and the defects it consists of."""

    complex: str = Field(description="name of the defect that the parts form together")
    parts: list[str] = Field(min_length=2, description="names of the defects")


class StudySettings(Strict):
    """All settings of the command ``observables``.

    Attributes
    ----------
    bulk : Bulk
    defects : dict of str to Defect
        By name. Without ``sites`` no relaxation volume is computed. With ``barrier``, the saddle between two other
        cells.
    reservoirs : dict of str to (DeckSettings, float or str)
        For each element whose chemical potential the bulk does not fix: a deck of the pure element, or the chemical
        potential, in the energy unit of the decks or with its own.
    bindings : dict of str to Binding
        Binding energies, by name.
    isolated : dict of str to (float or str)
        Energy of an isolated atom of each element, in the energy unit of the decks or with its own; without them no
        cohesive energy is computed.
    observables : dict of str to ObservableKind
        Further observables of any registered kind, by name. Their cells are ``bulk``, ``reservoir of ELEMENT`` and the
        names of the defects.
    elastic_constants : bool
        Whether to compute the elastic constants of the bulk.
    cell, pressure
        As for `Minimum.relax`: the strains that every cell may take, and the pressure it is held at. By default ``iso``
        and the pressure of each deck's ``fix box/relax``, or zero without one.
    parameters : str or None
        Patterns of parameter labels, separated by commas; None for all parameters.
    tol : float
        Relative tolerance of Jacobians.
    second : bool
        Whether to compute second derivatives of energies, which need the Jacobian of every cell.
    """

    bulk: Bulk = Field(description="the perfect crystal")
    defects: dict[PathName, Defect] = Field(default_factory=dict, description="cells with defects, by name")
    reservoirs: dict[PathName, Union[DeckSettings, Energy]] = Field(
        default_factory=dict, description="a deck of each element that the bulk does not fix, or its chemical potential"
    )
    bindings: dict[PathName, Binding] = Field(default_factory=dict, description="binding energies to compute, by name")
    isolated: dict[PathName, Energy] = Field(
        default_factory=dict, description="energy of an isolated atom of each element, for the cohesive energy"
    )
    observables: dict[PathName, RegisteredObservable] = Field(
        default_factory=dict, description="further observables of the cells bulk, reservoir of ELEMENT, and the defects"
    )
    elastic_constants: bool = Field(default=False, description="whether to compute those of the bulk")
    cell: str = Field(default="iso", description="strains every cell may take: none, iso, ortho, full, or as zz")
    pressure: Union[float, str, list[float], None] = Field(
        default=None, description="target pressure; default: that of each deck's fix box/relax, else zero"
    )
    parameters: Union[str, None] = Field(
        default=None, description="patterns of parameter labels, separated by commas; default: all"
    )
    tol: float = Field(default=1e-5, ge=1e-10, lt=1, description="relative tolerance of Jacobians")
    second: bool = Field(default=True, description="whether to compute second derivatives of energies")

    _cell_is_known = field_validator("cell")(validate_cell)

    @field_validator("pressure")
    @classmethod
    def _pressure_is_hydrostatic(cls, pressure: float | str | list[float] | None) -> float | str | list[float] | None:
        if pressure is not None:
            try:
                target = units_of("metal").pressure_tensor(pressure)
            except LammpsImplicitError as error:
                raise ValueError(str(error)) from None
            if not np.array_equal(target, target[0, 0] * np.eye(3)):
                raise ValueError("an enthalpy needs a hydrostatic pressure: give one number instead of a stress")
        return pressure

    @model_validator(mode="after")
    def _pressure_needs_a_cell(self) -> StudySettings:
        if self.cell == "none" and self.pressure is not None:
            raise ValueError("pressure: a cell that is not relaxed ('cell: none') has no target pressure; leave it out")
        return self

    @model_validator(mode="after")
    def _bindings_name_defects(self) -> StudySettings:
        for name, binding in self.bindings.items():
            unknown = [defect for defect in (binding.complex, *binding.parts) if defect not in self.defects]
            if unknown:
                raise ValueError(f"bindings: {name}: {unknown[0]} is not one of the defects")
        return self

    @model_validator(mode="after")
    def _observables_name_cells(self) -> StudySettings:
        cells, reserved = self.cell_names(), self._reserved_names()
        twice = [cell for cell in cells if cells.count(cell) > 1]
        if twice:
            raise ValueError(f"defects: {twice[0]}: this name is taken, choose another")
        for name, kind in self.observables.items():
            unknown = [cell for cell in kind.cells() if cell not in cells]
            if unknown:
                raise ValueError(f"observables: {name}: {unknown[0]} is not one of the cells {', '.join(cells)}")
            if name in reserved:
                raise ValueError(f"observables: {name}: this name is taken, choose another")
        return self

    @model_validator(mode="after")
    def _barriers_are_between_cells(self) -> StudySettings:
        require_ends(self.cells())
        return self

    def cells(self) -> dict[str, Union[DeckSettings, Defect]]:
        """The cells that are relaxed, by name, in order."""
        reservoirs = {
            f"reservoir of {element}": given
            for element, given in self.reservoirs.items()
            if isinstance(given, DeckSettings)
        }
        return {"bulk": self.bulk, **reservoirs, **self.defects}

    def with_decks(self) -> dict[str, Union[DeckSettings, Defect]]:
        """The cells whose structure comes from a deck, by name."""
        return {name: cell for name, cell in self.cells().items() if cell.deck is not None}

    def cell_names(self) -> list[str]:
        """Names of the cells that are relaxed, with repetitions where one is taken twice."""
        decks = [element for element, given in self.reservoirs.items() if isinstance(given, DeckSettings)]
        return ["bulk", *(f"reservoir of {element}" for element in decks), *self.defects]

    def _reserved_names(self) -> set[str]:
        """Names of the observables that the command computes without being asked."""
        of_defects = ("formation energy", "formation volume", "relaxation volume", *OF_SADDLES)
        return {
            *ENERGIES_PER_ATOM,
            *LATTICE_PARAMETERS,
            *CUBIC_CONSTANTS,
            *(f"{defect}: {what}" for defect in self.defects for what in of_defects),
            *(f"{cell}: {what}" for cell in self.cell_names() for what in STABILITIES),
            *(f"{name}: binding energy" for name in self.bindings),
        }
