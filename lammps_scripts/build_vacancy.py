"""Build a periodic cell of a cubic crystal with vacancies.

    python build_vacancy.py --element Ta --lattice 3.316 --repeat 20 -o ta.data
    python build_vacancy.py --element PIn --structure zincblende --lattice 5.83 --vacancies 4 -o inp.data

A single vacancy is in the middle; several are chosen from random sites, as far apart as these allow. In a compound the
vacancies are on the sites of the element named first (type 1).
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import builder_options
import data_file
import numpy as np
from ase import Atoms
from ase.build import bulk

from lammps_implicit.files import written_whole

STRUCTURES = ("sc", "bcc", "fcc", "diamond", "zincblende", "rocksalt", "cesiumchloride", "fluorite")
CANDIDATES = 8
"""Number of random candidate sites per vacancy; more spread vacancies better, and take longer."""


@dataclass(frozen=True)
class Crystal:
    """A cube of perfect crystal, stored as its lowest layer.

    Attributes
    ----------
    types : (n,) int array
        Atom types of the layer.
    positions : (n, 3) float array
        Å.
    lattice : float
        Lattice constant, the height of a layer, Å.
    layers : int
        Number of layers.
    """

    types: np.ndarray
    positions: np.ndarray
    lattice: float
    layers: int

    @property
    def edge(self) -> float:
        """Edge of the cube, Å."""
        return self.layers * self.lattice


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--element", required=True, help="element or formula of a compound")
    parser.add_argument(
        "--structure", choices=STRUCTURES, default="bcc", help="crystal structure as in ase.build.bulk (default bcc)"
    )
    parser.add_argument("--lattice", type=builder_options.positive, required=True, help="lattice constant, Å")
    parser.add_argument(
        "--repeat", type=builder_options.count, default=4, help="cubic cells along each edge (default 4)"
    )
    parser.add_argument("--vacancies", type=builder_options.count, default=1, help="number of vacancies (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="random seed for several vacancies (default 0)")
    builder_options.run(parser, build, arguments)


def build(options: argparse.Namespace) -> None:
    """Write the data file."""
    output = options.output or Path(f"{options.element.lower()}_vacancy.data")
    with written_whole(output, options.overwrite) as data:
        cubic = cubic_cell(options.element, options.structure, options.lattice)
        elements = list(dict.fromkeys(cubic.symbols))
        layer = cubic.repeat((options.repeat, options.repeat, 1))
        types = np.tile([elements.index(symbol) + 1 for symbol in cubic.symbols], options.repeat**2)
        crystal = Crystal(types, layer.positions, options.lattice, options.repeat)
        empty = vacancies(crystal, options.vacancies, options.seed)
        header = data_file.Header(
            f"{options.element} {options.structure}, edge of {options.repeat} cells, vacancies: {options.vacancies}",
            crystal.layers * len(types) - options.vacancies,
            np.tile([0.0, crystal.edge], (3, 1)),
            [(element, element) for element in elements],
        )
        data_file.write(data, header, layers(crystal, empty))
    print(f"wrote {output}: {header.atoms} atoms")


def cubic_cell(formula: str, structure: str, lattice: float) -> Atoms:
    """Conventional cubic cell of a crystal."""
    try:
        return bulk(formula, structure, a=lattice, cubic=True)
    except (KeyError, ValueError) as error:
        raise ValueError(f"cannot build {structure} {formula}: {error}") from None


def vacancies(crystal: Crystal, count: int, seed: int) -> np.ndarray:
    """Choose sites of type 1: first the one nearest to the middle, then repeatedly the one farthest from all chosen.

    Returns
    -------
    (count, 2) int array
        Layer of each vacancy, and row in that layer.
    """
    rows = np.flatnonzero(crystal.types == 1)
    total = crystal.layers * len(rows)
    if 10 * count > total:
        raise ValueError(f"--vacancies {count}: at most a tenth of the {total} sites may be vacant")
    sites = np.random.default_rng(seed).choice(total, min(total, CANDIDATES * count), replace=False, shuffle=False)
    sites = np.column_stack([sites // len(rows), rows[sites % len(rows)]])
    sites = np.vstack([[_middle(crystal, rows)], sites])
    positions = crystal.positions[sites[:, 1]] + crystal.lattice * sites[:, :1] * [0.0, 0.0, 1.0]
    chosen, distances = [0], np.full(len(sites), np.inf)
    while len(chosen) < count:
        apart = positions - positions[chosen[-1]]
        apart -= crystal.edge * np.round(apart / crystal.edge)
        distances = np.minimum(distances, np.linalg.norm(apart, axis=1))
        chosen.append(int(distances.argmax()))
    return sites[chosen]


def _middle(crystal: Crystal, rows: np.ndarray) -> tuple[int, int]:
    layer = crystal.layers // 2
    apart = crystal.positions[rows] + [0.0, 0.0, layer * crystal.lattice] - crystal.edge / 2
    return layer, rows[np.linalg.norm(apart, axis=1).argmin()]


def layers(crystal: Crystal, empty: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield types and positions of the atoms of each layer, without vacant sites."""
    for number in range(crystal.layers):
        left = np.ones(len(crystal.types), bool)
        left[empty[empty[:, 0] == number, 1]] = False
        yield crystal.types[left], crystal.positions[left] + [0.0, 0.0, number * crystal.lattice]


if __name__ == "__main__":
    main()
