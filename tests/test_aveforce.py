"""Groups of atoms that move as one (``fix aveforce``): a linear constraint on positions, forces and derivatives."""

import numpy as np
import pytest
from brute_force import Newton, relative_error
from conftest import TA_VACANCY
from mpi4py import MPI

from lammps_implicit import Minimum, testing
from lammps_implicit.errors import DeckError

GRAINS = """\
units metal
boundary p p s
lattice fcc 3.62
region lower block 0 2 0 2 0 2.9
region upper block 0 2 0 2 3.1 6
region box block 0 2 0 2 0 6
create_box 2 box
create_atoms 1 region lower
lattice fcc 3.62 origin 0.3 0.2 0.1
create_atoms 2 region upper
mass * 63.5
region bottom block INF INF INF INF INF 1.3
region top block INF INF INF INF 4.6 INF
group bottom region bottom
group top region top
pair_style morse 5.0
pair_modify shift yes
pair_coeff 1 1 0.343 1.36 2.87
pair_coeff 2 2 0.363 1.30 2.90
pair_coeff 1 2 0.33 1.32 2.95
{fixes}
minimize 0 1e-6 1000 10000
"""
"""Two crystals with a boundary between them, each with a rigid slab at its far end."""

BOTH = "fix b bottom setforce 0 0 0\nfix t top aveforce 0.0 0.0 0.0"
SLIDING = "fix b bottom aveforce 0 0 NULL\nfix t top aveforce 0.0 0.0 0.0"


def allowed(types, groups):
    """Orthonormal displacements, (3N, m): those of single components, and of groups of them together."""
    columns, joined = [], np.zeros(3 * types, bool)
    for rows in groups:
        column = np.zeros(3 * types)
        column[rows] = len(rows) ** -0.5
        joined[rows] = True
        columns.append(column)
    return np.column_stack([np.eye(3 * types)[:, ~joined], *columns])


@pytest.fixture
def grains(write_deck):
    def start(fixes, **settings):
        path = write_deck(GRAINS.format(fixes=fixes))
        return Minimum.from_deck(path, parameters="morse 1-2 *", ftol=1e-9, **settings), path

    return start


@pytest.mark.parametrize("fixes", [BOTH, SLIDING])
def test_groups_answer_as_one(grains, write_deck, fixes):
    minimum, _ = grains(fixes, force_limit=np.inf)
    with minimum:
        rows = np.argsort(minimum.ids)
        together = minimum.engine.together[rows, 2]
        n, slab = len(rows), together == together.max()
        moved = minimum.jvp([0.0, 0.0, 1.0], 1e-7)[rows]
        assert minimum.statistics.iterations < 15  # as many as without rigid slabs
        assert np.abs(moved).max() > 0.5
        assert np.ptp(moved[slab], axis=0).max() < 1e-12 * np.abs(moved).max()
        # Relaxed again without the fixes, in the space of what the atoms may do.
        other = (minimum.engine.together[rows, 0] > 0) & ~slab if fixes == SLIDING else ~minimum.engine.free[rows, 0]
        bottom = np.flatnonzero(other)
        assert len(bottom) == slab.sum() == 24
        components = [3 * np.flatnonzero(slab) + axis for axis in range(3)]
        if fixes == SLIDING:
            basis = allowed(n, components + [3 * bottom + axis for axis in (0, 1)])
        else:
            basis = allowed(n, components)
            basis = basis[:, np.abs(basis[np.add.outer(3 * bottom, range(3)).ravel()]).max(axis=0) == 0]
        assert minimum.engine.n_free == basis.shape[1]
        free = write_deck(GRAINS.format(fixes="").replace("minimize", "#"), "in.free")
        brute = Newton(free, minimum.positions[rows], basis)
        expected = brute.jvp(lambda t: [f"pair_coeff 1 2 0.33 1.32 {2.95 + t!r}"], 1e-3)
        brute.close()
        if fixes == SLIDING:  # both crystals may move together
            moved, expected = (v - v.mean(axis=0) * [1, 1, 0] for v in (moved, expected))
        assert relative_error(moved, expected) < 1e-5
        dense = minimum.jacobian(1e-7, "dense").dot([0.0, 0.0, 1.0])[rows]
        assert relative_error(dense, minimum.jvp([0.0, 0.0, 1.0], 1e-7)[rows]) < 1e-5
        testing.check_hessian(minimum.engine)
        testing.check_adjoint(minimum)
        testing.check_taylor(minimum)


def test_descriptors_of_groups(write_deck):
    """C of linear potentials comes from descriptors, not from forces that LAMMPS has averaged."""
    text = TA_VACANCY.replace("minimize", "group slab id 10 20 30 31\nfix s slab aveforce 0 NULL 0\nminimize")
    with Minimum.from_deck(write_deck(text), ftol=1e-10, force_limit=1.0) as minimum:
        assert minimum.engine.together_counts == (4, 4)
        testing.check_mixed_derivative(minimum)
        testing.check_adjoint(minimum)
        change = 1e-3 * minimum.potential.theta
        moved = minimum.jvp(change, 1e-7)
        ends = [minimum.relaxed_at(s * change, 1e-10)[0] for s in (1, -1)]
        assert relative_error(moved, (ends[0] - ends[1]) / 2) < 1e-4


@pytest.mark.parallel(nprocs=[1, 2])
def test_groups_on_ranks(tmp_path):
    tmp_path = MPI.COMM_WORLD.bcast(tmp_path)
    path = tmp_path / "in.test"
    if MPI.COMM_WORLD.rank == 0:
        path.write_text(GRAINS.format(fixes=BOTH))
    MPI.COMM_WORLD.Barrier()
    with Minimum.from_deck(path, parameters="morse 1-2 *", ftol=1e-9, force_limit=np.inf) as minimum:
        moved = minimum.jvp([0.0, 0.0, 1.0], 1e-7)
        assert minimum.engine.max_abs(moved) == pytest.approx(1.39491, rel=1e-4)
        assert minimum.energy_hessian(1e-6)[2, 2] == pytest.approx(9.127323, rel=1e-5)


REFUSED = {
    "fix t top aveforce 0.1 0 0": "add the force by a 'fix addforce'",
    "region r block INF INF INF INF INF INF\nfix t all aveforce 0 0 0 region r": "name a group instead",
    "fix b bottom setforce 0 0 0\nfix t all aveforce 0 0 0": "leave frozen atoms out",
    "group more id 1:80\nfix a bottom aveforce 0 0 0\nfix b more aveforce 0 0 0": "share atoms",
    "fix t top aveforce 0 0 0\ngroup one id 84\nfix f one addforce 0.1 0 0": "define 'fix aveforce' last",
}


@pytest.mark.parametrize("fixes", REFUSED)
def test_what_is_no_group_that_moves_as_one(grains, fixes):
    with pytest.raises(DeckError, match=REFUSED[fixes]):
        grains(fixes, force_limit=np.inf)
