"""Saddles between two minima, their barriers and derivatives, against brute force."""

from itertools import product

import numpy as np
import pytest
from hops import BCC, FCC
from mpi4py import MPI

from lammps_implicit import Barrier, LammpsImplicitError, Minimum
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.relaxation.climbing import climb
from lammps_implicit.relaxation.curvature import CurvatureModel, Pair
from lammps_implicit.relaxation.frame import Frame
from lammps_implicit.saddles import negative_modes
from lammps_implicit.testing.harmonic import Harmonic


@pytest.fixture(scope="module")
def deck(tmp_path_factory):
    path = tmp_path_factory.mktemp("fcc") / "in.fcc"
    path.write_text(FCC)
    return path


def end_states(deck, first=0, last=1, **options):
    return [Minimum.from_deck(deck, variables={"hop": str(hop)}, **options) for hop in (first, last)]


@pytest.fixture(scope="module")
def ends(deck):
    first, last = end_states(deck)
    with first, last:
        yield first, last


@pytest.fixture(scope="module")
def barrier(ends):
    with Barrier.between(*ends, path=True) as found:
        yield found


def dense_hessian(point, step=1e-4):
    """H, (3N, 3N), by central differences of forces, one coordinate at a time."""
    engine, size = point.engine, 3 * len(point.ids)
    columns = []
    for index in range(size):
        v = np.zeros(size)
        v[index] = step
        v = v.reshape(-1, 3)
        columns.append((engine.forces(-v) - engine.forces(v)).reshape(-1) / (2 * step))
    engine.return_to_reference()
    return np.array(columns)


def test_a_vacancy_jumps_over_the_place_in_the_middle(ends, barrier):
    saddle = barrier.saddle
    assert saddle.max_force <= 1e-8
    assert barrier.forward == pytest.approx(barrier.backward, abs=1e-9)
    vectors = saddle.engine.nearest_image(saddle.positions - saddle.positions[saddle.ids == 2])
    window = np.sort(np.linalg.norm(vectors, axis=1))[1:5]
    # It passes through the middle of a window of four atoms.
    assert np.ptp(window) < 1e-6
    assert window[0] < 0.95 * 3.615 / np.sqrt(2)
    assert not barrier.between_energies


def test_the_saddle_has_one_negative_mode(barrier):
    values, vectors = np.linalg.eigh(dense_hessian(barrier.saddle))
    assert values[0] < -0.1
    assert values[1] > -1e-5
    assert abs(vectors[:, 0] @ barrier.mode.vector.reshape(-1)) == pytest.approx(1.0, abs=1e-3)
    assert barrier.mode.curvature == pytest.approx(values[0], rel=2e-3)


def test_the_end_states_are_left_as_they_were(ends, barrier):
    assert len(negative_modes(ends[0])) == 0
    for point in ends:
        assert point.max_force <= 1e-8
        assert not point.saddle


def test_the_path_falls_on_both_sides_of_the_saddle(ends, barrier):
    path = barrier.path
    top = path.stations[1]
    assert path.energies[top] - path.energies[0] == pytest.approx(barrier.forward, abs=1e-9)
    assert np.all(np.diff(path.energies)[:top] > 0)
    assert np.all(np.diff(path.energies)[top:] < 0)
    assert path.across < 0.06
    # The path is symmetric, as the jump is.
    assert path.energies == pytest.approx(path.energies[::-1], abs=2e-3)


def searched_again(points, change):
    """Energies of minimum and saddle, relaxed again with other parameters."""
    return np.array([point.relaxed_at(change)[1] for point in points])


def test_gradients_and_second_derivatives_agree_with_searching_again(barrier):
    theta = barrier.initial.potential.theta
    points = barrier.initial, barrier.saddle
    hessian = barrier.hessian(tol=1e-6)
    for index, value in enumerate(theta):
        step = 2e-4 * value * np.eye(len(theta))[index]
        steps = [np.diff(searched_again(points, sign * step))[0] for sign in (-1, 0, 1)]
        slope = (steps[2] - steps[0]) / (2 * step[index])
        curvature = (steps[0] - 2 * steps[1] + steps[2]) / step[index] ** 2
        assert barrier.gradient()[index] == pytest.approx(slope, rel=1e-6)
        assert hessian[index, index] == pytest.approx(curvature, rel=1e-3)


def test_the_saddle_moves_as_its_derivative_says(barrier):
    change = 1e-4 * barrier.saddle.potential.theta
    moved = barrier.saddle.jvp(change, 1e-8)
    there = [barrier.saddle.relaxed_at(sign * change)[0] for sign in (1, -1)]
    assert np.linalg.norm(moved - (there[0] - there[1]) / 2) < 1e-4 * np.linalg.norm(moved)


def test_a_saddle_far_away_is_climbed_to(ends):
    first, last = ends
    way = first.engine.nearest_image(fetch(first.engine.comm, last.ids, last.positions, first.ids) - first.positions)
    for share in (0.2, 0.35):
        with first.excursion(np.zeros(3), share * way):
            engine, start = first.engine, first.engine.evaluations.forces
            forces = first.response.hessian.reference_forces
            found = climb(engine, forces, first.preconditioner.near, way, 1e-8)
            assert found.curvature < 0
            assert engine.max_abs(found.forces) <= 1e-8
            assert engine.evaluations.forces - start < 60


def test_two_jumps_have_a_minimum_between_them(deck):
    first, last = end_states(deck, 0, 2)
    with first, last, Barrier.between(first, last, path=True) as found:
        assert len(found.saddle_energies) >= 2
        assert len(found.between_energies) == len(found.saddle_energies) - 1
        assert min(found.between_energies) == pytest.approx(first.energy, abs=1e-4)
        assert found.saddle.energy == pytest.approx(max(found.saddle_energies), abs=1e-9)
        assert len(found.path.stations) == 2 * len(found.saddle_energies) + 1


def test_cells_that_answer(deck):
    first, last = end_states(deck, cell="iso", pressure="2 GPa")
    with first, last, Barrier.between(first, last) as found:
        assert found.saddle.cell == "iso"
        assert found.saddle.engine.volume > first.engine.volume
        theta = first.potential.theta
        step = 1e-4 * theta[0] * np.eye(3)[0]
        enthalpies = []
        for point, sign in product((found.saddle, first), (1, -1)):
            with point.excursion(sign * step):
                point.relax_away(1e-9, point.freedom)
                enthalpies.append(point.enthalpy)
        slope = (enthalpies[0] - enthalpies[1] - enthalpies[2] + enthalpies[3]) / (2 * step[0])
        assert found.gradient()[0] == pytest.approx(slope, rel=1e-6)


def test_snap(tmp_path):
    (tmp_path / "in.bcc").write_text(BCC)
    first, last = end_states(tmp_path / "in.bcc")
    with first, last, Barrier.between(first, last) as found:
        change = 1e-4 * first.potential.theta
        energies = [np.diff(searched_again((first, found.saddle), sign * change))[0] for sign in (1, -1)]
        assert found.gradient() @ change == pytest.approx((energies[0] - energies[1]) / 2, rel=1e-6)
        assert found.forward == pytest.approx(1.12347, abs=1e-5)  # measured by this package, ASE's band agrees to 1e-4


def test_jax(deck, barrier):
    pytest.importorskip("jax")
    first, last = end_states(deck, evaluator="jax")
    with first, last, Barrier.between(first, last) as found:
        assert found.forward == pytest.approx(barrier.forward, abs=1e-8)
        assert found.gradient() == pytest.approx(barrier.gradient(), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("hop index 0", "hop index 1"), "are the same structure: no barrier lies between them"),
        (("group           vacancy id 1\n", "group           vacancy id 1 9\n"), "has 30 atoms instead of 31"),
        (("lattice         fcc 3.615", "lattice         fcc 3.6"), "have different cells"),
        (("0.35 1.36", "0.36 1.36"), "have different potentials"),
    ],
)
def test_end_states_that_do_not_fit(ends, deck, tmp_path, change, message):
    text = FCC.replace(*change)
    assert text != FCC
    (tmp_path / "in.other").write_text(text)
    hop = "0" if "same structure" in message else "1"
    with (
        Minimum.from_deck(tmp_path / "in.other", variables={"hop": hop} if hop == "1" else {}) as other,
        pytest.raises(LammpsImplicitError, match=message),
    ):
        Barrier.between(ends[1], other)


def test_atoms_that_change_places(ends, tmp_path):
    # Atoms 2 and 3 are exchanged, which no continuous path of that length does.
    places = [f"variable {axis}{atom} equal $({axis}[{atom}])" for atom in (2, 3) for axis in "xyz"]
    moves = [f"set atom {atom} {axis} ${{{axis}{5 - atom}}}" for atom in (2, 3) for axis in "xyz"]
    exchanged = "\n".join(
        [FCC.replace("lattice", "atom_modify map array\nlattice", 1), *places, *moves, "minimize 0 1e-6 100 100\n"]
    )
    (tmp_path / "in.swap").write_text(exchanged)
    with Minimum.from_deck(tmp_path / "in.swap") as other, pytest.raises(LammpsImplicitError, match="changed places"):
        Barrier.between(ends[0], other)


def test_a_frozen_atom_that_differs(ends, tmp_path):
    held = FCC.replace("minimize", "group held id 7\nfix hold held setforce 0 0 0\nminimize")
    (tmp_path / "in.held").write_text(held)
    with (
        Minimum.from_deck(tmp_path / "in.held", variables={"hop": "1"}) as other,
        pytest.raises(LammpsImplicitError, match="atom 7 is frozen, and not alike in both"),
    ):
        Barrier.between(ends[0], other)


def test_a_twin_is_where_the_first_is(ends):
    first = ends[0]
    change = 1e-3 * first.potential.theta
    with first.excursion(change):
        first.relax_away(1e-8)
        with first.twin() as twin:
            assert twin.energy == pytest.approx(first.energy, abs=1e-10)
            assert np.abs(twin.engine.nearest_image(twin.positions - first.positions)).max() < 1e-10
            assert np.array_equal(twin.potential.theta, first.potential.theta)


def test_a_deck_that_runs_otherwise_again_is_no_twin(tmp_path):
    """The first run makes a file, and later ones find it: their cutoff is another."""
    cutoff = 'if "$(is_file(ran)) == 1" then "variable c equal 5.0" else "variable c equal 6.0"'
    deck = FCC.replace("pair_style      morse 6.0", f"{cutoff}\npair_style morse $c")
    (tmp_path / "in.turn").write_text(deck.replace("minimize", 'print "" file ran\nminimize'))
    with Minimum.from_deck(tmp_path / "in.turn") as first, pytest.raises(LammpsImplicitError, match="run again, gives"):
        first.twin()


def test_an_end_state_that_symmetry_holds_is_named(deck, tmp_path):
    halfway = FCC.replace("displace_atoms first move -0.5 -0.5 0", "displace_atoms first move -0.25 -0.25 0")
    (tmp_path / "in.halfway").write_text(halfway)
    with (
        Minimum.from_deck(deck) as first,
        Minimum.from_deck(tmp_path / "in.halfway", variables={"hop": "1"}) as last,
        pytest.raises(LammpsImplicitError, match=r"in\.halfway is no minimum"),
    ):
        Barrier.between(first, last)


def test_products_at_the_saddle_converge(barrier):
    """Springs along the negative mode are zero: without a shift K is nearly singular there."""
    saddle = barrier.saddle
    jacobian = saddle.jacobian(1e-6)
    assert jacobian.statistics.accuracy < 1e-5
    random = np.random.default_rng(3).standard_normal(saddle.positions.shape)
    soft = saddle.preconditioned(random)
    assert np.linalg.norm(soft) < 10 * np.linalg.norm(barrier.initial.preconditioned(random))


def test_the_model_learns_a_hessian():
    generator = np.random.default_rng(1)
    basis = np.linalg.qr(generator.standard_normal((12, 12)))[0]
    hessian = basis @ np.diag([-2.0, *np.linspace(0.5, 3.0, 11)]) @ basis.T
    springs = np.diag(generator.uniform(1.0, 2.0, 12))
    engine = Harmonic.of(hessian, MPI.COMM_SELF)
    model = CurvatureModel(engine, lambda v: (v.reshape(-1) / np.diag(springs)).reshape(v.shape))
    for _ in range(12):
        vector = generator.standard_normal((4, 3))
        product_ = (springs @ vector.reshape(-1)).reshape(4, 3)
        model.learn(Pair(vector, product_), (hessian @ vector.reshape(-1)).reshape(4, 3))
    model.spectrum()
    roots = np.diag(np.diag(springs) ** -0.5)
    assert model.values == pytest.approx(np.linalg.eigvalsh(roots @ hessian @ roots), rel=1e-6)
    _, curvature, rest = model.lowest()
    assert curvature == pytest.approx(model.values[0])
    assert model.size(rest) < 1e-6


def test_a_frame_keeps_its_order(ends):
    first = ends[0]
    with first.excursion(np.zeros(3)):
        frame = Frame(first.engine)
        moved = frame.start + 0.05 * np.sin(np.arange(frame.start.size)).reshape(-1, 3)
        there = frame.visit(moved)
        assert np.abs(frame.seen(moved) - moved).max() < 1e-9
        again = frame.visit(frame.start)
        assert np.abs(again.forces).max() < 1e-7
        assert there.energy > again.energy


@pytest.mark.parallel(nprocs=2)
def test_two_ranks_find_the_same_saddle(tmp_path):
    folder = MPI.COMM_WORLD.bcast(tmp_path)
    if MPI.COMM_WORLD.rank == 0:
        (folder / "in.fcc").write_text(FCC)
    MPI.COMM_WORLD.barrier()
    first, last = end_states(folder / "in.fcc")
    with first, last, Barrier.between(first, last) as found:
        assert found.forward == pytest.approx(0.79, abs=0.05)
        assert found.forward == pytest.approx(found.backward, abs=1e-9)
        assert found.saddle.max_force <= 1e-8
        change = 1e-4 * first.potential.theta
        energies = [np.diff(searched_again((first, found.saddle), sign * change))[0] for sign in (1, -1)]
        assert found.gradient() @ change == pytest.approx((energies[0] - energies[1]) / 2, rel=1e-6)
