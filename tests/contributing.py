"""What CONTRIBUTING.md shows: its blocks by section, and the package that they make, installed as pip leaves it."""

import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from commands import program

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block; ``path`` is that of its first line, a comment, where it is a file."""

    language: str
    path: str
    text: str


def sections():
    """Blocks of each section of the third level, by its title."""
    return {part.partition("\n")[0]: list(_blocks(part)) for part in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]}


def _blocks(part):
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL):
        first = text.partition("\n")[0]
        yield Block(language, first.removeprefix("# ") if first.startswith("# ") else "", text)


def install(site):
    """Write the modules of all sections, and their entry points, as an installed package; return the folder."""
    points = configparser.ConfigParser(delimiters="=")
    points.optionxform = str
    (site / "additions").mkdir()
    (site / "additions" / "__init__.py").touch()
    for blocks in sections().values():
        for block in blocks:
            if block.path.startswith("additions/"):
                (site / block.path).write_text(block.text, encoding="utf-8")
            elif block.path == "pyproject.toml":
                points.read_string(block.text)
    information = site / "additions-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: additions\nVersion: 1.0\n")
    lines = []
    for group in points.sections():
        lines.append(f"[{group.removeprefix('project.entry-points.').strip(chr(34))}]")
        lines += [f"{name.strip(chr(34))} = {value.strip(chr(34))}" for name, value in points[group].items()]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return site


def write_shown(folder, title):
    """Write what a section shows besides its module: configurations, scripts and tests."""
    for block in sections()[title]:
        if block.language in ("python", "yaml") and not block.path.startswith("additions/"):
            path = folder / block.path
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")


def commands(title):
    """Lines of the shell blocks of a section."""
    return [line for block in sections()[title] if block.language == "sh" for line in block.text.splitlines()]


def run(folder, command, *paths):
    """Run a command line in a folder, with packages from further folders; ``python`` is the one that runs the tests."""
    path = os.pathsep.join(filter(None, [*map(str, paths), os.environ.get("PYTHONPATH", "")]))
    command = re.sub(r"\bpython\b", sys.executable, command)
    return subprocess.run(
        re.sub(r"^lammps-implicit\b", lambda _: shlex.join(program(path)), command),
        shell=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
