"""Readers of what users hand in: anything is either read or refused in words, and quantities mean what they say."""

import contextlib
import os
import shutil
import string
import time
import warnings

import h5py
import numpy as np
import pytest
from conftest import TA_VACANCY
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.ensembles.ensemble import from_samples, read_ensemble
from lammps_implicit.ensembles.propagation import propagate
from lammps_implicit.evaluators.deck import read_transcript
from lammps_implicit.inverse.config import InversionSettings
from lammps_implicit.observables.config import StudySettings
from lammps_implicit.observables.configuration import read_configuration
from lammps_implicit.observables.files import read_derivatives
from lammps_implicit.potentials.interface import Parameters
from lammps_implicit.potentials.snap_files import parse_coefficients
from lammps_implicit.results.prediction import predict
from lammps_implicit.results.sensitivity import read_sensitivity
from lammps_implicit.units import in_unit

TEXT = "1 3\nTa 0.5 1.0\n1.5\n-2.0\n30.0\n"
PARAMETERS = Parameters(("Ta:0", "Ta:1", "Ta:2"), np.array([1.5, -2.0, 30.0]), TEXT)
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


def coefficients_are_read_or_refused(folder, text):
    try:
        found = parse_coefficients(text, "mangled")
    except LammpsImplicitError:
        return
    assert np.isfinite(found.theta).all()
    assert found.text() == text


def samples_are_read_or_refused(folder, text):
    (folder / "e.csv").write_text(text, encoding="utf-8")
    _ensemble_is_read_or_refused(folder / "e.csv")


def arrays_are_read_or_refused(folder, changes, length, suffix):
    path = folder / f"e.{suffix}"
    samples = PARAMETERS.theta * np.ones((2, 1))
    np.save(path, samples) if suffix == "npy" else np.savez(path, samples=samples)
    data = bytearray(path.read_bytes())[:length]
    for place, byte in changes if data else []:
        data[place % len(data)] = byte
    path.write_bytes(data)
    _ensemble_is_read_or_refused(path)


def _ensemble_is_read_or_refused(path):
    try:
        found = read_ensemble(path, PARAMETERS)
    except LammpsImplicitError:
        return
    assert found.samples.shape[1] == 3
    assert np.isfinite(found.samples).all()


def configurations_are_read_or_refused(folder, text, model):
    (folder / "in.w").touch()
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    try:
        assert isinstance(read_configuration(folder / "c.yaml", model), model)
    except LammpsImplicitError as error:
        assert str(error).isprintable()


def transcripts_are_read_or_refused(folder, text):
    with contextlib.suppress(LammpsImplicitError):
        assert read_transcript(text, folder).units in ("", "lj", *text.split())


def results_are_read_or_refused(folder, edits):
    """Files of version 1, which have no seal, with parts of them removed or replaced: nothing else raises."""
    path = folder / "x.h5"
    shutil.copy(folder / "result.h5", path)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 1
        names, attributes = sorted(file), sorted(set(file.attrs) - {"kind", "format_version"})
        for number, value in edits:
            place = (names + attributes)[number % (len(names) + len(attributes))]
            target = file if place in names else file.attrs
            if place in target:
                del target[place]
            if value is not None:
                target[place] = value
    with open(path, "r+b") as raw:
        raw.write(bytes(512))
    with contextlib.suppress(LammpsImplicitError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an atom that moves far
        known = read_sensitivity(path)
        assert np.isfinite(predict(known, 1e-3 * known.theta).enthalpy)
    with contextlib.suppress(LammpsImplicitError):
        found = read_derivatives(path)
        samples = found.parameters.theta * (1 + 1e-4 * np.random.default_rng(0).normal(size=(20, 1)))
        propagate(found.observables, found.parameters.theta, from_samples(samples, found.parameters))


STRANGE = st.one_of(
    st.none(),
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.text(max_size=8).filter(lambda text: "\0" not in text and text.isprintable()),
    arrays(
        st.sampled_from(["f8", "i4", "?", "c16", "S3"]), array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    ),
    st.sampled_from(
        [np.full(31, np.nan), np.zeros((31, 31)), np.full((15, 3), 1e300), "[" * 60_000, "$\\frac{$", "\x1b["]
    ),
)
"""Values that parts of a result are replaced by."""

DECK = (
    "units metal\nboundary p p p\npair_style snap\npair_coeff * * a.snapcoeff a.snapparam W\nfix f all setforce 0 0 0\n"
)
DECK += 'print """\nfix g all nve\n"""\nfix g all nve\nvariable n index 3\nprint "$n *" screen no\nunfix f\ninclude b\n'

PROPERTIES = {
    "coefficients": (coefficients_are_read_or_refused, {"text": _mangled(TEXT)}),
    "samples": (samples_are_read_or_refused, {"text": _mangled("Ta:0,Ta:1,Ta:2\n1.5,-2.0,30.0\n1.6,-2.1,31.0\n")}),
    "arrays": (
        arrays_are_read_or_refused,
        {
            "changes": st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=4),
            "length": st.one_of(st.none(), st.integers(0, 400)),
            "suffix": st.sampled_from(["npy", "npz"]),
        },
    ),
    "configurations": (
        configurations_are_read_or_refused,
        {"text": _mangled(YAML), "model": st.sampled_from([StudySettings, InversionSettings])},
    ),
    "transcripts": (transcripts_are_read_or_refused, {"text": _mangled(DECK)}),
    "results": (
        results_are_read_or_refused,
        {"edits": st.lists(st.tuples(st.integers(0, 1000), STRANGE), min_size=1, max_size=3)},
    ),
}
"""What holds for each reader, and what it is tried on."""


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A folder with the result of a small cell."""
    folder = tmp_path_factory.mktemp("result")
    (folder / "in.ta").write_text(TA_VACANCY.replace("0 3 0 3 0 3", "0 2 0 2 0 2"))
    with Minimum.from_deck(folder / "in.ta") as minimum:
        minimum.sensitivity(1e-3).write(folder / "result.h5")
    return folder


def _try(name, folder, examples, number):
    check, drawn = PROPERTIES[name]

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(**drawn)
    def holds(**values):
        check(folder, **values)

    holds()


@pytest.mark.parametrize("name", PROPERTIES)
def test_whatever_is_handed_in_is_read_or_refused(name, result):
    _try(name, result, 100, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROPERTIES)
def test_whatever_is_handed_in_is_read_or_refused_for_long(name, result):
    until, number = time.monotonic() + 60 * float(os.environ.get("FUZZ_MINUTES", "10")), 0
    while time.monotonic() < until:
        number += 1
        _try(name, result, 500, number)
    print(f"{name}: {500 * number} examples")
