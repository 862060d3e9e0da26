"""Differences of thermal functions of two cells from random probes, on any number of ranks, and over ensembles."""

import re
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from hops import FCC
from mpi4py import MPI
from test_thermal_observables import AT, PERFECT, SETTINGS, cells  # noqa: F401
from test_vibrations import opened
from typer.testing import CliRunner

from lammps_implicit import LammpsImplicitError
from lammps_implicit.cli import app
from lammps_implicit.observables.cells import composition
from lammps_implicit.observables.thermal import (
    Conditions,
    defect_concentration,
    entropy,
    formation_entropy,
    formation_free_energy,
    free_energy,
    migration_rate,
    rate_prefactor,
)
from lammps_implicit.observables.thermal_differences import error_of_difference, measured_alike
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.vibrations.free_energy import harmonic_free_energy

SAMPLED = Conditions(400.0, probes=16)

CLASSICAL = Conditions(400.0, quantum=False, probes=16)

K = 8.617333262e-5


def told_error(observable):
    """The standard error that an observable tells, and its units."""
    found = re.search(r"standard error of (\S+) (\S+)$", observable.caution)
    return float(found[1]), found[2]


def test_errors_are_those_of_differences_in_units_of_the_observable(cells):  # noqa: F811
    vacancy, bulk, saddle = cells
    found = [harmonic_free_energy(cell, 400.0, True, 16, gradient=False) for cell in (vacancy, bulk)]
    differences = (found[0].vibrations.samples - 31 / 32 * found[1].vibrations.samples)[:, :, 0]
    by_hand = differences.std(axis=0, ddof=1) / 4
    measured = {
        "eV": (formation_free_energy(vacancy, bulk, SAMPLED), by_hand[0]),
        "kB": (formation_entropy(vacancy, bulk, SAMPLED), by_hand[2] / K),
        "log10": (defect_concentration(vacancy, bulk, SAMPLED), by_hand[0] / (K * 400 * np.log(10))),
    }
    for units, (observable, error) in measured.items():
        assert told_error(observable) == (pytest.approx(error, rel=0.06), units) and observable.units == units
    alone, _ = told_error(entropy(vacancy, SAMPLED))
    assert told_error(measured["kB"][0])[0] < alone / 2
    per_atom, _ = told_error(entropy(vacancy, SAMPLED, per_atom=True))
    assert per_atom == pytest.approx(alone / 31, rel=0.06)
    assert told_error(migration_rate(saddle, vacancy, CLASSICAL))[1] == "log10(Hz)"
    assert told_error(rate_prefactor(saddle, vacancy, 16))[1] == "THz"


def test_estimates_are_within_their_errors(cells):  # noqa: F811
    vacancy, bulk, saddle = cells
    pairs = [
        (formation_entropy(vacancy, bulk, SAMPLED), formation_entropy(vacancy, bulk, AT)),
        (formation_free_energy(vacancy, bulk, SAMPLED), formation_free_energy(vacancy, bulk, AT)),
        (rate_prefactor(saddle, vacancy, 16), rate_prefactor(saddle, vacancy)),
    ]
    for estimate, exact in pairs:
        assert abs(estimate.value - exact.value) < 4 * told_error(estimate)[0]
        assert not exact.caution


def test_a_cell_beside_one_with_probes_has_the_same(cells):  # noqa: F811
    vacancy, bulk, _ = cells
    asked = []

    def measure(cell, probes):
        asked.append((cell is vacancy, probes))
        probes = 8 if cell is vacancy else probes
        return harmonic_free_energy(cell, 400.0, True, probes, gradient=False)

    found = measured_alike(vacancy, bulk, 31 / 32, measure, None)
    assert [len(each.vibrations.samples) for each in found] == [8, 8]
    assert asked == [(True, None), (False, None), (False, 8)]
    mixed = found[0], harmonic_free_energy(bulk, 400.0, gradient=False)
    assert np.all(error_of_difference(*found, 31 / 32) < error_of_difference(*mixed, 31 / 32) / 2)


def test_probes_that_do_not_help_are_not_used(cells):  # noqa: F811
    vacancy, bulk, _ = cells

    def measure(cell, probes):
        found = harmonic_free_energy(cell, 400.0, True, 8 if cell is vacancy else probes, gradient=False)
        if len(found.vibrations.samples) and cell is bulk:
            found.vibrations.samples[:] = 2 * found.vibrations.samples.mean(axis=0) - found.vibrations.samples
        return found

    found = measured_alike(vacancy, bulk, 31 / 32, measure, None)
    assert [len(each.vibrations.samples) for each in found] == [8, 0]


def test_estimates_at_one_temperature_are_made_once(cells):  # noqa: F811
    vacancy, bulk, _ = cells
    formation_free_energy(vacancy, bulk, SAMPLED)
    before = [cell.engine.evaluations.copy() for cell in (vacancy, bulk)]
    formation_entropy(vacancy, bulk, SAMPLED)
    defect_concentration(vacancy, bulk, SAMPLED)
    free_energy(vacancy, SAMPLED)
    assert [cell.engine.evaluations.since(b).total for cell, b in zip((vacancy, bulk), before, strict=True)] == [0, 0]


def test_a_number_has_a_chemical_potential_but_no_entropy(cells):  # noqa: F811
    vacancy, bulk, _ = cells
    (element,) = composition(bulk)
    with pytest.raises(LammpsImplicitError, match="neither volume nor entropy"):
        formation_entropy(vacancy, bulk, AT, {element: -3.0})


@pytest.mark.parallel(nprocs=[1, 2])
@pytest.mark.parametrize("probes", [None, 3])
def test_formation_on_any_number_of_ranks(probes, tmp_path_factory):
    comm = MPI.COMM_WORLD
    folder = Path(comm.bcast(str(tmp_path_factory.mktemp("ranks"))))
    if comm.rank == 0:
        (folder / "in.v").write_text(FCC)
        (folder / "in.b").write_text(PERFECT)
    comm.Barrier()
    found = []
    at = Conditions(400.0, probes=probes)
    for ranks in (MPI.COMM_SELF, comm):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            vacancy, bulk = (
                StationaryPoint.from_deck(folder / name, ranks, ftol=1e-9, force_limit=np.inf, parameters="morse*")
                for name in ("in.v", "in.b")
            )
        with vacancy, bulk:
            found.append((formation_free_energy(vacancy, bulk, at), formation_entropy(vacancy, bulk, at)))
    for alone, together in zip(*found, strict=True):
        np.testing.assert_allclose(together.value, alone.value, rtol=1e-5)
        np.testing.assert_allclose(together.gradient, alone.gradient, atol=1e-3 * np.abs(alone.gradient).max())
        assert together.caution == alone.caution


def test_a_study_at_temperature_is_propagated_and_validated(tmp_path):
    (tmp_path / "in.bulk").write_text(PERFECT)
    (tmp_path / "in.vacancy").write_text(FCC)
    wanted = {name: SETTINGS["observables"][name] for name in ("F", "S", "c")}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(SETTINGS | {"observables": wanted}))
    with opened(tmp_path, FCC, parameters="morse*") as point:
        theta = point.potential.theta
    samples = theta * (1 + 1e-3 * np.random.default_rng(2).standard_normal((40, len(theta))))
    np.save(tmp_path / "e.npy", samples)

    def run(*arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done = CliRunner().invoke(app, list(map(str, arguments)))
        assert done.exit_code == 0, done.exception

    result, ensemble = tmp_path / "o.h5", tmp_path / "e.npy"
    run("observables", tmp_path / "study.yaml", "-o", result)
    run("propagate", result, "--ensemble", ensemble, "-o", tmp_path / "p.h5")
    run("validate", result, "--ensemble", ensemble, "--samples", 1, "-o", tmp_path / "v")
    with h5py.File(result) as file, h5py.File(tmp_path / "p.h5") as propagated:
        for name in wanted:
            gradient = file["observables"][name]["gradient"][:]
            spread = propagated["observables"][name]["deviation"][()]
            np.testing.assert_allclose(np.ravel(spread)[0], ((samples - theta) @ gradient).std(), rtol=1e-6)
