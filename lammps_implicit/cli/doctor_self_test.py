"""Self-test against brute force: a small cell is differentiated, and relaxed again at changed parameters.

``python -m lammps_implicit.cli.doctor_self_test`` runs it and prints what it found as JSON.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import FloatArray
from lammps_implicit.benchmarks.processes import records_of, speak, work
from lammps_implicit.cli.doctor_check import FaultError
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.minimum import Minimum

AGREEMENT = 1e-4
"""Largest relative difference from brute force; third order in `CHANGE`, and what relaxation leaves."""

CHANGE = 2e-4
"""Change of the parameters, relative to themselves."""

_REMEDY = "report it with this output: numbers from this installation cannot be trusted"


def self_test() -> str:
    """Differentiate a vacancy in Ta, and compare with relaxing again at Θ ± hδΘ; on all ranks.

    Raises
    ------
    FaultError
        If products disagree with each other or with brute force.
    """
    from ase.build import bulk

    atoms = bulk("Ta", "bcc", a=3.316, cubic=True) * (2, 2, 2)
    del atoms[0]
    lines = [
        "pair_style hybrid/overlay zbl 4.0 4.8 snap",
        "pair_coeff 1 1 zbl 73 73",
        "pair_coeff * * snap Ta06A.snapcoeff Ta06A.snapparam Ta",
    ]
    with Minimum.from_ase(atoms, lines, ftol=1e-10) as minimum:
        theta = minimum.potential.theta
        direction = theta * np.linspace(-1, 1, len(theta))
        forward = minimum.engine.dot(_pull(minimum), minimum.jvp(direction, 1e-8))
        backward = float(minimum.vjp(_pull(minimum), 1e-8) @ direction)
        brute = (_pulled(minimum, CHANGE * direction) - _pulled(minimum, -CHANGE * direction)) / (2 * CHANGE)
    _require_close("jvp and vjp", forward, backward, 1e-6)
    _require_close("jvp and relaxing again at changed parameters", forward, brute, AGREEMENT)
    return f"jvp, vjp and brute force agree to {abs(forward - brute) / abs(brute):.0e}"


def self_test_on_two_ranks() -> str:
    """Run the self-test on two ranks of their own.

    Raises
    ------
    FaultError
        If they do not come together, or find something wrong.
    """
    try:
        [found] = list(records_of("doctor_self_test", [], 2, room="cli"))
    except LammpsImplicitError as error:
        raise FaultError(
            str(error), "see the message; on clusters, run 'mpirun -n 2 lammps-implicit doctor' in a job"
        ) from None
    except ValueError:
        found = {"ranks": 1}
    if found["ranks"] != 2:
        raise FaultError(
            "mpirun starts processes that do not see each other: it is of another MPI library than mpi4py",
            "use the mpirun of mpi4py's MPI library, or install mpi4py for the MPI library of mpirun",
        )
    if found["fault"]:
        raise FaultError(*found["fault"])
    return str(found["finding"])


def _pull(minimum: Minimum) -> FloatArray:
    """Weights of the coordinates, which depend on the atoms' ids alone, and so not on their owners."""
    return np.cos(minimum.ids[:, None] * np.array([1.0, 2.0, 3.0]))


def _pulled(minimum: Minimum, dtheta: FloatArray) -> float:
    """Σ weights · displacement after relaxing again at Θ + δΘ."""
    return minimum.engine.dot(_pull(minimum), minimum.relaxed_at(dtheta, 1e-10)[0])


def _require_close(what: str, one: float, other: float, tolerance: float) -> None:
    if not abs(one - other) < tolerance * abs(other):
        raise FaultError(f"{what} disagree: {one:.9g} and {other:.9g}", _REMEDY)


def main() -> None:
    """Print what the self-test finds on these ranks."""
    fault: list[str] = []
    finding = ""
    try:
        finding = self_test()
    except FaultError as found:
        fault = [found.finding, found.remedy]
    world = MPI.COMM_WORLD
    speak({"ranks": world.size, "finding": finding, "fault": fault}, world.rank == 0)


if __name__ == "__main__":
    work(main)
