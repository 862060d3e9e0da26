"""The command line ``lammps-implicit``.

`app` puts the commands together and turns errors into one message and an exit status. Commands are
in `minima` (relax, sensitivity, predict), `observables`, `ensembles` (propagate, validate, merge, report), `inverse`
(invert) and `installation` (doctor, demo, bench; the work is done in `doctor`, `demo` and `demo_plots`). `options` has
the options that commands share, `configuration_help` adds YAML settings to the help, `petsc_options` separates PETSc's
options from ours, and `console` prints on rank 0.
"""

from lammps_implicit.cli.app import app, main

__all__ = ["app", "main"]
