"""Build a cylinder of a bcc metal around a <111>/2 screw dislocation, with a frozen rim.

    python build_screw_dislocation.py --radius 20 -o w_screw_dislocation.data
    python build_screw_dislocation.py --element Ta --radius 250 --atoms 1000000 -o ta_screw_dislocation.data

Type 1 is free, type 2 the rim, type 3 the solute, if any. NAME.groups, beside NAME.data, defines the groups rim and
solute for decks to include. Needs matscipy and atomman: pip install "lammps_implicit[structures]".
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import builder_options
import data_file
import numpy as np
from ase import Atoms

from lammps_implicit.files import written_whole

# Lattice constant (Å), elastic constants (GPa) and cutoff (Å) of W_2940_2017_2 and Ta06A with their ZBL overlays.
# Measured in LAMMPS: the lattice constant at zero pressure, elastic constants from stresses at strains of ±1e-4.
METALS = {
    "W": {"lattice": 3.18046, "c11": 517.7, "c12": 194.5, "c44": 144.3, "cutoff": 4.8},
    "Ta": {"lattice": 3.31626, "c11": 270.3, "c12": 155.9, "c44": 73.45, "cutoff": 4.8},
}


@dataclass(frozen=True)
class Slice:
    """One Burgers vector of the cylinder.

    Attributes
    ----------
    positions : (n, 3) float array
        Å, z from 0 to `burgers`.
    types : (n,) int array
        1 for free atoms, 2 for the rim.
    distances : (n,) float array
        Å; distance from the dislocation line in the perfect crystal, equal for atoms equivalent by symmetry.
    burgers : float
        Length of the Burgers vector, Å.
    perfect : ase.Atoms
        The same atoms in the perfect crystal.
    """

    positions: np.ndarray
    types: np.ndarray
    distances: np.ndarray
    burgers: float
    perfect: Atoms


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    positive, count, element = builder_options.positive, builder_options.count, builder_options.element
    parser.add_argument(
        "--element", type=element, default="W", help="bcc metal; the constants of W and Ta are known (default W)"
    )
    parser.add_argument("--lattice", type=positive, help="lattice constant, Å")
    for name in ("c11", "c12", "c44"):
        parser.add_argument(f"--{name}", type=positive, help="elastic constant, GPa")
    parser.add_argument("--cutoff", type=positive, help="cutoff of the potential, Å; the rim is two cutoffs wide")
    parser.add_argument("--radius", type=positive, default=20.0, help="radius of the free cylinder, Å (default 20)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--length", type=count, default=1, help="length in Burgers vectors (default 1)")
    size.add_argument("--atoms", type=count, help="instead of --length: approximate number of atoms")
    parser.add_argument("--core", choices=("easy", "hard"), default="easy")
    parser.add_argument("--solute", type=element, metavar="ELEMENT", help="replace one atom by a solute")
    parser.add_argument(
        "--solute-site",
        type=int,
        default=0,
        metavar="K",
        help="free atomic column for the solute, counted by distance from the line (default 0)",
    )
    builder_options.run(parser, build, arguments)


def build(options: argparse.Namespace) -> None:
    """Write the data file and the file of groups."""
    host, solute = options.element, options.solute
    output = options.output or Path(f"{host.lower()}_screw_dislocation.data")
    groups = output.with_suffix(".groups")
    if groups == output:
        raise ValueError(f"{output}: the ending .groups is that of the second file; choose another")
    with written_whole(output, options.overwrite) as data, written_whole(groups, options.overwrite) as include:
        one = make_slice(host, constants_of(options), options.radius, options.core)
        length = max(1, round(options.atoms / len(one.types))) if options.atoms else options.length
        types, commands = [(host, f"{host}, free"), (host, f"{host}, frozen rim")], ["group rim type 2"]
        if solute:
            types.append((solute, f"{solute}, solute"))
            commands.append("group solute type 3")
        header = data_file.Header(
            f"screw dislocation in {host}: {options.core} core, radius {options.radius} A, {length} b long",
            length * len(one.types),
            box(one, length),
            types,
        )
        place = solute_row(one, options.solute_site) if solute else None
        data_file.write(data, header, slices(one, length, place))
        include.write_text("\n".join(commands) + "\n", encoding="utf-8")
    print(f"wrote {output} and {groups}: {header.atoms} atoms, {length} b long")


def constants_of(options: argparse.Namespace) -> dict[str, float]:
    """Constants of the metal, from the options or from `METALS`."""
    known = METALS.get(options.element, {})
    names = ("lattice", "c11", "c12", "c44", "cutoff")
    constants = {name: getattr(options, name) or known.get(name) for name in names}
    missing = " ".join(f"--{name}" for name in names if constants[name] is None)
    if missing:
        raise ValueError(f"the constants of {options.element} are not known here: give {missing}")
    if constants["c11"] <= constants["c12"]:
        raise ValueError("--c11 must be above --c12: such a crystal is not stable")
    if constants["cutoff"] < 1.25 * constants["lattice"]:
        # The square plate from which matscipy cuts the cylinder would be too small.
        raise ValueError("--cutoff must be at least 1.25 lattice constants, otherwise the rim has flat sides")
    return constants


def make_slice(element: str, constants: dict[str, float], radius: float, core: str) -> Slice:
    """Build one Burgers vector of the cylinder with matscipy."""
    try:
        from matscipy.dislocation import make_screw_cyl

        atoms, perfect, _ = make_screw_cyl(
            *(constants[name] for name in ("lattice", "c11", "c12", "c44")),
            cylinder_r=radius,
            cutoff=constants["cutoff"],
            hard_core=core == "hard",
            symbol=element,
        )
    except ImportError as error:
        raise ValueError(f'{error}: run pip install "lammps_implicit[structures]"') from None
    except ValueError as error:  # for example with isotropic constants
        raise ValueError(f"there is no elastic solution with these constants: {error}") from None
    burgers = atoms.cell[2, 2]
    positions = atoms.positions.copy()
    positions[:, 2] %= burgers
    positions[positions[:, 2] > burgers - 1e-10, 2] = 0.0  # otherwise rounded onto the upper face when printed
    types = np.ones(len(atoms), int)
    types[atoms.constraints[0].index] = 2
    distances = np.linalg.norm(perfect.positions[:, :2] - np.diag(perfect.cell)[:2] / 2, axis=1)
    return Slice(positions, types, distances, burgers, perfect)


def solute_row(one: Slice, site: int) -> int:
    """Row of the free atom number `site`, counted by distance from the line; equal distances keep file order."""
    rows = np.argsort(one.distances.round(6), kind="stable")
    rows = rows[one.types[rows] == 1]
    if not 0 <= site < len(rows):
        raise ValueError(f"--solute-site {site}: the free cylinder has columns 0 to {len(rows) - 1}")
    return rows[site]


def box(one: Slice, length: int) -> np.ndarray:
    """Bounds of the box, (3, 2), Å: periodic along the line, with space around the rim."""
    low, high = one.positions.min(axis=0) - 5.0, one.positions.max(axis=0) + 5.0
    low[2], high[2] = 0.0, length * one.burgers
    return np.column_stack([low, high])


def slices(one: Slice, length: int, solute: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield types and positions of every slice along the line; the middle slice has the solute."""
    for copy in range(length):
        types = one.types.copy()
        if solute is not None and copy == length // 2:
            types[solute] = 3
        positions = one.positions.copy()
        positions[:, 2] += copy * one.burgers
        yield types, positions


if __name__ == "__main__":
    main()
