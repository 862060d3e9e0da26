"""After an error on all ranks every rank has the potential, the cell and the atoms of before."""

import numpy as np
import pytest
from conftest import TA_VACANCY_READ, ta_data
from mpi4py import MPI
from test_families import LJ

pytest.importorskip("petsc4py")

from lammps_implicit import Minimum
from lammps_implicit.errors import DeckError, PotentialError

WORLD = MPI.COMM_WORLD


@pytest.fixture
def write_deck(tmp_path_factory):
    folder = WORLD.bcast(tmp_path_factory.mktemp("restoring") if WORLD.rank == 0 else None)

    def write(text):
        if WORLD.rank == 0:
            (folder / "atoms.data").write_text(ta_data(range(2, 107, 2)))
            (folder / "in.ranks").write_text(text)
        WORLD.barrier()
        return folder / "in.ranks"

    return write


@pytest.mark.parallel(nprocs=[2, 3])
def test_parameters_that_lammps_refuses(write_deck):
    with Minimum.from_deck(write_deck(LJ)) as minimum:
        engine, theta = minimum.engine, minimum.potential.theta
        ids, forces = minimum.ids.copy(), minimum.potential.install(engine, 0.01 * theta).copy()
        energy = engine.energy
        with pytest.raises(PotentialError, match="these parameters cannot be changed"):
            minimum.potential.install(engine, np.full(len(theta), np.nan))
        assert engine.energy == pytest.approx(energy, rel=1e-14)
        assert np.array_equal(engine.ids, ids)
        assert engine.forces() == pytest.approx(forces, abs=1e-12)


@pytest.mark.parallel(nprocs=[2, 3])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("k", [2, 4])
def test_a_strain_that_fails(write_deck, monkeypatch, k, after):
    """The cell is strained so much that atoms change ranks on the way."""
    with Minimum.from_deck(write_deck(TA_VACANCY_READ)) as minimum:
        engine, calls = minimum.engine, []
        ids, positions, forces = minimum.ids.copy(), minimum.positions.copy(), engine.forces().copy()
        real = engine.command

        def failing(line):
            calls.append(line)
            if len(calls) == k and not after:
                raise DeckError("injected")
            real(line)
            if len(calls) == k:
                raise DeckError("injected")

        monkeypatch.setattr(engine, "command", failing)
        with pytest.raises(DeckError, match="injected"):
            minimum.natural_coupling()
        monkeypatch.undo()
        assert np.array_equal(engine.ids, ids)
        assert np.array_equal(engine.positions, positions)
        assert engine.forces() == pytest.approx(forces, abs=1e-12)
        assert engine.energy == pytest.approx(minimum.energy, rel=1e-13)
