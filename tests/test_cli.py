"""The command line and its files, as a user meets them."""

import subprocess
import sys

import ase.io
import h5py
import numpy as np
import pytest
from brute_force import SHIPPED
from commands import program
from conftest import TA_VACANCY

from lammps_implicit import Minimum, __version__
from lammps_implicit.cli.inverse import InvertCommand
from lammps_implicit.cli.observables import ObservablesCommand
from lammps_implicit.potentials.snap_files import read_coefficients


def _run(folder, *arguments):
    command = [*program(), *map(str, arguments)]
    outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a deck and its result."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "in.ta").write_text(TA_VACANCY)
    assert "wrote ta.h5" in _run(folder, "sensitivity", "in.ta", "-o", "ta.h5", "--tol", "1e-6")
    return folder


def test_results_hold_what_the_design_names(folder, ta_vacancy):
    with h5py.File(folder / "ta.h5") as file:
        shapes = {name: item.shape for name, item in file.items()}
        assert shapes["jacobian"] == (31, 53, 3)
        assert shapes["energy_hessian"] == (31, 31)
        assert shapes["theta"] == shapes["energy_gradient"] == shapes["parameter_names"] == (31,)
        assert shapes["positions"] == (53, 3)
        assert shapes["cell"] == (3, 3)
        assert file["ids"][()].tolist() == sorted(ta_vacancy.ids)
        assert file["positions"].attrs["units"] == "Å"
        assert file["energy"][()] == pytest.approx(ta_vacancy.energy, abs=1e-9)
        assert file["parameter_names"].asstr()[3] == "Ta:3"
        attributes = dict(file.attrs)
    assert attributes["package_version"] == __version__
    assert attributes["deck"] == "in.ta"
    assert len(attributes["deck_sha256"]) == 64
    assert attributes["tolerance"] == 1e-6
    assert attributes["method"] in ("iterative", "dense")
    assert attributes["force_evaluations"] > 0
    assert attributes["iterations"] > 0
    assert attributes["lammps_version"] >= 20250722


def test_jacobian_rows_are_in_id_order(folder, ta_vacancy):
    order = np.argsort(ta_vacancy.ids)
    expected = ta_vacancy.jacobian(1e-6).to_array()[:, order]
    with h5py.File(folder / "ta.h5") as file:
        assert np.linalg.norm(file["jacobian"][()] - expected) < 1e-5 * np.linalg.norm(expected)
        assert file["energy_hessian"][()] == pytest.approx(ta_vacancy.energy_hessian(1e-6), rel=1e-4, abs=1e-3)


def test_predictions_agree_with_relaxing_again_whatever_the_parameter_format(folder, ta_vacancy):
    file = read_coefficients(SHIPPED / "Ta06A.snapcoeff")
    change = 1e-3 * file.theta * np.cos(np.arange(31))
    new = file.with_theta(file.theta + change)
    (folder / "new.snapcoeff").write_text(new.text())
    np.save(folder / "new.npy", new.theta)
    (folder / "list.csv").write_text("".join(f"{value!r}\n" for value in new.theta.tolist()))
    labelled = [f"{name},{value!r}\n" for name, value in zip(new.names, new.theta.tolist(), strict=True)]
    (folder / "labels.csv").write_text("label,value\n" + "".join(reversed(labelled)))
    moved, energy = ta_vacancy.relaxed_at(change)
    moved = ta_vacancy.gather(moved - moved.mean(axis=0))
    for number, theta in enumerate(("new.snapcoeff", "new.npy", "list.csv", "labels.csv")):
        _run(folder, "predict", "ta.h5", "--theta", theta, "-o", f"new{number}.h5")
        with h5py.File(folder / f"new{number}.h5") as prediction:
            assert prediction["energy"][()] == pytest.approx(energy, abs=1e-7)
            assert prediction["energy_terms"][()].sum() == pytest.approx(prediction["energy"][()])
            displacement = prediction["displacement"][()]
        assert np.linalg.norm(displacement - moved) < 0.02 * np.linalg.norm(moved)
    atoms = ase.io.read(folder / "new0.xyz")
    assert atoms.arrays["displacement"] == pytest.approx(displacement, abs=1e-8)
    assert set(atoms.symbols) == {"Ta"}


def test_factored_results_predict_the_same(folder):
    _run(folder, "sensitivity", "in.ta", "-o", "factored.h5", "--tol", "1e-6", "--form", "factored")
    np.save(folder / "changed.npy", 1.001 * read_coefficients(SHIPPED / "Ta06A.snapcoeff").theta)
    with h5py.File(folder / "factored.h5") as file, h5py.File(folder / "ta.h5") as full:
        assert file.attrs["jacobian_form"] == "factored"
        assert full.attrs["jacobian_form"] == "full"
        assert "jacobian" not in file
        product = np.tensordot(file["jacobian_right"][()], file["jacobian_left"][()], axes=1)
        assert np.linalg.norm(product - full["jacobian"][()]) < 1e-5 * np.linalg.norm(product)
    moved = []
    for name in ("ta", "factored"):
        _run(folder, "predict", f"{name}.h5", "--theta", "changed.npy", "-o", f"from_{name}.h5")
        with h5py.File(folder / f"from_{name}.h5") as file:
            moved.append(file["displacement"][()])
    assert np.linalg.norm(moved[1] - moved[0]) < 1e-5 * np.linalg.norm(moved[0])


def test_large_results_are_factored_by_default(folder, ta_vacancy, monkeypatch):
    monkeypatch.setattr("lammps_implicit.results.sensitivity.FULL_BYTES", 1000)
    ta_vacancy.sensitivity(1e-6).write(folder / "large.h5")
    with h5py.File(folder / "large.h5") as file:
        assert file.attrs["jacobian_form"] == "factored"


def test_predicted_data_files_run_in_lammps(folder, tmp_path, ta_vacancy):
    np.save(tmp_path / "same.npy", ta_vacancy.potential.theta)
    _run(folder, "predict", "ta.h5", "--theta", tmp_path / "same.npy", "-o", tmp_path / "same.h5")
    start, _, rest = TA_VACANCY.partition("lattice")
    (tmp_path / "in.data").write_text(start + "read_data same.data\n" + rest[rest.index("pair_style") :])
    with Minimum.from_deck(tmp_path / "in.data") as minimum:
        assert minimum.initial_force < 1e-7
        assert minimum.energy == pytest.approx(ta_vacancy.energy, abs=1e-9)
        assert sorted(minimum.ids) == sorted(ta_vacancy.ids)


def test_relax_reaches_the_forces_asked_for(tmp_path, ta_vacancy):
    text = TA_VACANCY.split("minimize")[0] + "displace_atoms all random 0.05 0.05 0.05 7\n"
    (tmp_path / "in.far").write_text(text)
    output = _run(tmp_path, "relax", "in.far", "-o", "far.data", "--ftol", "1e-9")
    assert "wrote far.data" in output
    start, _, rest = TA_VACANCY.partition("lattice")
    text = start + "read_data far.data\n" + rest[rest.index("pair_style") : rest.index("minimize")]
    (tmp_path / "in.near").write_text(text)
    with Minimum.from_deck(tmp_path / "in.near", ftol=1e-3) as minimum:
        assert minimum.initial_force < 1e-7
        assert minimum.energy == pytest.approx(ta_vacancy.energy, abs=1e-8)


def test_help_names_every_command(tmp_path):
    output = _run(tmp_path, "--help")
    for command in ("doctor", "demo", "relax", "sensitivity", "predict"):
        assert command in output
        assert "--help" in _run(tmp_path, command, "--help")


@pytest.mark.parametrize(
    ("command", "kind", "lines"),
    [
        ("invert", InvertCommand, ("reduction (default 1e-08)", "from_start (default no)", "kind: prior")),
        (
            "observables",
            ObservablesCommand,
            ("bulk (required): the", "isolated (default none)", "repeat (default [1, 1"),
        ),
    ],
)
def test_help_lists_every_setting(tmp_path, command, kind, lines):
    output = _run(tmp_path, command, "--help")
    sections = kind(command).sections()
    shown = output.split("\n\nSettings of CONFIG: ")[1].split("\n\n")
    assert len(shown) == len(sections) > 9
    for text, (heading, model) in zip(shown[1:], sections[1:], strict=True):
        assert text.startswith(f"{heading}: ")
        names = [line.split()[0].rstrip(":") for line in text.splitlines()[1:] if line]
        assert names == [field.alias or name for name, field in model.model_fields.items()]
    for line in (*lines, "kind: formation energy"):
        assert line in output


def test_doctor_finds_a_working_installation(tmp_path):
    output = _run(tmp_path, "doctor")
    assert output.rstrip().endswith("ready")
    assert "BAD" not in output


def test_the_demonstration_writes_what_it_lists(tmp_path):
    output = _run(tmp_path, "demo", "-o", "shown")
    names = {path.name for path in (tmp_path / "shown").iterdir()}
    assert names == {"w_vacancy.h5", "w_vacancy.xyz", "displacements.png", "shells.png", "energy.png"}
    for name in names:
        assert name in output
    assert "127, 56" in output
    assert "displacement" in ase.io.read(tmp_path / "shown" / "w_vacancy.xyz").arrays


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (1, "relaxed energy"),
        (2, "without relaxing positions"),
        (3, "1.123 eV, saddle moves by"),
        (4, "(2, 31)"),
        (5, "the target loss was reached"),
        (6, "('height', 'width')"),
    ],
)
def test_the_readme_examples_run(tmp_path, place, said):
    from conftest import DECKS

    readme = (DECKS.parent / "README.md").read_text()
    script = readme.split("```python\n")[place].split("```")[0]
    script = script.replace("lammps_scripts/", f"{DECKS}/")
    outcome = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 0, outcome.stderr
    assert said in outcome.stdout


def test_a_cell_that_answers_is_stored_and_predicted(tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    common = ["in.ta", "--cell", "iso", "--pressure", "20 GPa"]
    assert "volume" in _run(tmp_path, "sensitivity", *common, "-o", "ta.h5", "--tol", "1e-6")
    with Minimum.from_deck(tmp_path / "in.ta", cell="iso", pressure="20 GPa") as minimum:
        change = 3e-4 * minimum.potential.theta
        relaxed = minimum.relaxed_at(change, 1e-10, cell="iso")
        pressure, volume = minimum.target[0, 0], minimum.engine.volume
        gradient, known = minimum.volume_gradient(1e-6), minimum.engine.cell
        ids, energy = np.sort(minimum.ids), minimum.energy
    np.save(tmp_path / "new.npy", minimum.potential.theta + change)
    told = _run(tmp_path, "predict", "ta.h5", "--theta", "new.npy", "-o", "new.h5")
    assert "predicted enthalpy" in told
    assert "predicted volume" in told
    with h5py.File(tmp_path / "ta.h5") as file:
        assert file["strain_jacobian"].shape == (31, 1)
        assert file["volume_gradient"][()] == pytest.approx(gradient, rel=1e-4, abs=1e-4 * np.abs(gradient).max())
        assert file["pressure"][()] == pytest.approx(2e5 * np.eye(3))
        assert file["enthalpy"][()] == pytest.approx(energy + pressure * volume, abs=1e-7)
        assert file.attrs["cell_freedom"] == "iso"
    with h5py.File(tmp_path / "new.h5") as file:
        assert file["ids"][()].tolist() == ids.tolist()
        assert file["cell"][()] - known == pytest.approx(
            relaxed.cell - known, abs=0.02 * np.abs(relaxed.cell - known).max()
        )
        enthalpy = relaxed.energy + pressure * np.linalg.det(relaxed.cell)
        assert file["enthalpy"][()] == pytest.approx(enthalpy, abs=1e-6)
        assert file["energy"][()] == pytest.approx(relaxed.energy, abs=1e-3)
    # The structure files have the new cell too.
    assert ase.io.read(tmp_path / "new.xyz").cell[0, 0] == pytest.approx(relaxed.cell[0, 0], abs=1e-4)


def test_a_cell_is_relaxed_by_the_command(tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    told = _run(tmp_path, "relax", "in.ta", "--cell", "iso", "--pressure", "200000", "-o", "relaxed.data")
    assert "200000, 200000, 200000 bar" in told
    assert " -> " in next(line for line in told.splitlines() if "volume" in line)
