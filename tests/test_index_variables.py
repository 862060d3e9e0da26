"""Values of variables reach the deck as they are, whatever they look like, and nothing else of LAMMPS."""

import pytest
from conftest import TA_BULK

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators import Engine

VALUES = [
    "3",
    "-0.5",
    "1 2 3",
    "-log evil",
    "2 -screen evil",
    "a#b",
    "$x",
    "${x}",
    'a"b',
    "it's",
    "&",
    "-",
    "a&",
    "x=y",
]


@pytest.mark.parametrize("value", VALUES)
def test_values_are_read_back(write_deck, tmp_path, value):
    words = value.split()
    engine = Engine.start(variables={"n": value})
    try:
        engine.run_deck(write_deck(TA_BULK + "variable n index 77\n"))
        for word in words:
            assert engine.lmp.extract_variable("n") == word
            engine.command("next n")
    finally:
        engine.close()
    assert [path.name for path in tmp_path.iterdir()] == ["in.test"]


@pytest.mark.parametrize(
    ("name", "value"), [("n-x", "3"), ("ä", "3"), ("n m", "2"), ("", "1"), ("-log", "x"), ("n", " "), ("n", "a\0b")]
)
def test_others_are_refused(name, value):
    with pytest.raises(LammpsImplicitError, match="variable"):
        Engine.start(variables={name: value})
