"""Thermal functions and their gradients, compared with dense Hessians of structures relaxed at other parameters."""

import warnings

import numpy as np
import pytest
from hops import BCC, FCC, halfway

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.vibrations import harmonic_free_energy

TEMPERATURES = [80.0, 700.0]

ALLOY = """\
units           metal
lattice         fcc 3.7
region          cell block 0 2 0 2 0 2
create_box      2 cell
create_atoms    1 box
mass            1 50.0
mass            2 80.0
set             type 1 type/fraction 2 0.4 7
group           vacancy id 1
delete_atoms    group vacancy compress no
pair_style      lj/smooth 5.5 6.0
pair_modify     shift yes
pair_coeff      1 1 0.4 2.4
pair_coeff      2 2 0.35 2.55
pair_coeff      1 2 0.42 2.45
minimize        0 1e-10 5000 50000
"""

HCP = """\
units           metal
lattice         hcp 2.6
region          cell block 0 3 0 2 0 2
create_box      1 cell
create_atoms    1 box
mass            1 63.546
group           vacancy id 1
delete_atoms    group vacancy
pair_style      morse 6.0
pair_coeff      1 1 0.35 1.36 2.87
pair_modify     shift yes
minimize        0 1e-6 1000 10000
"""

RIM = FCC.replace(
    "minimize",
    "region core block 0.4 1.6 0.4 1.6 INF INF\ngroup core region core\n"
    "group rim subtract all core\nfix rim rim setforce 0 0 0\nminimize",
)

SLAB = """\
units           metal
boundary        p p f
lattice         fcc 3.7
region          cell block 0 2 0 2 -2 4.4
create_box      1 cell
region          layers block 0 2 0 2 -0.1 1.4
create_atoms    1 region layers
mass            1 50.0
pair_style      lj/smooth 5.5 6.0
pair_coeff      1 1 0.4 2.4
minimize        0 1e-10 1000 10000
"""

CLUSTER = """\
units           lj
boundary        f f f
lattice         fcc 1.0
region          cell block -2 2 -2 2 -2 2
create_box      1 cell
region          ball sphere 0.1 0.2 0.3 1.05
create_atoms    1 region ball
mass            1 1.0
displace_atoms  all random 0.1 0.1 0.1 5
pair_style      lj/smooth 3.5 4.0
pair_coeff      1 1 1.0 1.0
minimize        0 1e-10 1000 10000
"""

SYSTEMS = {
    "snap vacancy": (BCC.replace("0 3 0 3 0 3", "0 2 0 2 0 2"), {"parameters": "Ta:*"}, 3),
    "morse vacancy": (FCC, {"parameters": "morse*"}, 3),
    "alloy": (ALLOY, {"parameters": "lj*"}, 3),
    "hcp": (HCP, {"parameters": "morse*"}, 3),
    "rim": (RIM, {"parameters": "morse*"}, 0),
    "slab": (SLAB, {"parameters": "lj*"}, 3),
    "cluster": (CLUSTER, {"parameters": "lj*"}, 6),
    "saddle": (halfway(FCC), {"parameters": "morse*", "saddle": True}, 3),
    "iso": (FCC, {"parameters": "morse*", "cell": "iso"}, 3),
    "full": (HCP, {"parameters": "morse*", "cell": "full", "pressure": "1 GPa"}, 3),
}
"""Decks, how they are opened, and their zero modes."""


def opened(tmp_path, text, **options):
    path = tmp_path / "in.test"
    path.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return StationaryPoint.from_deck(path, ftol=1e-9, force_limit=np.inf, **options)


def frequencies(point):
    """Eigenvalues of the mass-weighted Hessian, by central differences of forces, without those next to zero."""
    engine = point.engine
    order = np.argsort(engine.ids)
    free = engine.free[order].reshape(-1)
    masses = np.repeat(engine.atom_masses()[order], 3)[free]
    columns = []
    for place in np.flatnonzero(free):
        forces = []
        for sign in (1, -1):
            step = np.zeros_like(engine.positions)
            step[order[place // 3], place % 3] = sign * 3e-5
            forces.append(engine.forces(step)[order].reshape(-1)[free])
        columns.append((forces[1] - forces[0]) / 6e-5)
    engine.return_to_reference()
    hessian = np.array(columns) / np.sqrt(np.outer(masses, masses))
    return np.linalg.eigvalsh((hessian + hessian.T) / 2)


def thermal(values, temperatures, quantum, lj):
    """F, U, S and C of oscillators, written down once more, per temperature."""
    hbar_omega = np.sqrt(values) * (1.0 if lj else 0.06465415)  # √(eV/(Å² g/mol)) ħ in eV (CODATA 2018)
    found = []
    for temperature in temperatures:
        kt = temperature * (1.0 if lj else 8.617333262e-5)
        x = hbar_omega / kt
        if quantum:
            free = hbar_omega / 2 + kt * np.log1p(-np.exp(-x))
            energy = hbar_omega * (0.5 + 1 / np.expm1(x))
            heat = x**2 * np.exp(x) / np.expm1(x) ** 2
        else:
            free, energy, heat = kt * np.log(x), kt + 0 * x, 1 + 0 * x
        found.append([free.sum(), energy.sum(), ((energy - free) / temperature).sum(), heat.sum() * kt / temperature])
    return np.array(found).T


def of_energies(found):
    return np.array([found.free_energy, found.energy, found.entropy, found.heat_capacity])


def of_gradients(found):
    return np.array(
        [
            found.free_energy_gradient,
            found.energy_gradient,
            found.entropy_gradient,
            found.heat_capacity_gradient,
        ]
    )


@pytest.mark.parametrize("name", SYSTEMS)
def test_gradients_agree_with_relaxing_again(name, tmp_path):
    text, options, zero_modes = SYSTEMS[name]
    lj = "units           lj" in text
    temperatures = [0.1, 0.5] if lj else TEMPERATURES
    with opened(tmp_path, text, **options) as point:
        freedom = point.strain(point.cell)
        found = harmonic_free_energy(point, temperatures, not lj, freedom=freedom, method="exact")
        assert found.zero_modes == zero_modes
        saddle = 1 if point.saddle else 0

        def brute():
            values = frequencies(point)
            values = np.delete(values, np.argsort(np.abs(values))[:zero_modes])[saddle:]
            assert len(values) == found.modes
            energies = thermal(values, temperatures, not lj, lj)
            energies[:2] += point.energy + np.trace(point.target) / 3 * point.engine.volume * (point.cell != "none")
            return energies

        np.testing.assert_allclose(of_energies(found), brute(), rtol=1e-6)
        theta = point.potential.theta
        change = np.random.default_rng(1).standard_normal(len(theta)) * theta * 2e-5
        ends = []
        for sign in (1, -1):
            moved = point.relaxed_at(sign * change, **({"cell": freedom} if point.cell != "none" else {}))
            strain = None if len(moved) == 2 else strain_to(point.engine.cell, moved[2])
            with point.excursion(sign * change, moved[0], strain):
                ends.append(brute())
        expected = (ends[0] - ends[1]) / 2
        size = np.abs(of_gradients(found) * change).max(axis=2)
        np.testing.assert_allclose(of_gradients(found) @ change / size, expected / size, atol=3e-5)


def strain_to(before, after):
    return (np.linalg.solve(before, after) - np.eye(3)).T
