"""What result files say of themselves: their kind, and what wrote them."""

__version__ = "0.1.0"

OBSERVABLES_KIND = "lammps-implicit observables"
SENSITIVITY_KIND = "lammps-implicit sensitivity"
