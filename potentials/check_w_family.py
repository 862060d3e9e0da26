"""Measure properties of the crystal and its defects with the cheap tungsten potentials and their ensembles.

    python check_w_family.py W_2940_2017_2 W_2J4 W_2J6

Prints a table of properties and, for potentials with an ensemble beside this script, means and deviations over it.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lammps_implicit import Minimum
from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError, NotAMinimumError
from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.observables import elastic_constants, lattice_parameters

HERE = Path(__file__).absolute().parent
FAR = 1.0
"""Å; displacement beyond which an atom counts as having left for another minimum."""

DECK = """\
units           metal
boundary        p p p
atom_style      atomic
lattice         bcc $a
region          cell block 0 $n 0 $n 0 $n
create_box      1 cell
create_atoms    1 box
mass            1 183.84
{defect}
pair_style      hybrid/overlay zbl 4.0 4.8 snap
pair_coeff      1 1 zbl 74 74
pair_coeff      * * snap {path}.snapcoeff {path}.snapparam W
minimize        0.0 1.0e-6 2000 20000
"""

DEFECTS = {
    "bulk": "",
    "vacancy": "group vacancy id 1\ndelete_atoms group vacancy compress no",
    "interstitial": "create_atoms 1 single 0.27 0.26 0.25",
}


class Properties(NamedTuple):
    """Properties of one potential: Å, GPa and eV; cost in seconds per atom and force evaluation."""

    lattice: float
    c11: float
    c12: float
    c44: float
    vacancy: float
    interstitial: float
    cost: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--members", type=int, default=50, help="number of ensemble members (default 50)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names:
            path = next(
                place / name for place in (HERE, *potential_folders()) if (place / f"{name}.snapcoeff").exists()
            )
            found = properties(path, Path(folder))
            print(f"| {name} | " + " | ".join(f"{value:.4g}" for value in found) + " |", flush=True)
            ensemble = HERE / f"{name}.ensemble.npz"
            if ensemble.exists():
                width(path, np.load(ensemble)["samples"][: options.members], found.lattice, Path(folder))


def minimum(path: Path, folder: Path, defect: str, lattice: float, repeat: int, **options: str) -> Minimum:
    """Relax a cell with a defect, or the perfect crystal (``bulk``)."""
    deck = folder / f"in.{defect}"
    deck.write_text(DECK.format(defect=DEFECTS[defect], path=path))
    return Minimum.from_deck(deck, variables={"a": str(lattice), "n": str(repeat)}, **options)


def properties(path: Path, folder: Path) -> Properties:
    """Properties of a potential; defects in cells of 4 × 4 × 4 at its lattice constant."""
    # One parameter suffices, as only values matter.
    with minimum(path, folder, "bulk", 3.18, 1, cell="full", parameters="W:1") as bulk:
        lattice = float(lattice_parameters(bulk).value[0])
        constants = elastic_constants(bulk).value / 1e4
        per_atom = bulk.energy / bulk.engine.n_atoms
    formation = {}
    for defect in ("vacancy", "interstitial"):
        with minimum(path, folder, defect, lattice, 4) as cell:
            formation[defect] = cell.energy - cell.engine.n_atoms * per_atom
            cost = seconds(cell)
    stiff = (constants[0, 0], constants[0, 1], constants[3, 3])
    return Properties(lattice, *stiff, formation["vacancy"], formation["interstitial"], cost)


def seconds(cell: Minimum, times: int = 10) -> float:
    """Processor time of a force evaluation per atom; not wall time, as other programs may run."""
    start = time.process_time()
    for _ in range(times):
        cell.engine.forces()
    return (time.process_time() - start) / times / float(cell.engine.n_atoms)


def width(path: Path, samples: FloatArray, lattice: float, folder: Path) -> None:
    """Print how many members have no vacancy, and means and deviations over the others; cells of 3 × 3 × 3."""
    with minimum(path, folder, "bulk", lattice, 3) as bulk, minimum(path, folder, "vacancy", lattice, 3) as vacancy:
        found = [member(bulk, vacancy, change) for change in samples - vacancy.potential.theta]
    kept = np.array([values for values in found if values is not None])
    print(f"  {len(found) - len(kept)} of {len(found)} members without a vacancy")
    for name, values in zip(("lattice constant, Å", "vacancy formation energy, eV"), kept.T, strict=True):
        print(f"  {name}: {values.mean():.4f} ± {values.std():.4f}")


def member(bulk: Minimum, vacancy: Minimum, change: FloatArray) -> tuple[float, float] | None:
    """Lattice constant (Å) and vacancy formation energy (eV) of a member; None if it has no vacancy nearby."""
    try:
        displacement, _ = vacancy.relaxed_at(change, 1e-5)
        if np.linalg.norm(displacement, axis=1).max() > FAR:
            return None
        crystal, defect = (cell.relaxed_at(change, 1e-5, cell="iso") for cell in (bulk, vacancy))
    except (ConvergenceError, NotAMinimumError):
        return None
    ratio = vacancy.engine.n_atoms / bulk.engine.n_atoms
    return float(np.cbrt(np.linalg.det(crystal.cell)) / 3), defect.energy - ratio * crystal.energy


if __name__ == "__main__":
    main()
