"""Decks as people write them: what they declare is read, whatever LAMMPS commands they use."""

from pathlib import Path

import numpy as np
import pytest
from conftest import TA_VACANCY

from lammps_implicit import Minimum
from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.deck import read_transcript

HERE = Path("/somewhere")
SETUP, RELAX = TA_VACANCY.split("minimize")[0], "minimize" + TA_VACANCY.split("minimize")[1]


def test_the_last_declarations_count():
    deck = read_transcript(
        "units real\nclear\nunits metal\npair_style zero 5\npair_style snap\n"
        "pair_coeff * * a.snapcoeff ${file} W\npair_coeff * * a.snapcoeff b.snapparam W # comment\n"
        "fix 1 all nve\nfix 2 rim setforce 0 0 0\nunfix 1\n",
        HERE,
    )
    assert deck.units == "metal"
    assert deck.pair_style == ("snap",)
    assert [coeff.args for coeff in deck.pair_coeffs] == [("*", "*", "a.snapcoeff", "b.snapparam", "W")]
    assert [str(fix) for fix in deck.fixes.values()] == ["fix 2 rim setforce 0 0 0"]


def test_clear_forgets_everything():
    assert read_transcript("units metal\nfix 1 all nve\npair_style snap\nclear\n", HERE).fixes == {}


def test_folders_are_followed():
    deck = read_transcript("pair_style snap\nshell cd sub\nshell cd ../other\npair_coeff * * a b W\n", HERE)
    assert deck.pair_coeffs[0].directory == HERE / "other"


def test_printed_text_is_not_a_command():
    deck = read_transcript('print "fix 1 all nve"\nfix 1 all nve\nfix 2 all setforce 0 0 0\n', HERE)
    assert list(deck.fixes) == ["2"]


def test_printed_blocks_and_variables_are_not_commands():
    deck = read_transcript(
        'print """\npair_style lj/cut 3\nfix ${id} all nve\n"""\n\npair_style lj/cut 3\nfix 7 all nve\n\nunits metal\n',
        HERE,
    )
    assert (deck.pair_style, deck.fixes, deck.units) == ((), {}, "metal")


def test_quotes_and_comments_are_read_as_lammps_does():
    deck = read_transcript("pair_style snap\npair_coeff * * \"my file\" 'b#1' W # W\nERROR: don't care\n", HERE)
    assert deck.pair_coeffs[0].args == ("*", "*", "my file", "b#1", "W")


def test_a_hidden_echo_is_refused():
    with pytest.raises(DeckError, match="echo none"):
        read_transcript("units metal\necho none\n", HERE)


def _energy(write_deck, text):
    with Minimum.from_deck(write_deck(text)) as minimum:
        return minimum.energy, minimum.gather(minimum.jvp(np.ones(len(minimum.potential.theta)), 1e-4))


@pytest.fixture(scope="module")
def expected(ta_vacancy):
    return ta_vacancy.energy, ta_vacancy.gather(ta_vacancy.jvp(np.ones(31), 1e-4))


def _same(found, expected):
    assert found[0] == pytest.approx(expected[0], abs=1e-8)
    assert found[1] == pytest.approx(expected[1], abs=1e-3 * np.abs(expected[1]).max())


def test_include_variables_continuation_and_if(write_deck, tmp_path, expected):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "potential.in").write_text(
        "variable inner equal 4\nvariable style string snap\n"
        'pair_style hybrid/overlay &\n    zbl ${inner} $(v_inner+0.8) &\n    ${style}\nif "${inner} > 3" then &\n'
        '  "pair_coeff 1 1 zbl 73 73"\npair_coeff * * snap Ta06A.snapcoeff Ta06A.snapparam Ta\n'
    )
    start, _, end = TA_VACANCY.partition("pair_style")
    text = start + "include sub/potential.in\n" + end[end.index("minimize") :]
    _same(_energy(write_deck, text), expected)


def test_change_of_folder_and_potential_files_of_the_users_own(write_deck, tmp_path, expected, monkeypatch):
    from brute_force import SHIPPED

    (tmp_path / "pots").mkdir()
    for suffix in ("coeff", "param"):
        (tmp_path / "pots" / f"mine.snap{suffix}").write_text((SHIPPED / f"Ta06A.snap{suffix}").read_text())
    text = SETUP.replace("Ta06A", "mine").replace("pair_style", "shell cd pots\npair_style", 1)
    monkeypatch.chdir("/")
    _same(_energy(write_deck, text + "shell cd ..\n" + RELAX), expected)
    assert Path.cwd() == Path("/")


def test_clear_starts_again(write_deck, expected):
    other = "units metal\nlattice fcc 4\nregion r block 0 1 0 1 0 1\ncreate_box 2 r\nfix gone all nve\nclear\n"
    _same(_energy(write_deck, other + TA_VACANCY), expected)


def test_ids_with_gaps_and_in_any_order(write_deck, expected):
    text = TA_VACANCY.replace("minimize", "atom_modify sort 1 5.0\nminimize")
    with Minimum.from_deck(write_deck(text)) as minimum:
        assert minimum.ids.min() == 2
        assert sorted(minimum.ids) != list(range(1, 54))
        _same((minimum.energy, minimum.gather(minimum.jvp(np.ones(31), 1e-4))), expected)


def test_shifted_and_wrapped_cells_give_the_same(write_deck, expected):
    shifted = SETUP + "displace_atoms all move 0.13 -0.31 5.2 units box\n" + RELAX
    _same(_energy(write_deck, shifted), expected)


def test_output_and_averages_the_deck_left_defined_fall_silent(write_deck, tmp_path, expected):
    noisy = (
        "dump d all custom 1 dump.lammpstrj id x\nthermo 1\nfix out all print 1 'step' file steps.txt\n"
        "fix mean all ave/time 1 1 1 c_thermo_pe file mean.txt\nrestart 1 a.restart b.restart\n"
    )
    with Minimum.from_deck(write_deck(SETUP + noisy + RELAX)) as minimum:
        before = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
        assert "dump.lammpstrj" in before
        found = minimum.energy, minimum.gather(minimum.jvp(np.ones(31), 1e-4))
        assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == before
    _same(found, expected)


def test_computes_that_need_a_silenced_fix_do_no_harm(write_deck, expected):
    averages = "compute e all pe/atom\nfix av all ave/atom 1 1 1 c_e\ncompute top all reduce max f_av\n"
    _same(_energy(write_deck, SETUP + averages + RELAX), expected)


def test_a_restart_file_brings_its_units(write_deck, tmp_path, expected):
    with Minimum.from_deck(write_deck(TA_VACANCY + "write_restart ta.restart\n")):
        pass
    text = "read_restart ta.restart\n" + SETUP[SETUP.index("pair_style") :] + RELAX
    with Minimum.from_deck(write_deck(text)) as minimum:
        assert minimum.units.style == "metal"
        _same((minimum.energy, minimum.gather(minimum.jvp(np.ones(31), 1e-4))), expected)


def test_energies_are_totals_whatever_the_deck_normalises(write_deck, expected):
    found = _energy(write_deck, TA_VACANCY + "thermo_modify norm yes\n")
    _same(found, expected)


@pytest.mark.parametrize("pull", ["tether all spring/self 0.5", "pull all addforce 0.001 0 0"])
def test_the_energy_of_external_forces_is_part_of_u(write_deck, pull):
    hold = "group held id 20\nfix hold held setforce 0 0 0\n"
    with Minimum.from_deck(write_deck(SETUP + f"fix {pull}\n" + hold + RELAX)) as minimum:
        change = 1e-3 * minimum.potential.theta * np.cos(np.arange(31))
        gradient, curvature = minimum.energy_gradient() @ change, change @ minimum.energy_hessian(1e-6) @ change
        ahead, behind = (minimum.relaxed_at(sign * change, 1e-9)[1] for sign in (1, -1))
        assert gradient == pytest.approx((ahead - behind) / 2, rel=1e-5)
        assert curvature == pytest.approx(ahead + behind - 2 * minimum.energy, rel=1e-3)


def test_the_deck_leaves_no_log_of_ours(write_deck, tmp_path, expected):
    _energy(write_deck, TA_VACANCY)
    assert [path.name for path in tmp_path.iterdir()] == ["in.test"]


def test_variables_can_be_set_from_outside(write_deck):
    text = "variable n index 9\n" + TA_VACANCY.replace("0 3 0 3 0 3", "0 $n 0 $n 0 $n")
    with Minimum.from_deck(write_deck(text), variables={"n": "2"}) as minimum:
        assert minimum.engine.n_atoms == 15


def test_a_deck_that_stops_short_is_relaxed_by_newtons_method(write_deck, expected):
    text = TA_VACANCY.replace("1.0e-8", "5.0e-3")
    with Minimum.from_deck(write_deck(text)) as minimum:
        assert minimum.initial_force > 1e-4
        assert minimum.max_force <= 1e-8
        assert minimum.setup.forces < 40
        _same((minimum.energy, minimum.gather(minimum.jvp(np.ones(31), 1e-4))), expected)
