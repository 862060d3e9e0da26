"""Vibrations: thermal functions of structures in the harmonic approximation, and their derivatives."""

from lammps_implicit.vibrations.free_energy import FreeEnergy, gibbs_energy, harmonic_free_energy

__all__ = ["FreeEnergy", "gibbs_energy", "harmonic_free_energy"]
