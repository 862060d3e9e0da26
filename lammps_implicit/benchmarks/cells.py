"""Cells to measure: bcc vacancies of any size, and decks with data files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Lattice constant (Å), mass (g/mol), atomic number and potential files, which come with LAMMPS.
_METALS = {
    "Ta": (3.316, 180.95, 73, "Ta06A"),
    "W": (3.1803, 183.84, 74, "W_2940_2017_2"),
}

_VACANCY = """\
# The site in the middle of a bcc {element} cell is left vacant; atoms stay on their lattice sites.
variable        n index 4

units           metal
boundary        p p p
atom_style      atomic

lattice         bcc {lattice}
region          cell block 0 $n 0 $n 0 $n
create_box      1 cell
create_atoms    1 box
mass            1 {mass}

region          middle sphere $(v_n/2) $(v_n/2) $(v_n/2) 0.1
group           vacancy region middle
delete_atoms    group vacancy compress no

pair_style      hybrid/overlay zbl 4.0 4.8 snap
pair_coeff      1 1 zbl {number} {number}
pair_coeff      * * snap {potential}.snapcoeff {potential}.snapparam {element}
"""


@dataclass(frozen=True)
class Cell:
    """A cell, and the deck that creates it without relaxing it.

    Attributes
    ----------
    system : str
        Name in tables and legends.
    atoms : int
        Number of atoms.
    deck : Path
    variables : mapping of str to str
        Index variables of the deck.
    """

    system: str
    atoms: int
    deck: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.system}, {self.atoms:,} atoms"

    @property
    def arguments(self) -> list[str]:
        """Command-line arguments that describe the cell: the deck and its variables."""
        settings = [part for name, value in self.variables.items() for part in ("--var", f"{name}={value}")]
        return [str(self.deck), *settings]


def vacancies(folder: Path, element: str, edges: Sequence[int]) -> list[Cell]:
    """Write the deck of a vacancy in Ta (31 parameters) or W (56 parameters).

    Parameters
    ----------
    folder : Path
        For the deck.
    element : str
        ``Ta`` or ``W``.
    edges : sequence of int
        Edges of the cubic cells, in lattice constants.

    Returns
    -------
    list of Cell
        One for each edge.
    """
    lattice, mass, number, potential = _METALS[element]
    deck = folder / f"in.{element.lower()}_vacancy"
    deck.write_text(
        _VACANCY.format(element=element, lattice=lattice, mass=mass, number=number, potential=potential),
        encoding="utf-8",
    )
    return [Cell(f"{element} vacancy", 2 * n**3 - 1, deck, {"n": str(n)}) for n in edges]


def up_to(cells: Sequence[Cell], largest: float) -> list[Cell]:
    """Cells with at most `largest` atoms, and in any case the smallest one."""
    ordered = sorted(cells, key=lambda cell: cell.atoms)
    return [cell for cell in ordered if cell.atoms <= largest or cell is ordered[0]]
