"""YAML configurations, checked as a whole before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lammps_implicit.cell.freedom import strains
from lammps_implicit.errors import DeckError, LammpsImplicitError
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.registry import Registry


class Strict(BaseModel):
    """Settings; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=Strict)


def read_configuration(path: str | os.PathLike[str], model: type[Model]) -> Model:
    """Read settings from a YAML file; the files that it names are found from its folder.

    Raises
    ------
    LammpsImplicitError
        With the place in the file and what is wrong there.
    DeckError
        If a file that it names does not exist.
    """
    settings = read_yaml(path, model)
    folder = Path(path).absolute().parent
    for place, holder, field in named_files(settings):
        file = getattr(holder, field)
        try:
            setattr(holder, field, deck_path(folder / file))
        except DeckError:
            raise DeckError(f"{path}: {place}: {field} {file} does not exist or cannot be read") from None
    return settings


def named_files(settings: BaseModel, place: str = "") -> Iterator[tuple[str, BaseModel, str]]:
    """All fields that hold a path: where they stand in the file, the model that holds them, and their names."""
    for field in type(settings).model_fields:
        value = getattr(settings, field)
        if isinstance(value, Path):
            yield place, settings, field
        for key, inner in _nested(value):
            yield from named_files(inner, ": ".join(part for part in (place, field, key) if part))


def _nested(value: object) -> Iterator[tuple[str, BaseModel]]:
    """Models in a field, with their keys in it."""
    if isinstance(value, BaseModel):
        yield "", value
    elif isinstance(value, dict):
        yield from ((str(key), inner) for key, inner in value.items() if isinstance(inner, BaseModel))
    elif isinstance(value, (list, tuple)):
        yield from ((str(number), inner) for number, inner in enumerate(value, 1) if isinstance(inner, BaseModel))


def of_registered_kind(registry: Registry[type[Model]], value: object) -> Model:
    """Read settings whose ``kind`` names the model that they are checked by; for fields of models.

    Parameters
    ----------
    registry : Registry
        Models by kind.
    value : object
        What stands in the file, or a model.

    Raises
    ------
    ValueError
        If the kind is not known, or the settings are not of that kind.
    """
    if isinstance(value, Strict):
        return value  # type: ignore[return-value]  # its type is checked by the field
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str):
        raise ValueError(f"'kind' is missing: one of {', '.join(registry.names)}")
    try:
        return registry.load(kind).model_validate(value)
    except ValidationError as error:
        raise ValueError(explained(error)) from None
    except LammpsImplicitError as error:
        raise ValueError(str(error)) from None


def known_cell(cell: str) -> str:
    """Check the strains that a cell may take; for fields of models.

    Raises
    ------
    ValueError
    """
    try:
        if cell != "none":
            strains(cell)
    except LammpsImplicitError as error:
        raise ValueError(str(error)) from None
    return cell


def read_yaml(path: str | os.PathLike[str], model: type[Model]) -> Model:
    """Read settings from a YAML file.

    Raises
    ------
    LammpsImplicitError
        With the place in the file and what is wrong there.
    """
    import yaml

    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "no such file" if not file.exists() else getattr(error, "strerror", None) or "not a text file"
        raise LammpsImplicitError(f"cannot read the configuration {path}: {reason}") from None
    try:
        twice = _repeated_key(yaml.compose(text, Loader=yaml.SafeLoader))
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # a date or number that looks like one and is none
        raise LammpsImplicitError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if twice is not None:
        raise LammpsImplicitError(f"{path}, line {twice.start_mark.line + 1}: {twice.value} is given twice")
    if not isinstance(values, dict):
        expected = next(iter(model.model_fields))
        raise LammpsImplicitError(f"{path} holds no settings: '{expected}:' and others are expected")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise LammpsImplicitError(f"{path}: {explained(error)}") from None


def _repeated_key(node: Any) -> Any:
    """Return the first key that stands twice in one mapping, where YAML would take the last; None if there is none."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                return key
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
            if (found := _repeated_key(value)) is not None:
                return found
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            if (found := _repeated_key(item)) is not None:
                return found
    return None


def explained(error: ValidationError) -> str:
    """The first thing that is wrong, and where, on one line."""
    first = error.errors(include_url=False)[0]
    place = ": ".join(str(part) for part in first["loc"])
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
