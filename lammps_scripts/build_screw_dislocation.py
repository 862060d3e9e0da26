"""Build a cylinder of bcc W around a <111>/2 screw dislocation, its rim frozen, for in.w_screw_dislocation.

    python build_screw_dislocation.py --radius 20 --length 1 --core easy -o w_screw_dislocation.data

Needs matscipy and atomman: pip install "lammps_implicit[structures]". Atoms of type 1 are free, type 2 is the rim.
"""

import argparse
from pathlib import Path

import numpy as np
from matscipy.dislocation import make_screw_cyl

# Lattice constant (Å) and elastic constants (GPa) of W_2940_2017_2 with its ZBL overlay, by differences of the stress
# under strains of 1e-4 in LAMMPS.
LATTICE, C11, C12, C44 = 3.18046, 517.7, 194.5, 144.3
CUTOFF = 4.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--radius", type=float, default=20.0, help="radius of the free cylinder, Å")
    parser.add_argument("--length", type=int, default=1, help="length along the line, in Burgers vectors")
    parser.add_argument("--core", choices=("easy", "hard"), default="easy")
    parser.add_argument("-o", "--output", type=Path, default=Path("w_screw_dislocation.data"))
    arguments = parser.parse_args()
    if arguments.output.exists():
        parser.error(f"{arguments.output} exists already")
    atoms, _, _ = make_screw_cyl(
        LATTICE, C11, C12, C44, cylinder_r=arguments.radius, cutoff=CUTOFF, hard_core=arguments.core == "hard"
    )
    rim = np.zeros(len(atoms), bool)
    rim[atoms.constraints[0].index] = True
    write(arguments.output, atoms, rim, arguments.length, f"{arguments.core} core, radius {arguments.radius} A")


def write(path: Path, atoms, rim, length: int, title: str) -> None:
    """Write a LAMMPS data file, one copy of the slice after the other along the line."""
    low, high = atoms.positions.min(axis=0) - 5.0, atoms.positions.max(axis=0) + 5.0
    burgers = atoms.cell[2, 2]
    low[2], high[2] = 0.0, length * burgers
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"screw dislocation in W: {title}, {length} b long\n\n{length * len(atoms)} atoms\n2 atom types\n\n")
        for axis, name in enumerate("xyz"):
            file.write(f"{low[axis]:.16g} {high[axis]:.16g} {name}lo {name}hi\n")
        file.write("\nMasses\n\n1 183.84  # W, free\n2 183.84  # W, frozen rim\n\nAtoms  # atomic\n\n")
        for copy in range(length):
            for number, ((x, y, z), frozen) in enumerate(zip(atoms.positions, rim, strict=True), 1):
                id_ = copy * len(atoms) + number
                file.write(f"{id_} {1 + frozen} {x:.10f} {y:.10f} {z % burgers + copy * burgers:.10f}\n")


if __name__ == "__main__":
    main()
