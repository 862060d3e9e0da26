"""What a measurement found: a verdict with numbers, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Verdict(str, Enum):
    """How a measurement ended, from best to worst; what was not measured says nothing."""

    unmeasured = "not measured"
    good = "good"
    limited = "limited"
    bad = "bad"


_ORDER = tuple(Verdict)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    name : str
        What was measured.
    verdict : Verdict
    text : str
        Numbers with their units.
    remedy : str
        What to do; empty if nothing need be done.
    numbers : mapping of str to object
        The numbers by name, for files: floats, integers, strings, lists and dictionaries of these.
    evaluations : int
        Force evaluations spent.
    """

    name: str
    verdict: Verdict
    text: str
    remedy: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    evaluations: int = 0


def graded(value: float, good: float, limited: float) -> Verdict:
    """Verdict on a relative error: good and limited up to these values; bad beyond, and where it is not a number."""
    return Verdict.good if value <= good else Verdict.limited if value <= limited else Verdict.bad


def counted(count: int, noun: str) -> str:
    """Return a number of things in words, such as ``1 kink`` or ``2 kinks``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def worse(*verdicts: Verdict) -> Verdict:
    """Return the worst of some verdicts."""
    return max(verdicts, key=_ORDER.index, default=Verdict.unmeasured)


def worst(findings: list[Finding]) -> Verdict:
    """Return the worst verdict of some findings."""
    return worse(*(finding.verdict for finding in findings))
