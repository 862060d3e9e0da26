"""The class of our commands: what a command reads is protected from what it writes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from typer.core import TyperCommand

from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.files import forget_inputs, protect_inputs

_OUTPUTS = ("output", "json", "plot", "dos_plot")
"""Arguments that name what a command writes."""


class Command(TyperCommand):
    """Command of which every argument that names a file, other than its outputs, is an input: see `protect_inputs`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        forget_inputs()
        given = [value for name, value in ctx.params.items() if name not in _OUTPUTS]
        protect_inputs(_words(given), potential_folders())
        return super().invoke(ctx)


def _words(values: Iterable[Any]) -> Iterator[str]:
    """Texts among the values of options; of ``NAME=VALUE`` also the words of the value."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _words(value)
        elif isinstance(value, str | os.PathLike):
            text = os.fspath(value)
            yield text
            yield from text.partition("=")[2].split()
