"""Coefficient and parameter files survive reading, changing and writing."""

import numpy as np
import pytest
from brute_force import SHIPPED
from hypothesis import given
from hypothesis import strategies as st

from lammps_implicit.errors import OutputError, PotentialError
from lammps_implicit.potentials.labels import select
from lammps_implicit.potentials.snap_files import (
    bispectrum_components,
    expected_coefficients,
    parse_coefficients,
    parse_parameters,
    read_coefficients,
    read_parameters,
)

numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)
comments = st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=12)


@st.composite
def coefficient_texts(draw):
    """Text of a coefficient file in LAMMPS' format, and its numbers."""
    names = draw(st.lists(st.from_regex(r"[A-Z][a-z]?", fullmatch=True), min_size=1, max_size=3, unique=True))
    count = draw(st.integers(1, 5))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines, values = [f"# {draw(comments)}", "", f"{len(names)} {count}  # {draw(comments)}"], []
    for name in names:
        lines.append(f"{name} {draw(st.floats(0.1, 5))!r} {draw(st.floats(0.1, 2))!r}")
        for _ in range(count):
            values.append(draw(numbers))
            lines.append(f"{' ' * draw(st.integers(0, 3))}{values[-1]!r} # {draw(comments)}")
    return end.join(lines) + end, values


@given(coefficient_texts())
def test_reading_keeps_text_and_numbers(example):
    text, values = example
    parsed = parse_coefficients(text, "test")
    assert parsed.text() == text
    assert parsed.theta.tolist() == values


@given(coefficient_texts(), st.data())
def test_changed_coefficients_come_back_exactly_and_comments_stay(example, data):
    text, values = example
    new = data.draw(st.lists(numbers, min_size=len(values), max_size=len(values)))
    again = parse_coefficients(parse_coefficients(text, "test").with_theta(new).text(), "test")
    assert again.theta.tolist() == new
    assert [line.rstrip("\n").partition("#")[2] for line in again.lines] == [
        line.partition("#")[2] for line in text.split("\n")[:-1]
    ]
    assert again.with_theta(values).theta.tolist() == values


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.snapcoeff")), ids=lambda path: path.stem)
def test_every_shipped_file_reads_back_to_the_letter(path):
    coefficients = read_coefficients(path)
    parameters = read_parameters(path.with_suffix(".snapparam"))
    assert coefficients.text() == path.read_bytes().decode()
    assert coefficients.coefficients_per_element == expected_coefficients(parameters, len(coefficients.blocks))
    assert coefficients.with_theta(coefficients.theta).text() == coefficients.text()


def test_files_are_written_as_they_were_read(tmp_path):
    for name, read in (("WBe_Wood_PRB2019.snapcoeff", read_coefficients), ("Ta06A.snapparam", read_parameters)):
        read(SHIPPED / name).write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes()
        with pytest.raises(OutputError, match="exists already"):
            read(SHIPPED / name).write(tmp_path / name)


def test_labels_follow_the_file():
    names = read_coefficients(SHIPPED / "WBe_Wood_PRB2019.snapcoeff").names
    assert (names[0], names[55], names[56], names[-1]) == ("W:0", "W:55", "Be:0", "Be:55")


def test_comments_can_be_added_for_provenance():
    file = read_coefficients(SHIPPED / "Ta06A.snapcoeff").with_comment("tuned\nby hand")
    assert file.text().startswith("# tuned\n# by hand\n")
    assert file.with_theta(file.theta * 2).theta.tolist() == (file.theta * 2).tolist()


def test_component_counts_match_the_literature():
    assert [len(bispectrum_components(twojmax)) for twojmax in (2, 4, 6, 8)] == [5, 14, 30, 55]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line with the counts"),
        ("1 3\nW 0.5 1\n1.0\n2.0\n", "announced"),
        ("2 1\nW 0.5 1\n1.0\n", "announced"),
        ("1 2\nW 0.5 1\n1.0\nnan\n", "not a finite number"),
        ("1 2\nW 0.5 1\n1.0\nx\n", "line 4"),
        ("1 2\nW 0.5 1\n1.0\n1 2\n", "one coefficient expected"),
        ("one 2\nW 0.5 1\n1.0\n2\n", "not a finite number"),
        ("0 2\n", "0 elements"),
    ],
)
def test_malformed_coefficient_files_are_named(text, message):
    with pytest.raises(PotentialError, match=message):
        parse_coefficients(text, "file")


def test_malformed_parameter_files_are_named():
    with pytest.raises(PotentialError, match="twojmax"):
        parse_parameters("rcutfac 4.0\n", "file")
    with pytest.raises(PotentialError, match="has no value"):
        parse_parameters("rcutfac\n", "file")


def test_wrong_numbers_of_coefficients_are_refused():
    file = read_coefficients(SHIPPED / "Ta06A.snapcoeff")
    with pytest.raises(PotentialError, match="31 coefficients expected"):
        file.with_theta(np.zeros(30))
    with pytest.raises(PotentialError, match="Ta:3 is not a finite"):
        file.with_theta(np.where(np.arange(31) == 3, np.nan, 1.0))


def test_patterns_select_labels():
    names = [f"{element}:{k}" for element in ("W", "Be") for k in range(3)]
    assert select(names, "Be:*").tolist() == [3, 4, 5]
    assert select(names, "W:[12], Be:0").tolist() == [1, 2, 3]
    assert select(names, ["*:0"]).tolist() == [0, 3]
    with pytest.raises(PotentialError, match="no parameter matches 'He:\\*'"):
        select(names, "W:*,He:*")
