"""Readers of what users hand in: anything is either read or refused in words, and quantities mean what they say."""

import string

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lammps_implicit import LammpsImplicitError
from lammps_implicit.ensembles.ensemble import read_ensemble
from lammps_implicit.inverse.config import InversionSettings
from lammps_implicit.observables.config import StudySettings
from lammps_implicit.observables.configuration import read_configuration
from lammps_implicit.potentials.interface import Parameters
from lammps_implicit.potentials.snap_files import parse_coefficients
from lammps_implicit.units import in_unit

TEXT = "1 3\nTa 0.5 1.0\n1.5\n-2.0\n30.0\n"
PARAMETERS = Parameters(("Ta:0", "Ta:1", "Ta:2"), np.array([1.5, -2.0, 30.0]), TEXT)
READ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
YAML = "bulk: {deck: in.w}\npressure: 1 GPa\ndefects:\n  v: &a {deck: in.w, sites: 3}\n"


@pytest.mark.parametrize(
    ("given", "unit", "value"),
    [
        (160, "bar", 160.0),
        ("160 GPa", "bar", 1.6e6),
        ("160 GPa", "eV/Å^3", 160e4 / 1.6021765e6),
        ("1 eV/Å^3", "bar", 1.6021765e6),
        ("96.485332 kJ/mol", "eV", 1.0),
        ("23.060549 kcal/mol", "eV", 1.0),
        ("0.3 nm", "Å", 3.0),
        ("1 nm^3", "Å^3", 1000.0),
        ("1nm³", "Å^3", 1000.0),
        ("1e-3 eV/Å", "eV/Å", 1e-3),
        ("1e-5 meV/pm", "eV/Å", 1e-6),
        ("2 epsilon", "epsilon", None),
    ],
)
def test_quantities_are_converted(given, unit, value):
    if value is None:  # reduced units have no size
        with pytest.raises(LammpsImplicitError, match="no unit that is known"):
            in_unit(given, unit)
    else:
        assert in_unit(given, unit) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("given", ["160 GPa", "1 Å", "3 parsec", "1 eV^", "nan", "1e999", "", "1 2", "1 eV/"])
def test_quantities_of_another_dimension_are_refused(given):
    with pytest.raises(LammpsImplicitError):
        in_unit(given, "eV")


def _mangled(text):
    """Texts near a good one: pieces of it in another order, with any text between."""
    pieces = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(
        lambda ends: text[min(ends) : max(ends)]
    )
    strange = st.text(st.sampled_from(string.printable + "²é\x00"), max_size=12)
    return st.lists(st.one_of(pieces, strange), max_size=6).map("".join)


@READ
@given(text=_mangled(TEXT))
def test_coefficient_files_are_read_or_refused(text):
    try:
        found = parse_coefficients(text, "mangled")
    except LammpsImplicitError:
        return
    assert np.isfinite(found.theta).all()
    assert found.text() == text


@READ
@given(text=_mangled("Ta:0,Ta:1,Ta:2\n1.5,-2.0,30.0\n1.6,-2.1,31.0\n"))
def test_tables_of_samples_are_read_or_refused(text, tmp_path):
    (tmp_path / "e.csv").write_text(text, encoding="utf-8")
    try:
        found = read_ensemble(tmp_path / "e.csv", PARAMETERS)
    except LammpsImplicitError:
        return
    assert found.samples.shape[1] == 3
    assert np.isfinite(found.samples).all()


@READ
@given(place=st.integers(0, 1000), byte=st.integers(0, 255), suffix=st.sampled_from(["npy", "npz"]))
def test_arrays_with_a_byte_changed_are_read_or_refused(place, byte, suffix, tmp_path):
    path = tmp_path / f"e.{suffix}"
    samples = PARAMETERS.theta * np.ones((2, 1))
    np.save(path, samples) if suffix == "npy" else np.savez(path, samples=samples)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = byte
    path.write_bytes(data)
    try:
        found = read_ensemble(path, PARAMETERS)
    except LammpsImplicitError:
        return
    assert found.samples.shape[1] == 3
    assert np.isfinite(found.samples).all()


@READ
@given(text=_mangled(YAML), model=st.sampled_from([StudySettings, InversionSettings]))
def test_configurations_are_read_or_refused(text, model, tmp_path):
    (tmp_path / "in.w").touch()
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    try:
        assert isinstance(read_configuration(tmp_path / "c.yaml", model), model)
    except LammpsImplicitError as error:
        assert str(error).isprintable()
