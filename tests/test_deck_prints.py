"""What a deck prints hides none of its commands, and what was read of it is what LAMMPS has."""

from dataclasses import replace

import pytest
from conftest import TA_VACANCY

from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators import Deck, Engine, Fix
from lammps_implicit.evaluators.defined import require_as_read

SETUP, RELAX = TA_VACANCY.split("pair_style")[0], "pair_style" + TA_VACANCY.split("pair_style", 1)[1]
ANY = 'variable any string "fix f all setforce 0 0 0"\n'

COMMANDS = {
    "setforce": "fix f all setforce 0 0 0",
    "addforce": "fix f all addforce 0.1 0 0",
    "spring": "fix f all spring/self 0.5",
    "viscous": "fix f all viscous 1.0",
}

PRINTS = {
    "screen no": 'print "{}" screen no',
    "file": 'print "{}" file log.txt screen no',
    "append": 'print "{}" append log.txt screen no',
    "on the screen too": 'print "{}" file log.txt',
    "universe": 'print "{}" universe yes',
    "universe only": 'print "{}" universe yes screen off',
    "any text": 'print "${{any}}" screen no',
    "any text on the screen": 'print "${{any}}"',
    "any text to a named file": 'print "${{any}}" file ${{where}}.txt screen no',
    "block": 'print """\n{}\n""" screen no',
    "block on the screen": 'print """\n{}\n"""',
    "form feed": 'print "a\f{}"',
    "carriage return": 'print "a\r{}"',
    "line separator": 'print "a\u2028{}"',
    "comment with a quote": 'print "{}" screen no # don\'t',
    "dollar": 'variable price string "5 ${{any}}"\nprint "{}" screen no',
    "stars": 'print "* $(1+1) [{}]"',
}


def read(deck):
    engine = Engine.start()
    try:
        engine.run_deck(deck)
        return engine.deck
    finally:
        engine.close()


@pytest.mark.parametrize("printed", PRINTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_prints_hide_no_fixes(write_deck, command, printed):
    line = COMMANDS[command]
    deck = read(write_deck(SETUP + ANY + "variable where index out\n" + PRINTS[printed].format(line) + f"\n{line}\n"))
    assert [str(fix) for fix in deck.fixes.values()] == [line]


@pytest.mark.parametrize("printed", PRINTS)
def test_prints_hide_no_potential(write_deck, printed):
    plain = replace(read(write_deck(TA_VACANCY, "plain")), definitions={})
    any_text = ANY.replace("fix f all setforce 0 0 0", "pair_style snap")
    lines = [PRINTS[printed].format(line) + f"\n{line}\n" for line in RELAX.splitlines()[:3]]
    text = SETUP + any_text + "variable where index out\n" + "".join(lines) + RELAX[RELAX.index("minimize") :]
    assert replace(read(write_deck(text)), fixes={}, definitions={}) == plain


def test_a_printed_file_is_included(write_deck):
    text = (
        SETUP + "".join(f'print "{line}" append pot screen no\n' for line in RELAX.splitlines()[:3]) + "include pot\n"
    )
    assert read(write_deck(text)).pair_style == ("hybrid/overlay", "zbl", "4.0", "4.8", "snap")


def test_fixes_that_styles_and_groups_define_do_no_harm(write_deck):
    hidden = "group near dynamic all every 5\ncompute d all displace/atom\nfix s all store/state 0 x\nsuffix opt\n"
    assert list(read(write_deck(TA_VACANCY + hidden)).fixes) == ["s"]


def test_a_command_printed_while_lammps_runs_is_refused(write_deck):
    text = TA_VACANCY + "fix p all print 1 'fix q all nve'\nrun 1\n"
    with pytest.raises(DeckError, match=r"misread.*fix q all nve"):
        read(write_deck(text))


HAS = "Fix[  0]:      f,                style = setforce,         group = all\n"
READ = Deck(pair_style=("snap",), fixes={"f": Fix("f", "all", "setforce", ("0", "0", "0"))})


@pytest.mark.parametrize(
    ("deck", "fixes", "style"),
    [
        (replace(READ, fixes={}), HAS, "snap"),
        (READ, "", "snap"),
        (READ, HAS.replace("= all", "= rim"), "snap"),
        (READ, HAS.replace("setforce", "addforce"), "snap"),
        (READ, HAS, "eam"),
        (READ, HAS, None),
    ],
)
def test_what_lammps_has_otherwise_is_refused(deck, fixes, style):
    require_as_read(READ, HAS.replace("setforce", "setforce/omp"), "snap/omp")
    with pytest.raises(DeckError, match=r"misread"):
        require_as_read(deck, fixes, style)
