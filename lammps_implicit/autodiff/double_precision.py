"""JAX in double precision: implicit derivatives are differences of numbers that single precision cannot tell apart."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

from lammps_implicit.errors import LammpsImplicitError

try:
    import jax
except ImportError as error:
    raise LammpsImplicitError(
        "automatic differentiation needs JAX, which is not installed: pip install 'lammps-implicit[autodiff]'"
    ) from error


def switch() -> None:
    """Make JAX compute in double precision for the rest of this process, and say so if it did not."""
    settings: Any = jax.config
    if not settings.jax_enable_x64:
        settings.update("jax_enable_x64", True)
        warnings.warn(
            "JAX computed in single precision; lammps_implicit.autodiff has switched it to double for this process "
            "(JAX_ENABLE_X64=1 in the environment does so from the start)",
            stacklevel=3,
        )


def require(function: Callable[..., Any], *arguments: Any) -> None:
    """Check that an energy function computes in double precision throughout, and gives one number.

    Raises
    ------
    LammpsImplicitError
    """
    try:
        traced, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    except LammpsImplicitError:
        raise
    except Exception as error:  # whatever the user's function raises
        text = str(error).strip().partition("\n")[0]
        raise LammpsImplicitError(
            f"JAX cannot trace the energy function U(positions, cell, theta): {type(error).__name__}: {text}"
        ) from error
    if getattr(shape, "shape", None) != ():
        raise LammpsImplicitError(f"the energy function returns {shape}, not one number: sum over atoms")
    narrow = {str(kind) for kind in _kinds(traced.jaxpr) if kind.kind == "f" and kind.itemsize < 8}
    if narrow or shape.dtype.kind != "f":
        raise LammpsImplicitError(
            f"the energy function computes in {', '.join(sorted(narrow)) or shape.dtype}: its second derivatives would "
            "be noise. Use float64 throughout (arrays it closes over may be of lower precision, results may not)"
        )


def _kinds(jaxpr: Any) -> Iterator[Any]:
    """Types of everything computed, inner functions included."""
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            if hasattr(variable.aval, "dtype") and hasattr(variable.aval.dtype, "itemsize"):
                yield variable.aval.dtype
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)  # closed over constants or not
                if hasattr(inner, "eqns"):
                    yield from _kinds(inner)
