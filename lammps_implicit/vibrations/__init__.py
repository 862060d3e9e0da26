"""Vibrations: thermal functions of structures in the harmonic approximation, and their derivatives."""

from lammps_implicit.vibrations.free_energy import FreeEnergy, harmonic_free_energy

__all__ = ["FreeEnergy", "harmonic_free_energy"]
