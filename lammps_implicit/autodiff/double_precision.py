"""Double precision for JAX: second derivatives and tightly relaxed forces are lost in single-precision round-off."""

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


def enable() -> None:
    """Switch JAX to double precision for the rest of this process; warn if it was in single precision."""
    settings: Any = jax.config
    if not settings.jax_enable_x64:
        settings.update("jax_enable_x64", True)
        warnings.warn(
            "JAX was in single precision; lammps_implicit.autodiff has switched it to double for this process "
            "(set JAX_ENABLE_X64=1 in the environment to avoid this warning)",
            stacklevel=3,
        )


def require(function: Callable[..., Any], *arguments: Any) -> None:
    """Check that an energy function returns a scalar and computes in double precision throughout.

    Parameters
    ----------
    function : callable
        The energy.
    *arguments
        Arguments to trace it with.

    Raises
    ------
    LammpsImplicitError
        If JAX cannot trace the function, or it returns anything but a real scalar, or computes in lower precision.
    """
    try:
        traced, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    except LammpsImplicitError:
        raise
    except Exception as error:  # the user's function may raise anything
        text = str(error).strip().partition("\n")[0]
        raise LammpsImplicitError(
            f"JAX cannot trace the energy function U(positions, cell, theta): {type(error).__name__}: {text}"
        ) from error
    if getattr(shape, "shape", None) != ():
        raise LammpsImplicitError(f"the energy function returns {shape}, not a scalar: sum the energy over atoms")
    narrow = {str(kind) for kind in _kinds(traced.jaxpr) if kind.kind == "f" and kind.itemsize < 8}
    if narrow or shape.dtype.kind != "f":
        raise LammpsImplicitError(
            f"the energy function computes in {', '.join(sorted(narrow)) or shape.dtype}: round-off would swamp its "
            "second derivatives. Compute in float64 throughout (constants may have lower precision, results may not)"
        )


def _kinds(jaxpr: Any) -> Iterator[Any]:
    """Dtypes of all intermediate results, those of nested functions included."""
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            if hasattr(variable.aval, "dtype") and hasattr(variable.aval.dtype, "itemsize"):
                yield variable.aval.dtype
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)  # with or without captured constants
                if hasattr(inner, "eqns"):
                    yield from _kinds(inner)
