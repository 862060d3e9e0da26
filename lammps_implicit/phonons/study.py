"""Phonons of a relaxed structure: force constants and all that they change with, from displaced supercells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.linalg import polar

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.cell.system import CellSystem
from lammps_implicit.evaluators.interface import Evaluations, Evaluator
from lammps_implicit.phonons.crystal import STEP, Crystal, Path, crystal_of, mesh_of, standard_path
from lammps_implicit.phonons.dynamical import Dynamics, Frequencies, frequencies
from lammps_implicit.phonons.evaluation import Displaced, derivatives_at, forces_at, step_error, without_idle
from lammps_implicit.phonons.requirements import require_crystal, require_packages, warn_of_charges
from lammps_implicit.phonons.structure_response import (
    Directions,
    StructureResponse,
    directions_of,
    internal_response,
)
from lammps_implicit.phonons.supercell import (
    Cell,
    Repeated,
    cell_of,
    chosen_counts,
    engine_of,
    repeated_atoms,
    supercell_of,
)
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.units import Units

T = TypeVar("T")

POINTS = 101
"""Q-points of the longest segment of the path."""

MESH = 30.0
"""Numbers of q-points of the mesh times the heights of the primitive cell, in distances of neighbours. Chosen: as fine
as the density of states of a monatomic crystal asks for with 33 points along each vector."""

_TOL = 1e-7
"""Relative residual of solves for strains of the cell."""


@dataclass(frozen=True)
class Phonons:
    """Phonons of a structure, on rank 0.

    Attributes
    ----------
    crystal : Crystal
    cell : Cell
    counts : (3,) int array
        How often the cell is repeated in the supercell.
    force_constants : (n, N, 3, 3) float array
        Of pairs of an atom of the primitive cell and one of the supercell, energy per Å² in the deck's units.
    gradient : (P, n, N, 3, 3) float array
        Their derivatives with respect to the parameters, with the structure's response, in axes that turn with the
        crystal where LAMMPS' directions of cell vectors do not.
    bare_gradient : (P, n, N, 3, 3) float array
        The same at fixed structure.
    by_volume : (n, N, 3, 3) float array
        Their derivative with respect to the logarithm of the volume, atoms relaxed.
    dynamics : Dynamics
        Of these; its derivatives are by the parameters, and by the logarithm of the volume.
    path : Path
    bands : Frequencies
        Along the path.
    mesh : (3,) int array
    mesh_qpoints : (M, 3) float array
        Irreducible ones.
    mesh_weights : (M,) int array
    mesh_bands : Frequencies
        At these.
    error : float
        Estimated relative error of force constants by the length of displacements: see `step_error`.
    evaluations : Evaluations
        Spent on the cell and on the supercell since the deck ended in each.
    """

    crystal: Crystal
    cell: Cell
    counts: IntArray
    force_constants: FloatArray
    gradient: FloatArray
    bare_gradient: FloatArray
    by_volume: FloatArray
    dynamics: Dynamics
    path: Path
    bands: Frequencies
    mesh: IntArray
    mesh_qpoints: FloatArray
    mesh_weights: IntArray
    mesh_bands: Frequencies
    error: float
    evaluations: Evaluations

    @property
    def grueneisen(self) -> FloatArray:
        """Mode Grüneisen parameters -d ln ω / d ln V along the path, (Q, m); zero for modes at rest."""
        return -self.bands.relative[:, :, -1] / 2


def phonons_of(
    point: StationaryPoint,
    supercell: Sequence[int] | None = None,
    *,
    primitive: bool = True,
    points: int = POINTS,
    mesh: Sequence[int] | None = None,
    step: float = STEP,
    progress: Progress = no_progress,
) -> Phonons | None:
    """Phonons of a relaxed structure, with derivatives with respect to the parameters; collective.

    Force constants change with the parameters at fixed structure, from C = ∂²U/∂X∂Θ where atoms are displaced, and
    with the structure, which follows the parameters: its cell where that is relaxed (the point's ``cell``), and
    positions in it.

    Parameters
    ----------
    point : StationaryPoint
        Made from a deck. Its potential may have no parameters.
    supercell : sequence of three int, optional
        How often its cell is repeated. Default: so that the supercell is wider than twice the cutoff.
    primitive : bool
        Whether to reduce the cell to a primitive one.
    points : int
        Q-points of the longest segment of the standard path.
    mesh : sequence of three int, optional
        Q-points of the mesh of the density of states along each reciprocal vector. Default: see `MESH`.
    step : float
        Length of displacements, Å.
    progress : callable
        Called with (done, total).

    Returns
    -------
    Phonons or None
        On rank 0; None on the others.

    Raises
    ------
    LammpsImplicitError
        If this is no crystal, or phonopy or seekpath is not installed.
    """
    engine = require_crystal(point)
    warn_of_charges(engine)
    engine.on_root(require_packages)
    point.settle()
    cell = cell_of(point)
    counts = chosen_counts(cell.vectors, engine.reach, len(cell.ids), supercell, engine.comm.rank == 0)
    wanted = MESH * engine.spacing if mesh is None else mesh
    with supercell_of(point, cell, counts) as repeated:
        return _phonons(point, repeated, cell, counts, primitive, points, wanted, step, progress)


def _phonons(
    point: StationaryPoint,
    repeated: StationaryPoint,
    cell: Cell,
    counts: IntArray,
    primitive: bool,
    points: int,
    mesh: Sequence[int] | float,
    step: float,
    progress: Progress,
) -> Phonons | None:
    atoms = repeated_atoms(repeated, cell)
    with without_idle():
        system = _cell_system(point)
    engine = point.engine
    crystal = _kept_on_root(engine, lambda: _crystal(system, cell, atoms, counts, point.units, primitive, step))
    displaced: Displaced = point.engine.on_root(lambda: _in_ids(crystal))
    total = _Steps(progress, len(displaced))
    force_constants = _fitted(crystal, forces_at(repeated, displaced, total.next()))
    error = step_error(repeated, displaced[0])
    parameters = len(point.potential.theta)
    bare, mixed = _by_parameters(crystal, repeated, displaced, total.next()) if parameters else (None, None)
    with without_idle():
        responses = _responses(point, system, crystal, force_constants, mixed)
    scales = np.append(np.abs(point.potential.theta), 1.0)
    directions = point.engine.on_root(lambda: directions_of(responses, scales, point.engine.spacing))
    total.parts = 2 + 2 * len(directions.strains)
    slopes = [
        [_at(repeated, crystal, displaced, sign * strain, sign * moved, cell, total.next()) for sign in (1, -1)]
        for strain, moved in zip(directions.strains, directions.displacements, strict=True)
    ]

    def finish() -> Phonons:
        assert crystal is not None and force_constants is not None
        fixed = np.zeros((0, *force_constants.shape)) if bare is None else bare
        spent = {id(one): one.engine.evaluations for one in (point, repeated)}.values()
        evaluations = Evaluations(sum(one.forces for one in spent), sum(one.descriptors for one in spent))
        return _made(
            crystal, cell, counts, force_constants, fixed, directions, slopes, points, mesh, error, evaluations
        )

    return _kept_on_root(engine, finish)


def _kept_on_root(engine: Evaluator, task: Callable[[], T]) -> T | None:
    """The result of a task of rank 0, which stays there; its errors are raised on every rank."""
    kept: list[T] = []
    engine.on_root(lambda: kept.append(task()))
    return kept[0] if kept else None


def _made(
    crystal: Crystal,
    cell: Cell,
    counts: IntArray,
    force_constants: FloatArray,
    bare: FloatArray,
    directions: Directions,
    slopes: Sequence[Sequence[FloatArray | None]],
    points: int,
    mesh: Sequence[int] | float,
    error: float,
    evaluations: Evaluations,
) -> Phonons:
    """Everything from force constants and their changes; on rank 0."""
    along = np.zeros((len(slopes), *force_constants.shape))
    for number, (ahead, behind) in enumerate(slopes):
        assert ahead is not None and behind is not None
        along[number] = (ahead - behind) / 2
    structural = np.tensordot(directions.weights, along, 1)
    gradient, by_volume = bare + structural[:-1], structural[-1]
    dynamics = Dynamics(crystal, force_constants, np.concatenate([gradient, by_volume[None]]))
    path = standard_path(crystal, points)
    numbers, qpoints, weights = mesh_of(crystal, mesh)
    return Phonons(
        crystal,
        cell,
        counts,
        force_constants,
        gradient,
        bare,
        by_volume,
        dynamics,
        path,
        frequencies(dynamics, path.qpoints),
        numbers,
        qpoints,
        weights,
        frequencies(dynamics, qpoints),
        error,
        evaluations,
    )


class _Steps:
    """Progress over parts of equal length."""

    def __init__(self, progress: Progress, length: int) -> None:
        self.parts, self._begun, self._length, self._progress = 4, -1, length, progress

    def next(self) -> Callable[[int, int], None]:
        """Progress of the next part."""
        self._begun += 1
        begun = self._begun

        def tick(done: int, total: int) -> None:
            self._progress(begun * self._length + done, self.parts * self._length)

        return tick


def _in_ids(crystal: Crystal | None) -> Displaced:
    assert crystal is not None
    return [(int(crystal.ids[number]), vector) for number, vector in crystal.displaced]


def _fitted(crystal: Crystal | None, forces: FloatArray | None) -> FloatArray | None:
    """Force constants of forces in id order, the first of which are those at the reference; on rank 0."""
    if crystal is None or forces is None:
        return None
    rows = np.argsort(np.argsort(crystal.ids))
    # Those at the reference vanish but for what relaxation leaves, or where the structure is held off its minimum.
    return crystal.force_constants((forces[1:] - forces[0])[:, rows])


def _by_parameters(
    crystal: Crystal | None, repeated: StationaryPoint, displaced: Displaced, tick: Progress
) -> tuple[FloatArray | None, FloatArray | None]:
    """Derivatives of force constants at fixed structure, (P, n, N, 3, 3), and C in phonopy's order; on rank 0."""
    found = derivatives_at(repeated, displaced, tick)
    if crystal is None or found is None:
        return None, None
    bare = [_fitted(crystal, found[..., number]) for number in range(found.shape[-1])]
    return np.array(bare), -found[0][np.argsort(np.argsort(crystal.ids))]


def _cell_system(point: StationaryPoint) -> CellSystem | None:
    """How the cell answers to the parameters; None if it does not."""
    return point.cell_system(_TOL, point.freedom) if len(point.potential.theta) and not point.freedom.fixed else None


def _crystal(
    system: CellSystem | None,
    cell: Cell,
    atoms: Repeated,
    counts: IntArray,
    units: Units,
    primitive: bool,
    step: float,
) -> Crystal:
    """The crystal, with all displacements where its cell takes strains that break its symmetry; on rank 0."""
    crystal = crystal_of(cell, atoms, counts, units, primitive, step)
    if system is None or crystal.keeps(np.tensordot(system.strain_jacobian, system.freedom.tensors(), 1)):
        return crystal
    return crystal_of(cell, atoms, counts, units, primitive, step, symmetric=False)


def _responses(
    point: StationaryPoint,
    system: CellSystem | None,
    crystal: Crystal | None,
    force_constants: FloatArray | None,
    mixed: FloatArray | None,
) -> StructureResponse:
    """How the structure answers to each parameter, and at last to the logarithm of the volume; collective.

    Complete on rank 0 only.
    """
    parameters = len(point.potential.theta)
    volume = point.response.cell_system(point.strain("iso", point.pressure), _TOL)
    strain, inner = volume.freedom.tensors()[0] / 3, _gathered(point, -volume.relaxed[:, :, 0] / 3)
    relaxed = [] if system is None else [_gathered(point, one) for one in np.moveaxis(system.relaxed, 2, 0)]
    if crystal is None or force_constants is None:
        return StructureResponse(np.zeros((0, 3, 3)), np.zeros((0, 0, 3)))
    if mixed is None:
        return StructureResponse(strain[None], inner[None])
    moved, tensors = internal_response(crystal, force_constants, mixed), np.zeros((parameters, 3, 3))
    if system is not None:
        tensors = np.tensordot(system.strain_jacobian, system.freedom.tensors(), 1)
        moved = moved - np.tensordot(system.strain_jacobian, np.array(relaxed), 1)
    return StructureResponse(tensors, moved).with_more(strain, inner)


def _gathered(point: StationaryPoint, array: FloatArray) -> FloatArray:
    found = point.gather(array)
    return np.zeros((0, 3)) if found is None else found


def _at(
    repeated: StationaryPoint,
    crystal: Crystal | None,
    displaced: Displaced,
    strain: FloatArray,
    moved: FloatArray,
    cell: Cell,
    tick: Progress,
) -> FloatArray | None:
    """Force constants of another structure, strained and with displacements of the atoms of the cell; collective.

    Its displaced supercells are treated as if they had the symmetry of the crystal: they have, as all responses do, in
    axes that turn with it. LAMMPS keeps the directions of cell vectors instead, with a strain that is not symmetric.
    """
    engine = engine_of(repeated)
    atoms = np.searchsorted(cell.ids, (engine.ids - 1) % int(cell.ids.max()) + 1)
    displacement = (engine.positions - engine.origin) @ strain.T + moved[atoms]
    turned = polar(np.eye(3) + strain)[0]
    with repeated.excursion(np.zeros(len(repeated.potential.theta)), displacement, strain):
        forces = forces_at(repeated, [(id_, turned @ vector) for id_, vector in displaced], tick)
    return _fitted(crystal, None if forces is None else forces @ turned)
