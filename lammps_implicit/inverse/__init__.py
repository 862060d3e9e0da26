"""Inverse problems: parameters for which relaxed structures, energies and volumes are what is wanted."""
