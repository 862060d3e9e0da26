"""Potentials: how to install parameters Θ in LAMMPS, and fast paths to descriptors where LAMMPS has them."""
