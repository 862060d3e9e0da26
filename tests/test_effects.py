"""Numbers of fixes and pair coefficients that were read from a deck are those that LAMMPS has."""

import re

import pytest
from conftest import TA_VACANCY

from lammps_implicit import Minimum
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.inspection import inspect_deck

START = TA_VACANCY.split("pair_style")[0]
MORSE = START + "pair_style morse 5.0\npair_coeff * * 0.4 1.2 3.0\npair_modify shift yes\n"
HELD = "group held id 20 21\nfix h held setforce 0 0 0\n"
RELAX = "minimize 0 1e-8 1000 10000\n"

FIXES = {
    "spring": ("spring/self 0.5", "spring/self 0.7"),
    "spring along x": ("spring/self 0.5 x", "spring/self 0.5"),
    "force": ("addforce 0.001 0 0", "addforce 0.002 0 0"),
    "gravity": ("gravity 1e-6 vector 1 0 0", "gravity 2e-6 vector 1 0 0"),
    "tether": ("spring tether 0.1 5 5 5 0", "spring tether 0.2 5 5 5 0"),
    "fewer held": ("setforce 0 0 0", "setforce NULL 0 0"),
    "other held": ("setforce NULL 0 0", "setforce 0 NULL 0"),
    "more held": ("setforce NULL 0 0", "setforce 0 0 0"),
}


def printed(text):
    """Commands that print a text while LAMMPS runs, which its output does not tell from a command."""
    return f"fix p all print 1 '{text}'\nrun 0\nunfix p\n"


@pytest.mark.parametrize("case", FIXES)
def test_fixes_with_other_numbers_are_refused(write_deck, case):
    has, read = (f"fix f near {words}" for words in FIXES[case])
    hold = "" if "held" in case else "fix_modify f energy yes\n" + HELD
    group = f"group near id 9 10\n{has}\n"
    text = MORSE + group + hold + "displace_atoms near random 0.01 0.01 0.01 7\n" + RELAX
    with Minimum.from_deck(write_deck(text)) as minimum:
        assert minimum.max_force < 1e-8
    with pytest.raises(LammpsImplicitError, match=r"misread|exerts forces on atoms frozen"):
        Minimum.from_deck(write_deck(text + printed(read)))


@pytest.mark.parametrize("line", ["pair_coeff * * 0.4 1.21 3.0", "pair_modify shift no", "pair_style morse 4.9"])
def test_other_pair_commands_are_refused(write_deck, line):
    with pytest.raises(LammpsImplicitError, match="misread"):
        Minimum.from_deck(write_deck(MORSE + RELAX + printed(line)))


def test_other_coefficient_files_are_refused(write_deck, tmp_path):
    from brute_force import SHIPPED

    text = (SHIPPED / "Ta06A.snapcoeff").read_text()
    (tmp_path / "other.snapcoeff").write_text(text.replace("0.09157", "0.09158"))
    with pytest.raises(LammpsImplicitError, match="misread"):
        Minimum.from_deck(write_deck(TA_VACANCY + printed("pair_coeff * * snap other.snapcoeff Ta06A.snapparam Ta")))


def test_what_fixes_remember_is_kept(write_deck, tmp_path):
    text = MORSE + "fix t all spring/self 0.5\n" + HELD + "displace_atoms all random 0.05 0.05 0.05 7\n" + RELAX
    text += "variable e equal f_t\nprint '$e' file energy.txt\n"
    with Minimum.from_deck(write_deck(text)) as minimum:
        told = float((tmp_path / "energy.txt").read_text())
        assert told > 1e-3
        assert minimum.engine.fix_energy("t") == pytest.approx(told, rel=1e-2)


MOLECULES = """\
units real
atom_style full
boundary f f f
region b block 0 40 0 40 0 40
create_box 2 b
lattice sc 3.3
region few block 11 18.5 11 18.5 11 18.5 units box
create_atoms 1 region few
set group all type/ratio 2 0.5 7
set type 1 charge 0.3
set type 2 charge -0.3
mass * 16
displace_atoms all random 0.3 0.3 0.3 5
pair_style {}
pair_coeff {}
pair_coeff {}
{}
run 0
"""
LJ = "1 1 0.1 3.0", "2 2 0.05 2.8"

OTHER_FORCES = {
    "charmm": ("lj/charmm/coul/charmm 3.5 6.0", *LJ, "", "charmmfsw/coul/charmmfsh"),
    "charmm in hybrid": (
        "hybrid/overlay lj/charmm/coul/charmm 3.5 6.0 coul/dsf 0.2 9.0",
        "* * lj/charmm/coul/charmm 0.1 3.0",
        "* * coul/dsf",
        "",
        "charmmfsw/coul/charmmfsh",
    ),
    "wolf": ("lj/cut/coul/wolf 0.2 9.0 9.0", *LJ, "", "lacks a term .*coul/dsf"),
    "close switch": ("lj/charmmfsw/coul/charmmfsh 3.0 9.0", *LJ, "", "larger cutoffs"),
}


@pytest.mark.parametrize("case", OTHER_FORCES)
def test_forces_that_are_not_of_the_energy_are_refused(write_deck, case):
    *words, complaint = OTHER_FORCES[case]
    deck = write_deck(MOLECULES.format(*words))
    with pytest.raises(LammpsImplicitError, match=f"not the derivative of LAMMPS' energy.*{complaint}"):
        Minimum.from_deck(deck, force_limit=1e9, parameters=())
    assert re.search(complaint, inspect_deck(deck).refused)


@pytest.mark.parametrize(
    "style",
    [
        "lj/charmm/coul/charmm/implicit 3.5 6.0",
        "lj/cut/coul/dsf 0.2 9.0 9.0",
        "lj/cut/coul/wolf 0.5 9.0 9.0",
        "lj/gromacs/coul/gromacs 3.5 6.0",
    ],
)
def test_forces_of_the_energy_are_taken(write_deck, style):
    words = style.replace("dsf 0.2 9.0 9.0", "dsf 0.2 9.0"), *LJ, ""
    assert inspect_deck(write_deck(MOLECULES.format(*words))).refused == ""


def test_pairs_that_cross_an_unshifted_cutoff_are_no_reason_to_refuse(write_deck):
    seen = inspect_deck(write_deck(MOLECULES.format("lj/cut/coul/wolf 0.9 3.31 5.0", *LJ, "")))
    assert seen.refused == ""
