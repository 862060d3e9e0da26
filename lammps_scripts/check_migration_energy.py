"""Check a tuned migration energy with ASE's climbing-image band on LAMMPS' forces, and the formation energy beside it.

lammps-implicit invert invert_migration_energy.yaml
python check_migration_energy.py invert_migration_energy-output
"""

import argparse
import os
from pathlib import Path

import numpy as np
from ase.mep import NEB
from ase.optimize import LBFGS

from lammps_implicit import Minimum

IMAGES = 3
"""Images between the end states: the saddle is the middle one."""

FORCE = 1e-3
"""eV/Å; largest force on the band: the energy of the saddle is then right to far less than 1e-5 eV."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="results of lammps-implicit invert")
    options = parser.parse_args()
    tuned = os.path.relpath(options.folder.absolute() / "tuned", Path("../potentials").absolute())
    before, after = properties("W_2J4"), properties(tuned)
    print(f"{'':20s}{'before':>12s}{'tuned':>12s}{'change':>12s}")
    for name, old in before.items():
        print(f"{name:20s}{old:12.6f}{after[name]:12.6f}{after[name] - old:12.6f}")


def properties(model: str) -> dict[str, float]:
    """Migration and formation energy of a vacancy, eV."""
    states = [{"snap": f"../potentials/{model}", "hop": hop} for hop in ("0", "1")]
    crystal = {"model": model, "defect": "none", "n": "1"}
    with (
        Minimum.from_deck("in.w_family", variables=crystal, parameters=()) as bulk,
        Minimum.from_deck("in.w_vacancy_hop", variables=states[0], parameters=()) as vacancy,
        Minimum.from_deck("in.w_vacancy_hop", variables=states[1], parameters=()) as moved,
    ):
        atoms = vacancy.engine.n_atoms
        return {
            "migration energy": migration_energy(vacancy, moved),
            "formation energy": vacancy.energy - atoms * bulk.energy / bulk.engine.n_atoms,
        }


def migration_energy(vacancy: Minimum, moved: Minimum) -> float:
    """Height of the band between two states, eV."""
    calculator = vacancy.calculator()
    first, last = calculator.get_atoms(), moved.calculator().get_atoms()
    images = [first.copy() for _ in range(IMAGES + 1)] + [last]
    for image in images:
        image.calc = calculator
    band = NEB(images, climb=True, method="improvedtangent", allow_shared_calculator=True)
    band.interpolate(mic=True)
    if not LBFGS(band, logfile=None).run(fmax=FORCE, steps=500):
        raise SystemExit("ASE's band did not converge: its barrier tells nothing")
    return float(np.max([image.get_potential_energy() for image in images]) - vacancy.energy)


if __name__ == "__main__":
    main()
