"""Barriers of a vacancy in a random alloy: searches around it, their distribution, and what the lowest depends on.

python barriers_of_an_alloy.py [SEARCHES] [-o FIGURE.png]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lammps_implicit import Minimum
from lammps_implicit.files import write_figure

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("searches", type=int, nargs="?", default=60)
parser.add_argument("-o", "--output", type=Path)
given = parser.parse_args()

with Minimum.from_deck(Path(__file__).parent / "in.lj_alloy_vacancy") as m:
    found = m.saddles(given.searches, seed=1)
    print(f"{len(found.saddles)} saddles of {found.searches} searches, {found.evaluations} force evaluations")
    for one in found.saddles:
        print(f"  {one.barrier:.4f} eV, back {one.barrier - one.behind_energy:.4f} eV: atom {one.movers[0][0]} jumps")
    changes = 0.01 * found.saddles[0].gradient * found.theta
    for index in np.argsort(np.abs(changes))[:-4:-1]:
        print(f"  the lowest changes by {changes[index]:+.4f} eV for 1 % of {found.names[index]}")

if given.output:
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    barriers = [one.barrier for one in found.saddles]
    axes.hist(barriers, bins=np.arange(np.floor(10 * min(barriers)), np.ceil(10 * max(barriers)) + 2) / 10)
    axes.set_xlabel("barrier of a jump (eV)")
    axes.set_ylabel("saddles")
    write_figure(given.output, figure, overwrite=True)
