"""CONTRIBUTING.md does what it says: its blocks make a package, its commands run, its tests pass."""

import json

import h5py
import numpy as np
import pytest
from conftest import TA_BULK, TA_VACANCY, TA_VACANCY_READ, ta_data
from contributing import commands, run, sections, write_shown
from test_families import LJ

from lammps_implicit import Minimum
from lammps_implicit.results import read_sensitivity

FAMILY, OBSERVABLE, LOSS, EVALUATOR = "A family of potentials", "An observable", "A loss term", "An evaluator"


def show(additions, folder, title, *paths):
    """Do all that a section shows; return what its commands print."""
    write_shown(folder, title)
    told = []
    for command in [*commands(title), "python -m pytest -q -p no:cacheprovider tests"]:
        done = run(folder, command, *paths, additions)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        told.append(done.stdout)
    assert "1 passed" in told.pop()
    return told


def test_every_section_is_short_and_tested_here():
    assert set(sections()) == {FAMILY, OBSERVABLE, LOSS, EVALUATOR}
    for title, blocks in sections().items():
        assert {block.language for block in blocks} <= {"python", "toml", "yaml", "sh"}, title
        assert all(block.path or block.language == "sh" for block in blocks), title
        (module,) = (block for block in blocks if block.path.startswith("additions/"))
        assert module.text.count("\n") < 40, title
        assert len([block for block in blocks if block.path == "pyproject.toml"]) == 1
        assert len([block for block in blocks if block.path.startswith("tests/")]) == 1
        assert commands(title), title


def test_a_family(additions, tmp_path):
    (tmp_path / "in.alloy").write_text(LJ.replace("0 3 0 3 0 3", "0 2 0 2 0 2").replace("5.5 6.0", "4.5 5.5"))
    show(additions, tmp_path, FAMILY)
    found = read_sensitivity(tmp_path / "wells.h5")
    assert found.names == ("depth of unlike wells", "size of all wells")
    assert found.theta.tolist() == [1.0, 1.0]
    done = run(tmp_path, "lammps-implicit sensitivity in.alloy -o plain.h5", additions)
    assert done.returncode == 0, done.stderr
    plain = read_sensitivity(tmp_path / "plain.h5")
    assert len(plain.names) == 6
    # Factors are combinations of the parameters that they multiply.
    depth, size = (plain.theta * [word in name for name in plain.names] for word in ("1-2 epsilon", "sigma"))
    assert found.energy_gradient == pytest.approx([plain.energy_gradient @ depth, plain.energy_gradient @ size])
    for row, change in enumerate((depth, size)):
        unit = np.eye(2)[row]
        assert found.displacement(unit) == pytest.approx(plain.displacement(change), abs=1e-4)
    both = run(tmp_path, "lammps-implicit sensitivity in.alloy --parameters 'depth*,*1-2 epsilon' -o b.h5", additions)
    assert both.returncode == 1
    assert "two parameters change the word '0.42' of 'pair_coeff 1 2 0.42 2.45'" in both.stderr
    assert "Traceback" not in both.stderr


def test_an_observable(additions, tmp_path):
    (tmp_path / "in.bulk").write_text(TA_BULK)
    (tmp_path / "in.vacancy").write_text(TA_VACANCY)
    (told,) = show(additions, tmp_path, OBSERVABLE)
    assert "density" in told
    with h5py.File(tmp_path / "study.h5") as file:
        theta, density = file["theta"][()], file["observables/density"]
        value, gradient = density["value"][()], density["gradient"][()]
        assert density.attrs["units"] == "Å^-3"
        assert file["observables/edge/value"][()] == pytest.approx(2.8, abs=0.3)
    with Minimum.from_deck(tmp_path / "in.bulk", cell="iso", pressure="20 GPa", ftol=1e-9) as bulk:
        change, ends = 1e-3 * np.random.default_rng(1).standard_normal(len(theta)) * np.abs(theta), []
        for sign in (1, -1):
            ends.append(16 / np.linalg.det(bulk.relaxed_at(sign * change, 1e-10, cell="iso").cell))
        assert value == pytest.approx(16 / bulk.engine.volume, rel=1e-7)
    assert gradient @ change == pytest.approx((ends[0] - ends[1]) / 2, rel=1e-3)
    samples = theta + 1e-3 * np.random.default_rng(2).standard_normal((20, len(theta))) * np.abs(theta)
    np.save(tmp_path / "e.npy", samples)
    for command in (
        "propagate study.h5 --ensemble e.npy -o uq.h5",
        "validate study.h5 --ensemble e.npy --samples 2 -o v",
    ):
        done = run(tmp_path, f"lammps-implicit {command}", additions)
        assert done.returncode == 0, done.stderr
    done = run(tmp_path, "lammps-implicit merge v -o merged.h5", additions)
    assert "density (Å^-3)" in done.stdout
    with h5py.File(tmp_path / "merged.h5") as file:
        column = list(file["names"].asstr()[()]).index("density")
        assert file["estimates"][:, column, 0] == pytest.approx(file["true"][:, column], rel=1e-4)
    missing = run(tmp_path, "lammps-implicit validate study.h5 --ensemble e.npy --samples 2 -o w")
    assert missing.returncode == 1
    assert "there is no observable 'number density'" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_a_loss_term(additions, tmp_path):
    (tmp_path / "in.vacancy").write_text(TA_VACANCY_READ)
    (tmp_path / "atoms.data").write_text(ta_data(range(2, 55)))
    (told,) = show(additions, tmp_path, LOSS)
    assert "loss: volume of vacancy" in told
    with h5py.File(tmp_path / "find-output" / "history.h5") as file:
        # The observable of the section before is found by name too.
        assert file["observables"][-1, 0] == pytest.approx(53 / 955.0, rel=1e-4)
        assert abs(json.loads(file.attrs["start"])["density"] / (53 / 955.0) - 1) > 1e-3
    text = (tmp_path / "find.yaml").read_text()
    fixed = text.replace(", cell: iso, pressure: 5 GPa", "").replace(
        "  density: {kind: number density, cell: vacancy}", ""
    )
    (tmp_path / "fixed.yaml").write_text(fixed.replace("observables:", "observables: {}"))
    done = run(tmp_path, "lammps-implicit invert fixed.yaml", additions)
    assert done.returncode == 1
    assert "a volume depends on Θ only where the cell is relaxed" in done.stderr
    assert "Traceback" not in done.stderr
    listed = run(tmp_path, "lammps-implicit invert --help", additions).stdout
    assert "Half the square of the relative deviation" in listed
    assert "kind: number density" in listed


@pytest.fixture
def without_lammps(tmp_path_factory):
    """A folder that hides LAMMPS from Python."""
    folder = tmp_path_factory.mktemp("hidden")
    (folder / "lammps.py").write_text("raise ImportError('there is no LAMMPS here')\n")
    return folder


def test_an_evaluator(additions, without_lammps, tmp_path):
    told = show(additions, tmp_path, EVALUATOR, without_lammps)
    assert "(31, 3)" in told[0]
    assert "in morse" in told[1]
    found = read_sensitivity(tmp_path / "copper.h5")
    assert found.names == ("epsilon", "r0")
    assert found.attributes["evaluator"] == "Morse"
    # Lengths are those of the cell, which stays; energies go with epsilon.
    assert found.energy_gradient[0] == pytest.approx(found.energy / 0.34)
    assert np.abs(found.displacement(np.array([1.0, 0.0]))).max() < 1e-6
    np.save(tmp_path / "samples.npy", found.theta * (1 + 1e-3 * np.random.default_rng(0).standard_normal((4, 2))))
    np.save(tmp_path / "theta.npy", found.theta * 1.001)
    for command in (
        "predict copper.h5 --theta theta.npy -o predicted.h5",
        "propagate copper.h5 --ensemble samples.npy -o uq.h5",
        "validate copper.h5 --ensemble samples.npy --samples 2 -o v",  # with the evaluator that made it
        "merge v -o merged.h5",
    ):
        done = run(tmp_path, f"lammps-implicit {command}", without_lammps, additions)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    with h5py.File(tmp_path / "merged.h5") as file:
        assert file["estimates"][:, 0, 1] == pytest.approx(file["true"][:, 0], rel=1e-6)
    for arguments, message in {
        "": "the Python module of LAMMPS cannot be imported (there is no LAMMPS here): install it, or name another",
        "--evaluator colour": "there is no evaluator 'colour': known are jax, lammps, morse",
        "--evaluator morse --autodiff": "--autodiff is '--evaluator jax', and '--evaluator morse' is given: take one",
        "--evaluator morse --parameters sigma": "no parameter matches 'sigma': labels run from epsilon to r0",
        "--evaluator morse --var r0=wide": "copper.xyz is not a structure with epsilon, rho0, r0",
        "--evaluator morse --var r0=inf": "Morse finds an energy, forces or a pressure that are not finite",
    }.items():
        done = run(tmp_path, f"lammps-implicit sensitivity copper.xyz {arguments} -o no.h5", without_lammps, additions)
        assert done.returncode == 1, arguments
        assert message in " ".join(done.stderr.split()), arguments
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "no.h5").exists()
    done = run(
        tmp_path, "mpirun -n 2 python -m lammps_implicit sensitivity copper.xyz --evaluator morse -o two.h5", additions
    )
    assert done.returncode != 0
    assert "Morse runs in one process: start without mpirun" in done.stderr
