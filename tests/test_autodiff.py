"""Exact derivatives of JAX energies: against LAMMPS, against relaxing again, and what is refused."""

import subprocess
import sys
import warnings
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms
from commands import program
from conftest import DECKS
from test_families import LJ, MORSE

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.errors import DeckError, NotAMinimumError, PotentialError
from lammps_implicit.structures import from_ase

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lammps_implicit import autodiff

import jax
import jax.numpy as jnp

BUCK = (
    LJ.partition("pair_style")[0]
    + """\
pair_style      buck 6.0
pair_modify     shift yes
pair_coeff      1 1 1500.0 0.3 20.0 5.0
pair_coeff      * 2 1200.0 0.31 15.0
minimize        0.0 1.0e-9 5000 50000
"""
)
BORN = (
    LJ.partition("pair_style")[0]
    + """\
pair_style      born 6.0
pair_coeff      1 1 0.3 0.3 2.4 30.0 10.0
pair_coeff      * 2 0.25 0.31 2.5 25.0 12.0
minimize        0.0 1.0e-9 5000 50000
"""
)
YUKAWA = """\
units           lj
atom_style      atomic
lattice         fcc 0.5
region          cell block 0 3 0 3 0 3
create_box      2 cell
create_atoms    1 box
mass            * 1.0
set             type 1 type/fraction 2 0.4 7
pair_style      yukawa 3.0 9.0
pair_modify     shift yes
pair_coeff      1 1 10.0
pair_coeff      1 2 11.0
pair_coeff      2 2 12.0
minimize        0.0 1.0e-9 5000 50000
"""
SMOOTH = "lj/smooth 5.5 6.0\npair_modify     shift yes"
SHIFTED = LJ.replace(SMOOTH, "lj/cut 6.0\npair_modify shift on\npair_style lj/cut 6.1")
SHEARED = LJ.replace("block 0 3 0 3 0 3", "prism 0 2 0 2 0 2 0.3 0.2 -0.4").replace("lj/smooth 5.5 6.0", "lj/cut 6.0")
FROZEN = MORSE.replace(
    "minimize", "region low block INF INF INF INF INF 3\ngroup low region low\nfix hold low setforce 0 0 0\nminimize"
)

FLAT = """\
units           metal
dimension       2
atom_style      atomic
boundary        p p p
lattice         hex 2.7
region          cell block 0 6 0 4 -0.1 0.1
create_box      2 cell
create_atoms    1 box
mass            * 50.0
set             type 1 type/fraction 2 0.4 7
group           vacancy id 9
delete_atoms    group vacancy compress no
fix             flat all enforce2d
pair_style      lj/smooth/linear 6.0
pair_coeff      * * 0.4 2.4
pair_coeff      1 2 0.42 2.45
minimize        0.0 1.0e-10 5000 50000
"""

DECKS_BOTH_HAVE = {
    "Lennard-Jones, smooth": (LJ, None),
    "Lennard-Jones in a small sheared cell": (SHEARED, None),
    "Lennard-Jones with linear smoothing": (LJ.replace("lj/smooth 5.5", "lj/smooth/linear"), None),
    "Morse": (MORSE, None),
    "Morse, atoms held": (FROZEN, "*r0,*D0"),
    "Buckingham": (BUCK, None),
    "Born": (BORN, None),
    "Yukawa": (YUKAWA, None),
    "Lennard-Jones in two dimensions": (FLAT, None),
    "Lennard-Jones, shifted": (SHIFTED, None),
}  # fmt: skip


def in_id_order(minimum, array):
    return array[np.argsort(minimum.ids)]


def relative(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", DECKS_BOTH_HAVE)
def test_lammps_and_jax_agree(write_deck, name):
    text, parameters = DECKS_BOTH_HAVE[name]
    deck = write_deck(text)
    exact = autodiff.from_deck(deck, parameters, ftol=1e-10, force_limit=1.0)
    with Minimum.from_deck(deck, parameters=parameters, ftol=1e-10, force_limit=1.0) as lammps:
        assert exact.potential.names == lammps.potential.names
        assert exact.energy == pytest.approx(lammps.energy, abs=1e-8)
        assert np.abs(exact.positions - in_id_order(lammps, lammps.positions)).max() < 1e-8
        if name != "Lennard-Jones in two dimensions":  # where LAMMPS' is per area
            assert relative(exact.pressure, lammps.pressure) < 1e-8

        rng = np.random.default_rng(0)
        away, pull = rng.normal(0, 0.02, (2, *exact.positions.shape))
        order = np.argsort(np.argsort(exact.ids)[np.argsort(np.argsort(lammps.ids))])
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        forces = in_id_order(lammps, lammps.engine.forces(away[back]))
        assert np.abs(exact.engine.forces(away) - forces).max() < 1e-8
        assert exact.engine.energy == pytest.approx(lammps.engine.energy, abs=1e-8)
        lammps.engine.forces()

        change = exact.potential.theta * rng.normal(0, 1, len(exact.potential.theta))
        pull -= pull.mean(axis=0)
        assert relative(in_id_order(lammps, lammps.jvp(change, 1e-8)), exact.jvp(change, 1e-10)) < 1e-6
        assert relative(lammps.vjp(pull[back], 1e-8), exact.vjp(pull, 1e-10)) < 1e-6
        jacobian = lammps.jacobian(1e-8).to_array()[:, np.argsort(lammps.ids)]
        assert relative(jacobian, exact.jacobian(1e-9).to_array()) < 1e-6
        assert relative(lammps.energy_gradient(), exact.energy_gradient()) < 1e-6
        assert relative(lammps.energy_hessian(1e-8), exact.energy_hessian(1e-9)) < (
            1e-6 if name.startswith(("Lennard", "Morse")) else 5e-6
        )


@pytest.mark.parametrize("cell", ["iso", "full"])
def test_cells_of_both_agree(write_deck, cell):
    deck = write_deck(LJ)
    exact = autodiff.from_deck(deck, ftol=1e-10, cell=cell, pressure="2 GPa")
    with Minimum.from_deck(deck, ftol=1e-10, cell=cell, pressure="2 GPa") as lammps:
        assert relative(exact.engine.cell, lammps.engine.cell) < 1e-9
        for one, other in ((lammps, exact), (exact, lammps)):
            assert one.engine.evaluations.forces != other.engine.evaluations.forces  # two engines, not one
        assert relative(lammps.strain_jacobian(1e-8, cell=cell), exact.strain_jacobian(1e-10, cell=cell)) < 2e-6
        assert relative(lammps.volume_gradient(1e-8, cell=cell), exact.volume_gradient(1e-10, cell=cell)) < 1e-6
        hessians = [minimum.energy_hessian(1e-8, cell=cell) for minimum in (lammps, exact)]
        assert relative(*hessians) < 5e-6


def vacancy(symbol="Cu", lattice=3.61, structure="fcc", repeat=2, seed=1):
    atoms = bulk(symbol, structure, lattice, cubic=True).repeat(repeat)
    del atoms[0]
    atoms.rattle(0.02, seed=seed)
    return atoms


def morse_of_all_pairs(x, h, p):
    """As a user would write it, without lists: periodic by nearest images."""
    fractional = (x[:, None] - x[None]) @ jnp.linalg.inv(h)
    vectors = (fractional - jnp.round(fractional)) @ h
    self = jnp.eye(len(x))
    r = jnp.sqrt(jnp.sum(vectors**2, axis=2) + self)
    decay = jnp.exp(-p["alpha"] * (r - p["r0"]))
    taper = jnp.where(r < 5.0, (1 - (r / 5.0) ** 2) ** 3, 0.0) * (1 - self)
    return 0.5 * jnp.sum(p["depth"] * (decay**2 - 2 * decay) * taper)


PARAMETERS = {"alpha": 1.36, "depth": 0.34, "r0": 2.87}


def test_an_energy_of_ones_own_against_relaxing_again():
    atoms = vacancy(repeat=3)
    atoms.set_constraint(FixAtoms([5, 6]))
    minimum = autodiff.minimum(atoms, morse_of_all_pairs, PARAMETERS, ftol=1e-12)
    assert minimum.potential.names == ("alpha", "depth", "r0")
    change = np.array([0.3, -0.1, 0.2])
    errors = []
    for size in (8e-3, 4e-3):
        moved, energy = minimum.relaxed_at(size * change, 1e-12)
        assert np.abs(moved[[5, 6]]).max() == 0
        first, second = minimum.jvp(change, 1e-9), autodiff.second_jvp(minimum, change)
        errors.append(np.linalg.norm(moved - size * first - 0.5 * size**2 * second))
        bent = energy - minimum.energy - size * minimum.energy_gradient() @ change
        assert bent == pytest.approx(0.5 * size**2 * change @ minimum.energy_hessian(1e-8) @ change, rel=5 * size)
    assert errors[0] / errors[1] == pytest.approx(8.0, rel=0.1)  # what is left is of third order


@pytest.mark.parametrize("cell", ["none", "iso", "xx,yz,zz"])
def test_second_derivatives_are_those_of_relaxed_structures(write_deck, cell):
    """Central differences of first derivatives, each at a minimum of its own."""
    minimum = autodiff.from_deck(write_deck(LJ.replace("0 3 0 3 0 3", "0 2 0 2 0 2")), ftol=1e-11)
    if cell != "none":
        # Third derivatives of lj/smooth jump where a pair is 5.5 or 6 Å apart; at this pressure none comes near.
        minimum.relax(1e-11, cell=cell, pressure="1 GPa")
    theta, rng = minimum.potential.theta, np.random.default_rng(0)
    one, two = theta * rng.normal(0, 1, (2, len(theta)))
    found = autodiff.second_jvp(minimum, one, two, 1e-10, cell=cell)
    mirrored = autodiff.second_jvp(minimum, two, one, 1e-10, cell=cell)
    size, corners = 2e-4, []
    for first, second in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        corners.append(minimum.relaxed_at(size * (first * one + second * two), 1e-12, cell=cell))
    moved = [corner[0] - corner[0].mean(axis=0) for corner in corners]
    expected = (moved[0] - moved[1] - moved[2] + moved[3]) / (4 * size**2)
    if cell == "none":
        assert np.allclose(found, mirrored, atol=1e-8 * np.abs(found).max())
        assert relative(found - found.mean(axis=0), expected) < 1e-4
        return
    assert np.allclose(found.displacement, mirrored.displacement, atol=1e-8 * np.abs(found.displacement).max())
    assert relative(found.displacement - found.displacement.mean(axis=0), expected) < 2e-3
    cells = [corner.cell for corner in corners]
    bend = (cells[0] - cells[1] - cells[2] + cells[3]) / (4 * size**2)
    strains = np.tensordot(found.strain, minimum.cell_system(1e-8, cell).freedom.tensors(), axes=1)
    assert relative(minimum.engine.cell @ strains.T, bend) < 2e-3


def test_the_whole_tensor_of_second_derivatives():
    minimum = autodiff.minimum(vacancy(repeat=3), morse_of_all_pairs, PARAMETERS)
    tensor, change = autodiff.second_jacobian(minimum), np.array([0.1, 0.2, -0.3])
    contracted = np.einsum("p,q,pqna->na", change, change, tensor)
    assert relative(contracted, autodiff.second_jvp(minimum, change)) < 1e-6


def test_stillinger_weber_of_jax_md_is_that_of_lammps(write_deck):
    energy = autodiff.stillinger_weber_energy()
    theta = {**autodiff.STILLINGER_WEBER, "epsilon": 2.1683}
    minimum = autodiff.minimum(vacancy("Si", 5.431, "diamond"), energy, list(theta.values()), ftol=1e-10)
    assert minimum.potential.names == tuple(theta)
    from lammps_implicit.evaluators.lammps import Engine

    positions = "\n".join(f"create_atoms 1 single {x:.15g} {y:.15g} {z:.15g}" for x, y, z in minimum.positions + 0.01)
    deck = write_deck(
        "units metal\natom_style atomic\natom_modify sort 0 0\nregion all block 0 10.862 0 10.862 0 10.862\n"
        f"create_box 1 all\nmass 1 28.0\n{positions}\npair_style sw\npair_coeff * * Si.sw Si\nrun 0\n"
    )
    engine = Engine.start()
    engine.run_deck(deck)
    engine.take_over()
    forces = engine.settle()
    assert len(engine.ids) == len(minimum.positions)
    assert minimum.energy == pytest.approx(engine.energy, abs=1e-8)
    assert np.abs(forces).max() < 1e-7
    away = np.random.default_rng(0).normal(0, 0.02, forces.shape)
    # jax-md adds 1e-7 to lengths where it takes cosines of angles.
    assert np.abs(engine.forces(away) - minimum.engine.forces(away)).max() < 3e-7
    engine.close()
    change = minimum.potential.theta * np.array([0.1, 0.2, -0.1, 0.3, 0.2, -0.1])
    size = 1e-3
    moved = (minimum.relaxed_at(size * change, 1e-11)[0] - minimum.relaxed_at(-size * change, 1e-11)[0]) / (2 * size)
    assert relative(minimum.jvp(change, 1e-9), moved - moved.mean(axis=0)) < 1e-4


def test_stillinger_weber_is_smooth_at_its_cutoff_and_where_lists_are_filled_up():
    """Second neighbours on either side of the cutoff; the last atom lacks a neighbour, so that it finds itself."""
    energy, theta = autodiff.stillinger_weber_energy(), np.array(list(autodiff.STILLINGER_WEBER.values()))
    evaluate = jax.jit(jax.value_and_grad(energy, (0, 2)))
    product = jax.jit(lambda x, v, *rest: jax.jvp(lambda y: evaluate(y, *rest)[1], (x,), (v,))[1])
    for bond in (3.771, 3.77118, 3.7712, 3.84):
        atoms = bulk("Si", "diamond", bond * np.sqrt(2), cubic=True).repeat(2)[:-1]
        x, h, lists = atoms.positions, np.array(atoms.cell), energy.neighbours(from_ase(atoms)[0], theta)
        assert (lists[-1] == len(atoms)).any()
        v, dtheta, step = np.random.default_rng(0).standard_normal(x.shape), 1e-6 * theta, 1e-5
        ahead, behind = (evaluate(x + sign * step * v, h, theta, lists)[1] for sign in (1, -1))
        for found, one, other in zip(product(x, v, h, theta, lists), ahead, behind, strict=True):
            assert relative(np.asarray(found), np.asarray(one - other) / (2 * step)) < 1e-6
        raised, lowered = (evaluate(x, h, theta + sign * dtheta, lists)[0] for sign in (1, -1))
        slope = evaluate(x, h, theta, lists)[1][1] @ dtheta
        assert float(slope) == pytest.approx(float(raised - lowered) / 2, rel=1e-6)


def test_a_cluster_without_a_cell_turns_freely():
    """Thirteen atoms: translations and rotations cost nothing."""
    atoms = Atoms("Cu13", np.random.default_rng(3).normal(0, 2.0, (13, 3)))
    energy = autodiff.lennard_jones_energy(1, 30.0, taper="none")
    minimum = autodiff.minimum(atoms, energy, [0.4, 2.3], ftol=1e-9)
    assert minimum.potential.names == ("1-1 epsilon", "1-1 sigma")
    assert len(minimum.null_space().vectors) == 6
    centred = minimum.positions - minimum.positions.mean(axis=0)
    assert relative(minimum.jvp([0.0, 1.0], 1e-9), centred / 2.3) < 1e-6  # everything scales with sigma
    second = autodiff.second_jvp(minimum, [0.0, 1.0])
    assert np.abs(second).max() < 1e-6


def test_everything_else_works_too(tmp_path, write_deck):
    deck = write_deck(LJ)

    def run(*arguments, good=True):
        command = [*program(), *map(str, arguments)]
        outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert (outcome.returncode == 0) is good, outcome.stderr
        assert "Traceback" not in outcome.stderr
        return outcome.stdout + outcome.stderr

    told = run("sensitivity", deck.name, "-o", "jax.h5", "--cell", "iso", "--autodiff")
    assert "s in JAX" in told
    assert "single precision" not in told
    run("sensitivity", deck.name, "-o", "lammps.h5", "--cell", "iso")
    with h5py.File(tmp_path / "jax.h5") as exact, h5py.File(tmp_path / "lammps.h5") as lammps:
        assert set(exact) == set(lammps)
        assert "jax_version" in exact.attrs
        for name in ("jacobian", "volume_gradient", "energy_gradient", "energy_hessian", "positions"):
            assert relative(lammps[name][()], exact[name][()]) < 1e-4
        theta = exact["theta"][()]
    np.save(tmp_path / "new.npy", theta * 1.001)
    assert "predicted enthalpy" in run("predict", "jax.h5", "--theta", "new.npy", "-o", "new.h5")
    np.save(tmp_path / "samples.npy", theta * (1 + 0.002 * np.random.default_rng(0).standard_normal((50, len(theta)))))
    validated = run("validate", "jax.h5", "--ensemble", "samples.npy", "--samples", "2", "-o", "validated")
    assert "single precision" not in validated  # it relaxes in JAX again
    assert "2 samples" in run("merge", "validated", "-o", "merged.h5")

    exact = autodiff.from_deck(deck, ftol=1e-10)
    model = exact.expansion(2)
    with Minimum.from_deck(deck, ftol=1e-10) as reference:
        change = 1e-3 * theta * np.array([1.0, -1.0, 0.5, 1.0, -0.5, 1.0])
        assert model.predict(change).enthalpy == pytest.approx(
            reference.expansion(2).predict(change).enthalpy, abs=1e-7
        )
    exact.relax(cell="iso")
    path = exact.follow(theta * np.array([1.1, 1.01, 1.0, 0.99, 1.05, 1.0]), cell="iso")
    assert path.reached


def test_positions_can_come_from_lammps(write_deck):
    with Minimum.from_deck(write_deck(MORSE), ftol=1e-10) as lammps:
        energy = autodiff.morse_energy(1, 6.5, taper="linear")
        exact = autodiff.from_lammps(lammps, energy)
        assert exact.potential.names == lammps.potential.names
        assert exact.setup.forces == 1  # no more than that: the minimum is one here too
        assert exact.deck_name == lammps.deck_name
        deeper = autodiff.from_lammps(lammps, energy, [0.4, 1.36, 2.87])
        assert deeper.energy < exact.energy
        with pytest.raises(LammpsImplicitError, match="from_lammps"):
            autodiff.second_jvp(lammps, lammps.potential.theta)


def narrow(x, h, p):
    return morse_of_all_pairs(x.astype(jnp.float32), h, p).astype(float)


@pytest.mark.parametrize(
    ("energy", "theta", "message"),
    [
        (narrow, PARAMETERS, "computes in float32"),
        (lambda x, h, p: x.sum(axis=1), PARAMETERS, "not a scalar"),
        (lambda x, h, p: float(x[0, 0]), PARAMETERS, "JAX cannot trace"),
        (lambda x, h, p: jnp.sqrt(jnp.sum((x - x) ** 2)) * p["alpha"], PARAMETERS, "not finite"),
        (morse_of_all_pairs, {}, "no parameters"),
        (morse_of_all_pairs, {**PARAMETERS, "r0": "long"}, "not a real number"),
        (morse_of_all_pairs, {**PARAMETERS, "idle": 1.0}, "'idle' has no effect"),
        (morse_of_all_pairs, {**PARAMETERS, "r0": np.nan}, "not finite"),
        (autodiff.lennard_jones_energy(1, 6.0), [0.4, 2.3, 1.0], "2 names"),
    ],
)
def test_energies_that_are_refused(energy, theta, message):
    with pytest.raises(LammpsImplicitError, match=message) as refused:
        autodiff.minimum(vacancy(repeat=3), energy, theta)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("lj/smooth 5.5 6.0", "lj/mdf 5.5 6.0"), "no counterpart in JAX"),
        (("pair_coeff      1 2 0.42 2.45\n", ""), "mixes the coefficients of types 1 and 2"),
        (("pair_modify     shift yes", ""), "energy of lj/smooth jumps"),
        (("lj/smooth 5.5 6.0\npair_modify     shift yes", "lj/cut 6.0\npair_modify tail on"), "tail yes"),
        (("minimize", "group few id 5 6 7\nneigh_modify exclude group few few\nminimize"), "JAX and LAMMPS differ"),
    ],
)
def test_decks_without_a_counterpart(write_deck, change, message):
    with pytest.raises(PotentialError, match=message):
        autodiff.from_deck(write_deck(LJ.replace(*change)), force_limit=np.inf)


def test_structures_that_are_refused():
    energy = autodiff.stillinger_weber_energy()
    theta = list(autodiff.STILLINGER_WEBER.values())
    with pytest.raises(LammpsImplicitError, match="one of 1 types"):
        autodiff.minimum(bulk("NaCl", "rocksalt", 5.6, cubic=True), autodiff.lennard_jones_energy(1, 6.0), [0.1, 2.5])
    with pytest.raises(LammpsImplicitError, match="one periodic image"):
        autodiff.minimum(bulk("Si", cubic=True), energy, theta)
    with pytest.raises(DeckError, match="LAMMPS' orientation"):
        autodiff.minimum(bulk("Si"), energy, theta)


class Shape(NamedTuple):
    height: float
    width: float


def gaussians(x, h, height, width):
    apart = (x[:, None] - x[None]) @ jnp.linalg.inv(h)
    return jnp.sum(height * jnp.exp(-jnp.sum(((apart - jnp.round(apart)) @ h) ** 2, axis=2) / width**2))


def test_parameters_of_any_form():
    atoms, found = vacancy(repeat=3), []
    for energy, theta in (
        (lambda x, h, p: gaussians(x, h, p.height, p.width), Shape(50.0, 1.0)),
        (lambda x, h, p: gaussians(x, h, *p[0]), [(50.0, np.float32(1.0))]),
        (lambda x, h, p: gaussians(x, h, p["a"]["b"][0], p["a"]["b"][1]), {"a": {"b": jnp.array([50.0, 1.0])}}),
        (lambda x, h, p: gaussians(x, h, p[0], p[1]), (50, 1)),
    ):
        minimum = autodiff.minimum(atoms, energy, theta)
        found.append((minimum.potential.names, minimum.energy_gradient()))
    names, gradients = zip(*found, strict=True)
    assert names[0] == ("height", "width")
    assert names[2] == ("a/b 0", "a/b 1")
    assert all(len(set(labels)) == 2 for labels in names)
    assert np.allclose(gradients, gradients[0])
    with pytest.warns(UserWarning, match="has no effect"):  # as an idle neuron
        autodiff.minimum(atoms, lambda x, h, p: gaussians(x, h, p[0], p[1]), np.array([50.0, 1.0, 3.0]))


def test_neighbours_are_listed_as_far_as_parameters_reach():
    atoms, theta = (
        bulk("Si", "diamond", 5.431, cubic=True).repeat(3),
        np.array(list(autodiff.STILLINGER_WEBER.values())),
    )
    minimum = autodiff.minimum(atoms, autodiff.stillinger_weber_energy(), theta)
    change = theta * np.array([0, 0.3, 0, 0, 0, 0])
    away = autodiff.minimum(atoms, autodiff.stillinger_weber_energy(), theta + change, ftol=np.inf)
    assert minimum.energy_at(change, np.zeros_like(minimum.positions)) == pytest.approx(away.energy, rel=1e-9)


def test_nothing_holds_atoms_without_an_energy():
    minimum = autodiff.minimum(vacancy(), lambda x, h, p: p["a"] * p["b"], {"a": 1.0, "b": 2.0})
    with pytest.raises(NotAMinimumError, match="displacements cause no forces"):
        minimum.jvp([1.0, 0.0])


def test_single_precision_is_switched_and_said():
    script = "import jax, lammps_implicit.autodiff; print(jax.numpy.ones(1).dtype)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=without_precision())
    assert told.stdout.strip() == "float64"
    assert "has switched it to double" in told.stderr
    assert jax.config.jax_enable_x64


def test_without_jax_one_message(write_deck, tmp_path):
    (tmp_path / "jax.py").write_text("raise ImportError('no jax here')\n")
    deck = DECKS / "in.lj_alloy"
    told = subprocess.run(
        [sys.executable, "-m", "lammps_implicit", "sensitivity", str(deck), "-o", "x.h5", "--autodiff"],
        cwd=tmp_path, capture_output=True, text=True, env={**without_precision(), "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert told.returncode != 0
    assert told.stderr.strip().endswith("pip install 'lammps-implicit[autodiff]'")
    assert "Traceback" not in told.stderr
    assert not (tmp_path / "x.h5").exists()


def without_precision():
    import os

    return {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
