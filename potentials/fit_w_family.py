"""Fit the cheap tungsten potentials W_2J4 and W_2J6 to W_2940_2017_2, each with a parameter ensemble.

    python fit_w_family.py -o .

Writes NAME.snapcoeff, NAME.snapparam, NAME.snap (lines to include in a deck) and NAME.ensemble.npz for each. Needs
popsregression and matscipy: pip install "lammps_implicit[ensembles,structures]".
"""

import argparse
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from reference import Descriptor, Rows, Session
from training_structures import training_structures

from lammps_implicit import LammpsImplicitError
from lammps_implicit.arrays import FloatArray
from lammps_implicit.files import refuse_to_overwrite, written_whole

MASS = 183.84
ZBL = "zbl 4.0 4.8"
PARENT = "W_2940_2017_2.snapcoeff W_2940_2017_2.snapparam W"
WHOLE = (f"pair_style hybrid/overlay {ZBL} snap", "pair_coeff 1 1 zbl 74 74", f"pair_coeff * * snap {PARENT}")
# The ZBL overlay is kept, so only the SNAP part of W_2940_2017_2 is fitted. `zero` widens the neighbour lists for
# descriptors with a longer cutoff.
SNAP_PART = ("pair_style hybrid/overlay snap zero 6.0 full", f"pair_coeff * * snap {PARENT}", "pair_coeff * * zero")

# 4.3 Å has the smallest weighted errors of 3.8, 4.0, 4.3, 4.7 and 5.0 Å. The third shell of bcc is just beyond.
FAMILY = {"W_2J4": Descriptor(4, 4.3), "W_2J6": Descriptor(6, 4.3)}

GPA = 1 / 160.2176634
"""One GPa in eV/Å³ (from the elementary charge, exact in the SI)."""


class Tolerance(NamedTuple):
    """Errors that count as one: of a structure's energy, and root mean squares of its forces and stresses.

    Attributes
    ----------
    energy : float
        eV/atom.
    force : float
        eV/Å.
    stress : float
        GPa.
    """

    energy: float
    force: float
    stress: float


TOLERANCES = {
    "elastic": Tolerance(0.002, 0.1, 1.0),
    "strained": Tolerance(0.005, 0.2, 1.0),
    "vacancy": Tolerance(0.001, 0.1, 1.0),
    "interstitial": Tolerance(0.002, 0.2, 1.0),
    "surface": Tolerance(0.01, 0.2, 1.0),
    "screw": Tolerance(0.002, 0.1, 1.0),
    "hot bulk": Tolerance(0.003, 0.15, 1.0),
    "hot defects": Tolerance(0.003, 0.15, 1.0),
    "hot surface": Tolerance(0.01, 0.2, 1.0),
}
"""Tolerances by group of structures; smallest for vacancies, which tests relax most."""

SAMPLES = 1000
"""Number of ensemble members."""

LEVERAGE_PERCENTILE = 90.0
"""Rows above this percentile of leverage determine the ensemble; others hardly constrain the parameters (README.md)."""


class Fit(NamedTuple):
    """One member of the family.

    Attributes
    ----------
    theta : (P,) float array
        Coefficients, constant term first.
    samples : (SAMPLES, P) float array
        Ensemble of coefficients, by POPS.
    """

    theta: FloatArray
    samples: FloatArray


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder for the files")
    parser.add_argument("--seed", type=int, default=1, help="random seed of structures and samples (default 1)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    options = parser.parse_args(arguments)
    try:
        make(options.output, options.seed, options.overwrite)
    except (LammpsImplicitError, ImportError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")


def make(folder: Path, seed: int, overwrite: bool) -> None:
    """Generate structures, fit the family and write its files."""
    for name in FAMILY:
        for path in files(folder, name):
            refuse_to_overwrite(path, overwrite)
    structures = training_structures(Session(WHOLE, MASS), seed)
    print(f"{len(structures)} structures, {sum(map(len, structures))} atoms")
    session = Session(SNAP_PART, MASS)
    for name, descriptor in FAMILY.items():
        rows = [session.rows(atoms, descriptor) for atoms in structures]
        fitted = fit(structures, rows, seed)
        write(folder, name, descriptor, fitted, overwrite)
        print(f"\n{name}\n{table(errors(structures, rows, fitted.theta))}")


def fit(structures: Sequence[Atoms], rows: Sequence[Rows], seed: int) -> Fit:
    """Fit the coefficients and draw their ensemble."""
    from popsregression import POPSRegression

    matrix, target = weighted(structures, rows)
    regression = POPSRegression(
        fit_intercept=False,
        resample_density=(SAMPLES + 0.5) / len(target),
        leverage_percentile=LEVERAGE_PERCENTILE,
    )
    with numpy_seed(seed):
        regression.fit(matrix, target)
    return Fit(regression.coef_, regression.coef_ + regression.posterior_samples_.T)


def weighted(structures: Sequence[Atoms], rows: Sequence[Rows]) -> tuple[FloatArray, FloatArray]:
    """Descriptor matrix and targets of all structures, each row divided by its tolerance."""
    scales = [scale_of(atoms) for atoms in structures]
    matrix = np.vstack([one.descriptors / scale[:, None] for one, scale in zip(rows, scales, strict=True)])
    target = np.concatenate([one.targets / scale for one, scale in zip(rows, scales, strict=True)])
    return matrix, target


def scale_of(atoms: Atoms) -> FloatArray:
    """Tolerance of each row of a structure, (1 + 3N + 6,)."""
    tolerance = TOLERANCES[atoms.info["group"]]
    count = len(atoms)
    energy = tolerance.energy * count
    force = tolerance.force * np.sqrt(3 * count)
    stress = tolerance.stress * GPA * np.sqrt(6)
    return np.repeat([energy, force, stress], [1, 3 * count, 6])


@contextlib.contextmanager
def numpy_seed(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator temporarily, as POPSRegression draws from it and accepts no other."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def errors(structures: Sequence[Atoms], rows: Sequence[Rows], theta: FloatArray) -> dict[str, FloatArray]:
    """Root-mean-square errors by group: energy (meV/atom), force (eV/Å), stress (GPa)."""
    squares: dict[str, list[FloatArray]] = {}
    for atoms, one in zip(structures, rows, strict=True):
        wrong = (one.descriptors @ theta - one.targets) ** 2
        parts = wrong[0] / len(atoms) ** 2 * 1e6, wrong[1:-6].mean(), wrong[-6:].mean() / GPA**2
        squares.setdefault(atoms.info["group"], []).append(np.array(parts))
    return {group: np.sqrt(np.mean(found, axis=0)) for group, found in squares.items()}


def table(found: dict[str, FloatArray]) -> str:
    """Errors as a Markdown table."""
    head = "| group | meV/atom | eV/Å | GPa |\n|---|---|---|---|\n"
    return head + "\n".join(f"| {group} | {e:.2f} | {f:.3f} | {s:.2f} |" for group, (e, f, s) in found.items())


def files(folder: Path, name: str) -> tuple[Path, Path, Path, Path]:
    """Paths of coefficients, hyperparameters, include file and ensemble."""
    coefficients, hyperparameters, include, ensemble = (
        folder / f"{name}{ending}" for ending in (".snapcoeff", ".snapparam", ".snap", ".ensemble.npz")
    )
    return coefficients, hyperparameters, include, ensemble


def write(folder: Path, name: str, descriptor: Descriptor, fitted: Fit, overwrite: bool) -> None:
    """Write the four files of one potential."""
    coefficients, hyperparameters, include, ensemble = files(folder, name)
    what = f"SNAP of W with 2J = {descriptor.twojmax}, fitted to the SNAP part of W_2940_2017_2; see README.md"
    # LAMMPS reads the word after UNITS: and stops if it differs from the units of the deck.
    about = f"# UNITS: metal {what}\n"
    numbers = "\n".join(f"{value:.15g}" for value in fitted.theta)
    text = f"{about}\n1 {len(fitted.theta)}\nW 0.5 1\n{numbers}\n"
    settings = "\n".join(f"{keyword} {value}" for keyword, value in descriptor._asdict().items())
    lines = [
        f"pair_style hybrid/overlay {ZBL} snap",
        "pair_coeff 1 1 zbl 74 74",
        f"pair_coeff * * snap {name}.snapcoeff {name}.snapparam W",
    ]
    texts = {coefficients: text, hyperparameters: f"{about}{settings}\nrmin0 0\nbzeroflag 0\nquadraticflag 0\n"}
    texts[include] = about + "\n".join(lines) + "\n"
    for path, content in texts.items():
        with written_whole(path, overwrite) as temporary:
            temporary.write_text(content, encoding="utf-8", newline="\n")
    with written_whole(ensemble, overwrite) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            samples=fitted.samples,
            names=np.array([f"W:{index}" for index in range(len(fitted.theta))]),
            potential_sha256=hashlib.sha256(text.encode()).hexdigest(),
        )


if __name__ == "__main__":
    main()
