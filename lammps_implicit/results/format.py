"""Kinds of result files, as they stand in their attributes, and the version that wrote them."""

__version__ = "0.1.0"

OBSERVABLES_KIND = "lammps-implicit observables"
"""Attribute ``kind`` of files of `observables`."""

SENSITIVITY_KIND = "lammps-implicit sensitivity"
"""Attribute ``kind`` of files of `Sensitivity`."""
