"""Observables at temperature, compared with frequencies of structures relaxed at other parameters."""

import warnings

import h5py
import numpy as np
import pytest
import yaml
from hops import FCC, halfway
from test_vibrations import frequencies, opened, strain_to, thermal
from typer.testing import CliRunner

from lammps_implicit import LammpsImplicitError
from lammps_implicit.cli import app
from lammps_implicit.inverse.config import InversionSettings
from lammps_implicit.inverse.run import invert
from lammps_implicit.observables.config import StudySettings
from lammps_implicit.observables.configuration import read_configuration
from lammps_implicit.observables.study import run_study
from lammps_implicit.observables.thermal import (
    Conditions,
    defect_concentration,
    entropy,
    formation_entropy,
    formation_free_energy,
    free_energy,
    frequency,
    migration_free_energy,
    migration_rate,
    rate_prefactor,
    thermal_expansion,
    thermal_volume,
)

K = 8.617333262e-5

PERFECT = FCC.replace("delete_atoms", "#")

AT = Conditions(400.0)


@pytest.fixture
def cells(tmp_path):
    """A vacancy in copper of Morse, the perfect crystal, and the saddle of a jump, with three parameters."""
    found = []
    for name, text, options in (("v", FCC, {}), ("b", PERFECT, {}), ("s", halfway(FCC), {"saddle": True})):
        (tmp_path / name).mkdir()
        found.append(opened(tmp_path / name, text, parameters="morse*", **options))
    yield found
    for cell in found:
        cell.close()


@pytest.fixture
def decks(tmp_path):
    (tmp_path / "in.bulk").write_text(PERFECT)
    (tmp_path / "in.vacancy").write_text(FCC)
    return tmp_path


def at_other_parameters(cells, change, measure):
    """What `measure` makes of cells relaxed with Θ + δΘ, from their sorted frequencies and energies."""
    values = []
    for cell in cells:
        moved = cell.relaxed_at(change)
        with cell.excursion(change, moved[0]):
            of_cell = frequencies(cell)
            of_cell = np.delete(of_cell, np.argsort(np.abs(of_cell))[:3])
            values.append((of_cell[1 if cell.saddle else 0 :], cell.energy, cell.engine.n_atoms))
    return measure(*values)


def free(values, energy, quantum=True):
    return thermal(values, [AT.temperature], quantum, False)[0, 0] + energy


def s(values, quantum=True):
    return thermal(values, [AT.temperature], quantum, False)[2, 0] / K


BRUTE = {
    "formation free energy": (
        lambda v, b, s_: formation_free_energy(v, b, AT),
        lambda v, b, s_: free(*v[:2]) - v[2] / b[2] * free(*b[:2]),
    ),
    "formation entropy": (
        lambda v, b, s_: formation_entropy(v, b, AT),
        lambda v, b, s_: s(v[0]) - v[2] / b[2] * s(b[0]),
    ),
    "defect concentration": (
        lambda v, b, s_: defect_concentration(v, b, AT),
        lambda v, b, s_: -(free(*v[:2]) - v[2] / b[2] * free(*b[:2])) / (K * AT.temperature * np.log(10)),
    ),
    "migration free energy": (
        lambda v, b, s_: migration_free_energy(s_, v, AT),
        lambda v, b, s_: free(*s_[:2]) - free(*v[:2]),
    ),
    "rate prefactor": (
        lambda v, b, s_: rate_prefactor(s_, v),
        lambda v, b, s_: 15.633302 * np.exp((np.log(v[0]).sum() - np.log(s_[0]).sum()) / 2),
    ),
    "migration rate": (
        lambda v, b, s_: migration_rate(s_, v, AT),
        lambda v, b, s_: (
            np.log10(K * AT.temperature / 4.135667696e-15)
            - (free(*s_[:2]) - free(*v[:2])) / (K * AT.temperature * np.log(10))
        ),
    ),
    "free energy": (lambda v, b, s_: free_energy(v, AT), lambda v, b, s_: free(*v[:2])),
    "entropy": (lambda v, b, s_: entropy(v, AT), lambda v, b, s_: s(v[0])),
    "frequency": (lambda v, b, s_: frequency(v, 1), lambda v, b, s_: 15.633302 * v[0][0] ** 0.5),
}
"""Observables, and what they are by brute force."""


def test_observables_and_gradients_agree_with_relaxing_again(cells):
    theta = cells[0].potential.theta
    change = np.random.default_rng(4).standard_normal(len(theta)) * theta * 2e-5
    brute = [
        at_other_parameters(cells, sign * change, lambda *values: [expected(*values) for _, expected in BRUTE.values()])
        for sign in (0, 1, -1)
    ]
    for place, (name, (measure, _)) in enumerate(BRUTE.items()):
        found = measure(*cells)
        here, up, down = (rows[place] for rows in brute)
        np.testing.assert_allclose(found.value, here, rtol=1e-6, atol=2e-6, err_msg=name)
        size = np.abs(found.gradient * change).max()
        np.testing.assert_allclose(found.gradient @ change, (up - down) / 2, atol=3e-4 * size, err_msg=name)


def test_expansion_and_phonons_agree_with_relaxing_again(tmp_path):
    pytest.importorskip("phonopy")
    from lammps_implicit.phonons.observable import PhononFrequency

    wave = PhononFrequency(kind="phonon frequency", cell="b", qpoint=(0.5, 0.5, 0.5), branch=3, supercell=(1, 1, 1))
    with opened(tmp_path, PERFECT, parameters="morse*", cell="iso") as crystal:
        theta = crystal.potential.theta
        change = np.random.default_rng(4).standard_normal(len(theta)) * theta * 1e-4
        measures = {
            "volume": lambda order: thermal_volume(crystal, AT, order=order),
            "expansion": lambda order: thermal_expansion(crystal, AT, order=order),
            "wave": lambda order: wave.measure({"b": crystal}, order, 1e-6),
        }
        found = {name: measure(1) for name, measure in measures.items()}
        ends = []
        for sign in (1, -1):
            moved = crystal.relaxed_at(sign * change, cell=crystal.freedom)
            with crystal.excursion(sign * change, moved[0], strain_to(crystal.engine.cell, moved[2])):
                ends.append({name: measure(0).value for name, measure in measures.items()})
    for name, observable in found.items():
        expected = (ends[0][name] - ends[1][name]) / 2
        tolerance = 1e-2 if name == "expansion" else 2e-4  # a second derivative of what is fitted
        np.testing.assert_allclose(observable.gradient @ change, expected, rtol=tolerance, err_msg=name)
    assert found["expansion"].value > 0


def test_a_classical_rate_is_prefactor_and_barrier(cells):
    vacancy, _, saddle = cells
    rate = migration_rate(saddle, vacancy, Conditions(700.0, quantum=False))
    expected = np.log10(rate_prefactor(saddle, vacancy).value * 1e12)
    expected -= (saddle.energy - vacancy.energy) / (K * 700.0 * np.log(10))
    np.testing.assert_allclose(rate.value, expected, rtol=1e-9)


def test_several_temperatures_take_one_evaluation_of_the_vibrations(cells):
    vacancy, bulk, _ = cells
    formation_free_energy(vacancy, bulk, AT)
    before = vacancy.engine.evaluations.copy()
    for temperature in (50.0, 900.0):
        formation_entropy(vacancy, bulk, Conditions(temperature))
    assert vacancy.engine.evaluations.since(before).total == 0


def test_probes_tell_their_error(cells):
    found = free_energy(cells[0], Conditions(400.0, probes=8))
    assert "random probes" in found.caution
    exact = free_energy(cells[0], AT)
    assert abs(found.value - exact.value) < 0.5


def test_a_small_reference_is_refused(cells, tmp_path):
    (tmp_path / "small").mkdir()
    text = PERFECT.replace("size index 2", "size index 1")
    refused = pytest.raises(LammpsImplicitError, match="too few modes to stand for the crystal")
    with opened(tmp_path / "small", text, parameters="morse*") as small, refused:
        formation_entropy(cells[0], small, AT)


def test_a_minimum_is_no_saddle(cells):
    with pytest.raises(LammpsImplicitError, match="a barrier is that of a saddle"):
        rate_prefactor(cells[0], cells[0])


SETTINGS = {
    "parameters": "morse*",
    "bulk": {"deck": "in.bulk"},
    "cell": "none",
    "defects": {"vacancy": {"deck": "in.vacancy"}},
    "observables": {
        "F": {"kind": "formation free energy", "defect": "vacancy", "bulk": "bulk", "temperature": 300},
        "S": {"kind": "formation entropy", "defect": "vacancy", "bulk": "bulk", "temperature": 300, "quantum": False},
        "c": {"kind": "defect concentration", "defect": "vacancy", "bulk": "bulk", "temperature": 900},
        "s": {"kind": "entropy", "cell": "bulk", "temperature": 300, "per_atom": True},
        "softest": {"kind": "frequency", "cell": "vacancy"},
        "wave": {
            "kind": "phonon frequency",
            "cell": "bulk",
            "qpoint": [0.5, 0, 0],
            "branch": 1,
            "supercell": [1, 1, 1],
        },
    },
}


def test_a_study_has_observables_at_temperature(tmp_path):
    (tmp_path / "in.bulk").write_text(PERFECT)
    (tmp_path / "in.vacancy").write_text(FCC)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(SETTINGS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = run_study(read_configuration(tmp_path / "study.yaml", StudySettings))
    found = study.observables
    assert found["F"].units == "eV" and found["S"].units == "kB" and found["softest"].units == "THz"
    assert found["wave"].value > 1 and np.isfinite(found["wave"].gradient).all()
    assert 0 < found["s"].value < 10 and np.isfinite(found["c"].gradient).all()
    assert found["F"].value < found["vacancy: formation energy"].value


def test_a_potential_is_tuned_to_an_entropy_and_a_frequency(decks):
    settings = {
        "parameters": {"free": "morse*"},
        "cells": {"vacancy": {"deck": "in.vacancy"}, "bulk": {"deck": "in.bulk"}},
        "observables": {
            "S": {"kind": "formation entropy", "defect": "vacancy", "bulk": "bulk", "temperature": 300},
            "softest": {"kind": "frequency", "cell": "vacancy"},
        },
        "structures": False,
        "loss": {"observables": {"S": {"change": 0.1}, "softest": {"change": 0.05}}},
    }
    (decks / "tuned").mkdir()
    (decks / "tune.yaml").write_text(yaml.safe_dump(settings))
    lines = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = invert(read_configuration(decks / "tune.yaml", InversionSettings), decks / "tuned", say=lines.append)
    assert found.descent.converged, lines[-5:]
    for name, change in (("S", 0.1), ("softest", 0.05)):
        assert found.end[name] == pytest.approx(found.start[name] + change, abs=1e-4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"temperature": 0}, "temperature: Input should be greater than 0"),
        ({"temperature": "nan"}, "temperature: "),
        ({"temperature": 300, "probes": 1}, "probes: Input should be greater than or equal to 2"),
        ({"temperature": 300, "defect": "hole"}, "hole is not one of the cells"),
        ({}, "temperature: Field required"),
    ],
)
def test_settings_that_are_wrong_are_refused(changed, message, tmp_path):
    kind = {"kind": "formation free energy", "defect": "vacancy", "bulk": "bulk"} | changed
    (tmp_path / "in.bulk").write_text(PERFECT)
    (tmp_path / "in.vacancy").write_text(FCC)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(SETTINGS | {"observables": {"F": kind}}))
    with pytest.raises(LammpsImplicitError, match=message) as refused:
        read_configuration(tmp_path / "study.yaml", StudySettings)
    assert "\n" not in str(refused.value)


def run(folder, *arguments):
    return CliRunner().invoke(app, ["free-energy", *map(str, arguments)])


def test_the_command_writes_curves_with_the_band_of_an_ensemble(decks):
    with opened(decks, FCC, parameters="morse*") as point:
        theta = point.potential.theta
        expected = point.engine
        assert expected.n_atoms == 31
    np.save(decks / "ensemble.npy", theta * (1 + 1e-3 * np.random.default_rng(2).standard_normal((50, len(theta)))))
    output, plot = decks / "f.h5", decks / "f.png"
    done = run(
        decks,
        decks / "in.vacancy",
        "--bulk",
        decks / "in.bulk",
        "--parameters",
        "morse*",
        "--temperatures",
        "100:300:100",
        "--ensemble",
        decks / "ensemble.npy",
        "-o",
        output,
        "--plot",
        plot,
    )
    assert done.exit_code == 0, done.exception
    assert "formation free energy" in done.output and "for 1 % of" in done.output
    assert plot.read_bytes().startswith(b"\x89PNG")
    with h5py.File(output) as file:
        np.testing.assert_allclose(file["temperatures"], [100, 200, 300])
        formation = file["formation free energy"]
        changes = np.load(decks / "ensemble.npy") - theta
        np.testing.assert_allclose(formation["deviation"], (changes @ formation["gradient"][:].T).std(axis=0))
        samples = formation["value"][:] + changes @ formation["gradient"][:].T
        np.testing.assert_allclose(formation["mean"], samples.mean(axis=0))
        np.testing.assert_allclose(formation["quantiles"], np.quantile(samples, file.attrs["quantile_levels"], axis=0))
        assert np.all(formation["deviation"][:] > 0) and file.attrs["kind"] == "thermal functions"
    again = run(decks, decks / "in.vacancy", "-o", output)
    assert again.exit_code != 0 and "exists" in str(again.exception)


def test_the_command_lets_cells_expand(decks):
    done = run(
        decks, decks / "in.bulk", "--parameters", "morse*", "--cell", "iso", "--expand", "--temperatures", "50,400",
        "-o", decks / "g.h5", "--plot", decks / "g.png",
    )  # fmt: skip
    assert done.exit_code == 0, done.exception
    with h5py.File(decks / "g.h5") as file:
        volume, expansion = file["volume/value"][:], file["thermal expansion iso/value"][:]
    assert volume[1] > volume[0] and np.all(expansion > 0)
    assert "heat capacity at constant pressure" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperatures", "0:300:100"], "0 is not above zero"),
        (["--temperatures", "300,nan"], "give positive numbers"),
        (["--temperatures", "300:100:50"], "give positive numbers"),
        (["--temperatures", "1:9e9:1"], "too many"),
        (["--expand"], "--expand needs a cell"),
        (["--expand", "--cell", "iso", "--probes", "4"], "leave out --probes"),
        (["--var-bulk", "n=3"], "name its deck with --bulk"),
        (["--bulk", "in.none"], "in.none"),
        (["--plot", "free_energy.h5"], "give two names"),
        (["--ensemble", "none.npy"], "none.npy does not exist"),
    ],
)
def test_wrong_use_of_the_command_is_told(decks, arguments, message, monkeypatch):
    monkeypatch.chdir(decks)
    done = run(decks, "in.vacancy", *arguments)
    assert done.exit_code != 0 and message in str(done.exception) and "\n" not in str(done.exception)
    assert not (decks / "free_energy.h5").exists()
