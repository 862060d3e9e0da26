"""YAML configurations, checked as a whole before anything runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lammps_implicit.errors import LammpsImplicitError


class Strict(BaseModel):
    """Settings; names that are not known are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=Strict)


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
        raise LammpsImplicitError(f"{path}: {_explained(error)}") from None


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


def _explained(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ": ".join(str(part) for part in first["loc"])
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
