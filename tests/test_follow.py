"""Following a minimum to parameters far away."""

import numpy as np
import pytest
import scipy.linalg
from brute_force import Relaxer
from conftest import DECKS, TA_VACANCY

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.continuation.neighbours import NeighbourGraph
from lammps_implicit.solvers.softest import equal_springs


def test_it_ends_where_plain_lammps_ends_in_small_steps_far_beyond_the_trust_radius(tmp_path):
    variables = {"n": "3"}
    names = "W_2940_2017_2.snapcoeff", "W_2940_2017_2.snapparam"
    relaxer = Relaxer(DECKS / "in.w_vacancy", "pair_coeff * * snap", *names, "W", tmp_path, variables)
    with Minimum.from_deck(DECKS / "in.w_vacancy", variables=variables) as minimum:
        theta = minimum.potential.theta
        direction = np.random.default_rng(3).standard_normal(len(theta)) * np.abs(theta)
        direction /= np.linalg.norm(direction)
        radius = minimum.expansion().trust_radius(direction, energy=1e-6)
        start = minimum.gather(minimum.positions).copy()
        change = 40 * radius * direction
        path = minimum.follow(theta + change)
        assert path.reached, path.reason
        assert minimum.potential.theta == pytest.approx(theta + change, rel=1e-12)
        moved = minimum.engine.nearest_image(minimum.gather(minimum.positions) - start)
    for share in np.linspace(0.1, 1.0, 10):
        true, energy = relaxer.relax(share * change)
    relaxer.close()
    assert np.abs(true).max() > 0.02
    assert moved - moved.mean(axis=0) == pytest.approx(true - true.mean(axis=0), abs=1e-5)
    assert path.steps[-1].energy == pytest.approx(energy, abs=1e-7)


def test_it_stops_where_the_minimum_disappears(write_deck):
    with Minimum.from_deck(write_deck()) as minimum:
        theta = minimum.potential.theta
        path = minimum.follow(theta - 8 * np.where(np.arange(len(theta)) == 1, np.abs(theta), 0.0))
        assert not path.reached
        assert "disappears" in path.reason or "topology" in path.reason
        assert 0 < path.steps[-1].share < 1
        assert minimum.max_force <= 1e-8
        # It stands at the parameters of its last step, and is differentiated there.
        assert minimum.jvp(theta).shape == minimum.positions.shape


def test_a_cell_is_followed_too(write_deck):
    with Minimum.from_deck(write_deck(), cell="iso") as minimum:
        theta, volume = minimum.potential.theta, minimum.engine.volume
        change = 2e-3 * np.random.default_rng(0).standard_normal(len(theta)) * np.abs(theta)
        relaxed = minimum.relaxed_at(change, cell="iso")
        path = minimum.follow(theta + change, cell="iso")
        assert path.reached
        assert minimum.engine.volume == pytest.approx(np.linalg.det(relaxed.cell), rel=1e-8)
        assert path.steps[0].volume == volume
        assert minimum.energy == pytest.approx(relaxed.energy, abs=1e-8)


def test_no_way_to_go_is_no_step(ta_vacancy):
    path = ta_vacancy.follow(ta_vacancy.potential.theta)
    assert path.reached
    assert len(path.steps) == 1


def test_one_atom_a_cell_is_followed(write_deck):
    from test_observables import PRIMITIVE

    with Minimum.from_deck(write_deck(PRIMITIVE), cell="iso", pressure="20 GPa") as minimum:
        path = minimum.follow(1.01 * minimum.potential.theta, cell="iso")
        assert path.reached
        assert minimum.cell == "iso"


def test_a_cell_that_is_not_relaxed_is_no_end_of_a_path(ta_vacancy):
    with pytest.raises(LammpsImplicitError, match="not relaxed"):
        ta_vacancy.follow(1.01 * ta_vacancy.potential.theta, cell="iso", pressure="30 GPa")


def test_parameters_of_another_shape_are_refused(ta_vacancy):
    with pytest.raises(LammpsImplicitError, match="expected"):
        ta_vacancy.follow([1.0, 2.0])


def test_softest_modes_are_those_of_a_dense_pencil(write_deck):
    with Minimum.from_deck(write_deck(TA_VACANCY.replace("0 3 0 3 0 3", "0 2 0 2 0 2"))) as minimum:
        (found,) = minimum.softest_modes()
        metric, project = equal_springs(minimum.engine), minimum.null_space().project
        units = [project(unit) for unit in np.eye(minimum.positions.size).reshape(-1, *minimum.positions.shape)]
        hessian, springs = (
            np.stack([project(product(unit)).ravel() for unit in units])
            for product in (minimum.hessian.central, metric)
        )
        free = scipy.linalg.orth(np.stack([unit.ravel() for unit in units]))
        values = scipy.linalg.eigvalsh(*(free.T @ (array + array.T) @ free for array in (hessian, springs)))
        assert len(found.modes) == 1  # it is twofold by symmetry, and one stands for both
        assert values[1] == pytest.approx(values[0], rel=1e-5)
        (mode,) = found.modes
        assert mode.stiffness == pytest.approx(values[0], rel=1e-6)
        assert minimum.softest_mode().stiffness == pytest.approx(values[0], rel=0.05)
        product = minimum.hessian.central(mode.vector)
        assert mode.curvature == pytest.approx(np.sum(mode.vector * product), rel=1e-5)
        assert np.linalg.norm(project(product - mode.stiffness * metric(mode.vector))) < 1e-3 * np.linalg.norm(product)
        assert found.error < 1e-4


def test_neighbours_change_when_an_atom_hops(write_deck):
    with Minimum.from_deck(write_deck()) as minimum:
        engine = minimum.engine
        graph = NeighbourGraph.of(engine)
        assert graph.difference(engine) == ""
        assert len(graph.bonded) == 53 * 14 - 14
        hop = np.zeros_like(minimum.positions)
        near = np.linalg.norm(engine.nearest_image(minimum.positions), axis=1).argmin()
        hop[near] = -engine.nearest_image(minimum.positions[near : near + 1])[0]
        engine.shift(hop)
        engine.settle()
        told = graph.difference(engine)
        assert "part" in told
        assert "meet" in told


INTERSTITIAL = """\
units metal
lattice fcc 4.05 origin 0.05 0.05 0.05
region cell block 0 3 0 3 0 3
create_box 1 cell
create_atoms 1 box
create_atoms 1 single 1.05 1.05 1.30
mass 1 26.98
pair_style eam/alloy
pair_coeff * * Al_zhou.eam.alloy Al
delete_atoms overlap 0.3 all all
minimize 0 1e-10 10000 100000
"""


@pytest.mark.slow
def test_softening_modes_of_another_symmetry_are_seen(write_deck):
    """The mode that is softest at the start is not the one that becomes unstable."""
    with Minimum.from_deck(write_deck(INTERSTITIAL), ftol=1e-9) as minimum:
        path = minimum.follow([1.0, -0.5])
        assert not path.reached and "disappears" in path.reason
        size = minimum.positions.size
        hessian, unit = np.empty((size, size)), np.zeros(minimum.positions.shape)
        for index in range(size):
            unit.flat[index] = 1.0
            hessian[:, index] = minimum.hessian.central(unit, 1e-4).reshape(-1)
            unit.flat[index] = 0.0
        values = np.linalg.eigvalsh((hessian + hessian.T) / 2)
        assert values[0] > -1e-9  # the last minimum is one
        assert values[3] < 0.01 * values[-1]
