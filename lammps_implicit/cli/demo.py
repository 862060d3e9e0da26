"""The demonstration: a W vacancy differentiated by all its SNAP parameters, predictions compared with re-relaxation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cli import demo_plots as plots
from lammps_implicit.errors import OutputError
from lammps_implicit.evaluators.images import nearest_image
from lammps_implicit.files import make_folder, refuse_to_overwrite, written_whole
from lammps_implicit.minimum import Minimum
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.progress import progress
from lammps_implicit.results.prediction import predict
from lammps_implicit.results.sensitivity import Sensitivity

TOLERANCE = 1e-5
"""Relative tolerance of the Jacobian, the default of `Minimum.jacobian`."""

SIZES = (0.01, 0.03, 0.1)
"""Relative sizes of the parameter change whose prediction is compared with re-relaxation."""

ENERGY_SIZES = np.geomspace(2e-3, 1e-1, 6)
"""Relative sizes at which the errors of predicted energies are plotted: small enough to show the slopes."""


@dataclass(frozen=True)
class Summary:
    """Results of the demonstration.

    Attributes
    ----------
    rows : list of (str, str)
        Quantities and their values.
    files : list of (Path, str)
        Files written, and what each contains.
    """

    rows: list[tuple[str, str]]
    files: list[tuple[Path, str]]


def demo_deck() -> Path:
    """Path of the demonstration's deck, in the installed package or the source tree.

    Raises
    ------
    OutputError
        If it is in neither.
    """
    package = Path(__file__).parent.parent
    for folder in (package / "lammps_scripts", package.parent / "lammps_scripts"):
        if (folder / "in.w_vacancy").is_file():
            return folder / "in.w_vacancy"
    raise OutputError("the demonstration's deck in.w_vacancy is missing: reinstall lammps-implicit")


def run_demo(folder: Path, overwrite: bool = False) -> Summary:
    """Run the demonstration and write its files into a folder.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    overwrite : bool
        Replace existing files.

    Raises
    ------
    OutputError
        If a file it would write exists.
    """
    files = {
        "w_vacancy.h5": "minimum, Jacobian and energy derivatives (HDF5)",
        "w_vacancy.xyz": "atoms with predicted displacement vectors for a 3 % change (OVITO)",
        "displacements.png": "predicted displacements against those from re-relaxation",
        "shells.png": "displacement of each shell of atoms for a change of each parameter",
        "energy.png": "error of the predicted energy against the size of the parameter change",
    }
    paths = {name: folder / name for name in files}
    start = time.perf_counter()
    on_root(MPI.COMM_WORLD, lambda: _prepare(folder, paths, overwrite))
    with Minimum.from_deck(demo_deck()) as minimum:
        with progress("solving", MPI.COMM_WORLD.rank == 0) as update:
            taken = minimum.sensitivity(TOLERANCE, progress=update, energy_hessian=True)
        cost = minimum.jacobian(TOLERANCE).statistics
        taken.write(paths["w_vacancy.h5"], overwrite)
        # One random direction for all sizes: each parameter changes in proportion to its own value.
        direction = np.random.default_rng(1).standard_normal(len(taken.theta)) * taken.theta
        relaxed = [_relax_again(minimum, size * direction) for size in SIZES]
        evaluations = minimum.engine.evaluations.forces
        errors = _energy_errors(minimum, taken, direction)
        sensitivity = taken.gathered()

    def draw_and_tabulate() -> list[tuple[str, str]]:
        assert sensitivity is not None
        predictions = [predict(sensitivity, size * direction) for size in SIZES]
        # parallel=False: ASE would otherwise wait for the other ranks.
        with written_whole(paths["w_vacancy.xyz"], overwrite) as temporary:
            moved = predictions[1].displacement
            sensitivity.structure.to_ase(displacement=moved).write(temporary, format="extxyz", parallel=False)
        length, predicted = minimum.units.length, [prediction.displacement for prediction in predictions]
        true = [moved - moved.mean(axis=0) for moved, _ in relaxed if moved is not None]  # net translation removed
        plots.displacement_parity(paths["displacements.png"], SIZES, predicted, true, length)
        plots.energy_convergence(paths["energy.png"], ENERGY_SIZES, errors, minimum.units.energy)
        _plot_shells(paths["shells.png"], sensitivity, length)
        rows = [
            ("atoms, parameters", f"{len(sensitivity.structure.ids)}, {len(sensitivity.theta)}"),
            ("energy", f"{minimum.energy:.6f} {minimum.units.energy}"),
            ("largest force", f"{minimum.max_force:.1e} {minimum.units.force}"),
            ("Jacobian: force evaluations", f"{cost.evaluations.total} ({cost.method}, {cost.solves} solves)"),
            ("Jacobian: residual of a random check", f"{cost.residual:.1e}"),
            ("Jacobian: time", f"{cost.seconds:.1f} s"),
            ("re-relaxations: force evaluations", f"{evaluations - cost.evaluations.forces}"),
        ]
        for size, prediction, moved, (_, energy) in zip(SIZES, predictions, true, relaxed, strict=True):
            error = np.linalg.norm(prediction.displacement - moved) / np.linalg.norm(moved)
            largest = np.abs(moved).max()
            rows.append((f"{size:.0%} change: displacement up to", f"{largest:.4f} {length}, error {error:.2%}"))
            change, missed = energy - minimum.energy, prediction.energy - energy
            rows.append((f"{size:.0%} change: energy", f"{change:+.6f} {minimum.units.energy}, error {missed:+.1e}"))
        return rows

    rows = on_root(MPI.COMM_WORLD, draw_and_tabulate)
    rows.append(("total time", f"{time.perf_counter() - start:.0f} s"))
    return Summary(rows, [(paths[name], text) for name, text in files.items()])


def _prepare(folder: Path, paths: dict[str, Path], overwrite: bool) -> None:
    make_folder(folder)
    for path in paths.values():
        refuse_to_overwrite(path, overwrite)


def _relax_again(minimum: Minimum, dtheta: FloatArray) -> tuple[FloatArray | None, float]:
    """Displacement (in id order, on rank 0 only) and energy after relaxing again at changed parameters."""
    displacement, energy = minimum.relaxed_at(dtheta)
    return minimum.gather(displacement), energy


def _energy_errors(
    minimum: Minimum, sensitivity: Sensitivity, direction: FloatArray
) -> dict[str, tuple[int, FloatArray]]:
    """Errors of predicted energies at `ENERGY_SIZES`: label to (expected power of the change, errors)."""
    errors = np.empty((3, len(ENERGY_SIZES)))
    assert sensitivity.energy_hessian is not None
    jacobian = minimum.jacobian(TOLERANCE)
    for column, size in enumerate(ENERGY_SIZES):
        dtheta = size * direction
        true = minimum.relaxed_at(dtheta)[1]
        first = sensitivity.energy + float(sensitivity.energy_gradient @ dtheta)
        second = first + 0.5 * float(dtheta @ sensitivity.energy_hessian @ dtheta)
        third = minimum.energy_at(dtheta, jacobian.dot(dtheta))
        errors[:, column] = np.abs(np.array([first, second, third]) - true)
    labels = ("first order", "second order", "third order: U at the predicted structure")
    return {label: (slope, errors[slope - 2]) for slope, label in enumerate(labels, 2)}


def _plot_shells(path: Path, sensitivity: Sensitivity, length: str) -> None:
    """Plot the rms displacement of each shell around the vacancy for a 1 % change of each parameter."""
    structure = sensitivity.structure
    # The vacancy is at the origin; distances are to its nearest image.
    apart = nearest_image(structure.positions - structure.origin, structure.cell, structure.periodic)
    distance = np.linalg.norm(apart, axis=1)
    order = np.argsort(distance)
    shells = np.split(order, np.flatnonzero(np.diff(distance[order]) > 0.1) + 1)
    moves = np.empty((len(shells), len(sensitivity.theta)))
    for index, size in enumerate(0.01 * np.abs(sensitivity.theta)):
        unit = np.zeros(len(sensitivity.theta))
        unit[index] = size
        squares = (sensitivity.displacement(unit) ** 2).sum(axis=1)
        moves[:, index] = [np.sqrt(squares[shell].mean()) for shell in shells]
    means = np.array([distance[shell].mean() for shell in shells])
    plots.shell_sensitivity(path, means, moves, sensitivity.names, length)
