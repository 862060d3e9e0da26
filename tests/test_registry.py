"""What packages register is checked when it is loaded."""

import pytest

from lammps_implicit import LammpsImplicitError
from lammps_implicit.inverse.loss import LOSSES
from lammps_implicit.observables.kind import OBSERVABLES
from lammps_implicit.potentials.of_deck import FAMILIES
from lammps_implicit.registry import Registry


class Entry:
    """An entry point without a package."""

    name, value, dist = "thing", "somewhere:thing", None

    def __init__(self, load):
        self.load = load


@pytest.mark.parametrize("registry", [FAMILIES, OBSERVABLES, LOSSES], ids=lambda registry: registry.what)
def test_objects_of_another_kind_are_refused(registry, monkeypatch):
    mine = Registry(registry.group, registry.what, registry._valid)
    monkeypatch.setattr(mine, "_entries", lambda: {"thing": Entry(lambda: 42)})
    with pytest.raises(LammpsImplicitError, match="'thing' of an unnamed package is 42"):
        mine.load("thing")
    for name in registry.names:  # ours are what they should be
        registry.load(name)


def test_a_package_that_ends_the_process_is_named(monkeypatch):
    def leave():
        raise SystemExit(0)

    mine = Registry("lammps_implicit.evaluators", "evaluator")
    monkeypatch.setattr(mine, "_entries", lambda: {"thing": Entry(leave)})
    with pytest.raises(LammpsImplicitError, match="cannot be imported from somewhere:thing"):
        mine.load("thing")
