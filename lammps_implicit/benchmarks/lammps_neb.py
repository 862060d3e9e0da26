"""LAMMPS' ``neb``, one process an image: steps until the climbing image is at the saddle, times the images."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import numpy as np

from lammps_implicit.benchmarks.cells import Cell
from lammps_implicit.benchmarks.end_states import IMAGES, LIMIT, MOST, end_states
from lammps_implicit.benchmarks.processes import Record, environment, mpirun
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.files import in_temporary_folder
from lammps_implicit.minimum import Minimum

_EVERY = 5
"""Steps between lines of the log."""

_FIRST = 50
"""Steps at most before the highest image climbs."""

_SCRIPT = """\
atom_modify map array
variable hop index 0
include {deck}
reset_timestep 0
fix band all neb 1.0 parallel ideal
timestep 0.01
min_style {style}
neb 0.0 {limit!r} {first} {steps} {every} final {end}
"""


def lammps_neb(style: str, cell: Cell) -> Record:
    """Find a saddle with LAMMPS' ``neb`` and one of its minimisers, ``fire`` or ``quickmin``.

    Evaluations of the two ends, which LAMMPS repeats at every step, do not count.
    """
    with in_temporary_folder() as folder, end_states(cell) as (start, end):
        _write_end(folder / "end", end)
        steps = MOST // IMAGES - _FIRST
        settings = {"style": style, "limit": LIMIT, "first": _FIRST, "steps": steps, "every": _EVERY}
        (folder / "in.neb").write_text(_SCRIPT.format(deck=cell.deck.name, end=folder / "end", **settings))
        begun = time.perf_counter()
        _run(cell, folder)
        seconds = time.perf_counter() - begun
        rows = _climbing(folder / "log")
        step, force, barrier = next((row for row in rows if row[1] <= LIMIT), rows[-1])
        return {
            "atoms": start.engine.n_atoms,
            "settings": f"{style}, timestep 0.01",
            "force_evaluations": int(step) * IMAGES,
            "seconds": seconds,
            "max_force": float(force),
            "barrier": float(barrier),
        }


def _run(cell: Cell, folder: Path) -> None:
    """Run LAMMPS in the folder of the deck, one rank an image."""
    potential_folders()  # LAMMPS_POTENTIALS is part of the environment then
    count = IMAGES + 2
    command = [mpirun(), "-n", str(count), "lmp", "-partition", f"{count}x1", "-in", str(folder / "in.neb"), "-nocite"]
    command += ["-log", str(folder / "log"), "-plog", "none", "-screen", "none", "-pscreen", "none"]
    for name, value in cell.variables.items():
        if name != "hop":
            command += ["-var", name, value]
    found = subprocess.run(
        command,
        cwd=cell.deck.parent,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if found.returncode:
        lines = [line for line in (found.stdout + found.stderr).splitlines() if line.startswith("ERROR")]
        raise LammpsImplicitError(f"LAMMPS' neb fails: {(lines or ['no message'])[0]}")


def _write_end(path: Path, end: Minimum) -> None:
    """Coordinates of the last image, as ``neb`` reads them."""
    rows = zip(end.ids, *end.unwrapped.T, strict=True)
    lines = [f"{len(end.ids)}", *(f"{number} {x:.16g} {y:.16g} {z:.16g}" for number, x, y, z in rows)]
    path.write_text("\n".join(lines) + "\n")


def _climbing(log: Path) -> list[tuple[float, float, float]]:
    """Step, norm of the forces on the climbing image (before there is one: the highest), and barrier, of each line."""
    names: list[str] = []
    rows = []
    for line in log.read_text().splitlines():
        words = line.split()
        if words[:1] == ["Step"]:
            names = words
        elif names and len(words) >= len(names) and words[0].isdigit():
            values = dict(zip(names, words, strict=False))
            rows.append(tuple(float(values[name]) for name in ("Step", "GradVc", "EBF")))
    if not rows or not np.isfinite(rows[-1]).all():
        raise LammpsImplicitError("LAMMPS' neb wrote no lines that could be read")
    return [(step, force, barrier) for step, force, barrier in rows]
