"""What was seen of a deck: dataclasses, and the same as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lammps_implicit.inspection.fixes import FixRole
from lammps_implicit.inspection.minimisations import Minimisation
from lammps_implicit.potentials.found import FoundFamily


@dataclass(frozen=True)
class AtomType:
    """Atoms of one type.

    Attributes
    ----------
    number : int
    element : str
        Empty if the potential does not name it.
    mass : float
        In the deck's unit.
    count : int
    charge : float
        Sum over its atoms, in the deck's unit.
    """

    number: int
    element: str
    mass: float
    count: int
    charge: float


@dataclass(frozen=True)
class Plan:
    """How derivatives would be computed, and at what cost.

    Attributes
    ----------
    labels : tuple of str
        Parameters that are taken: those asked for, or the default.
    method : str
        How the mixed derivative is computed.
    evaluations : mapping of str to int
        Force evaluations of each product, to a relative tolerance of 1e-5 at a well-conditioned minimum.
    seconds : float
        Of one force evaluation, measured; NaN if none could be made.
    installations : mapping of str to int
        How many of these evaluations are at other parameters.
    installing : float
        Seconds of one of these, with the parameters that LAMMPS reads first; NaN if none could be made.
    jacobian_bytes : int
        Memory of the whole Jacobian.
    """

    labels: tuple[str, ...]
    method: str
    evaluations: Mapping[str, int]
    seconds: float
    installations: Mapping[str, int]
    installing: float
    jacobian_bytes: int

    def time(self, product: str) -> float:
        """Seconds of a product; NaN if unknown."""
        elsewhere = self.installations.get(product, 0)
        slow = self.seconds if math.isnan(self.installing) else self.installing
        return (self.evaluations[product] - elsewhere) * self.seconds + elsewhere * slow


@dataclass(frozen=True)
class Inspection:
    """What a deck is, and what can be done with it.

    Attributes
    ----------
    deck : str
        File name.
    failed : str
        Why LAMMPS stopped in the deck, with the line; empty if it ran to its end.
    refused : str
        Why LAMMPS could not be taken over; empty if it was, or had stopped.
    ranks, atoms, dimension : int
    units, boundary : str
        Unit style; ``p``, ``f`` or ``s`` for each direction (``s`` for all that follow the atoms).
    cell : tuple of tuple of float
        Cell vectors, in the deck's unit of length.
    types : tuple of AtomType
    styles : mapping of str to str
        Command and arguments of each style in force: ``pair_style``, ``bond_style``, ….
    fixes : tuple of FixRole
        Those that the deck leaves defined.
    held : int
        Components of positions that fixes hold.
    minimisations : tuple of Minimisation
    largest_force, force_limit : float
        At the end of the deck, NaN if unknown; and the limit for a minimum, both in `force_unit`.
    energy : float
        At the end of the deck; NaN if unknown.
    length_unit, force_unit, energy_unit : str
    families : tuple of FoundFamily
        Parameters by family.
    left_out : tuple of str
        What acts and is no parameter.
    plan : Plan or None
        None if nothing would be differentiated.
    obstacles : tuple of str
        What stands in the way of derivatives, with what to write.
    notes : tuple of str
        Warnings on the way.
    seconds : float
        Wall time in all, with the deck.
    """

    deck: str
    failed: str = ""
    refused: str = ""
    ranks: int = 1
    atoms: int = 0
    dimension: int = 3
    units: str = ""
    boundary: str = ""
    cell: tuple[tuple[float, ...], ...] = ()
    types: tuple[AtomType, ...] = ()
    styles: Mapping[str, str] = field(default_factory=dict)
    fixes: tuple[FixRole, ...] = ()
    held: int = 0
    minimisations: tuple[Minimisation, ...] = ()
    largest_force: float = math.nan
    force_limit: float = math.nan
    energy: float = math.nan
    length_unit: str = ""
    force_unit: str = ""
    energy_unit: str = ""
    families: tuple[FoundFamily, ...] = ()
    left_out: tuple[str, ...] = ()
    plan: Plan | None = None
    obstacles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether the deck runs and is taken over."""
        return not (self.failed or self.refused)

    @property
    def relaxed(self) -> bool | None:
        """Whether the deck ends with forces below the limit; None if that is not known."""
        return None if math.isnan(self.largest_force) else self.largest_force <= self.force_limit

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, strings, lists and dictionaries; numbers that are not finite become None."""
        plain: dict[str, Any] = _plain(asdict(self) | {"usable": self.usable, "relaxed": self.relaxed})
        return plain

    def to_json(self) -> str:
        """Everything as JSON."""
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
