"""Files of potentials: which words of a deck name one, and what is written where."""

import numpy as np
import pytest
from conftest import TA_VACANCY
from test_families import EAM, FINNIS_SINCLAIR, LJ, MLIAP, MORSE, POD, SEVERAL, TWO_FILES, UF3, random_change

from lammps_implicit import Minimum
from lammps_implicit.errors import OutputError, PotentialError
from lammps_implicit.evaluators.deck import read_transcript
from lammps_implicit.evaluators.potential_folders import potential_file
from lammps_implicit.potentials import eam, uf3
from lammps_implicit.potentials.commands import PotentialCommands, plain_style, unsubstituted_lines
from lammps_implicit.potentials.setfl import Setfl

DECKS = {
    "SNAP beside ZBL": (TA_VACANCY, None),
    "SNAP": (
        TA_VACANCY.replace("hybrid/overlay zbl 4.0 4.8 snap", "snap")
        .replace("pair_coeff      1 1 zbl 73 73\n", "")
        .replace("* * snap", "* *"),
        None,
    ),
    "EAM": (EAM, None),
    "EAM in hybrid": (FINNIS_SINCLAIR, None),
    "two files of EAM": (TWO_FILES, "eam*,morse* 1-2 *"),
    "UF3": (UF3, "2B Nb-Nb 1[0-3]"),
    "POD": (POD, None),
    "ML-IAP": (MLIAP, "Ta:[0-5]"),
    "numbers": (LJ, None),
    "variables": (MORSE, "var:depth,var:width"),
    "several": (SEVERAL, "2B Nb-Nb 1*,pod [0-2],Ta:[1-2],mliap Ta:[1-4],morse*r0"),
}

NAMES = (
    *("Ta", "Cu", "Ni", "Nb", "Fe", "NULL", "W"),
    *("snap", "zbl", "uf3", "pod", "mliap", "model", "linear", "descriptor", "sna", "hybrid", "zero", "lj", "morse"),
    *("*", "1*2", "1", "2", "3", "73", "4.0", "4.8", "5.0", "5.5", "6.0", "0.4", "2.4", "0.3429", "2.866", "${depth}"),
)


@pytest.mark.parametrize("case", DECKS)
def test_files_with_the_names_of_elements_and_styles(write_deck, tmp_path, case):
    deck, parameters = DECKS[case]
    found = []
    for clutter in (False, True):
        if clutter:
            for name in NAMES:
                (tmp_path / name).write_text("not a potential\n")
        with Minimum.from_deck(write_deck(deck), parameters=parameters) as minimum:
            change = random_change(minimum, 1e-3)
            forces = minimum.potential.install(minimum.engine, change).copy()
            energy = minimum.engine.energy
            minimum.potential.install(minimum.engine, np.zeros_like(change))
            mixed = minimum.mixed.to_array()
            found.append((minimum.potential.names, energy, forces, mixed, minimum.jvp(change, 1e-4)))
    (names, *clean), (same, *cluttered) = found
    assert names == same
    for expected, value in zip(clean, cluttered, strict=True):
        assert np.abs(value - expected).max() <= 1e-12 * np.abs(expected).max()


def _commands(text, folder):
    deck = read_transcript(text, folder)
    commands = PotentialCommands.of(deck)
    return deck, commands.complete_lines()


def test_words_that_name_files(tmp_path):
    for name in ("Si", "library.meam", "a.meam", "Cu.eam", "x", "W", "table", "KEY", "3.5", "list", "nets", "5"):
        (tmp_path / name).write_text("")
    _, lines = _commands(
        """pair_style hybrid/overlay meam eam table linear 1000 list nets 4.0 quip
pair_coeff * * meam library.meam Si C a.meam Si
pair_coeff 1 1 eam Cu.eam
pair_coeff 1 1 table x KEY 3.5
pair_coeff * * quip W Si
pair_coeff 1 1 lj/cut 5 3.5
""",
        tmp_path,
    )
    at = f"{tmp_path}/"
    assert lines == [
        "pair_style none",
        f"pair_style hybrid/overlay meam eam table linear 1000 list {at}nets 4.0 quip",
        f"pair_coeff * * meam {at}library.meam Si C {at}a.meam Si",
        f"pair_coeff 1 1 eam {at}Cu.eam",
        f"pair_coeff 1 1 table {at}x KEY 3.5",
        f"pair_coeff * * quip {at}W Si",
        "pair_coeff 1 1 lj/cut 5 3.5",
    ]


def test_a_file_named_as_its_element(tmp_path):
    """What stands where the file does is the file, what stands behind it the element."""
    (tmp_path / "Cu").write_text("")
    (tmp_path / "7").write_text("")
    for name in ("Cu", "7"):
        _, lines = _commands(f"pair_style eam/alloy/omp\npair_coeff * * {name} Cu\n", tmp_path)
        assert lines[1] == f"pair_coeff * * {tmp_path}/{name} Cu"


def test_files_that_variables_name(tmp_path):
    """Their folder is put before them; a variable of several words leaves what stands before and after it known."""
    for name in ("Cu.table", "W", "Cu"):
        (tmp_path / name).write_text("")
    text = """pair_style hybrid/overlay table ${kind} 1000 eam/alloy
pair_style hybrid/overlay table linear 1000 eam/alloy
pair_coeff 1 1 table ${name}.table KEY ${cut}
pair_coeff 1 1 table Cu.table KEY 4.0
pair_coeff * * eam/alloy Cu ${elements}
pair_coeff * * eam/alloy Cu Cu W
"""
    deck = read_transcript(text, tmp_path)
    assert unsubstituted_lines(deck) == [
        ["hybrid/overlay", "table", "${kind}", "1000", "eam/alloy"],
        ["1", "1", "table", f"{tmp_path}/${{name}}.table", "KEY", "${cut}"],
        ["*", "*", "eam/alloy", f"{tmp_path}/Cu", "${elements}"],
    ]


def test_a_tabulated_file_named_by_a_variable_beside_one_that_is_a_parameter(write_deck, tmp_path):
    shipped = potential_file("CuNi.eam.alloy", tmp_path)
    (tmp_path / "mine.alloy").write_text(shipped.read_text())
    deck = write_deck(
        EAM.replace(
            "pair_style      eam/alloy\npair_coeff      * * CuNi.eam.alloy Cu Ni\n",
            "variable file index mine\nvariable kinds index 'Cu Ni'\nvariable depth index 0.02\n"
            "pair_style hybrid/overlay eam/alloy morse/smooth/linear 5.0\n"
            "pair_coeff * * eam/alloy ${file}.alloy ${kinds}\npair_coeff * * morse/smooth/linear ${depth} 1.4 2.6\n",
        )
    )
    with Minimum.from_deck(deck, parameters="var:depth", ftol=1e-9) as minimum:
        size = 1e-4
        up, down = (minimum.relaxed_at([sign * size], 1e-10)[1] for sign in (1, -1))
        assert minimum.energy_gradient()[0] == pytest.approx((up - down) / (2 * size), rel=1e-6)


def test_a_file_is_found_as_lammps_finds_it(tmp_path, monkeypatch):
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
    monkeypatch.setenv("LAMMPS_POTENTIALS", str(other))
    assert potential_file("Cu_zhou.eam.alloy", own).parent.name == "potentials"
    for folder in (other, own):
        (folder / "Cu_zhou.eam.alloy").write_text("")
        assert potential_file("Cu_zhou.eam.alloy", own) == folder / "Cu_zhou.eam.alloy"
    assert potential_file("elsewhere/Cu_zhou.eam.alloy", own) == other / "Cu_zhou.eam.alloy"
    assert potential_file("nothing.alloy", own) is None


def test_suffixes_of_accelerated_styles():
    styles = ("snap", "eam/alloy/omp", "lj/cut/opt:2", "mliap/kk", "lj/smooth/linear", "morse:1")
    assert [plain_style(style) for style in styles] == [
        "snap",
        "eam/alloy",
        "lj/cut",
        "mliap",
        "lj/smooth/linear",
        "morse",
    ]


@pytest.mark.parametrize("case", DECKS)
def test_no_file_is_overwritten_unless_asked(write_deck, tmp_path, case):
    """With one of the files there nothing is written; all that are written are told."""
    deck, parameters = DECKS[case]
    folder = tmp_path / "out"
    folder.mkdir()
    with Minimum.from_deck(write_deck(deck), parameters=parameters) as minimum:
        written = minimum.potential.write(folder / "tuned", ["a comment"], overwrite=False)
        assert sorted(written) == sorted(folder.iterdir())
        texts = {path: path.read_text() for path in written}
        changed = minimum.potential.changed(random_change(minimum, 0.1))
        for kept in written:
            for path in written:
                path.unlink(missing_ok=True)
            kept.write_text("mine\n")
            with pytest.raises(OutputError, match=f"{kept.name} exists already"):
                changed.write(folder / "tuned", [], overwrite=False)
            assert [path.read_text() for path in folder.iterdir()] == ["mine\n"]
        assert changed.write(folder / "tuned", ["a comment"], overwrite=True) == written
        new = {path: path.read_text() for path in written}
        assert new.keys() == texts.keys()
        assert new != texts
        assert written[0].read_text().startswith("# a comment\n")


def test_a_failing_write_leaves_nothing(write_deck, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    with Minimum.from_deck(write_deck(EAM)) as minimum:
        (folder / "tuned.eam.alloy").mkdir()
        with pytest.raises(OutputError, match="is a folder"):
            minimum.potential.write(folder / "tuned", [], overwrite=True)
        assert [path.name for path in folder.iterdir()] == ["tuned.eam.alloy"]


def test_files_that_are_not_found_are_told(tmp_path):
    deck = read_transcript("pair_style eam/alloy\npair_coeff * * nothing.alloy Cu\n", tmp_path)
    with pytest.raises(PotentialError, match=r"nothing\.alloy Cu: the files of eam/alloy are not found"):
        eam.from_deck(deck)
    deck = read_transcript("pair_style uf3 3\npair_coeff * *\n", tmp_path)
    with pytest.raises(PotentialError, match="the files of uf3 are not found"):
        uf3.from_deck(deck)


@pytest.mark.parametrize(("name", "finnis_sinclair"), [("CuNi.eam.alloy", False), ("CuZr_mm.eam.fs", True)])
def test_setfl_files_keep_every_digit(tmp_path, name, finnis_sinclair):
    table = Setfl.read(potential_file(name, tmp_path), finnis_sinclair)
    ones = np.ones(len(table.elements)), np.ones(len(table.pairs))
    (tmp_path / "again").write_text(table.text(*ones).replace("\n", "  # a comment\n").replace("  # a comment", "", 5))
    again = Setfl.read(tmp_path / "again", finnis_sinclair)
    for field in ("comments", "elements", "grid", "heads"):
        assert getattr(again, field) == getattr(table, field)
    for field in ("embedding", "densities", "pairs"):
        assert np.array_equal(getattr(again, field), getattr(table, field))
