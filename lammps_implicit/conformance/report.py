"""The conformance report: findings, an overall verdict, as lines and as a file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lammps_implicit.conformance.finding import Finding, Verdict, worst
from lammps_implicit.conformance.smoothness import Smoothness
from lammps_implicit.conformance.steps import Steps
from lammps_implicit.files import written_whole


@dataclass(frozen=True)
class Conformance:
    """What was found about a potential and a deck.

    Attributes
    ----------
    deck : str
        File name.
    about : mapping of str to object
        Atoms, types, ranks, energy, largest force, units and versions.
    findings : list of Finding
    evaluations : int
        Force evaluations spent in all.
    seconds : float
        Wall time in all, with the deck.
    smoothness : Smoothness or None
        The lines scanned; None if nothing could be measured.
    steps : tuple of Steps
        Accuracies against steps.
    length, force : str
        Units.
    """

    deck: str
    about: Mapping[str, Any]
    findings: list[Finding]
    evaluations: int
    seconds: float
    smoothness: Smoothness | None = None
    steps: tuple[Steps, ...] = ()
    length: str = "Å"
    force: str = "eV/Å"
    remarks: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all findings."""
        return worst(self.findings)

    @property
    def summary(self) -> str:
        """One line: the verdict, and what it is due to."""
        verdict = self.verdict
        names = [finding.name for finding in self.findings if finding.verdict is verdict]
        if verdict is Verdict.good:
            return "good: energies, forces and pressures are consistent and smooth enough for derivatives"
        return f"{verdict.value}: {', '.join(names)}"

    def __getitem__(self, name: str) -> Finding:
        """Return the finding of this name.

        Raises
        ------
        KeyError
            If there is none.
        """
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, strings, lists and dictionaries; numbers that are not finite become None."""
        return _plain(
            {
                "deck": self.deck,
                "verdict": self.verdict.value,
                "summary": self.summary,
                "about": dict(self.about),
                "remarks": list(self.remarks),
                "evaluations": self.evaluations,
                "seconds": self.seconds,
                "findings": [
                    {
                        "name": finding.name,
                        "verdict": finding.verdict.value,
                        "text": finding.text,
                        "remedy": finding.remedy,
                        "evaluations": finding.evaluations,
                        "numbers": dict(finding.numbers),
                    }
                    for finding in self.findings
                ],
            }
        )

    def write_json(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write everything as JSON.

        Raises
        ------
        OutputError
            If the file exists and `overwrite` is false, or cannot be written.
        """
        with written_whole(path, overwrite) as temporary:
            text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return float(value) if math.isfinite(value) else None
