"""``python -m lammps_implicit``."""

from lammps_implicit.cli.app import main

main()
