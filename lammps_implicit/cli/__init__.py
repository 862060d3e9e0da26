"""Command line: ``lammps-implicit``."""

from lammps_implicit.cli.app import app, main

__all__ = ["app", "main"]
