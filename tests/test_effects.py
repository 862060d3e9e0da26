"""Numbers of fixes and pair coefficients that were read from a deck are those that LAMMPS has."""

import pytest
from conftest import TA_VACANCY

from lammps_implicit import Minimum
from lammps_implicit.errors import LammpsImplicitError

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
