"""PETSc, its options, and its reasons for stopping.

The solvers of this package use options with the prefix ``-li_``: ``-li_ksp_monitor``, ``-li_pc_type hypre``. They are
given on the command line, in ``PETSC_OPTIONS``, or as a dictionary without prefix, which takes precedence.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lammps_implicit.errors import LammpsImplicitError

try:
    # Not an import statement, because petsc4py's type stubs are incorrect.
    PETSc: Any = importlib.import_module("petsc4py.PETSc")
except ImportError as error:
    raise LammpsImplicitError(
        f"several ranks require petsc4py, which cannot be imported ({error}): install it with "
        'pip install "lammps_implicit[petsc]" or load it with your cluster\'s modules, or run on one rank'
    ) from None

PREFIX = "li_"
"""Prefix of this package's PETSc options."""

Options = Mapping[str, Any]
"""PETSc options without prefix; None as the value of flags: ``{"ksp_monitor": None, "pc_type": "jacobi"}``."""

REASONS = {
    value: name.lower().replace("_", " ") for name, value in vars(PETSc.KSP.ConvergedReason).items() if name.isupper()
}
"""PETSc's reasons for ending a solve in words, by number."""


@contextmanager
def petsc_options(given: Options, defaults: Options | None = None) -> Iterator[None]:
    """Set PETSc options inside the context, and restore the previous ones afterwards.

    Parameters
    ----------
    given : mapping
        See `Options`; they replace options of the command line.
    defaults : mapping, optional
        Full names with prefix; set unless the user has set them.
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
