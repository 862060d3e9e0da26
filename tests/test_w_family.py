"""The cheap tungsten potentials: their files belong together, and a vacancy relaxes and is differentiated."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from lammps_implicit import Minimum
from lammps_implicit.observables import formation_energy
from lammps_implicit.potentials.snap_files import expected_coefficients, read_coefficients, read_parameters

POTENTIALS = Path(__file__).parent.parent / "potentials"
FAMILY = {"W_2J4": 15, "W_2J6": 31}
VACANCY_ENERGY = 3.2353
"""eV, of W_2940_2017_2 in the same cell."""

DECK = """\
units           metal
atom_style      atomic
boundary        p p p
lattice         bcc 3.18046
region          cell block 0 3 0 3 0 3
create_box      1 cell
create_atoms    1 box
mass            1 183.84
{delete}
pair_style      hybrid/overlay zbl 4.0 4.8 snap
pair_coeff      1 1 zbl 74 74
pair_coeff      * * snap {path}.snapcoeff {path}.snapparam W
minimize        0.0 1.0e-6 1000 10000
"""


@pytest.mark.parametrize(("name", "count"), FAMILY.items())
def test_files_belong_together(name, count):
    path = POTENTIALS / f"{name}.snapcoeff"
    coefficients, parameters = read_coefficients(path), read_parameters(path.with_suffix(".snapparam"))
    assert len(coefficients.theta) == expected_coefficients(parameters, 1) == count
    with np.load(POTENTIALS / f"{name}.ensemble.npz", allow_pickle=False) as ensemble:
        samples = ensemble["samples"]
        assert samples.shape == (1000, count) and samples.dtype == np.float64
        assert tuple(ensemble["names"]) == coefficients.names
        assert str(ensemble["potential_sha256"]) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (abs(samples.mean(axis=0) - coefficients.theta) < samples.std(axis=0)).all()
    assert f"{name}.snapcoeff {name}.snapparam W" in (POTENTIALS / f"{name}.snap").read_text()


@pytest.mark.parametrize("name", FAMILY)
def test_vacancy(name, write_deck):
    path = POTENTIALS / name
    delete = "group vacancy id 1\ndelete_atoms group vacancy compress no"
    with (
        Minimum.from_deck(write_deck(DECK.format(path=path, delete=""), "in.bulk")) as bulk,
        Minimum.from_deck(write_deck(DECK.format(path=path, delete=delete), "in.vacancy")) as vacancy,
    ):
        assert float(formation_energy(vacancy, bulk, order=1).value) == pytest.approx(VACANCY_ENERGY, abs=0.5)
        change = 1e-4 * vacancy.potential.theta * np.cos(np.arange(FAMILY[name]))
        ends = [vacancy.relaxed_at(sign * change, 1e-10)[0] for sign in (1, -1)]
        expected = (ends[0] - ends[1]) / 2
        assert np.linalg.norm(vacancy.jvp(change) - expected) < 1e-3 * np.linalg.norm(expected)
