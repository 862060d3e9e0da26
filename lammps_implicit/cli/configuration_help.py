"""Help of commands that read a YAML configuration: its settings, with their defaults, below the options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lammps_implicit.cli.commands import Command


class ConfiguredCommand(Command):
    """Command whose help ends with the settings of its configuration; subclasses say which."""

    def sections(self) -> Iterable[tuple[str, type[BaseModel]]]:
        """Heading and model of each section, in the order in which the help shows them."""
        raise NotImplementedError

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the settings at the end of the help."""
        formatter.write(described(self.sections()) + "\n")


def described(sections: Iterable[tuple[str, type[BaseModel]]]) -> str:
    """Settings of a configuration with their defaults and descriptions, as lines of help.

    Parameters
    ----------
    sections : iterable of (str, model)
        Heading and model of each section; the first line of the model's docstring explains the heading.
    """
    lines: list[str] = []
    for heading, model in sections:
        lines += ["", f"{heading}: {(model.__doc__ or '').splitlines()[0]}"]
        lines += _settings(model)
    return "\n".join(lines)


def _settings(model: type[BaseModel]) -> Iterator[str]:
    """One line for each setting of a section."""
    for name, field in model.model_fields.items():
        line = f"  {field.alias or name} ({_default(field)})"
        if name == "kind" and get_origin(field.annotation) is Literal:
            line = f"  kind: {' or '.join(get_args(field.annotation))}"
        yield line + (f": {field.description}" if field.description else "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return f"default {_shown(field.get_default(call_default_factory=True))}"


def _shown(value: object) -> str:
    """A default value as a user would write it in YAML."""
    if value is None or isinstance(value, BaseModel) or value in ({}, [], ()):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return str(list(value))
    return str(value) or "none"
