"""Observables and loss terms by name: what configurations may say of them, and what is kept.

`test_contributing.py` has those that another package adds.
"""

import h5py
import numpy as np
import pytest
import yaml
from conftest import TA_BULK, TA_VACANCY, TA_VACANCY_READ, ta_data
from contributing import run

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.inverse.config import InversionSettings
from lammps_implicit.observables import OBSERVABLES, ObservableKind, StudySettings, read_configuration
from lammps_implicit.observables.bulk import elastic_constants
from lammps_implicit.observables.kind import measures_of
from lammps_implicit.observables.observable import Observable


@pytest.mark.parallel(nprocs=1)
def test_two_ranks_find_what_one_finds(additions, tmp_path):
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
    for ranks in (1, 2):
        launched = "mpirun -n 2 " if ranks == 2 else ""
        command = f"{launched}python -m lammps_implicit invert find.yaml -o on{ranks}"
        done = run(tmp_path, command, additions)
        assert done.returncode == 0, done.stderr
        with h5py.File(tmp_path / f"on{ranks}" / "history.h5") as file:
            found.append({name: file[name][()] for name in ("loss", "theta", "observables")})
    for name, value in found[0].items():
        assert found[1][name] == pytest.approx(value, rel=1e-5), name


KINDS = r"(.+, )?distance, (.+, )?elastic constant, (.+, )?volume(,|$)"
"""Some of the observables that messages list, in order; there are others, and packages add more."""


def settings_of(tmp_path, model, **settings):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(settings))
    return read_configuration(tmp_path / "s.yaml", model)


@pytest.mark.parametrize(
    ("observables", "message"),
    [
        ({"a": {"kind": "colour", "cell": "bulk"}}, f"there is no observable 'colour': known are {KINDS}"),
        ({"a": {"cell": "bulk"}}, f"observables: a: 'kind' is missing: one of {KINDS}"),
        ({"a": {"kind": "distance", "cell": "bulk", "ids": [1]}}, "observables: a: ids"),
        ({"a": {"kind": "distance", "cell": "bulk", "ids": [1, 2], "colour": 1}}, "colour: Extra inputs"),
        ({"a": {"kind": "volume", "cell": "vacancy"}}, "vacancy is not one of the cells bulk"),
        ({"bulk energy per atom": {"kind": "volume", "cell": "bulk"}}, "this name is taken"),
        ({"a": {"kind": "lattice distortion", "cell": "bulk", "sites": {"data": "no.data"}}}, "data: no.data does not"),
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
        ({"kind": "function", "cell": "ta", "file": "mine.py"}, "file: mine.py does not exist"),
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
    tilted = TA_BULK.replace("region          cell block 0 2 0 2 0 2", "region          cell prism 0 2 0 2 0 2 0 0 0")
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
