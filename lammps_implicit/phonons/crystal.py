"""The crystal as phonopy sees it: primitive cell, displacements to evaluate, and force constants from forces there.

Only rank 0 holds phonopy's objects; the others take part in evaluations.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.phonons.requirements import required
from lammps_implicit.phonons.supercell import Cell, Repeated, heights
from lammps_implicit.units import Units

SYMMETRIC = 1e-5
"""Å within which atoms are equivalent by symmetry: phonopy's default. Relaxation leaves 1e-8."""

STEP = 1e-3
"""Å by which atoms are displaced. Chosen: forces have no noise that would ask for phonopy's 0.01, whose truncation
error is a hundred times larger."""


KEPT = 1e-5
"""Difference between a strain and its image, relative to the strain, below which these are alike. Chosen: the accuracy
of derivatives."""


@dataclass(frozen=True)
class Crystal:
    """A crystal, on rank 0.

    Attributes
    ----------
    phonopy : phonopy.Phonopy
        With its displacements, and without forces.
    displaced : list of (int, (3,) float array)
        Number of the displaced atom in phonopy's supercell, and its displacement, Å.
    ids : (N,) int array
        LAMMPS' ids in the order of phonopy's supercell.
    atoms : (N,) int array
        Number of the atom of the deck's cell that each is a copy of.
    primitive_atoms : (N,) int array
        Number of the atom of the primitive cell that each is a copy of.
    representatives : (n,) int array
        Numbers in the supercell of the atoms of the primitive cell.
    vectors, counts : float array, (N, n, 2) int array
        Fractional vectors, in the primitive cell, from each of its atoms to the nearest images of each of the
        supercell; number and place of those of each pair.
    energy_factor : float
        eV in a unit of energy of the deck; 1 in reduced units.
    frequency_factor : float
        THz (1/τ in reduced units) in the root of a unit of energy per Å² and mass.
    symmetric : bool
        Whether displacements are reduced by the symmetry of the crystal, or by that of the lattice alone.
    """

    phonopy: Any
    displaced: list[tuple[int, FloatArray]]
    ids: IntArray
    atoms: IntArray
    primitive_atoms: IntArray
    representatives: IntArray
    vectors: FloatArray
    counts: IntArray
    energy_factor: float
    frequency_factor: float
    symmetric: bool

    def keeps(self, strains: FloatArray) -> bool:
        """Whether strains of the cell, (K, 3, 3), leave the crystal as symmetric as it is."""
        axes = self.phonopy.supercell.cell.T
        turned = axes @ np.array(self.phonopy.symmetry.symmetry_operations["rotations"], float) @ np.linalg.inv(axes)
        for strain in (strains + np.swapaxes(strains, 1, 2)) / 2:
            if np.abs(turned @ strain @ np.swapaxes(turned, 1, 2) - strain).max() > KEPT * np.abs(strain).max():
                return False
        return True

    @property
    def spacegroup(self) -> str:
        """Symbol and number of the space group, ``Im-3m (229)``."""
        return str(required("spglib").get_spacegroup(_plain(self.phonopy.primitive), symprec=SYMMETRIC))

    @property
    def masses(self) -> FloatArray:
        """Masses of the atoms of the primitive cell, (n,)."""
        return np.array(self.phonopy.primitive.masses, float)

    def force_constants(self, forces: FloatArray) -> FloatArray:
        """Force constants from the forces at all displacements; linear in them.

        They are those of the traditional method, with their sums over atoms removed and symmetric in pairs.

        Parameters
        ----------
        forces : (D, N, 3) float array
            Changes of forces, in the order of phonopy's supercell.

        Returns
        -------
        (n, N, 3, 3) float array
            -∂F/∂x of pairs of an atom of the primitive cell and one of the supercell.
        """
        phonopy = self.phonopy
        phonopy.forces = forces
        phonopy.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
        phonopy.symmetrize_force_constants(show_drift=False)
        return np.array(phonopy.force_constants)


def crystal_of(
    cell: Cell,
    repeated: Repeated,
    counts: IntArray,
    units: Units,
    primitive: bool = True,
    step: float = STEP,
    symmetric: bool = True,
) -> Crystal:
    """Make the crystal of a relaxed cell and its supercell; on rank 0.

    Parameters
    ----------
    cell : Cell
    repeated : Repeated
        Atoms of its supercell in LAMMPS.
    counts : (3,) int array
    units : Units
    primitive : bool
        Whether to reduce the cell to a primitive one.
    step : float
        Length of displacements, Å.
    symmetric : bool
        Whether to reduce displacements by symmetry.

    Raises
    ------
    LammpsImplicitError
        If phonopy is not installed.
    """
    structure = _atoms(cell)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the primitive cell is not the deck's, as it should be
        phonopy = required("phonopy").Phonopy(
            structure,
            np.diag(counts),
            "auto" if primitive else "P",
            symprec=SYMMETRIC,
            is_symmetry=symmetric,
            distinguish_symbol_index=True,
        )
    phonopy.generate_displacements(distance=step)
    supercell = phonopy.supercell
    atoms = np.array([supercell.u2u_map[place] for place in supercell.s2u_map])
    vectors, pairs = phonopy.primitive.get_smallest_vectors()
    places = phonopy.primitive.p2p_map
    metal = 1.0 if units.style == "lj" else 1 / units.force_factor
    return Crystal(
        phonopy,
        [(int(one["number"]), np.array(one["displacement"], float)) for one in phonopy.dataset["first_atoms"]],
        repeated.in_order_of(np.array(supercell.scaled_positions) * counts, atoms, cell, counts),
        atoms,
        np.array([places[place] for place in phonopy.primitive.s2p_map]),
        np.array(phonopy.primitive.p2s_map),
        np.array(vectors),
        np.array(pairs),
        metal,
        _frequency_factor(units) * metal**0.5,
        symmetric,
    )


def _atoms(cell: Cell) -> Any:
    kinds = cell.types - 1
    return required("phonopy.structure.atoms").PhonopyAtoms(
        symbols=[cell.symbols[kind] for kind in kinds],
        cell=cell.vectors,
        scaled_positions=cell.fractions,
        masses=cell.masses[kinds],
    )


def _frequency_factor(units: Units) -> float:
    """THz in the root of eV/Å² per atomic unit of mass; without units, 1/2π."""
    if units.style == "lj":
        return 1 / (2 * np.pi)
    return float(required("phonopy.physical_units").get_physical_units().DefaultToTHz)


def frequency_unit(units: Units) -> str:
    """Name of the unit of frequencies."""
    return "1/tau" if units.style == "lj" else "THz"


@dataclass(frozen=True)
class Path:
    """A path through the Brillouin zone.

    Attributes
    ----------
    qpoints : (Q, 3) float array
        In the reciprocal primitive cell, each segment with both its ends.
    distances : (Q,) float array
        Lengths along the path, 1/Å; where it jumps, both sides have one.
    breaks : (s + 1,) int array
        Number of the first q-point of each segment, and Q.
    labels : tuple of (str, str)
        Names of the ends of each segment.
    """

    qpoints: FloatArray
    distances: FloatArray
    breaks: IntArray
    labels: tuple[tuple[str, str], ...]


def standard_path(crystal: Crystal, points: int) -> Path:
    """The standard path through the Brillouin zone, after Hinuma et al.; on rank 0.

    Parameters
    ----------
    crystal : Crystal
    points : int
        Number of q-points of the longest segment; others have as many as their length asks for.

    Raises
    ------
    LammpsImplicitError
        If seekpath is not installed.
    """
    primitive = crystal.phonopy.primitive
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the cell is not the standard one: points are given in it
        found = required("seekpath").get_path_orig_cell(_plain(primitive), symprec=SYMMETRIC)
    reciprocal = np.linalg.inv(primitive.cell).T
    places = {name: np.array(place, float) for name, place in found["point_coords"].items()}
    ends = [(str(first), str(last)) for first, last in found["path"]]
    lengths = [float(np.linalg.norm((places[last] - places[first]) @ reciprocal)) for first, last in ends]
    qpoints, distances, breaks, so_far = [], [], [0], 0.0
    for (first, last), length in zip(ends, lengths, strict=True):
        count = max(int(points * length / max(lengths) + 0.5 + 1e-6), 2)  # halves go up, whatever their round-off
        along = np.linspace(0, 1, count)
        qpoints.append(places[first] + along[:, None] * (places[last] - places[first]))
        distances.append(so_far + along * length)
        so_far += length
        breaks.append(breaks[-1] + count)
    return Path(np.concatenate(qpoints), np.concatenate(distances), np.array(breaks), tuple(ends))


def mesh_of(crystal: Crystal, asked: Sequence[int] | float) -> tuple[IntArray, FloatArray, IntArray]:
    """Numbers of q-points of a regular mesh, those that symmetry leaves, and their weights; on rank 0.

    Parameters
    ----------
    crystal : Crystal
    asked : three int, or float
        Numbers of q-points; or a length, Å, the period of the waves that separate neighbouring ones.

    Returns
    -------
    mesh : (3,) int array
    qpoints : (m, 3) float array
    weights : (m,) int array
    """
    primitive = crystal.phonopy.primitive
    if isinstance(asked, float):
        numbers = np.maximum(np.rint(asked / heights(primitive.cell)).astype(int), 1)
    else:
        numbers = np.array(asked, int)
    structure = _plain(primitive)
    spglib = required("spglib")
    if crystal.symmetric:
        found, grid = spglib.get_ir_reciprocal_mesh(numbers, structure, is_shift=[0, 0, 0], symprec=SYMMETRIC)
    else:
        found, grid = spglib.get_stabilized_reciprocal_mesh(numbers, np.eye(3, dtype=int)[None], is_shift=[0, 0, 0])
    chosen, weights = np.unique(found, return_counts=True)
    return numbers, grid[chosen] / numbers, weights


def _plain(primitive: Any) -> tuple[FloatArray, FloatArray, list[int]]:
    """A cell as spglib takes it: vectors, fractional coordinates, and numbers of kinds."""
    names = sorted(set(primitive.symbols))
    return primitive.cell, primitive.scaled_positions, [names.index(symbol) + 1 for symbol in primitive.symbols]
