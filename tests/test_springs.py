"""Learned springs: sparse hat functions against dense ones, and their memory."""

import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from mpi4py import MPI
from scipy import sparse
from scipy.linalg import eigh

from lammps_implicit.evaluators.interface import REACH, Evaluator, Neighbourhood
from lammps_implicit.solvers import springs
from lammps_implicit.solvers.bends import find_bends, find_twists
from lammps_implicit.solvers.bonds import KNOTS, find_bonds, find_contacts, found_again
from lammps_implicit.solvers.spring_fit import Probe, design_matrix, fit_springs, random_probe
from lammps_implicit.solvers.springs import random_vector
from lammps_implicit.solvers.yielding import yielding


def _engine(atoms, n_types, seed=3):
    """A cluster of shaken lattice sites, as one rank sees it, and its neighbourhood."""
    random = np.random.default_rng(seed)
    edge = round(atoms ** (1 / 3))
    sites = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1).reshape(-1, 3) * 2.5
    positions = sites + 0.1 * random.standard_normal(sites.shape)
    ids = 1 + random.permutation(len(sites))
    free = np.ones((len(sites), 3), bool)
    free[::7, 1] = False
    free[::11] = False
    engine = SimpleNamespace(comm=MPI.COMM_SELF, ids=ids, free=free, alone=free, n_types=n_types, positions=positions)
    for name in ("sum", "max", "norm", "dot", "on_root"):
        setattr(engine, name, getattr(Evaluator, name).__get__(engine))
    return engine, Neighbourhood(positions, ids, random.integers(1, n_types + 1, len(sites)), free)


def _fitted(engine, around, product):
    bonds, _ = find_bonds(engine, around, REACH)
    return fit_springs(engine, bonds, (find_bends(engine, around),), [random_probe(around, product)])


def _dense_hats(bonds):
    """(m, KNOTS · number of kinds)."""
    _, lengths = bonds.directions(slice(None))
    count = int(bonds.kinds.max()) + 1
    hats = np.zeros((len(lengths), count, KNOTS))
    kinds = bonds.kinds[bonds.around.types[bonds.start], bonds.around.types[bonds.end]]
    values = np.stack([np.interp(lengths, bonds.knots, unit) for unit in np.eye(KNOTS)], axis=1)
    hats[np.arange(len(lengths)), kinds] = values
    return hats.reshape(len(lengths), -1)


@pytest.mark.parametrize("n_types", [1, 3])
def test_design_is_the_sum_over_bonds(monkeypatch, n_types):
    monkeypatch.setattr("lammps_implicit.solvers.bonds.CHUNK", 50)
    engine, around = _engine(216, n_types)
    bonds, _ = find_bonds(engine, around, REACH)
    values = random_vector(around.ids) * around.free
    directions, lengths = bonds.directions(slice(None))
    hats = _dense_hats(bonds)
    assert bonds.hats(slice(None), lengths).toarray() == pytest.approx(hats, abs=1e-13)
    stretch = values[bonds.start] - values[bonds.end]
    along = directions * np.sum(directions * stretch, axis=1)[:, None]
    expected = np.zeros((len(engine.ids), 3, 2 * hats.shape[1]))
    both = np.concatenate([along[:, :, None] * hats[:, None], (stretch - along)[:, :, None] * hats[:, None]], axis=2)
    np.add.at(expected, bonds.start, both)
    for atoms, part in bonds.chunks(len(engine.ids)):
        design = design_matrix(bonds, atoms, part, values).toarray()
        found = design.reshape(3, -1, design.shape[1]).transpose(1, 0, 2)
        assert found == pytest.approx(expected[atoms], abs=1e-12)


def test_known_springs_are_found():
    # H made of springs whose stiffnesses are such functions: the fit is exact.
    engine, around = _engine(512, 2)
    bonds, _ = find_bonds(engine, around, REACH)
    known = np.random.default_rng(5).uniform(0.5, 2.0, 2 * KNOTS * 3)
    values = random_vector(around.ids) * around.free
    design = design_matrix(bonds, slice(0, len(engine.ids)), slice(None), values)
    product = (design @ known).reshape(3, -1).T * engine.free
    fitted = _fitted(engine, around, product)
    assert np.concatenate([fitted.longitudinal, fitted.transverse]) == pytest.approx(known, rel=1e-3)
    assert fitted.misfit < 1e-5


def test_twenty_types_take_little_memory():
    engine, around = _engine(8000, 20)
    product = random_vector(around.ids, 1) * around.free
    tracemalloc.start()
    _fitted(engine, around, product)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300e6  # 98 MB; 979 MB with dense hat functions


def _molecules(seed=4):
    """Bent molecules of three atoms, two of a kind, and a random displacement of them."""
    random = np.random.default_rng(seed)
    centres = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3) * 4.0
    arms = np.array([[0.0, 0, 0], [1, 0, 0], [-0.4, 0.9, 0]])
    turned = np.array([arms @ np.linalg.qr(random.standard_normal((3, 3)))[0] for _ in centres])
    positions = (centres[:, None] + turned).reshape(-1, 3)
    ids, free = 1 + np.arange(len(positions)), np.ones(positions.shape, bool)
    engine, _ = _engine(8, 2)
    engine.ids, engine.free, engine.alone, engine.positions = ids, free, free, positions
    return engine, Neighbourhood(positions, ids, np.tile([1, 2, 2], len(centres)), free)


def _angles(positions):
    first, second = positions[1::3] - positions[::3], positions[2::3] - positions[::3]
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.arccos(np.einsum("ma,ma->m", first, second) / lengths)


def test_bends_are_the_curvature_of_angles():
    engine, around = _molecules()
    bends = find_bends(engine, around)
    assert len(bends.atoms) == 27 and bends.n_kinds == 1
    values, step = random_vector(around.ids), 1e-5
    change = (_angles(around.positions + step * values) - _angles(around.positions - step * values)) / (2 * step)
    product = bends.design_matrix(slice(0, 81), values).toarray().reshape(3, -1).T
    assert np.vdot(values, product) == pytest.approx(change @ change, rel=1e-8)


def _dihedrals(positions):
    """Of chains of four atoms, rad."""
    one, two, three = (positions[k + 1 :: 4] - positions[k::4] for k in range(3))
    left, right = np.cross(one, two), np.cross(two, three)
    axis = two / np.linalg.norm(two, axis=1)[:, None]
    return np.arctan2(np.einsum("ma,ma->m", np.cross(left, right), axis), np.einsum("ma,ma->m", left, right))


def test_twists_are_the_curvature_of_dihedral_angles():
    """Chains of four atoms of two types: one dihedral angle each, of one kind."""
    random = np.random.default_rng(8)
    chain = np.array([[-0.3, 0.9, 0.1], [0.0, 0, 0], [1.2, 0, 0], [1.6, 0.2, 1.0]])
    centres = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3) * 6.0
    turned = np.array([chain @ np.linalg.qr(random.standard_normal((3, 3)))[0] for _ in centres])
    positions = (centres[:, None] + turned).reshape(-1, 3)
    engine, _ = _engine(8, 2)
    engine.ids, engine.free = 1 + np.arange(len(positions)), np.ones(positions.shape, bool)
    engine.positions = positions
    around = Neighbourhood(positions, engine.ids, np.tile([1, 1, 2, 2], len(centres)), engine.free)
    twists = find_twists(engine, around)
    assert len(twists.atoms) == 27 and twists.n_kinds == 1
    values = random_vector(around.ids)
    step = 1e-6
    change = (_dihedrals(positions + step * values) - _dihedrals(positions - step * values)) / (2 * step)
    product = twists.design_matrix(slice(0, len(positions)), values).toarray().reshape(3, -1).T
    assert np.vdot(values, product) == pytest.approx(np.vdot(change, change), rel=1e-7)
    assert np.abs(product.reshape(-1, 4, 3).sum(axis=1)).max() < 1e-12  # no net force
    assembled = np.zeros((len(positions), 3))
    for rows, columns, blocks in twists.blocks(slice(0, len(positions)), np.ones(1)):
        np.add.at(assembled, rows, np.einsum("mab,mb->ma", blocks, values[columns]))
    assert assembled == pytest.approx(product, abs=1e-12)


def test_assembled_is_what_was_fitted():
    engine, around = _molecules()
    bonds, _ = find_bonds(engine, around, REACH)
    contacts, bends = find_contacts(engine, bonds), find_bends(engine, around)
    assert contacts.with_contacts and contacts.knots[-1] > 2.5
    stiffness = np.random.default_rng(1).uniform(0.5, 2.0, 2 * contacts.unknowns + 1)
    along, across, angular = np.split(stiffness, [contacts.unknowns, 2 * contacts.unknowns])
    known = springs.Springs(contacts, (bends,), along, across, (angular,), 0.0)
    values = random_vector(around.ids)
    design = design_matrix(contacts, slice(0, 81), slice(None), values) @ np.concatenate([along, across])
    expected = (design + bends.design_matrix(slice(0, 81), values) @ angular).reshape(3, -1).T
    assert springs.spring_product(engine, known, values) == pytest.approx(expected, rel=1e-10, abs=1e-10)
    matrix = next(springs.assemble(engine, known))
    assert (matrix @ values.reshape(-1)).reshape(-1, 3) == pytest.approx(expected, rel=1e-4)
    assert abs(matrix - matrix.T).max() < 1e-12


def _with_negative_contacts(engine, around):
    """Springs whose contacts are soft, and of either sign, and their bends."""
    bonds, _ = find_bonds(engine, around, REACH)
    contacts, bends = find_contacts(engine, bonds), (find_bends(engine, around),)
    random = np.random.default_rng(6)
    along, across = (np.where(contacts.beyond, random.uniform(-0.1, 0.1, contacts.unknowns), 1.0) for _ in range(2))
    return springs.Springs(contacts, bends, along, across, (np.ones(1),), 0.0)


def _probes(engine, around, known, count=3):
    vectors = [random_vector(around.ids, seed) for seed in range(count)]
    return [Probe(v, springs.spring_product(engine, known, v)) for v in vectors]


def test_negative_stiffnesses_are_found():
    engine, around = _molecules()
    known = _with_negative_contacts(engine, around)
    probes = _probes(engine, around, known, 6)
    found = fit_springs(engine, known.bonds, known.bends, probes, signed=True)
    assert found.misfit < 1e-4
    assert fit_springs(engine, known.bonds, known.bends, probes).misfit > 10 * found.misfit
    w = random_vector(around.ids, 17)
    expected = springs.spring_product(engine, known, w)
    assert springs.spring_product(engine, found, w) == pytest.approx(expected, abs=0.01 * np.abs(expected).max())


def test_springs_yield_as_far_as_they_stay_positive():
    engine, around = _molecules()
    known = _with_negative_contacts(engine, around)
    probes = _probes(engine, around, known)
    firm, signed = (fit_springs(engine, known.bonds, known.bends, probes, sign) for sign in (False, True))
    dense = {}
    for name, of in (("firm", firm), ("signed", signed)):
        dense[name] = sparse.vstack(list(springs.assemble(engine, of))).toarray()
    assert np.linalg.eigvalsh(dense["signed"])[0] < 0
    inverse = np.linalg.inv(dense["firm"])
    mixed = yielding(engine, firm, signed, lambda v: (inverse @ v.reshape(-1)).reshape(v.shape))
    ratios = eigh(next(springs.assemble(engine, mixed)).toarray(), dense["firm"], eigvals_only=True)
    assert 0.15 < ratios[0] < 0.25  # all that is allowed
    # Where the signed ones are positive enough they are taken as they are.
    stiffer = replace(signed, longitudinal=firm.longitudinal + 0.1, transverse=firm.transverse + 0.1)
    kept = yielding(engine, firm, stiffer, lambda v: (inverse @ v.reshape(-1)).reshape(v.shape))
    assert kept.longitudinal == pytest.approx(stiffer.longitudinal)


def test_stiffnesses_are_carried_along():
    """Molecules that turn together, by half a turn about an axis, have the same springs turned."""
    engine, around = _molecules()
    bonds, _ = find_bonds(engine, around, REACH)
    contacts, bends = find_contacts(engine, bonds), find_bends(engine, around)
    turn = np.diag([-1.0, -1.0, 1.0])
    there = replace(around, positions=around.positions @ turn)
    engine.positions = there.positions
    again = found_again(engine, contacts, there)
    assert np.array_equal(again.start, contacts.start) and np.array_equal(again.knots, contacts.knots)
    angles = find_bends(engine, there)
    assert angles.carried(np.array([3.0]), bends) == pytest.approx([3.0])
    other = find_bends(engine, replace(there, types=3 - there.types))
    assert other.carried(np.array([3.0]), bends) == pytest.approx([0.0])  # another kind: unknown
