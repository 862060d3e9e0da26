"""YAML configurations, checked completely before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from lammps_implicit.cell.freedom import strains
from lammps_implicit.errors import DeckError, LammpsImplicitError
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.observables.yaml_text import line_of, repeated_key, require_limits, undecimal
from lammps_implicit.registry import Registry
from lammps_implicit.units import in_unit, split_unit


class Strict(BaseModel):
    """Base class for settings: unknown names, infinities and NaN are errors."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Only fields that are truth values take ``true`` or ``yes``, which Python would also read as 1."""
        if info.field_name and _misplaced_truth(cls.model_fields[info.field_name].annotation, value):
            raise ValueError("true, false, yes and no are no value here: write a number, or a text in quotes")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _path_exists(cls, value: object, info: ValidationInfo) -> object:
        """Paths are relative to the folder of the file that is read, and exist."""
        if not isinstance(value, Path) or info.context is None:
            return value
        try:
            return deck_path(info.context["folder"] / value)
        except (DeckError, OSError, ValueError):  # too long a name, or one with NUL
            raise ValueError(f"{str(value)[:80]} does not exist or cannot be read") from None


def _misplaced_truth(annotation: Any, value: object) -> bool:
    """Whether a value holds ``true`` or ``false`` where the type of a field has none; models look at their own."""
    options = _options(annotation)
    if isinstance(value, bool):
        return bool not in options
    if isinstance(value, dict):
        inner, types = list(value.values()), [get_args(one)[1] for one in options if get_origin(one) is dict]
    elif isinstance(value, list):
        inner, types = value, [get_args(one)[0] for one in options if get_origin(one) in (list, tuple)]
    else:
        return False
    return bool(types) and any(all(_misplaced_truth(one, item) for one in types) for item in inner)


def _options(annotation: Any) -> list[Any]:
    """The types of which a field takes one."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [option for one in get_args(annotation) for option in _options(one)]
    return [annotation]


def require_parts_are_names(name: str) -> str:
    """Check a name such as ``V/Ta``, of which no file is named: each of its parts as by `require_name`."""
    for part in name.split("/"):
        require_name(part)
    return name


def require_name(name: str) -> str:
    """Check a name that a configuration gives; it may become part of file names, of plots and of HDF5 paths.

    Raises
    ------
    ValueError
        If it cannot.
    """
    if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name in (".", "..") or set(name) & set("/\\$"):
        shown = name[:40].encode("ascii", "backslashreplace").decode()
        raise ValueError(
            f"the name '{shown}' cannot be used: 1 to {MAX_NAME} printable characters without / \\ and $, not . or .."
        )
    return name


def require_quantity(value: object) -> object:
    """Check that a value is a finite number, or one with a known unit; a validator of fields.

    Raises
    ------
    ValueError
        If it is not.
    """
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            split_unit(value)
        except LammpsImplicitError as error:
            raise ValueError(str(error)) from None
    return value


Quantity = Annotated[Union[float, str], BeforeValidator(require_quantity)]
"""Type of a field that holds a number in a unit that follows from others, or a number with its own: ``160 GPa``."""


def _require_energy(value: object) -> object:
    if isinstance(require_quantity(value), str):
        _converted(value, "eV")
    return value


def _converted(value: object, unit: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        return in_unit(value, unit)
    except LammpsImplicitError as error:
        raise ValueError(str(error)) from None


Energy = Annotated[Union[float, str], BeforeValidator(_require_energy)]
"""Type of an energy in the unit of a deck, or with its own: ``-310 kJ/mol``."""

Length = Annotated[float, BeforeValidator(partial(_converted, unit="Å"))]
"""Type of a length in Å, that may be written with another unit."""

Force = Annotated[float, BeforeValidator(partial(_converted, unit="eV/Å"))]
"""Type of a force in eV/Å, that may be written with another unit."""

MAX_NAME = 100
"""Longest name: file systems allow 255 bytes, and names get numbers and endings."""

Name = Annotated[str, AfterValidator(require_name)]
"""Type of names in a configuration."""

PathName = Annotated[str, AfterValidator(require_parts_are_names)]
"""Type of names of which no file is named."""


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
        If the file is not valid, or one that it refers to does not exist; the message gives all places in it, with
        their lines, and what is wrong there.
    """
    import yaml

    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "no such file" if not file.exists() else getattr(error, "strerror", None) or "not a text file"
        raise LammpsImplicitError(f"cannot read the configuration {path}: {reason}") from None
    try:
        require_limits(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date, such as 2024-13-01
        raise LammpsImplicitError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if (repeated := repeated_key(root)) is not None:
        raise LammpsImplicitError(f"{path}, line {repeated.start_mark.line + 1}: {repeated.value} is given twice")
    if (odd := undecimal(root)) is not None:
        raise LammpsImplicitError(
            f"{path}, line {odd.start_mark.line + 1}: {odd.value} is not in decimal notation, and YAML reads it as "
            "another number: write it so, or in quotes if it is a text"
        )
    if not isinstance(values, dict):
        expected = next(iter(model.model_fields))
        raise LammpsImplicitError(f"{path} holds no settings: '{expected}:' and others are expected")
    try:
        return model.model_validate(values, context={"folder": file.absolute().parent})
    except ValidationError as error:
        raise LammpsImplicitError(f"{path}, {describe_errors(error, root)}") from None


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


def parse_registered_kind(registry: Registry[type[Model]], value: object, info: ValidationInfo) -> Model:
    """Validate settings with the registered model that their ``kind`` names; a validator of fields.

    Parameters
    ----------
    registry : Registry
        Models by kind.
    value : object
        A mapping from the file, or a model.
    info : ValidationInfo
        Its context, the folder of the file, is handed on.

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
        return registry.load(kind).model_validate(value, context=info.context)
    except ValidationError as error:
        raise ValueError(describe_errors(error)) from None
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


def describe_errors(error: ValidationError, root: Any = None) -> str:
    """Describe all validation errors on one line: their places in the settings and what is wrong.

    Parameters
    ----------
    error : ValidationError
    root : yaml.Node, optional
        Of the text, for the numbers of lines.

    Returns
    -------
    str
        Separated by semicolons, in the order of the file.
    """
    found = []
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        place = ": ".join(str(part) for part in one["loc"])
        message = str(one["msg"]).removeprefix("Value error, ")
        found.append((0 if root is None else line_of(root, one["loc"]), f"{place}: {message}" if place else message))
    shown = [text if root is None else f"line {line}: {text}" for line, text in sorted(found)]
    more = [f"and {len(shown) - MAX_FAULTS} more"] if len(shown) > MAX_FAULTS else []
    text = "; ".join([*shown[:MAX_FAULTS], *more])
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


MAX_FAULTS = 20
"""Largest number of faults that a message lists."""
