"""PETSc, its options, and its reasons for stopping.

Options with the prefix ``-li_`` reach the solvers of this package: ``-li_ksp_monitor``, ``-li_pc_type hypre``. They
come from the command line, from ``PETSC_OPTIONS``, or as a dictionary without prefix, which wins over both.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lammps_implicit.errors import LammpsImplicitError

try:
    # Not an import statement: petsc4py's type stubs are not right.
    PETSc: Any = importlib.import_module("petsc4py.PETSc")
except ImportError as error:
    raise LammpsImplicitError(
        f"several ranks need the distributed solver, but petsc4py cannot be imported ({error}): install it with "
        'pip install "lammps_implicit[petsc]" or your cluster\'s modules, or run on one rank'
    ) from None

PREFIX = "li_"

Options = Mapping[str, Any]
"""Names without prefix to values; None for flags: ``{"ksp_monitor": None, "pc_type": "jacobi"}``."""

REASONS = {
    value: name.lower().replace("_", " ") for name, value in vars(PETSc.KSP.ConvergedReason).items() if name.isupper()
}


@contextmanager
def petsc_options(given: Options, defaults: Options | None = None) -> Iterator[None]:
    """Set options for a while.

    Parameters
    ----------
    given : mapping
        Without prefix; they replace what the command line says.
    defaults : mapping, optional
        Full names; they give way to what is set.
    """
    options = PETSc.Options()
    before: dict[str, str | None] = {}

    def set_(name: str, value: Any) -> None:
        before[name] = options.getString(name) if options.hasName(name) else None
        options.setValue(name, "" if value is None else str(value))

    for name, value in given.items():
        set_(PREFIX + name.removeprefix("-").removeprefix(PREFIX), value)
    for name, value in (defaults or {}).items():
        if not options.hasName(name):
            set_(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            options.delValue(name)
            if old is not None:
                options.setValue(name, old)
