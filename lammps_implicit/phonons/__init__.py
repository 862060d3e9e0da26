"""Phonons of a relaxed crystal: frequencies, their derivatives by the parameters, and their uncertainty."""

from lammps_implicit.phonons.study import Phonons, phonons_of

__all__ = ["Phonons", "phonons_of"]
