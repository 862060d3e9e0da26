"""Families of potentials by name: in which order they are asked, and what a broken package is told.

`test_contributing.py` has one that another package adds.
"""

import numpy as np
import pytest
from contributing import run
from mpi4py import MPI
from test_families import LJ

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.deck import read_transcript
from lammps_implicit.potentials import FAMILIES, PotentialFamily, from_engine
from lammps_implicit.registry import Registry


def test_a_package_that_cannot_be_imported_is_named(tmp_path):
    (tmp_path / "wells-1.0.dist-info").mkdir()
    (tmp_path / "wells-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: wells\nVersion: 1.0\n")
    (tmp_path / "wells-1.0.dist-info" / "entry_points.txt").write_text(
        "[lammps_implicit.potentials]\nwells = wells:F\n"
    )
    (tmp_path / "wells.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "in.lj").write_text(LJ)
    outcome = run(tmp_path, "lammps-implicit sensitivity in.lj -o o.h5", tmp_path)
    assert outcome.returncode != 0
    assert "the potential family 'wells' of package wells cannot be imported" in outcome.stderr
    assert "Traceback" not in outcome.stderr


class _Engine:
    """A deck that nothing has to be evaluated for."""

    def __init__(self, text, folder):
        self.deck, self.n_types, self.comm = read_transcript(text, folder), 1, MPI.COMM_SELF
        self.pair_style = self.deck.pair_style[0]

    def on_root(self, task):
        return task()

    def charges(self):
        return np.zeros(1), np.ones(1, int)


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
    again = FAMILIES.load("coefficients")
    register("again", PotentialFamily(again.sources, "the same", on_request=False))
    engine = _Engine("pair_style lj/cut 3.0\npair_coeff 1 1 1.0 1.0\n", tmp_path)
    assert from_engine(engine).names == ("lj/cut 1-1 epsilon", "lj/cut 1-1 sigma")
    register("twice", PotentialFamily(again.sources, "the same", on_request=False))
    with pytest.raises(LammpsImplicitError, match="two parameters of the deck have the label 'lj/cut 1-1 epsilon'"):
        from_engine(engine)


def test_what_is_supported_is_told_by_the_families(register, tmp_path):
    register("mine", PotentialFamily(lambda engine, patterns: [], "tiny springs"))
    with pytest.raises(LammpsImplicitError) as told:
        from_engine(_Engine("pair_style meam/spline\npair_coeff * * Si_1.meam.spline Si\n", tmp_path))
    assert "'pair_style meam/spline' has no parameters that can be differentiated; supported are snap; mliap;" in str(
        told.value
    )
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
