"""Where a screw dislocation's core is, and how columns are displaced around it."""

import sys

import numpy as np
import pytest
from conftest import DECKS

pytest.importorskip("atomman")
pytest.importorskip("matscipy")
sys.path.insert(0, str(DECKS))

from build_screw_dislocation import METALS, make_slice

from lammps_implicit import LammpsImplicitError
from lammps_implicit.observables.dislocations import core_position, differential_displacements, plot_maps

ELASTIC = [METALS["W"][name] for name in ("lattice", "c11", "c12", "c44")]


@pytest.fixture(scope="module", params=["easy", "hard"])
def cylinder(request):
    """Atoms as the elastic solution puts them, and the perfect crystal."""
    one = make_slice("W", METALS["W"], 18.0, request.param)
    atoms = one.perfect.copy()
    atoms.positions = one.positions
    return request.param, atoms, one.perfect


def test_the_core_of_the_elastic_solution_is_in_the_middle(cylinder):
    core, atoms, perfect = cylinder
    for guess in ((0.0, 0.0), (0.7, -0.4)):
        assert np.linalg.norm(core_position(atoms, perfect, ELASTIC, core == "hard", guess)) < 0.05


def test_displacements_around_the_core_sum_up_to_the_burgers_vector(cylinder):
    _, atoms, perfect = cylinder
    places, arrows = differential_displacements(atoms, perfect, ELASTIC[0])
    around = np.argsort(np.linalg.norm(places, axis=1))[:3]
    side = ELASTIC[0] * np.sqrt(6) / 3
    # Each of the three carries b/3, so its arrow reaches from column to column; they run around the core.
    assert np.linalg.norm(arrows[around], axis=1) == pytest.approx(side, rel=0.02)
    turns = np.sign(places[around, 0] * arrows[around, 1] - places[around, 1] * arrows[around, 0])
    assert abs(turns.sum()) == 3
    assert len(places) > 3 * 80


def test_maps_are_drawn(cylinder, tmp_path):
    core, atoms, perfect = cylinder
    plot_maps(tmp_path / "map.png", {core: atoms, "again": atoms}, perfect, ELASTIC[0], 3, {core: np.zeros(2)})
    assert (tmp_path / "map.png").stat().st_size > 10_000
    with pytest.raises(LammpsImplicitError, match="atoms and the perfect crystal"):
        differential_displacements(atoms[:-1], perfect, ELASTIC[0])
