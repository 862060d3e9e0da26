"""A package of someone else adds a family of potentials, without a line of ours changed."""

import json
import os
import subprocess
import sys

import pytest
from test_families import LJ

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.deck import read_transcript
from lammps_implicit.potentials import FAMILIES, PotentialFamily, from_engine
from lammps_implicit.registry import Registry

PACKAGE = '''
"""Factors of a Lennard-Jones potential: of the depth of its wells between unlike atoms, and of all its lengths."""

from dataclasses import dataclass

import numpy as np

from lammps_implicit.potentials import PotentialFamily


@dataclass(frozen=True)
class Factor:
    names: tuple
    word: int
    numbers: dict
    linear: bool
    elements = ()

    @property
    def values(self):
        return np.ones(1)

    def edit(self, commands, values, stem):
        for line, number in self.numbers.items():
            commands.change(line, self.word, repr(number * float(values[0])))
        return {}


def sources(engine, patterns):
    deck = engine.deck
    if not deck.pair_style[0].startswith("lj/"):
        return []
    lines = [line.args for line in deck.pair_coeffs]
    unlike = {k: float(words[2]) for k, words in enumerate(lines) if words[0] != words[1]}
    return [
        Factor(("depth of unlike wells",), 2, unlike, True),
        Factor(("size of all wells",), 3, {k: float(words[3]) for k, words in enumerate(lines)}, False),
    ]


FAMILY = PotentialFamily(sources, "factors of Lennard-Jones wells", order=200, on_request=True)
'''

SCRIPT = """
import json, sys
import numpy as np
from lammps_implicit import Minimum

with Minimum.from_deck("in.lj", parameters="depth*,size*", ftol=1e-10) as minimum:
    change, size = np.array([0.7, 1.3]), 1e-4
    (up, high), (down, low) = (minimum.relaxed_at(sign * size * change, 1e-10) for sign in (1, -1))
    moved = (up - down) / (2 * size)
    found = minimum.jvp(change, 1e-7)
    moved, found = moved - moved.mean(axis=0), found - found.mean(axis=0)
    told = {
        "names": minimum.potential.names,
        "missed": np.linalg.norm(found - moved) / np.linalg.norm(moved),
        "slope": minimum.energy_gradient() @ change,
        "expected": (high - low) / (2 * size),
        "vjp": minimum.vjp(found, 1e-7) @ change,
        "norm": np.vdot(found, found),
    }
with Minimum.from_deck("in.lj") as minimum:
    told["without a pattern"] = minimum.potential.names
try:
    Minimum.from_deck("in.lj", parameters="depth*,lj/smooth 1-2 epsilon")
except Exception as error:
    told["both"] = str(error)
print(json.dumps(told))
"""


def _install(folder, module, value):
    information = folder / "wells-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: wells\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[lammps_implicit.potentials]\nwells = {value}\n")
    (folder / "wells.py").write_text(module)


def _run(folder, script):
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_family_of_another_package(tmp_path):
    _install(tmp_path, PACKAGE, "wells:FAMILY")
    (tmp_path / "in.lj").write_text(LJ)
    outcome = _run(tmp_path, SCRIPT)
    assert outcome.returncode == 0, outcome.stderr
    told = json.loads(outcome.stdout.splitlines()[-1])
    assert told["names"] == ["depth of unlike wells", "size of all wells"]
    assert told["missed"] <= 1e-4
    assert told["slope"] == pytest.approx(told["expected"], rel=1e-5)
    assert told["vjp"] == pytest.approx(told["norm"], rel=1e-5)
    assert "lj/smooth 1-1 epsilon" in told["without a pattern"]
    assert len(told["without a pattern"]) == 6
    assert "two parameters change the word '0.42' of 'pair_coeff 1 2 0.42 2.45'" in told["both"]


def test_a_package_that_cannot_be_imported_is_named(tmp_path):
    _install(tmp_path, "import nowhere_to_be_found\n", "wells:FAMILY")
    (tmp_path / "in.lj").write_text(LJ)
    outcome = _run(
        tmp_path,
        "import sys; sys.argv = ['lammps-implicit', 'sensitivity', 'in.lj', '-o', 'o.h5']\n"
        "from lammps_implicit.cli import main\nmain()",
    )
    assert outcome.returncode != 0
    assert "the potential family 'wells' of package wells cannot be imported" in outcome.stderr
    assert "Traceback" not in outcome.stderr


class _Engine:
    """A deck that nothing has to be evaluated for."""

    def __init__(self, text, folder):
        self.deck, self.n_types = read_transcript(text, folder), 1

    def on_root(self, task):
        return task()


@pytest.fixture
def register():
    names = []

    def add(name, family):
        FAMILIES.register(name, family)
        names.append(name)

    yield add
    for name in names:
        FAMILIES.unregister(name)


def test_families_look_at_a_deck_in_their_order(register, tmp_path):
    seen = []
    for order in (45, -1, 200):
        register(f"a {order}", PotentialFamily(lambda engine, patterns, k=order: seen.append(k) or [], "", order=order))
    names = from_engine(_Engine("pair_style lj/cut 3.0\npair_coeff 1 1 1.0 1.0\n", tmp_path)).names
    assert names == ("lj/cut 1-1 epsilon", "lj/cut 1-1 sigma")
    assert seen == [-1, 45, 200]


def test_labels_must_be_unique(register, tmp_path):
    again = FAMILIES.load("pair-coefficients")
    register("again", PotentialFamily(again.sources, "the same", on_request=False))
    engine = _Engine("pair_style lj/cut 3.0\npair_coeff 1 1 1.0 1.0\n", tmp_path)
    assert from_engine(engine).names == ("lj/cut 1-1 epsilon", "lj/cut 1-1 sigma")
    register("twice", PotentialFamily(again.sources, "the same", on_request=False))
    with pytest.raises(LammpsImplicitError, match="two parameters of the deck have the label 'lj/cut 1-1 epsilon'"):
        from_engine(engine)


def test_what_is_supported_is_told_by_the_families(register, tmp_path):
    register("mine", PotentialFamily(lambda engine, patterns: [], "tiny springs"))
    with pytest.raises(LammpsImplicitError) as told:
        from_engine(_Engine("pair_style sw\npair_coeff * * Si.sw Si\n", tmp_path))
    assert "'pair_style sw' has no parameters that can be differentiated; supported are snap; mliap;" in str(told.value)
    assert "tiny springs" in str(told.value)


def test_a_group_without_entries_says_what_to_do():
    with pytest.raises(LammpsImplicitError, match="no thing is registered: install lammps_implicit again"):
        list(Registry("lammps_implicit.nothing", "thing").items())


def test_lammps_is_the_evaluator_of_that_name(write_deck):
    start = Registry("lammps_implicit.evaluators", "evaluator").load("lammps")
    engine, potential = start(write_deck(LJ), None, "lj/smooth 1-1 *", None)
    assert potential.names == ("lj/smooth 1-1 epsilon", "lj/smooth 1-1 sigma")
    assert engine.settle().shape == (len(engine.ids), 3)
    engine.close()
    with pytest.raises(LammpsImplicitError, match="no parameter matches 'nothing'"):
        start(write_deck(LJ), None, "nothing", None)
