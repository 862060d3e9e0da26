"""Build the easy and the hard core of a screw dislocation in W, with a solute X, for invert_screw_core.yaml.

    python build_screw_core.py --radius 35

Writes w_x_easy.data and w_x_hard.data, one Burgers vector long: the same atoms in the same cell, with the same rim,
placed by the elastic solution of the hard core in the middle. The easy core lies in the neighbouring triangle of atomic
columns, with isotropic displacements; its deck relaxes it. Type 1 is free, type 2 the rim, type 3 the solute X: the
column that belongs to the hard core's triangle only. Also writes w_x.snapcoeff and w_x.snapparam, in which X is like W.
"""

import argparse
from pathlib import Path

import builder_options
import data_file
import numpy as np
from build_screw_dislocation import METALS, Slice, box, make_slice

from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.files import written_whole
from lammps_implicit.potentials.snap_files import (
    CoefficientFile,
    parse_coefficients,
    read_coefficients,
    read_parameters,
)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--radius", type=builder_options.positive, default=35.0, help="radius of the free cylinder, Å (default 35)"
    )
    parser.add_argument(
        "--snap", default="W_2940_2017_2", help="potential of W: path or name without ending (default W_2940_2017_2)"
    )
    builder_options.run(parser, build, arguments)


def build(options: argparse.Namespace) -> None:
    """Write both data files and the potential; --output gives their folder and the stem of their names."""
    stem = Path("w_x") if options.output is None else options.output.with_suffix("")
    folders = (Path(), *potential_folders())
    folder = next((path for path in folders if (path / f"{options.snap}.snapcoeff").exists()), None)
    if folder is None:
        raise ValueError(f"--snap {options.snap}: no file {options.snap}.snapcoeff here or in LAMMPS_POTENTIALS")
    host = read_coefficients(folder / f"{options.snap}.snapcoeff")
    if len(host.blocks) != 1:
        raise ValueError(f"--snap {options.snap}: a potential of a single element is needed")
    hard = make_slice("W", METALS["W"], options.radius, "hard")
    solute = nearest_columns(hard)[0]
    types = hard.types.copy()
    types[solute] = 3
    for core, positions in (("hard", hard.positions), ("easy", with_core_beside(hard, solute))):
        header = data_file.Header(
            f"screw dislocation in W: {core} core, X in the hard one, radius {options.radius:g} A",
            len(types),
            box(hard, 1),
            [("W", "W, free"), ("W", "W, frozen rim"), ("W", "X, as heavy as W")],
        )
        with written_whole(stem.with_name(f"{stem.name}_{core}.data"), options.overwrite) as data:
            data_file.write(data, header, [(types, positions)])
    with_solute(host).write(stem.with_name(f"{stem.name}.snapcoeff"), options.overwrite)
    read_parameters(folder / f"{options.snap}.snapparam").write(
        stem.with_name(f"{stem.name}.snapparam"), options.overwrite
    )
    print(f"wrote {stem}_easy.data and {stem}_hard.data, {len(types)} atoms, and {stem}.snapcoeff, {stem}.snapparam")


def nearest_columns(hard: Slice) -> np.ndarray:
    """Rows of the three atoms nearest to the middle: the triangle of the core."""
    return np.argsort(hard.distances.round(6), kind="stable")[:3]


def with_core_beside(hard: Slice, away_from: int) -> np.ndarray:
    """Positions with the dislocation moved to the triangle opposite one corner; the rim does not change."""
    plane = hard.perfect.positions[:, :2] - np.diag(hard.perfect.cell)[:2] / 2
    shift = -plane[away_from]
    angle = np.arctan2(*(plane - shift).T[::-1]) - np.arctan2(*plane.T[::-1])
    positions = hard.positions.copy()
    # The Burgers vector of make_screw_cyl's hard core points along -z.
    free = hard.types == 1
    positions[free, 2] -= hard.burgers / (2 * np.pi) * angle[free]
    positions[:, 2] %= hard.burgers
    return positions


def with_solute(host: CoefficientFile) -> CoefficientFile:
    """Coefficients of one element, repeated for a second one named X."""
    rows = [line for line in host.lines if line.split("#")[0].strip()]
    count = host.coefficients_per_element
    coefficients = [line if line.endswith("\n") else line + "\n" for line in rows[2 : 2 + count]]
    settings = " ".join(rows[1].split()[1:])
    comments = [line for line in host.lines if line.startswith("#")]
    text = [*comments, "# X starts as W\n", f"2 {count}\n"]
    for name in (rows[1].split()[0], "X"):
        text += [f"{name} {settings}\n", *coefficients]
    return parse_coefficients("".join(text), "W and X")


if __name__ == "__main__":
    main()
