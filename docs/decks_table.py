"""Write docs/decks.md from tests/decks/expected.yaml and what was measured: python docs/decks_table.py [--measure]."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
DECKS = ROOT / "tests" / "decks"
TABLE = ROOT / "docs" / "decks.md"
MEASURED = DECKS / "measured.json"

OUTCOMES = {
    "right": "differentiated",
    "relaxes": "relaxed; no parameters",
    "refused": "refused",
}

INTRODUCTION = """
{} decks in the styles of tutorials, repositories and forums, in `tests/decks/`. {} are differentiated along the
parameters named, and compared with relaxing again in plain LAMMPS at changed parameters (`tests/plain_decks.py` shares
no code with the package); {} are relaxed, without parameters to differentiate by; {} are refused, with a reason.
`lammps-implicit inspect` says what a deck of yours is, and what stands in the way. Errors are relative, of the
displacement and the strain of the cell; evaluations are those of one `jvp`. `python docs/decks_table.py --measure`
measures, and writes this table.
""".strip()


def read_expected() -> dict[str, dict[str, Any]]:
    """Entries of the decks by name."""
    return yaml.safe_load((DECKS / "expected.yaml").read_text(encoding="utf-8"))


def table(expected: dict[str, dict[str, Any]]) -> str:
    """Text of the document."""
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    rows = [_row(name, entry, measured.get(name, {})) for name, entry in expected.items()]
    right, relaxes, refused = (sum(entry["outcome"] == outcome for entry in expected.values()) for outcome in OUTCOMES)
    intro = textwrap.fill(INTRODUCTION.format(len(expected), right, relaxes, refused), 120, break_on_hyphens=False)
    return (
        f"# Decks as people write them\n\n{intro}\n\n"
        "| deck | what it is | what happens | parameters | error | evaluations |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def _row(name: str, entry: dict[str, Any], measured: dict[str, Any]) -> str:
    happens = OUTCOMES[entry["outcome"]]
    if entry.get("options", {}).get("relax"):
        happens += ", `--relax`"
    if "cell" in entry:
        happens += f", `--cell {entry['cell']}`"
    if entry["outcome"] == "refused":
        happens += f": … {entry['words']} …"
    parameters = ", ".join(f"`{label}`" for label in entry.get("parameters", {}))
    error = f"{measured['error']:.0e}" if "error" in measured else ""
    return f"| `{name}` | {entry['about']} | {happens} | {parameters} | {error} | {measured.get('evaluations', '')} |"


def measure(expected: dict[str, dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Errors and costs of the decks that are differentiated."""
    sys.path.insert(0, str(ROOT / "tests"))
    from test_decks import compare

    found = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    for name, entry in expected.items():
        if entry["outcome"] != "right":
            found.pop(name, None)
        elif not names or name in names:
            with tempfile.TemporaryDirectory() as folder:
                error, evaluations = compare(name, Path(folder))
            found[name] = {"error": float(f"{error:.1e}"), "evaluations": evaluations}
            print(name, found[name], flush=True)
    return {name: found[name] for name in expected if name in found}


def main() -> None:
    """Measure if asked to, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure errors and costs anew")
    parser.add_argument("names", nargs="*", help="decks to measure; default: all")
    given = parser.parse_args()
    expected = read_expected()
    if given.measure:
        MEASURED.write_text(json.dumps(measure(expected, given.names), indent=0) + "\n")
    TABLE.write_text(table(expected), encoding="utf-8")


if __name__ == "__main__":
    main()
