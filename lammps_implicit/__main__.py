"""``python -m lammps_implicit``."""

from lammps_implicit.cli import main

main()
