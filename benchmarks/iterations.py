"""Iterations and evaluations of one vjp against the number of atoms, with and without springs: Ta vacancies, and W
screw dislocations with a frozen rim, with W_2940_2017_2 and with the cheap W_2J6, whose core is softer. The largest
cells take hours.

    python benchmarks/iterations.py --largest 70000 --ranks 2
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.benchmarks.cells import Cell, up_to, vacancies
from lammps_implicit.benchmarks.iterations import BENCHMARK, measure
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Say, full_size

EDGES = (8, 12, 16, 20, 32, 50, 80)
"""Edges of the cells in lattice constants: 1,023 to 1,023,999 atoms."""

RADII = {50: 2_000, 112: 8_000, 166: 17_000, 342: 67_000, 680: 255_000}
"""Radius of the free cylinder, Å, and approximate number of atoms at a length of one Burgers vector."""

SCRIPTS = Path(__file__).resolve().parent.parent / "lammps_scripts"


def screw_dislocations(folder: Path, radius: int) -> Iterator[Cell]:
    """Build a dislocation of one radius, to be measured with both potentials."""
    data = folder / f"w_screw_{radius}.data"
    builder = SCRIPTS / "build_screw_dislocation.py"
    command = [sys.executable, str(builder), "--element", "W", "--radius", str(radius), "-o", str(data)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    atoms = next(int(line.split()[0]) for line in data.read_text().splitlines() if line.endswith(" atoms"))
    deck, variables = SCRIPTS / "in.w_screw_dislocation", {"data": str(data), "steps": "0"}
    yield Cell("W screw dislocation", atoms, deck, variables)
    yield Cell("W 2J=6 screw dislocation", atoms, deck, {**variables, "snap": "../potentials/W_2J6"})


def records(options: argparse.Namespace, say: Say) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as folder:
        cells = up_to(vacancies(Path(folder), "Ta", EDGES), options.largest)
        chosen = [radius for radius, atoms in RADII.items() if options.smallest <= atoms <= options.largest]
        cells = [cell for cell in cells if cell.atoms >= options.smallest]
        cells += [cell for radius in chosen for cell in screw_dislocations(Path(folder), radius)]
        yield from measure(sorted(cells, key=lambda cell: cell.atoms), say, options.ranks)


if __name__ == "__main__":
    full_size(BENCHMARK, __doc__, records)
