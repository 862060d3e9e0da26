"""What comes from others: names cannot break pages, figures or terminals, code does not run unannounced."""

import h5py
import numpy as np
import pytest

from lammps_implicit import LammpsImplicitError
from lammps_implicit.cli.console import printable
from lammps_implicit.ensembles import html_report
from lammps_implicit.ensembles.ensemble import from_samples
from lammps_implicit.ensembles.files import read_propagation, write_propagation
from lammps_implicit.ensembles.propagation import propagate
from lammps_implicit.inverse.config import InversionSettings
from lammps_implicit.inverse.run import invert
from lammps_implicit.observables.configuration import read_configuration
from lammps_implicit.observables.files import read_derivatives
from lammps_implicit.observables.formation import energy_in_unit_of
from lammps_implicit.observables.quantities import FormationEnergy
from lammps_implicit.results.prediction import predict
from lammps_implicit.results.sensitivity import read_sensitivity

EVIL = "<script>alert(1)</script> $\\frac{$ \x1b[31m"


@pytest.fixture(scope="module")
def result(ta_vacancy, tmp_path_factory):
    path = tmp_path_factory.mktemp("result") / "ta.h5"
    ta_vacancy.sensitivity(1e-3).write(path)
    return path


def test_names_are_escaped_in_reports_and_shown_as_they_are_in_figures(result, tmp_path):
    known = read_derivatives(result)
    theta = known.parameters.theta
    samples = theta * (1 + 1e-4 * np.random.default_rng(0).normal(size=(20, 31)))
    found = propagate(known.observables, theta, from_samples(samples, known.parameters))
    write_propagation(tmp_path / "uq.h5", found, known, read_sensitivity(result))
    with h5py.File(tmp_path / "uq.h5", "r+") as file:
        file.attrs["format_version"] = 1  # without a seal
        file.attrs["ensemble"] = file.attrs["from"] = EVIL
        for group in file["observables"].values():
            group.attrs["name"] = group.attrs["units"] = EVIL
        names = [f"{EVIL} {number}" for number in range(31)]
        file["parameter_names"][...] = names
    with open(tmp_path / "uq.h5", "r+b") as raw:
        raw.write(bytes(512))
    page = html_report(read_propagation(tmp_path / "uq.h5"))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_control_characters_are_printed_as_text():
    assert printable("a\x1b[31m\x00\nÅ²") == "a\\x1b[31m\\x00\nÅ²"


def test_python_code_of_a_configuration_is_announced_before_it_runs(tmp_path):
    (tmp_path / "in.none").touch()
    (tmp_path / "f.py").write_text("raise ValueError('ran')\n")
    (tmp_path / "c.yaml").write_text("cells: {w: {deck: in.none}}\nloss: {functions: [{cell: w, file: f.py}]}\n")
    said = []
    with pytest.raises(LammpsImplicitError, match="ran"):
        invert(read_configuration(tmp_path / "c.yaml", InversionSettings), tmp_path / "out", say=said.append)
    assert said == [f"running the Python code in {tmp_path / 'f.py'}"]


def test_energies_have_units(ta_vacancy):
    assert energy_in_unit_of(ta_vacancy, "-96.485332 kJ/mol", "isolated: Ta") == pytest.approx(-1.0)
    assert energy_in_unit_of(ta_vacancy, -3, "isolated: Ta") == -3.0
    with pytest.raises(LammpsImplicitError, match="isolated: Ta: '3 GPa' is not a quantity in eV"):
        energy_in_unit_of(ta_vacancy, "3 GPa", "isolated: Ta")
    reservoirs = {"Ta": "-8.1 eV", "W": "tungsten", "Be": -3.7}
    kind = FormationEnergy(kind="formation energy", defect="v", bulk="b", reservoirs=reservoirs)
    assert kind.cells() == ["v", "b", "tungsten"]


def test_predictions_that_mean_little_warn_and_those_that_overflow_are_refused(result):
    known = read_sensitivity(result)
    with pytest.warns(UserWarning, match="farther than first order holds"):
        predict(known, 1e3 * known.theta)
    with pytest.raises(LammpsImplicitError, match="numbers overflow"):
        predict(known, np.full(31, 1e308))
