"""Pieces of the distributed machinery, on several ranks: balance, reductions, what rank 0 does for all."""

import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk
from mpi4py import MPI

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.continuation.neighbours import NeighbourGraph
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.ase_deck import temporary_deck
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood
from lammps_implicit.mpi.deal import deal
from lammps_implicit.mpi.hashing import home_ranks
from lammps_implicit.mpi.id_order import IdOrder
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.mpi.ownership import fetch, first_row

WORLD = MPI.COMM_WORLD

LJ = ["pair_style lj/cut 6.0", "pair_coeff * * 0.1 2.6"]

PATTERNS = {
    "without gaps": lambda n: np.arange(1, n + 1),
    "even": lambda n: 2 * np.arange(1, n + 1),
    "one of two billion": lambda n: np.append(np.arange(1, n), 2_000_000_000),
    "beyond 32 bits": lambda n: 2**40 + 2**33 * np.arange(n),
    "powers of two": lambda n: np.unique(2 ** np.arange(50)),
}


def _share(ids, seed=1):
    """This rank's share of ids, at random and in random order."""
    random = np.random.default_rng(seed)
    shuffled = random.permutation(ids.astype(np.int64))
    return shuffled[random.integers(0, WORLD.size, len(ids)) == WORLD.rank]


@pytest.mark.parallel(nprocs=[1, 3])
def test_blocks_of_ids_are_equal_whatever_the_ids():
    for pattern in PATTERNS.values():
        ids = pattern(1000)
        mine = _share(ids)
        order = IdOrder(WORLD, mine)
        assert order.total == len(ids)
        assert np.ptp(order._counts) <= 1
        whole = order.gather(mine)
        assert whole is None or np.array_equal(whole, ids)
    for count in range(4):  # fewer than ranks
        order = IdOrder(WORLD, _share(10 + 5 * np.arange(count)))
        assert order.total == count
        assert order._counts.max() <= -(-count // WORLD.size)


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("pattern", ["without gaps", "even", "one of two billion", "beyond 32 bits"])
def test_homes_are_balanced(pattern, size):
    homes = home_ranks(PATTERNS[pattern](10_000).astype(np.int64), size)
    counts = np.bincount(homes, minlength=size)
    assert len(counts) == size
    assert np.abs(counts - 10_000 / size).max() < 5 * np.sqrt(10_000 / size)


@pytest.mark.parallel(nprocs=[1, 3])
def test_values_are_fetched_by_id():
    for pattern in PATTERNS.values():
        ids = pattern(200).astype(np.int64)
        mine, wanted = _share(ids), np.random.default_rng(WORLD.rank).choice(ids, 77)
        assert np.array_equal(fetch(WORLD, mine, mine % 1009, wanted), wanted % 1009)
        rows = fetch(WORLD, mine, np.sqrt(mine)[:, None] * np.ones(3), np.append(wanted, 7_777_777), missing=-1.0)
        assert np.array_equal(rows[:-1], np.sqrt(wanted)[:, None] * np.ones(3))
        assert rows[-1].tolist() == [-1.0] * 3
    assert first_row(WORLD, WORLD.rank + 1) == sum(range(WORLD.rank + 1))


def _engine(comm=WORLD, **more):
    engine = SimpleNamespace(comm=comm, **more)
    for name in ("sum", "max", "any", "dot", "norm", "max_abs"):
        setattr(engine, name, getattr(Evaluator, name).__get__(engine))
    return engine


@pytest.mark.parallel(nprocs=[1, 3])
def test_reductions_keep_kinds_and_send_buffers():
    # A communicator that cannot pickle.
    engine, ranks = _engine(SimpleNamespace(size=WORLD.size, Allreduce=WORLD.Allreduce)), range(1, WORLD.size + 1)
    mine = WORLD.rank + 1
    total = sum(ranks)
    whole, half, counted = engine.sum(mine), engine.sum(mine / 2), engine.sum(np.count_nonzero(np.ones(mine)))
    assert (whole, half, counted) == (total, total / 2, total)
    assert type(whole) is int and type(half) is float
    array = np.full((2, 3), mine)
    assert np.array_equal(engine.sum(array), np.full((2, 3), total))
    assert array[0, 0] == mine  # what was given is left as it is
    assert (
        engine.sum(np.asfortranarray(np.arange(6.0).reshape(2, 3))).tolist()
        == (WORLD.size * np.arange(6.0).reshape(2, 3)).tolist()
    )
    assert engine.sum(np.array([mine, 1])[:, None].T.astype(np.int32)).tolist() == [[total, WORLD.size]]
    assert engine.sum(True) == WORLD.size
    assert engine.max(-mine) == -1.0
    assert engine.any(mine == WORLD.size)
    assert not engine.any(False)

    for bad in range(WORLD.size):
        assert np.isnan(engine.max(np.nan if WORLD.rank == bad else float(WORLD.rank)))
    assert engine.max(-np.inf) == -np.inf


@pytest.mark.parallel(nprocs=2)
def test_arrays_that_the_root_finds_reach_all():
    found = on_root(WORLD, lambda: {"a": np.arange(1000.0), "b": "text"})
    assert np.array_equal(found["a"], np.arange(1000.0))
    found["a"][0] = 5.0  # and are each rank's own
    assert WORLD.bcast(found["a"][0]) == 5.0


@pytest.mark.parallel(nprocs=[1, 3])
def test_rows_are_dealt_in_turn():
    pieces = [np.full((3, 2), float(k)) for k in range(7)]
    mine = deal(WORLD, lambda: iter(pieces), 2)
    assert mine[::3, 0].tolist() == list(range(WORLD.rank, 7, WORLD.size))
    assert deal(WORLD, lambda: iter([]), 2).shape == (0, 2)

    def fail():
        yield from pieces[:4]
        raise LammpsImplicitError("the disk is gone")

    with pytest.raises(LammpsImplicitError, match="the disk is gone"):
        deal(WORLD, fail, 2)


@pytest.mark.parallel(nprocs=[1, 2])
def test_changed_neighbours_are_named():
    # A row of atoms, every other on each rank, whose last two part while the first two of a second row meet.
    base = 2**40
    ids = base + np.arange(1, 9)
    before = np.array([[3.0 * k, 0.0, 0.0] for k in range(6)] + [[40.0, 0.0, 0.0], [46.0, 0.0, 0.0]])
    after = before.copy()
    after[5, 0] += 2.5
    after[7, 0] = 43.0
    mine = np.arange(8) % WORLD.size == WORLD.rank
    engine = _engine(ids=ids[mine], n_types=1)

    def graph_at(positions):
        rows = np.concatenate([np.flatnonzero(mine), np.flatnonzero(~mine)])
        around = Neighbourhood(positions[rows], ids[rows], np.ones(8, int), np.ones((8, 3), bool))
        engine.neighbourhood = lambda: around

    graph_at(before)
    graph = NeighbourGraph.of(engine)
    assert engine.sum(len(graph.bonded)) == 10
    assert graph.difference(engine) == ""
    graph_at(after)
    assert graph.difference(engine) == (
        f"neighbours change: 1 pairs part (atoms {base + 5}-{base + 6}), 1 pairs meet (atoms {base + 7}-{base + 8})"
    )


@pytest.fixture
def temporary(monkeypatch, tmp_path_factory):
    """Folder for temporary files, the same on all ranks."""
    folder = WORLD.bcast(tmp_path_factory.mktemp("temporary") if WORLD.rank == 0 else None)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parallel(nprocs=2)
def test_every_communicator_has_its_own_structure(temporary):
    alone = WORLD.Split(WORLD.rank)
    atoms = bulk("Cu", "fcc", a=3.6 + 0.1 * WORLD.rank, cubic=True) * 3
    with Minimum.from_ase(atoms, LJ, comm=alone, force_limit=np.inf) as minimum:
        assert minimum.engine.cell[0, 0] == pytest.approx(atoms.cell[0, 0])
    alone.Free()
    if WORLD.rank == 1:  # one rank of the world on its own
        with Minimum.from_ase(atoms, LJ, comm=MPI.COMM_SELF, force_limit=np.inf) as minimum:
            assert minimum.engine.cell[0, 0] == pytest.approx(atoms.cell[0, 0])
    together = WORLD.Split(0, -WORLD.rank)  # whose rank 0 is the world's last
    given = atoms if together.rank == 0 else None
    with Minimum.from_ase(given, LJ, comm=together, force_limit=np.inf) as minimum:
        assert minimum.engine.cell[0, 0] == pytest.approx(3 * (3.6 + 0.1 * (WORLD.size - 1)))
    together.Free()
    WORLD.barrier()
    assert not list(temporary.iterdir())


@pytest.mark.parallel(nprocs=[1, 2])
def test_decks_are_gone_after_errors(temporary):
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
    with pytest.raises(PotentialError, match="does not exist"), temporary_deck(atoms, "none.snap", WORLD):
        pass
    with pytest.raises(LammpsImplicitError, match="pair_style"):
        Minimum.from_ase(atoms, ["pair_style nonsense"], comm=WORLD)
    folder = None
    with pytest.raises(RuntimeError), temporary_deck(atoms, LJ, WORLD) as deck:
        folder = deck.parent
        assert deck.is_file() and (folder / "atoms.data").is_file()
        raise RuntimeError("on all ranks")
    WORLD.barrier()
    assert not folder.exists()
    if WORLD.size > 1:
        caught = False
        try:
            with temporary_deck(atoms, LJ, WORLD):
                if WORLD.rank == 1:
                    raise RuntimeError("on one rank")
        except RuntimeError:
            caught = True
        assert caught == (WORLD.rank == 1)
    WORLD.barrier()
    assert not list(temporary.iterdir())
