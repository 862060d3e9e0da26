"""Fit a quadratic ML-IAP model of W (2J = 4, 120 coefficients) to W_2940_2017_2 (one minute).

    python fit_w_quadratic.py -o .

Writes W_quadratic.mliap.model and W_quadratic.mliap.descriptor, for examples and tests of quadratic models; for
research on tungsten use W_2940_2017_2. Needs matscipy: pip install "lammps_implicit[structures]".
"""

import argparse
from pathlib import Path

import numpy as np
from fit_w_family import MASS, SNAP_PART, WHOLE, errors, table, weighted
from reference import Descriptor, Session
from training_structures import training_structures

from lammps_implicit.arrays import FloatArray
from lammps_implicit.files import refuse_to_overwrite, written_whole

DESCRIPTOR = Descriptor(4, 4.3)

RIDGE = 1e-10
"""Tikhonov parameter of the fit with columns of unit length, relative to the square of the largest singular value."""

SETTINGS = """\
# UNITS: metal descriptors of the quadratic ML-IAP model of W, see README.md

rcutfac {rcutfac}
twojmax {twojmax}
nelems 1
elems W
radelems 0.5
welems 1
rfac0 {rfac0}
rmin0 0
bzeroflag 0
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder for the files")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    files = [options.output / f"W_quadratic.mliap.{ending}" for ending in ("model", "descriptor")]
    for file in files:
        refuse_to_overwrite(file, options.overwrite)
    structures = training_structures(Session(WHOLE, MASS))
    session = Session(SNAP_PART, MASS)
    rows = [session.rows(atoms, DESCRIPTOR, quadratic=True) for atoms in structures]
    matrix, target = weighted(structures, rows)
    theta = ridge(matrix, target)
    head = "# UNITS: metal quadratic ML-IAP model of W, fitted to W_2940_2017_2 by fit_w_quadratic.py\n"
    numbers = "\n".join(f"{value:.15g}" for value in theta)
    texts = (f"{head}\n1 {len(theta)}\n{numbers}\n", SETTINGS.format(**DESCRIPTOR._asdict()))
    for file, text in zip(files, texts, strict=True):
        with written_whole(file, options.overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    print(table(errors(structures, rows, theta)))


def ridge(matrix: FloatArray, target: FloatArray) -> FloatArray:
    """Least-squares solution with columns scaled to unit length and a slight ridge."""
    sizes = np.linalg.norm(matrix, axis=0)
    left, values, right = np.linalg.svd(matrix / sizes, full_matrices=False)
    filtered = values / (values**2 + RIDGE * values[0] ** 2)
    return right.T @ (filtered * (left.T @ target)) / sizes


if __name__ == "__main__":
    main()
