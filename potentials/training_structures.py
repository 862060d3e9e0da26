"""Training structures of bcc tungsten: strained, with defects, and at high temperature."""

import contextlib
import io
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.build import bcc100, bcc110, bcc111, bulk
from reference import Session

LATTICE = 3.18046
"""Å; lattice constant of W_2940_2017_2 with its ZBL overlay."""

DUMBBELLS = {"<111>": (1, 1, 1), "<110>": (1, 1, 0), "<100>": (1, 0, 0)}
INTERSTICES = {"tetrahedral": (0.5, 0.25, 0.0), "octahedral": (0.5, 0.5, 0.0)}


def training_structures(session: Session, seed: int = 1) -> list[Atoms]:
    """Generate all structures, with the name of the group of each in ``info["group"]``.

    Parameters
    ----------
    session : Session
        With the potential for relaxation and molecular dynamics.
    seed : int
        Random seed of displacements and thermostats.
    """
    random = np.random.default_rng(seed)
    makers = {
        "elastic": elastic(),
        "strained": strained(random),
        "vacancy": vacancies(session),
        "interstitial": interstitials(session),
        "surface": surfaces(session),
        "screw": screws(session),
        "hot bulk": hot(session, [cube(3)], (300, 1000, 2000), 5, seed),
        "hot defects": hot(session, [without(cube(3), [0]), dumbbells(3)[0]], (300, 1000, 2000), 3, seed),
        "hot surface": hot(session, slabs(), (1500,), 3, seed),
    }
    found = []
    for group, maker in makers.items():
        for atoms in maker:
            atoms.info["group"] = group
            found.append(atoms)
    return found


def cube(repeat: int, lattice: float = LATTICE) -> Atoms:
    """Perfect crystal with `repeat` cubic cells along each edge."""
    return bulk("W", "bcc", a=lattice, cubic=True) * (repeat, repeat, repeat)


def deformed(atoms: Atoms, strain: np.ndarray) -> Atoms:
    """Homogeneously strained copy."""
    moved = atoms.copy()
    moved.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
    return moved


def without(atoms: Atoms, sites: list[int]) -> Atoms:
    """Copy with vacant sites."""
    left = atoms.copy()
    del left[sites]
    return left


def elastic() -> Iterator[Atoms]:
    """Small strains, which determine lattice and elastic constants."""
    for pattern in (
        np.eye(3),
        np.diag([1.0, -0.5, -0.5]),
        np.diag([1.0, 0, 0]),
        np.eye(3)[[0, 2, 1]] - np.diag([1, 0, 0]),
    ):
        for size in (-0.01, -0.005, 0.005, 0.01):
            yield deformed(cube(2), size * pattern)
    yield cube(2)


def strained(random: np.random.Generator) -> Iterator[Atoms]:
    """Volumes within 12 % of equilibrium, tetragonal strains and shears, and random strains with displacements."""
    for volume in np.linspace(0.88, 1.12, 13):
        yield cube(2, LATTICE * np.cbrt(volume))
    for size in (-0.08, -0.05, -0.025, 0.025, 0.05, 0.08):
        yield deformed(cube(2), size * np.diag([1.0, -0.5, -0.5]))
        yield deformed(cube(2), size * np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]]))
        yield deformed(cube(2), size * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2)
    for _ in range(20):
        atoms = deformed(cube(2), random.uniform(-0.04, 0.04, (3, 3)))
        atoms.positions += random.normal(0, 0.08, atoms.positions.shape)
        yield atoms


def vacancies(session: Session) -> Iterator[Atoms]:
    """Vacancies and divacancies at three volumes, unrelaxed and relaxed."""
    for volume in (0.95, 1.0, 1.05):
        crystal = cube(3, LATTICE * np.cbrt(volume))
        neighbours = np.argsort(crystal.get_distances(0, range(len(crystal)), mic=True), kind="stable")
        for second in (None, neighbours[1], neighbours[9], neighbours[15]):
            atoms = without(crystal, [0] if second is None else [0, int(second)])
            yield atoms
            yield from relaxing(session, atoms, (4, 30))
    yield from relaxing(session, without(cube(4), [0]), (30,))


def dumbbells(repeat: int) -> list[Atoms]:
    """Self-interstitials: dumbbells, and atoms in interstices."""
    found = []
    for direction in DUMBBELLS.values():
        atoms = cube(repeat)
        half = 0.35 * LATTICE * np.array(direction) / np.linalg.norm(direction)
        place = atoms.positions[0].copy()
        atoms.positions[0] = place - half
        found.append(atoms + Atoms("W", [place + half]))
    for place in INTERSTICES.values():
        found.append(cube(repeat) + Atoms("W", [LATTICE * np.array(place)]))
    return found


def interstitials(session: Session) -> Iterator[Atoms]:
    """Self-interstitials at several stages of relaxation; unrelaxed ones have irrelevantly high energies."""
    for atoms in dumbbells(3):
        yield from relaxing(session, atoms, (5, 7, 18, 60))
    yield from relaxing(session, dumbbells(4)[0], (12, 50))


def slabs() -> list[Atoms]:
    """Slabs with two free surfaces."""
    found = []
    for build, size in ((bcc100, (2, 2, 8)), (bcc110, (2, 2, 6)), (bcc111, (1, 1, 15))):
        atoms = build("W", size, a=LATTICE, vacuum=6.0)
        atoms.pbc = True
        found.append(atoms)
    return found


def surfaces(session: Session) -> Iterator[Atoms]:
    """Slabs, unrelaxed and relaxed."""
    for atoms in slabs():
        yield atoms
        yield from relaxing(session, atoms, (4, 30))


def screws(session: Session) -> Iterator[Atoms]:
    """Quadrupoles of <111>/2 screw dislocations at several core positions, at several stages of relaxation."""
    from matscipy.dislocation import make_screw_quadrupole

    for shift in (0.0, 0.25, 0.5):
        with contextlib.redirect_stdout(io.StringIO()):
            atoms, *_ = make_screw_quadrupole(LATTICE, left_shift=shift, right_shift=shift, n1u=5)
        yield from relaxing(session, atoms, (2, 5, 30))


def relaxing(session: Session, atoms: Atoms, stages: tuple[int, ...]) -> Iterator[Atoms]:
    """Structures during a relaxation; `stages` are the numbers of steps between them."""
    for steps in stages:
        atoms = session.relaxed(atoms, steps)
        yield atoms


def hot(session: Session, cells: list[Atoms], temperatures: tuple[int, ...], count: int, seed: int) -> Iterator[Atoms]:
    """Snapshots of molecular dynamics; temperatures in K."""
    for number, atoms in enumerate(cells):
        for temperature in temperatures:
            yield from session.snapshots(atoms, temperature, count, seed + number)
