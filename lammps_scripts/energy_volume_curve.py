"""Energy-volume curve of bcc W at the potential's parameters and, predicted, at changed parameters.

At each pressure the cell is relaxed and expanded once; predictions for other parameters then cost nothing. Some points
are relaxed again for comparison.

    python energy_volume_curve.py -o energy_volume.png
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.files import refuse_to_overwrite, write_figure

PRESSURES = np.linspace(-20.0, 60.0, 9)
"""Pressures along the curve, GPa."""

CHANGE = 0.01
"""Relative size of the random parameter change."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deck", type=Path, default=Path(__file__).with_name("in.w_bulk"))
    parser.add_argument("-o", "--output", type=Path, default=Path("energy_volume.png"))
    arguments = parser.parse_args()
    known, predicted, again = [], [], []
    try:
        refuse_to_overwrite(arguments.output, False)
        with Minimum.from_deck(arguments.deck, force_limit=np.inf) as bulk:
            theta, atoms = bulk.potential.theta, bulk.engine.n_atoms
            change = CHANGE * theta * np.random.default_rng(0).standard_normal(len(theta))
            for number, pressure in enumerate(PRESSURES):
                bulk.relax(cell="iso", pressure=f"{pressure} GPa")
                known.append((bulk.engine.volume / atoms, bulk.energy / atoms))
                prediction = bulk.expansion(2, cell="iso").predict(change)
                predicted.append((float(prediction.volume) / atoms, float(prediction.energy) / atoms))
                if number % 2 == 0:
                    relaxed = bulk.relaxed_at(change, cell="iso")
                    again.append((np.linalg.det(relaxed.cell) / atoms, relaxed.energy / atoms))
    except LammpsImplicitError as error:
        raise SystemExit(f"error: {error}") from None
    for pressure, (volume, energy), (new_volume, new_energy) in zip(PRESSURES, known, predicted, strict=True):
        print(f"{pressure:6.1f} GPa  {volume:.5f} Å³ {energy:.6f} eV  ->  {new_volume:.5f} Å³ {new_energy:.6f} eV")
    errors = [
        (abs(volume - true_volume), abs(energy - true_energy))
        for (volume, energy), (true_volume, true_energy) in zip(predicted[::2], again, strict=True)
    ]
    print(f"largest errors: {max(e[0] for e in errors):.1e} Å³, {max(e[1] for e in errors):.1e} eV per atom")

    figure = Figure(figsize=(5, 4), layout="constrained", dpi=150)
    axes = figure.subplots()
    axes.plot(*np.transpose(known), "o-", ms=4, label="original parameters")
    axes.plot(*np.transpose(predicted), "s-", ms=4, mfc="white", label=f"parameters changed by {CHANGE:.0%}, predicted")
    axes.plot(*np.transpose(again), "x", color="black", label="relaxed again")
    axes.set(xlabel="volume per atom (Å³)", ylabel="energy per atom (eV)")
    axes.legend(frameon=False)
    write_figure(arguments.output, figure)
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
