"""The same forces on one rank and on two: the deck is run a second time, and evaluated at the first one's positions.

Run as a program under ``mpirun`` it is the second: ``python -m lammps_implicit.conformance.ranks REQUEST ANSWER``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI
from scipy.spatial import cKDTree

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.conformance.directions import angstrom, line
from lammps_implicit.conformance.finding import Finding, Verdict, graded
from lammps_implicit.conformance.starting import start_tolerant
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.files import in_temporary_folder
from lammps_implicit.interrupts import end_with_parent
from lammps_implicit.mpi.on_root import on_root

AWAY = 0.02
"""Å; displacement at which forces are compared, so that they do not vanish at a minimum."""

SAME = 0.05
"""Å; an atom this close to one of the other run is the same atom."""

LARGEST = 100_000
"""Atoms up to which runs are compared: one rank holds them all."""

GOOD, LIMITED = 1e-8, 1e-4


@dataclass(frozen=True)
class RankComparison:
    """Forces and energy on another number of ranks, at the same positions.

    Attributes
    ----------
    ranks : tuple of int
        Numbers of ranks compared.
    forces : float
        Largest difference of a force component, relative to the largest force.
    energy : float
        Difference of the energies, in the deck's unit.
    reason : str
        Why they were not compared; empty if they were.
    """

    ranks: tuple[int, ...]
    forces: float = float("nan")
    energy: float = float("nan")
    reason: str = ""

    def finding(self, energy: str) -> Finding:
        """Report it; `energy` is the unit."""
        if self.reason:
            return Finding("number of ranks", Verdict.unmeasured, self.reason)
        verdict = graded(self.forces, GOOD, LIMITED)
        return Finding(
            "number of ranks",
            verdict,
            f"on {self.ranks[0]} and {self.ranks[1]} ranks forces differ by {self.forces:.1e} of the largest, energies "
            f"by {self.energy:.1e} {energy}",
            ""
            if verdict is Verdict.good
            else "Enlarge the communication cutoff ('comm_modify cutoff'), or run on one "
            "rank only: this potential needs atoms farther away than LAMMPS sends.",
            {"ranks": list(self.ranks), "forces": self.forces, "energy": self.energy},
        )


@dataclass(frozen=True)
class _Structure:
    """All atoms, displaced from the reference, and what was evaluated there."""

    positions: FloatArray
    types: IntArray
    cell: FloatArray
    forces: FloatArray
    energy: float


def compare_ranks(
    engine: Evaluator,
    deck: Path,
    variables: Mapping[str, str] | None = None,
    timeout: float = 600.0,
) -> RankComparison:
    """Compare with one rank where there are several, and with two, started with ``mpirun``, where there is one.

    Runs the deck again. Two force evaluations of this engine.

    Parameters
    ----------
    engine : Evaluator
        Left at its reference.
    deck : Path
    variables : mapping of str to str, optional
        Index variables of the deck.
    timeout : float
        Seconds after which the run on two ranks is given up.
    """
    ranks = (engine.comm.size, 2 if engine.comm.size == 1 else 1)
    if engine.n_atoms > LARGEST:
        return RankComparison(ranks, reason=f"not compared in cells of more than {LARGEST} atoms")
    structure = _structure(engine)
    if engine.comm.size > 1:
        found = on_root(engine.comm, lambda: _alone(structure, deck, variables))
    else:
        found = _started(structure, deck, variables, timeout)
    if isinstance(found, str):
        return RankComparison(ranks, reason=f"not compared: {found}")
    return RankComparison(ranks, *found)


_Found = str | tuple[float, float]
"""Reason why there is no comparison, or differences of forces and energies."""


def _structure(engine: Evaluator) -> _Structure:
    displacement = AWAY * angstrom(engine) * line(engine, 300)
    forces = np.array(engine.forces(displacement))
    mine = (engine.positions + displacement, engine.types, forces)
    positions, types, forces = (np.concatenate(engine.comm.allgather(np.array(part))) for part in mine)
    energy, cell = engine.energy, np.array(engine.cell)
    engine.return_to_reference()
    return _Structure(positions, types, cell, forces, energy)


def _compared(engine: Evaluator, wanted: _Structure) -> _Found:
    """Evaluate an engine that has been settled at the positions of another run; collective."""
    if engine.n_atoms != len(wanted.positions):
        return f"the deck leaves {engine.n_atoms} atoms on {engine.comm.size} ranks, {len(wanted.positions)} otherwise"
    held = np.flatnonzero(engine.periodic)  # other boundaries may follow the atoms
    if not np.allclose(engine.cell[held], wanted.cell[held], rtol=1e-9, atol=1e-9 * float(wanted.cell.max())):
        return "the deck ends with another cell on another number of ranks: minimise in a fixed cell last"
    near = SAME * angstrom(engine)
    tree = cKDTree(_fractional(engine, wanted.positions), boxsize=np.array(engine.periodic, float))
    partner = np.asarray(tree.query(_fractional(engine, engine.positions))[1], np.int64)
    displacement = engine.nearest_image(wanted.positions[partner] - engine.positions)
    far = float(np.linalg.norm(displacement, axis=1).max(initial=0.0))
    if engine.any(far > near or not np.array_equal(wanted.types[partner], engine.types)):
        return "the deck ends in another structure on another number of ranks"
    forces = np.array(engine.forces(displacement))
    energy, difference = engine.energy - wanted.energy, engine.max_abs(forces - wanted.forces[partner])
    return difference / max(float(np.abs(wanted.forces).max(initial=0.0)), np.finfo(float).tiny), energy


def _fractional(engine: Evaluator, positions: FloatArray) -> FloatArray:
    """Fractional coordinates, within [0, 1) along periodic directions."""
    fractional = (positions - engine.origin) @ np.linalg.inv(engine.cell)
    wrapped = fractional - np.floor(fractional)
    wrapped[wrapped >= 1.0] = 0.0  # what is below zero by less than round-off
    return np.where(engine.periodic, wrapped, fractional)


def _alone(wanted: _Structure, deck: Path, variables: Mapping[str, str] | None) -> _Found:
    """Comparison with a run on this rank alone."""
    try:
        engine = start_tolerant(deck, MPI.COMM_SELF, variables).engine
        try:
            engine.settle()
            return _compared(engine, wanted)
        finally:
            engine.close()
    except LammpsImplicitError as error:
        return str(error)


def _started(wanted: _Structure, deck: Path, variables: Mapping[str, str] | None, timeout: float) -> _Found:
    """Comparison with a run on two ranks, in processes of its own."""
    mpirun = shutil.which("mpirun", path=f"{sys.prefix}/bin") or shutil.which("mpirun")
    if mpirun is None:
        return "there is no mpirun"
    with in_temporary_folder() as folder:
        request, answer = folder / "request.json", folder / "answer.json"
        np.savez(folder / "structure.npz", **asdict(wanted))
        request.write_text(json.dumps({"deck": str(deck), "variables": dict(variables or {})}))
        command = [mpirun, "-n", "2", sys.executable, "-m", __spec__.name, str(request), str(answer)]
        try:
            outcome = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout, check=False, preexec_fn=end_with_parent
            )
        except subprocess.TimeoutExpired:
            return f"two ranks took more than {timeout:.0f} s"
        if outcome.returncode != 0 or not answer.is_file():
            lines = [line for line in outcome.stderr.splitlines() if line.strip()]
            return f"two ranks cannot be started with {mpirun} ({lines[0] if lines else outcome.returncode})"
        found = json.loads(answer.read_text())
        return found if isinstance(found, str) else (found[0], found[1])


def main(request: Path, answer: Path) -> None:
    """Run the deck of a request on the ranks of this job, and write the comparison, or why there is none."""
    comm = MPI.COMM_WORLD
    settings = on_root(comm, lambda: json.loads(request.read_text()))
    wanted = on_root(comm, lambda: dict(np.load(request.with_name("structure.npz"))))
    wanted["energy"] = float(wanted["energy"])
    try:
        engine = start_tolerant(settings["deck"], comm, settings["variables"]).engine
        try:
            engine.settle()
            found: _Found = _compared(engine, _Structure(**wanted))
        finally:
            engine.close()
    except LammpsImplicitError as error:
        found = f"on two ranks: {error}"
    on_root(comm, lambda: answer.write_text(json.dumps(found)))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
