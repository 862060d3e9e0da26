"""YAML of configurations as a tree whose places have lines, within limits that keep strangers' files harmless."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.(inf|nan)", re.IGNORECASE)
"""Numbers that mean what they say; those that are not finite are refused where they stand."""

MAX_CHARACTERS = 2**18
MAX_DEPTH = 30
MAX_NODES = 50_000
"""Limits of a configuration's length, of its nesting, and of its values once all aliases are written out."""


def require_limits(text: str) -> None:
    """Check, without building anything, that a YAML text is of limited size.

    Parameters
    ----------
    text : str

    Raises
    ------
    ValueError
        If it is too long, nested too deeply, or grows beyond limits by its aliases, or one of these holds itself.
    yaml.YAMLError
        If it is not YAML.
    """
    import yaml

    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters, more than {MAX_CHARACTERS}")
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and nodes before it, of every collection not yet closed
    count = 0
    events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_nodes):
                raise ValueError(f"line {line}: *{event.anchor} stands inside of itself")
            count += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            if isinstance(event, yaml.ScalarEvent):
                sizes |= {event.anchor: 1} if event.anchor else {}
            else:
                open_nodes.append((event.anchor, count))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes |= {anchor: count - before + 1} if anchor else {}
        if len(open_nodes) > MAX_DEPTH:
            raise ValueError(f"line {line}: nested more than {MAX_DEPTH} deep")
        if count > MAX_NODES:
            raise ValueError(f"line {line}: more than {MAX_NODES} values")


def repeated_key(node: Any) -> Any:
    """First key that occurs twice in one mapping, of which YAML would silently take the last; None if there is none."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    return key
                seen.add(key.value)
            if (found := repeated_key(value)) is not None:
                return found
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            if (found := repeated_key(item)) is not None:
                return found
    return None


def undecimal(node: Any) -> Any:
    """First number in another notation than the decimal one: ``1:30`` is 90 to YAML, and ``010`` is 8; None if none."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        return node if number and not _DECIMAL.fullmatch(node.value) else None
    if isinstance(node, yaml.CollectionNode):
        for item in node.value:
            for part in item if isinstance(item, tuple) else (item,):
                if (found := undecimal(part)) is not None:
                    return found
    return None


def line_of(node: Any, place: Sequence[str | int]) -> int:
    """Line, from 1, of the deepest part of a place that the text has.

    Parameters
    ----------
    node : yaml.Node
        Root of the text.
    place : sequence of (str or int)
        Keys, and numbers in lists; parts that are neither are passed over.
    """
    import yaml

    line = node.start_mark.line
    for part in place:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                    node, line = value, key.start_mark.line
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
    return int(line) + 1
