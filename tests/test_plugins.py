"""A package of somebody else adds an observable and a loss term; the commands use them from YAML.

`FAULTS` and its entry points are what such a package consists of: `CONTRIBUTING.md` shows the same.
"""

import json
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import yaml
from conftest import TA_VACANCY, TA_VACANCY_READ, ta_data

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.inverse.config import InversionSettings
from lammps_implicit.observables import OBSERVABLES, ObservableKind, StudySettings, read_configuration
from lammps_implicit.observables.bulk import elastic_constants
from lammps_implicit.observables.kind import measures_of
from lammps_implicit.observables.observable import Observable

OBSERVABLE = '''\
from typing import Literal

import numpy as np

from lammps_implicit.observables import Cells, Observable, ObservableKind


class Density(ObservableKind):
    """Atoms per volume of a relaxed cell."""

    kind: Literal["number density"]
    cell: str

    def cells(self) -> list[str]:
        return [self.cell]

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        minimum = cells[self.cell]
        volume = minimum.engine.volume
        density = minimum.engine.n_atoms / volume
        gradient = np.full(len(minimum.potential.theta), np.nan)
        if order > 0:
            gradient = -density / volume * minimum.volume_gradient(tol, cell=minimum.cell)
        return Observable(np.asarray(density), gradient, f"{minimum.units.length}^-3")
'''

LOSS = '''\
from typing import Literal

import numpy as np

from lammps_implicit.cell.freedom import strains
from lammps_implicit.inverse import LossContext, LossKind, UserTerm
from lammps_implicit.observables import Cells
from lammps_implicit.observables.cells import require_relaxed_cell
from lammps_implicit.stationary import StationaryPoint


class VolumeLoss(LossKind):
    """Half the square of the relative deviation of a volume from what it is to be."""

    kind: Literal["volume"]
    cell: str
    target: float

    def cells(self) -> list[str]:
        return [self.cell]

    def check(self, cells: Cells) -> None:
        require_relaxed_cell(cells[self.cell], "a volume depends")

    def build(self, context: LossContext) -> UserTerm:
        def loss(minimum: StationaryPoint) -> tuple[float, np.ndarray, np.ndarray]:
            volume = minimum.engine.volume
            deviation = volume / self.target - 1
            _, basis = strains(minimum.cell)
            strain_cotangent = deviation / self.target * volume * basis[:3].sum(axis=0)
            return 0.5 * deviation**2, np.zeros_like(minimum.positions), strain_cotangent

        return UserTerm(self.cell, loss, f"volume of {self.cell}")
'''

ENTRY_POINTS = """\
[lammps_implicit.observables]
number density = densities.observable:Density

[lammps_implicit.losses]
volume = densities.loss:VolumeLoss
"""

BULK = TA_VACANCY.replace("group           vacancy id 1\ndelete_atoms    group vacancy compress no\n", "").replace(
    "0 3 0 3 0 3", "0 2 0 2 0 2"
)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with an installed package, as pip leaves it."""
    site = tmp_path_factory.mktemp("site")
    (site / "densities").mkdir()
    for name, text in (("__init__", ""), ("observable", OBSERVABLE), ("loss", LOSS)):
        assert text.count("\n") < 40
        (site / "densities" / f"{name}.py").write_text(text)
    distribution = site / "densities-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: densities\nVersion: 1.0\n")
    (distribution / "entry_points.txt").write_text(ENTRY_POINTS)
    return site


def run(package, folder, *arguments, ranks=0):
    launcher = [shutil.which("mpirun", path=f"{sys.prefix}/bin") or "mpirun", "-n", str(ranks)] if ranks else []
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [*launcher, sys.executable, "-m", "lammps_implicit", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_observables_of_another_package_are_propagated_and_validated(package, tmp_path):
    (tmp_path / "in.bulk").write_text(BULK)
    (tmp_path / "in.vacancy").write_text(TA_VACANCY)
    settings = {
        "pressure": "20 GPa",
        "tol": 1e-4,
        "bulk": {"deck": "in.bulk", "repeat": [2, 2, 2]},
        "defects": {"vacancy": {"deck": "in.vacancy"}},
        "observables": {
            "density": {"kind": "number density", "cell": "bulk"},
            "edge": {"kind": "distance", "cell": "vacancy", "ids": [2, 3]},
        },
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(settings))
    done = run(package, tmp_path, "observables", "study.yaml", "-o", "out.h5")
    assert done.returncode == 0, done.stderr
    assert "density" in done.stdout
    with h5py.File(tmp_path / "out.h5") as file:
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
    for command in (["propagate", "-o", "uq.h5"], ["validate", "--samples", "2", "-o", "v"]):
        done = run(package, tmp_path, command[0], "out.h5", "--ensemble", "e.npy", *command[1:])
        assert done.returncode == 0, done.stderr
    done = run(package, tmp_path, "merge", "v", "-o", "merged.h5")
    assert "density (Å^-3)" in done.stdout
    with h5py.File(tmp_path / "merged.h5") as file:
        column = list(file["names"].asstr()[()]).index("density")
        assert file["estimates"][:, column, 0] == pytest.approx(file["true"][:, column], rel=1e-4)
    missing = run("", tmp_path, "validate", "out.h5", "--ensemble", "e.npy", "--samples", "2", "-o", "w")
    assert missing.returncode == 1
    assert "there is no observable 'number density'" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_loss_terms_of_another_package_are_minimised(package, tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY_READ)
    (tmp_path / "atoms.data").write_text(ta_data(range(2, 55)))
    settings = {
        "cells": {"vacancy": {"deck": "in.ta", "cell": "iso", "pressure": "5 GPa"}},
        "observables": {"density": {"kind": "number density", "cell": "vacancy"}},
        "loss": {"terms": [{"kind": "volume", "cell": "vacancy", "target": 955.0}, {"kind": "prior", "ridge": 1e-12}]},
        "structures": False,
    }
    (tmp_path / "find.yaml").write_text(yaml.safe_dump(settings))
    done = run(package, tmp_path, "invert", "find.yaml")
    assert done.returncode == 0, done.stderr
    assert "loss: volume of vacancy" in done.stdout
    with h5py.File(tmp_path / "find-output" / "history.h5") as file:
        assert file["observables"][-1, 0] == pytest.approx(53 / 955.0, rel=1e-4)
        assert abs(json.loads(file.attrs["start"])["density"] / (53 / 955.0) - 1) > 1e-3
    settings["cells"]["vacancy"] = {"deck": "in.ta"}
    settings["observables"] = {}
    (tmp_path / "fixed.yaml").write_text(yaml.safe_dump(settings))
    done = run(package, tmp_path, "invert", "fixed.yaml")
    assert done.returncode == 1
    assert "a volume depends on Θ only where the cell is relaxed" in done.stderr
    assert "Traceback" not in done.stderr
    listed = run(package, tmp_path, "invert", "--help").stdout
    assert "Half the square of the relative deviation" in listed
    assert "kind: number density" in listed


@pytest.mark.parallel(nprocs=1)
def test_two_ranks_find_what_one_finds(package, tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY_READ)
    (tmp_path / "atoms.data").write_text(ta_data(range(2, 55)))
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "from lammps_implicit.cell.freedom import strains\n"
        "def loss(minimum):\n"
        "    basis, edge = strains(minimum.cell)[1], minimum.engine.cell[2, 2]\n"
        "    return edge**2 / 2, np.zeros_like(minimum.positions), edge**2 * basis[2]\n"
    )
    settings = {
        "cells": {"vacancy": {"deck": "in.ta", "cell": "ortho", "pressure": "5 GPa"}},
        "observables": {
            "density": {"kind": "number density", "cell": "vacancy"},
            "edge": {"kind": "distance", "cell": "vacancy", "ids": [2, 3]},
        },
        "loss": {
            "functions": [{"cell": "vacancy", "file": "mine.py"}],
            "terms": [
                {"kind": "volume", "cell": "vacancy", "target": 955.0},
                {"kind": "observable", "observable": "edge", "change": 0.01},
            ],
        },
        "iterations": 2,
        "structures": False,
    }
    (tmp_path / "find.yaml").write_text(yaml.safe_dump(settings))
    found = []
    for ranks in (0, 2):
        done = run(package, tmp_path, "invert", "find.yaml", "-o", f"on{ranks}", ranks=ranks)
        assert done.returncode == 0, done.stderr
        with h5py.File(tmp_path / f"on{ranks}" / "history.h5") as file:
            found.append({name: file[name][()] for name in ("loss", "theta", "observables")})
    for name, value in found[0].items():
        assert found[1][name] == pytest.approx(value, rel=1e-5), name


def settings_of(tmp_path, model, **settings):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(settings))
    return read_configuration(tmp_path / "s.yaml", model)


@pytest.mark.parametrize(
    ("observables", "message"),
    [
        ({"a": {"kind": "colour", "cell": "bulk"}}, "there is no observable 'colour': known are distance, elastic"),
        ({"a": {"cell": "bulk"}}, "observables: a: 'kind' is missing: one of distance"),
        ({"a": {"kind": "distance", "cell": "bulk", "ids": [1]}}, "observables: a: ids"),
        ({"a": {"kind": "distance", "cell": "bulk", "ids": [1, 2], "colour": 1}}, "colour: Extra inputs"),
        ({"a": {"kind": "volume", "cell": "vacancy"}}, "vacancy is not one of the cells bulk"),
        ({"bulk energy per atom": {"kind": "volume", "cell": "bulk"}}, "this name is taken"),
        ({"a": {"kind": "lattice distortion", "cell": "bulk", "sites": {"data": "no.data"}}}, "data no.data does not"),
    ],
)
def test_observables_that_are_wrong_are_refused(tmp_path, observables, message):
    with pytest.raises(LammpsImplicitError, match=message) as refused:
        settings_of(tmp_path, StudySettings, bulk={"deck": "in.ta"}, observables=observables)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({"kind": "colour"}, "loss: terms: 0: there is no loss term 'colour': known are function, observable"),
        ({"kind": "observable", "observable": "b", "target": 1.0}, "b is not one of the observables"),
        ({"kind": "observable", "observable": "a"}, "give either target or change"),
        ({"kind": "function", "cell": "ta", "file": "mine.py"}, "file mine.py does not exist"),
        ({"kind": "prior"}, "there is nothing to minimise"),
    ],
)
def test_loss_terms_that_are_wrong_are_refused(tmp_path, term, message):
    with pytest.raises(LammpsImplicitError, match=message) as refused:
        settings_of(
            tmp_path,
            InversionSettings,
            cells={"ta": {"deck": "in.ta"}},
            observables={"a": {"kind": "energy", "cell": "ta"}},
            loss={"terms": [term]},
        )
    assert "\n" not in str(refused.value)


def test_short_forms_build_the_same_terms(tmp_path):
    (tmp_path / "t.data").write_text("")
    cells, observables = {"ta": {"deck": "in.ta"}}, {"a": {"kind": "energy", "cell": "ta"}}
    target = {"cell": "ta", "target": {"data": "t.data"}, "ids": [2]}
    short = {"positions": [target], "observables": {"a": {"change": 0.1}}, "prior": {"ridge": 1.0}}
    long = [
        {"kind": "positions", **target},
        {"kind": "observable", "observable": "a", "change": 0.1},
        {"kind": "prior", "ridge": 1.0},
    ]
    one, other = (
        settings_of(tmp_path, InversionSettings, cells=cells, observables=observables, loss=loss)
        for loss in (short, {"terms": long})
    )
    assert one.loss.all_terms() == other.loss.all_terms()[1:]  # a prior that is not given has no strength
    assert InversionSettings.model_validate_json(one.model_dump_json()) == one
    with pytest.raises(LammpsImplicitError, match="hold: a also has a target in the loss"):
        settings_of(
            tmp_path,
            InversionSettings,
            cells=cells,
            observables=observables,
            loss={"terms": long},
            hold={"observables": ["a"]},
        )


def test_measures_are_kept_until_a_cell_changes(tmp_path, write_deck):
    class Counted(ObservableKind):
        kind: str = "counted"

        def cells(self):
            return ["ta"]

        def measure(self, cells, order, tol):
            asked.append(order)
            return Observable(np.asarray(1.0), np.zeros(31), "")

    asked = []
    with Minimum.from_deck(write_deck(), ftol=1e-9) as minimum:
        cells = {"ta": minimum}
        measure = measures_of({"a": Counted()}, cells, 1e-6)["a"]
        for order in (0, 0, 1, 0, 1):
            measure(cells, order)
        assert asked == [0, 1]
        with minimum.excursion(1e-3 * minimum.potential.theta):
            measure(cells, 0)
        assert asked == [0, 1, 0]
        measure(cells, 1)
        assert asked == [0, 1, 0]

        class Wrong(Counted):
            def measure(self, cells, order, tol):
                return Observable(np.zeros(2), np.zeros((31, 2)), "")

        with pytest.raises(LammpsImplicitError, match=r"w: 'counted' gives a value of shape \(2,\)"):
            measures_of({"w": Wrong()}, cells, 1e-6)["w"](cells, 1)
        distance = OBSERVABLES.load("distance")(kind="distance", cell="ta", ids=(2, 99))
        with pytest.raises(LammpsImplicitError, match="d: distance 2-99: there is no atom 99"):
            measures_of({"d": distance}, cells, 1e-6)


def test_one_measurement_gives_all_elastic_constants(write_deck):
    tilted = BULK.replace("region          cell block 0 2 0 2 0 2", "region          cell prism 0 2 0 2 0 2 0 0 0")
    assert "prism" in tilted
    with Minimum.from_deck(write_deck(tilted), ftol=1e-9, cell="full", pressure="20 GPa") as bulk:
        kind = OBSERVABLES.load("elastic constant")
        kinds = {name: kind(kind="elastic constant", cell="bulk", constant=name) for name in ("C11", "C12", "C44")}
        measures = measures_of(kinds, {"bulk": bulk}, 1e-5)
        first = measures["C11"]({"bulk": bulk}, 1)
        spent = bulk.engine.evaluations.copy()
        others = [measures[name]({"bulk": bulk}, order) for name in ("C12", "C44") for order in (0, 1)]
        assert bulk.engine.evaluations == spent
        whole = elastic_constants(bulk, 1e-7)
        assert bulk.engine.evaluations == spent
        assert float(first.value) == whole.value[0, 0]
        assert [float(one.value) for one in others] == [whole.value[0, 1]] * 2 + [whole.value[3, 3]] * 2
        assert others[3].gradient == pytest.approx(whole.gradient[:, 3, 3])
