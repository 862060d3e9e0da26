"""YAML configurations, checked completely before anything runs."""

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
    """Base class for settings: unknown names, infinities and NaN are errors."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=Strict)


def read_configuration(path: str | os.PathLike[str], model: type[Model]) -> Model:
    """Read settings from a YAML file; relative paths in it are relative to its folder.

    Parameters
    ----------
    path : path-like
    model : type of Strict
        Model of the settings.

    Returns
    -------
    Strict
        An instance of `model`.

    Raises
    ------
    LammpsImplicitError
        If the file is not valid; the message gives the place in the file and what is wrong there.
    DeckError
        If a file that it refers to does not exist.
    """
    settings = _read_yaml(path, model)
    folder = Path(path).absolute().parent
    for place, holder, field in path_fields(settings):
        file = getattr(holder, field)
        try:
            setattr(holder, field, deck_path(folder / file))
        except DeckError:
            raise DeckError(f"{path}: {place}: {field} {file} does not exist or cannot be read") from None
    return settings


def path_fields(settings: BaseModel, place: str = "") -> Iterator[tuple[str, BaseModel, str]]:
    """All fields that hold a path, in nested models too.

    Parameters
    ----------
    settings : BaseModel
    place : str
        Place of these settings in the file, such as ``defects: vacancy``.

    Yields
    ------
    (str, BaseModel, str)
        Place in the file, the model that has the field, and the name of the field.
    """
    for field in type(settings).model_fields:
        value = getattr(settings, field)
        if isinstance(value, Path):
            yield place, settings, field
        for key, inner in _nested(value):
            yield from path_fields(inner, ": ".join(part for part in (place, field, key) if part))


def _nested(value: object) -> Iterator[tuple[str, BaseModel]]:
    """Models in the value of a field, with their keys or numbers in it."""
    if isinstance(value, BaseModel):
        yield "", value
    elif isinstance(value, dict):
        yield from ((str(key), inner) for key, inner in value.items() if isinstance(inner, BaseModel))
    elif isinstance(value, (list, tuple)):
        yield from ((str(number), inner) for number, inner in enumerate(value, 1) if isinstance(inner, BaseModel))


def parse_registered_kind(registry: Registry[type[Model]], value: object) -> Model:
    """Validate settings with the registered model that their ``kind`` names; a validator of fields.

    Parameters
    ----------
    registry : Registry
        Models by kind.
    value : object
        A mapping from the file, or a model.

    Returns
    -------
    Strict
        The model.

    Raises
    ------
    ValueError
        If the kind is unknown, or the settings are not valid for it.
    """
    if isinstance(value, Strict):
        return value  # type: ignore[return-value]  # the field checks its type
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str):
        raise ValueError(f"'kind' is missing: one of {', '.join(registry.names)}")
    try:
        return registry.load(kind).model_validate(value)
    except ValidationError as error:
        raise ValueError(describe_error(error)) from None
    except LammpsImplicitError as error:
        raise ValueError(str(error)) from None


def validate_cell(cell: str) -> str:
    """Check a specification of the strains that a cell may take; a validator of fields.

    Parameters
    ----------
    cell : str
        ``none``, ``iso``, ``ortho``, ``full`` or strains such as ``xx,zz``.

    Returns
    -------
    str
        The same.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    try:
        if cell != "none":
            strains(cell)
    except LammpsImplicitError as error:
        raise ValueError(str(error)) from None
    return cell


def _read_yaml(path: str | os.PathLike[str], model: type[Model]) -> Model:
    import yaml

    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "no such file" if not file.exists() else getattr(error, "strerror", None) or "not a text file"
        raise LammpsImplicitError(f"cannot read the configuration {path}: {reason}") from None
    try:
        repeated = _repeated_key(yaml.compose(text, Loader=yaml.SafeLoader))
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date, such as 2024-13-01
        raise LammpsImplicitError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if repeated is not None:
        raise LammpsImplicitError(f"{path}, line {repeated.start_mark.line + 1}: {repeated.value} is given twice")
    if not isinstance(values, dict):
        expected = next(iter(model.model_fields))
        raise LammpsImplicitError(f"{path} holds no settings: '{expected}:' and others are expected")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise LammpsImplicitError(f"{path}: {describe_error(error)}") from None


def _repeated_key(node: Any) -> Any:
    """First key that occurs twice in one mapping, of which YAML would silently take the last; None if there is none."""
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


def describe_error(error: ValidationError) -> str:
    """Describe the first validation error on one line: its place in the settings and what is wrong."""
    first = error.errors(include_url=False)[0]
    place = ": ".join(str(part) for part in first["loc"])
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
