"""Inside one job of several ranks: numbers of one process, rows in id order, errors on all ranks."""

import sys

import numpy as np
import pytest
from conftest import DECKS, TA_VACANCY_READ, ta_data
from mpi4py import MPI

pytest.importorskip("petsc4py")

from test_families import FAMILIES

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.inverse import UserTerm
from lammps_implicit.mpi.id_order import IdOrder
from lammps_implicit.mpi.on_root import on_root, opened_on_root
from lammps_implicit.mpi.ownership import global_rows
from lammps_implicit.observables import distortion_from
from lammps_implicit.solvers.interface import Status

WORLD, ALONE = MPI.COMM_WORLD, MPI.COMM_SELF

DATA = ta_data(range(2, 107, 2))
SETUP = TA_VACANCY_READ.split("minimize")[0]
SHAKE = "displace_atoms all random 0.1 0.1 0.1 7\n"


@pytest.fixture
def write_deck(tmp_path_factory):
    """Write a deck and its data where all ranks find them."""
    folder = WORLD.bcast(tmp_path_factory.mktemp("ranks") if WORLD.rank == 0 else None)

    def write(text):
        if WORLD.rank == 0:
            (folder / "atoms.data").write_text(DATA)
            (folder / "in.ranks").write_text(text)
        WORLD.barrier()
        return folder / "in.ranks"

    return write


def _by_id(minimum, array):
    return dict(zip(minimum.ids.tolist(), np.asarray(array), strict=True))


def _pull(minimum):
    return np.cos(minimum.ids[:, None] * np.array([1.0, 2.0, 3.0]))


@pytest.mark.parallel(nprocs=[2, 3])
@pytest.mark.parametrize("external", ["", "fix tether all spring/self 0.2\n"])
def test_products_are_those_of_one_process(write_deck, external):
    deck = write_deck(SETUP + external)
    change = np.cos(np.arange(31))
    found = []
    for comm in (ALONE, WORLD):
        with Minimum.from_deck(deck, comm=comm, force_limit=np.inf) as minimum:
            moved = _by_id(minimum, minimum.jvp(change, 1e-8))
            gradient, slope = minimum.vjp(_pull(minimum), 1e-8), minimum.energy_gradient()
            curvature = minimum.energy_hessian(1e-6)
            found.append((moved, gradient, slope, curvature, minimum.energy))
    one, many = found
    assert all(np.abs(one[0][id_] - row).max() < 1e-6 for id_, row in many[0].items())
    for a, b in zip(one[1:], many[1:], strict=True):
        assert b == pytest.approx(a, rel=1e-6, abs=1e-6 * np.abs(a).max())


@pytest.mark.parallel(nprocs=2)
@pytest.mark.parametrize(("family", "count"), [("Lennard-Jones alloy", 6), ("EAM of an alloy", 5), ("POD", 23)])
def test_families_too(write_deck, family, count):
    # Ids of created atoms depend on the number of ranks.
    text = FAMILIES[family][0].replace("create_atoms ", "region hole sphere 0 0 0 0.1\ncreate_atoms ")
    text = text.replace("minimize ", "reset_atoms id sort yes\nminimize ").replace("id 1\n", "region hole\n")
    deck, found = write_deck(text), []
    for comm in (ALONE, WORLD):
        with Minimum.from_deck(deck, comm=comm, ftol=1e-9) as minimum:
            theta = minimum.potential.theta
            moved = _by_id(minimum, minimum.jvp(theta * np.cos(np.arange(count)), 1e-7))
            gradient = minimum.vjp(_pull(minimum), 1e-7)
            found.append((moved, gradient, minimum.energy_gradient(), minimum.energy_hessian(1e-6), minimum.energy))
    one, many = found
    scale = max(np.abs(row).max() for row in one[0].values())
    assert all(np.abs(one[0][id_] - row).max() < 1e-5 * scale for id_, row in many[0].items())
    for a, b in zip(one[1:], many[1:], strict=True):
        assert b == pytest.approx(a, rel=1e-5, abs=1e-5 * np.abs(a).max())


@pytest.mark.parallel(nprocs=[2, 3])
def test_relaxation_takes_atoms_to_other_ranks_and_ends_where_one_process_does(write_deck):
    deck = write_deck(SETUP + SHAKE)
    energies, moved = [], []
    for comm in (ALONE, WORLD):
        with Minimum.from_deck(deck, comm=comm, force_limit=np.inf) as minimum:
            energies.append(minimum.energy)
            assert minimum.max_force <= 1e-8 * 1.01
            moved.append(_by_id(minimum, minimum.jvp(np.ones(31), 1e-7)))
            displacement, energy = minimum.relaxed_at(0.01 * minimum.potential.theta)
            moved.append(_by_id(minimum, displacement))
            energies.append(energy)
            assert minimum.energy == energies[-2]
    assert energies[2:] == pytest.approx(energies[:2], abs=1e-8)
    for one, many in zip(moved[:2], moved[2:], strict=True):
        scale = max(np.abs(row).max() for row in one.values())
        mean = [np.mean(list(one.values()), axis=0), WORLD.allreduce(sum(many.values())) / 53]
        assert all(np.abs(one[i] - mean[0] - row + mean[1]).max() < 1e-5 * scale for i, row in many.items())


@pytest.mark.parallel(nprocs=2)
@pytest.mark.parametrize("cell", ["iso", "full"])
def test_cells_answer_as_on_one_process(write_deck, cell):
    deck, change = write_deck(SETUP), 1e-3 * np.cos(np.arange(31))
    found = []
    for comm in (ALONE, WORLD):
        with Minimum.from_deck(deck, comm=comm, force_limit=np.inf, cell=cell, pressure="20 GPa") as minimum:
            response = minimum.jvp(change, 1e-8, cell=cell)
            strains = minimum.cell_system(1e-8, cell).freedom.tensors()
            # Which image of an atom on the border stands in the cell is a matter of round-off.
            offset = minimum.positions - minimum.engine.origin
            inside = response.displacement - offset @ np.tensordot(response.strain, strains, axes=1).T
            pull = _pull(minimum)
            felt = np.array([np.sum(pull * (offset @ strain.T)) for strain in strains])
            felt = minimum.engine.sum(felt)
            gradient = minimum.vjp(pull, 1e-8, cell=cell, strain_cotangent=-felt)
            third = minimum.expansion(3, cell).predict(change)
            again = minimum.relaxed_at(change, cell=cell)
            numbers = [minimum.engine.volume, float(third.enthalpy), float(third.energy_error), again.energy]
            assert len(again.displacement) == len(minimum.ids)
            moved = _by_id(minimum, inside)
            path = minimum.follow(minimum.potential.theta + change, cell=cell)
            assert path.reached
            assert minimum.energy == pytest.approx(again.energy, abs=1e-7)
            found.append((moved, response.strain, gradient, np.array(numbers)))
    one, many = found
    scale = max(np.abs(row).max() for row in one[0].values())
    assert all(np.abs(one[0][id_] - row).max() < 1e-6 * scale for id_, row in many[0].items())
    for a, b in zip(one[1:], many[1:], strict=True):
        assert b == pytest.approx(a, rel=1e-6, abs=1e-6 * np.abs(a).max())


@pytest.mark.parallel(nprocs=2)
def test_cells_relax_while_atoms_change_ranks(write_deck):
    """An interstitial whose neighbours lie on the border, and cross it as the cell grows."""
    potential = DECKS.parent / "potentials" / "W_2J4"
    deck = write_deck(f"""\
units           metal
lattice         bcc 3.18
region          cell block 0 2 0 2 0 3
create_box      1 cell
create_atoms    1 region cell
create_atoms    1 single 0.27 0.26 0.25
mass            1 183.84
pair_style      hybrid/overlay zbl 4.0 4.8 snap
pair_coeff      1 1 zbl 74 74
pair_coeff      * * snap {potential}.snapcoeff {potential}.snapparam W
minimize        0 1e-10 5000 50000
""")
    found = []
    for comm in (ALONE, WORLD):
        with Minimum.from_deck(deck, comm=comm, cell="iso") as minimum:
            found.append((minimum.engine.volume, minimum.energy))
    assert found[1] == pytest.approx(found[0], rel=1e-7)


@pytest.mark.parallel(nprocs=2)
@pytest.mark.parametrize("cell", ["none", "iso"])
def test_ensembles_are_propagated_as_on_one_process(write_deck, cell):
    deck = write_deck(SETUP)
    settings = {} if cell == "none" else {"cell": "iso", "pressure": "20 GPa"}
    found = []
    for comm in (ALONE, WORLD):
        with Minimum.from_deck(deck, comm=comm, force_limit=np.inf, **settings) as minimum:
            theta = minimum.potential.theta
            samples = theta + 3e-3 * np.random.default_rng(1).standard_normal((50, 31)) * np.abs(theta)
            propagation = minimum.propagate(samples, distances=[(4, 60)])
            found.append({name: one.estimates - one.value for name, one in propagation.distributions.items()})
            assert minimum.third.asymmetry < 1e-4
    one, many = found
    assert set(one) == set(many)
    for name, estimates in one.items():
        share = 5e-4 if name.startswith("stability") else 1e-5  # softest modes are found to an angle of 1e-4
        assert many[name] == pytest.approx(estimates, abs=share * np.abs(estimates).max()), name


@pytest.mark.parallel(nprocs=2)
def test_saddles_are_solved_for_on_two_ranks(write_deck):
    deck = write_deck(SETUP)
    with Minimum.from_deck(deck, comm=ALONE, force_limit=np.inf) as one:
        expected = _by_id(one, one.jvp(np.ones(31), 1e-7))
    with Minimum.from_deck(deck, force_limit=np.inf) as many:
        many.saddle = True  # MINRES at a minimum: the same answer
        many._solver = None
        found = _by_id(many, many.jvp(np.ones(31), 1e-7))
    scale = max(np.abs(row).max() for row in expected.values())
    assert all(np.abs(expected[id_] - row).max() < 1e-5 * scale for id_, row in found.items())


@pytest.mark.parallel(nprocs=[1, 2, 3])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_rows_are_gathered_in_id_order(monkeypatch, shape):
    monkeypatch.setattr("lammps_implicit.mpi.id_order.PIECE", 7)
    rng = np.random.default_rng(1)
    ids = rng.permutation(np.arange(1, 200))[:101]  # gaps
    owners = rng.integers(0, WORLD.size, len(ids))
    mine = ids[owners == WORLD.rank]
    array = (mine.reshape(-1, *(1,) * len(shape)) * np.ones(shape)).astype(np.int64 if shape == () else float)
    whole = IdOrder(WORLD, mine).gather(array)
    if WORLD.rank == 0:
        assert whole.shape == (101, *shape)
        assert whole.reshape(101, -1)[:, 0].tolist() == sorted(ids.tolist())
    else:
        assert whole is None
    rows = WORLD.allgather(global_rows(WORLD, mine, ids).tolist())
    assert all(row == rows[0] for row in rows)
    assert sorted(rows[0]) == list(range(101))


@pytest.mark.parallel(nprocs=[1, 3])
def test_a_rank_may_own_nothing():
    ids = np.arange(1, 6) if WORLD.rank == WORLD.size - 1 else np.empty(0, np.int64)
    whole = IdOrder(WORLD, ids).gather(2.0 * ids)
    assert whole is None or whole.tolist() == [2, 4, 6, 8, 10]


@pytest.mark.parallel(nprocs=2)
def test_what_fails_on_the_root_fails_everywhere(tmp_path):
    def fail(*_):
        raise LammpsImplicitError("no space")

    ids = np.array([WORLD.rank + 1])
    with pytest.raises(LammpsImplicitError, match="no space"):
        IdOrder(WORLD, ids).stream(ids, fail)
    with pytest.raises(LammpsImplicitError, match="no space"):
        on_root(WORLD, fail)
    with pytest.raises(FileNotFoundError), opened_on_root(WORLD, lambda: open(tmp_path / "missing" / "x")):
        pass


@pytest.mark.parallel(nprocs=2)
def test_solves_that_stop_short_say_why(write_deck):
    from lammps_implicit.solvers.petsc_krylov import PetscKrylov

    with Minimum.from_deck(write_deck(SETUP), force_limit=np.inf) as minimum:
        system = minimum.response.prepared().system
        right = system.null_space.project(_pull(minimum))
        solver = PetscKrylov({}, maxiter=3)
        solver.prepare(system)
        solution = solver.solve(right, 1e-8, minimum.engine.norm(right))
        assert solution.status is Status.ITERATION_LIMIT
        with pytest.raises(LammpsImplicitError, match=r"in 3 iterations .PETSc's reason: .*max it.*0: 1\.0e\+00"):
            solution.require_converged(1e-8)


@pytest.mark.parallel(nprocs=3)
def test_fewer_atoms_than_ranks(write_deck):
    text = SETUP.replace("read_data atoms.data\n", "region box block 0 9 0 9 0 9\ncreate_box 1 box\nmass 1 180.95\n")
    text = text.replace("boundary        p p p", "boundary f f f")
    text += "create_atoms 1 single 2 4 4\ncreate_atoms 1 single 4.6 4 4\n"
    with Minimum.from_deck(write_deck(text), force_limit=np.inf) as minimum:
        moved = minimum.gather(minimum.jvp(np.ones(31), 1e-6))
        stretch = moved[1] - moved[0] if WORLD.rank == 0 else None
    with Minimum.from_deck(write_deck(text), comm=ALONE, force_limit=np.inf) as one:
        expected = one.gather(one.jvp(np.ones(31), 1e-6))
    if stretch is not None:
        assert stretch == pytest.approx(expected[1] - expected[0], abs=1e-5 * np.abs(expected).max())


@pytest.mark.parallel(nprocs=2)
def test_all_decks_start_on_two_ranks():
    for deck in ("in.be_in_w", "in.mo_quadratic_vacancy", "in.w_be_alloy"):
        with Minimum.from_deck(DECKS / deck, variables={"n": "2"}) as minimum:
            theta = minimum.potential.theta
            assert np.isfinite(minimum.jvp(theta, 1e-3)).all()
    assert "lammps_implicit.solvers.petsc_krylov" in sys.modules


@pytest.mark.parallel(nprocs=2)
def test_arrays_of_wrong_shape_on_one_rank_give_the_same_message_on_all(write_deck):
    with Minimum.from_deck(write_deck(SETUP), force_limit=np.inf) as minimum:
        rows = np.zeros((len(minimum.ids) + (WORLD.rank == 1), 3))
        term = UserTerm("cell", lambda cell: (1.0, rows))
        for refused, message in (
            (lambda: term.value({"cell": minimum}), "∂L/∂X has shape"),
            (lambda: distortion_from(minimum, rows), "shape differs"),
        ):
            with pytest.raises(LammpsImplicitError, match=message) as error:
                refused()
            assert len(set(WORLD.allgather(str(error.value)))) == 1


HALF_FROZEN = """\
units metal
{processors}
lattice fcc 5.25 origin 0.1 0.1 0.1
region cell block 0 2 0 2 0 4
create_box 1 cell
create_atoms 1 box
mass 1 40
region low block INF INF INF INF INF 1.99
group low region low
region site sphere 1.1 1.1 3.1 0.1
group out region site
delete_atoms group out compress no
pair_style lj/cut 6.0
pair_modify shift yes
pair_coeff 1 1 0.0104 3.4
fix hold low setforce 0 0 0
minimize 0 1e-9 5000 50000
"""


@pytest.mark.parallel(nprocs=2)
def test_a_rank_that_owns_frozen_atoms_only(tmp_path_factory):
    comm = MPI.COMM_WORLD
    folder = comm.bcast(tmp_path_factory.mktemp("frozen") if comm.rank == 0 else None)
    found = []
    for among, processors in ((comm, "processors 1 1 2"), (MPI.COMM_SELF, "")):
        deck = folder / f"in.{among.size}.{comm.rank}" if among.size == 1 else folder / "in.all"
        if among.rank == 0:
            deck.write_text(HALF_FROZEN.format(processors=processors))
        among.barrier()
        with Minimum.from_deck(deck, among, ftol=1e-9) as minimum:
            if among.size == 2:
                assert minimum.engine.any(not minimum.engine.free.any())  # one rank has no free atom
            moved = minimum.jvp(0.01 * minimum.potential.theta, 1e-8)
            jacobian = minimum.jacobian(1e-5).dot(0.01 * minimum.potential.theta)
            found.append((minimum.engine.norm(moved), minimum.engine.norm(jacobian)))
    assert found[0][0] > 1e-4
    assert found[0] == pytest.approx(found[1], rel=1e-5)
