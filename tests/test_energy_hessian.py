"""Second derivatives of the energy: what they cost, is told, and may be left out."""

import subprocess
import warnings
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from commands import program

from lammps_implicit import Minimum
from lammps_implicit.conformance import costs
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.inspection import inspect_deck
from lammps_implicit.observables.files import read_derivatives
from lammps_implicit.operators import swept_derivative
from lammps_implicit.operators.sweep import bare_evaluations
from lammps_implicit.results import predict, read_sensitivity

VACANCY = """\
units metal
lattice fcc 3.9
region b block 0 2 0 2 0 2
create_box 2 b
create_atoms 1 box
set group all type/fraction 2 0.3 5
group v id 1
delete_atoms group v compress no
mass * 60
pair_style hybrid/overlay morse 5.0 born 5.0
pair_modify shift yes
pair_coeff 1 1 morse 0.35 1.4 2.85
pair_coeff 1 2 morse 0.33 1.35 2.8
pair_coeff 2 2 morse 0.3 1.3 2.75
pair_coeff * * born 0.01 0.4 2.0 0.1 0.0
minimize 0 1e-9 2000 20000
"""


@pytest.fixture
def minimum(write_deck):
    with Minimum.from_deck(write_deck(VACANCY), parameters="morse*,born*A") as point:
        yield point


def test_bare_second_derivatives_cost_two_evaluations_per_pair(minimum):
    point, mixed = minimum, minimum.mixed
    count = len(point.potential.theta)
    assert mixed.bare_evaluations == count * (count + 1) + 2 == 112
    before = point.engine.evaluations.forces
    hessian = mixed.bare_second_derivative()
    assert point.engine.evaluations.forces - before == 112
    assert mixed.bare_evaluations == 0
    names, theta = list(point.potential.names), point.potential.theta
    depth, width = (next(k for k, name in enumerate(names) if name.endswith(f"1-2 {what}")) for what in ("D0", "alpha"))
    assert abs(hessian[depth, depth]) < 1e-4 * abs(hessian[width, width])  # linear in the depth
    # ∂²U/∂D∂α = (∂U/∂α)/D, as only this depth goes with this width.
    assert hessian[depth, width] == pytest.approx(mixed.energy_gradient()[width] / theta[depth], rel=1e-5)
    apart = next(k for k, name in enumerate(names) if name.endswith("2-2 alpha"))
    assert abs(hessian[width, apart]) < 1e-6 * abs(hessian[width, width])


def test_many_are_told_beforehand(minimum, monkeypatch):
    monkeypatch.setattr(swept_derivative, "MANY", 111)
    with pytest.warns(UserWarning, match="by 10 parameters take 112 force evaluations"):
        minimum.energy_hessian(1e-3)


def test_evaluations_of_linear_parameters():
    assert bare_evaluations(np.array([True, True])) == 0
    assert bare_evaluations(np.array([True, True, False])) == 2 * 3 + 2
    assert bare_evaluations(np.array([False])) == 4


def test_costs_are_stored_part_by_part(minimum):
    result = minimum.sensitivity(1e-4)
    spent = result.attributes
    parts = [spent[f"{part}_evaluations"] for part in ("relaxation", "jacobian", "hessian")]
    assert parts[0] == minimum.setup.total
    assert parts[2] == 112
    assert sum(parts) == spent["force_evaluations"] + spent["descriptor_evaluations"]
    assert spent["force_evaluations"] == minimum.engine.evaluations.forces
    assert spent["seconds"] == sum(spent[f"{part}_seconds"] for part in ("relaxation", "jacobian", "hessian"))
    assert 0 < spent["hessian_seconds"] < spent["seconds"]


@pytest.mark.parallel(nprocs=[1, 2])
def test_what_is_dear_is_left_out_unless_asked_for(write_deck, monkeypatch):
    monkeypatch.setattr(costs, "DEAR", 100)
    monkeypatch.setattr(costs, "DEARER", 0)
    with Minimum.from_deck(write_deck(VACANCY), parameters="morse*,born*A") as point:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert point.sensitivity(1e-4).energy_hessian is None
        told = [str(warning.message) for warning in caught if "second derivative" in str(warning.message)]
        assert len(told) == (point.engine.comm.rank == 0)
        assert all("it would take 112 force evaluations" in text and "energy_hessian=True" in text for text in told)
        assert point.sensitivity(1e-4, energy_hessian=True).energy_hessian.shape == (10, 10)
        # It is known now, and costs nothing more.
        assert point.sensitivity(1e-4).energy_hessian is not None
        assert point.sensitivity(1e-4, energy_hessian=False).energy_hessian is None


def test_results_without_it(minimum, tmp_path):
    whole, part = minimum.sensitivity(1e-5), minimum.sensitivity(1e-5, energy_hessian=False)
    part.write(tmp_path / "part.h5")
    known = read_sensitivity(tmp_path / "part.h5")
    assert known.energy_hessian is None
    change = 1e-3 * whole.theta
    full, first = predict(whole, change), predict(known, change)
    assert first.enthalpy_terms == pytest.approx(full.enthalpy_terms[:2], rel=1e-12)
    assert np.allclose(first.displacement, full.displacement)
    observable = read_derivatives(tmp_path / "part.h5").observables["energy"]
    assert observable.hessian is None
    assert observable.gradient == pytest.approx(whole.energy_gradient)


def test_third_derivatives_need_it(minimum):
    minimum.third = SimpleNamespace(cell="none")
    with pytest.raises(LammpsImplicitError, match="third derivatives"):
        minimum.sensitivity(1e-4, cell=minimum.freedom, energy_hessian=False)


def test_commands(write_deck, tmp_path):
    deck = write_deck(VACANCY)

    def run(*arguments):
        done = subprocess.run([*program(), *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    chosen = ("--parameters", "morse*D0")
    said = run("sensitivity", deck.name, "-o", "part.h5", "--no-energy-hessian", *chosen)
    assert "0 second derivatives of the energy)" in said
    assert "with the deck" in said
    with h5py.File(tmp_path / "part.h5") as file:
        assert "energy_hessian" not in file
        np.save(tmp_path / "new.npy", 1.01 * file["theta"][()])
    said = run("predict", "part.h5", "--theta", "new.npy", "-o", "new.h5")
    assert "second-order term" not in said
    assert "(error of second order)" in next(line for line in said.splitlines() if "predicted energy" in line)
    with h5py.File(tmp_path / "new.h5") as file:
        assert file["energy_terms"].attrs["order"] == "zeroth, first"
        assert file["energy"].attrs["order"] == "error of order |dtheta|^2"
    seen = inspect_deck(deck, parameters="morse*D0")
    assert seen.plan.evaluations["second derivatives of the energy"] == 3 * 4 + 2
