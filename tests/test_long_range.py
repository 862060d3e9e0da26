"""Long-range forces: without LAMMPS' tables, in triclinic cells, and in cells that become triclinic."""

import re

import numpy as np
import pytest
from brute_force import Newton

from lammps_implicit import LammpsImplicitError, Minimum, testing
from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.kspace import differentiable, refined, why_forces_jump

ROCK_SALT = """\
variable        bits index 12
variable        shape index block
units           metal
atom_style      charge
lattice         custom 4.21 a1 1 0 0 a2 0 1 0 a3 0 0 1 &
                basis 0 0 0 basis 0 0.5 0.5 basis 0.5 0 0.5 basis 0.5 0.5 0 &
                basis 0.5 0 0 basis 0 0.5 0 basis 0 0 0.5 basis 0.5 0.5 0.5
if "${shape} == block" then "region c block 0 2 0 1 0 1" else "region c prism 0 2 0 1 0 1 0 0 0"
create_box      2 c
create_atoms    1 box basis 5 2 basis 6 2 basis 7 2 basis 8 2
mass            * 20
set             type 1 charge 2
set             type 2 charge -2
displace_atoms  all random 0.1 0.1 0.1 7
"""
MGO = """\
pair_style      buck/coul/long 6.0
pair_modify     table ${bits}
pair_coeff      1 1 0.0 1.0 0.0
pair_coeff      1 2 1428.5 0.2945 0.0
pair_coeff      2 2 22764.3 0.149 27.88
kspace_style    pppm 1.0e-5
kspace_modify   order 6
minimize        0 1.0e-9 5000 20000
"""


VACANCIES = MGO.replace("minimize", "group v id 1 5\ndelete_atoms group v\nminimize")
CHANGE = np.array([1.0, 1e-3])


def salt(write_deck, text=MGO, cell="none", **variables):
    return Minimum.from_deck(
        write_deck(ROCK_SALT + text), parameters="*1-2 1,*1-2 2", variables=variables, cell=cell, ftol=1e-7
    )


BUCKINGHAM = "pair_coeff 1 1 {0} 0 1 0\npair_coeff 1 2 {0} 1428.5 0.2945 0\npair_coeff 2 2 {0} 22764.3 0.149 27.88\n"
BORN = "pair_coeff 1 1 0 1 0 0 0\npair_coeff 1 2 1428.5 0.2945 0 0 0\npair_coeff 2 2 22764 0.149 0 27.88 0\n"
LONG = "pair_style buck/coul/long 7.0\n" + BUCKINGHAM.format("")
EWALD = "\nkspace_style ewald 1e-6\npair_modify table 0\n"

SOLVERS = {
    "pppm/cg": (LONG + "kspace_style pppm/cg 1e-5", LONG + EWALD),
    "pppm with energy-conserving forces": (LONG + "kspace_style pppm 1e-5\nkspace_modify diff ad", LONG + EWALD),
    "pppm/stagger": (LONG + "kspace_style pppm/stagger 1e-4", LONG + EWALD),
    "msm": (LONG.replace("long", "msm") + "kspace_style msm 1e-5\nneigh_modify one 20000 page 400000", LONG + EWALD),
    "ewald/disp": (LONG + "kspace_style ewald/disp 1e-6", LONG + EWALD),
    "born": ("pair_style born/coul/long 6.0 7.0\n" + BORN + "kspace_style pppm 1e-5", None),
    "born/wolf": ("pair_style born/coul/wolf 0.6 6.0 7.0\n" + BORN, None),
    "wolf": (
        "pair_style hybrid/overlay coul/wolf 0.6 7.0 buck 6.0\npair_coeff * * coul/wolf\n" + BUCKINGHAM.format("buck"),
        None,
    ),
    "dsf": (
        "pair_style hybrid/overlay coul/dsf 0.25 7.0 buck 6.0\npair_coeff * * coul/dsf\n" + BUCKINGHAM.format("buck"),
        None,
    ),
}
"""Decks, and such as have the same energy to be relaxed in plain LAMMPS: None for the same, without tables."""


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.filterwarnings("ignore:.*becomes")
def test_solvers(write_deck, name):
    text, other = SOLVERS[name]
    shaken = ROCK_SALT + "group v id 1 5\ndelete_atoms group v compress no\n"
    tol, ftol = (1e-4, 1e-4) if name == "msm" else (1e-5, 1e-6)  # as far as its forces fall
    deck = write_deck(shaken + text + "\nrun 0\n")
    with Minimum.from_deck(deck, parameters="*1-2*", ftol=ftol, force_limit=np.inf) as point:
        index = next(k for k, value in enumerate(point.potential.theta) if value == 0.2945)
        moved = point.jvp(np.eye(len(point.potential.theta))[index], tol)
        rows = np.argsort(point.ids)
        free = write_deck(shaken + (other or text + "\npair_modify table 0\n"), "in.free")
        brute = Newton(free, point.positions[rows])
    line = next(line for line in text.splitlines() if "0.2945" in line)
    expected = brute.jvp(lambda t: [line.replace("0.2945", repr(0.2945 + t))], 2e-5)
    brute.close()
    assert np.abs(expected).max() > 1
    assert close(moved[rows] - moved.mean(axis=0), expected - expected.mean(axis=0), 2e-4)


def test_forces_that_jump_at_their_cutoff():
    for style in ("buck/coul/cut 7.0", "hybrid/overlay buck 6.0 coul/debye 0.3 7.0"):
        told = why_forces_jump(Deck(pair_style=tuple(style.split())))
        assert re.match(r"forces of '\S*coul/(cut|debye)' jump .* use coul/long or coul/dsf, or $", told)
    for style in ("buck/coul/long 7.0", "lj/cut 7.0", "coul/cut/soft 1 1 7.0"):
        assert why_forces_jump(Deck(pair_style=tuple(style.split()))) == ""


def test_settings_of_meshes_that_are_replaced():
    words = [tuple(line.split()) for line in ("kspace_style pppm 1e-4", "kspace_modify order 6 diff ad mesh 8 8 8")]
    replaced, told = differentiable(words)
    assert replaced == [words[0], ("kspace_modify", "order", "6", "diff", "ik", "mesh", "8", "8", "8")]
    assert "'diff ik'" in told
    assert differentiable(words[:1]) == (words[:1], "")
    assert differentiable([("kspace_style", "msm", "1e-4")])[0][-1] == ("kspace_modify", "pressure/scalar", "no")


def close(found, expected, accuracy):
    return np.abs(found - expected).max() < accuracy * np.abs(expected).max()


@pytest.mark.parametrize("solver", ["pppm", "ewald"])
def test_tables_are_left(write_deck, solver):
    found = []
    for bits in ("12", "0"):
        with salt(write_deck, VACANCIES.replace("pppm", solver), bits=bits) as point:
            assert point.jacobian(1e-6).statistics.residual < 1e-5
            found.append((point.energy, point.gather(point.jvp(CHANGE, 1e-7))))
            testing.check_restored(point)
    assert np.abs(found[0][1]).max() > 1e-6
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-9)
    assert close(found[0][1], found[1][1], 1e-4)


def test_triclinic_cells(write_deck):
    found = []
    for shape in ("block", "prism"):
        with salt(write_deck, VACANCIES, cell="full", shape=shape) as point:
            found.append(point.jvp(CHANGE, 1e-7, cell=point.freedom).strain)
    assert close(found[0], found[1], 1e-5)


def test_tables_that_change_the_energy_are_refused(write_deck):
    with pytest.raises(DeckError, match="pair_modify table 0"):
        salt(write_deck, VACANCIES, bits="8")


@pytest.mark.parametrize(
    ("kspace", "expected"),
    [
        ("kspace_style pppm 1e-4\nkspace_modify order 6", ["kspace_style pppm 1e-06", "kspace_modify order 6"]),
        ("kspace_style ewald/disp 0.001", ["kspace_style ewald/disp 1e-06"]),
        ("kspace_style pppm/cg 1e-4 1e-6", ["kspace_style pppm/cg 1e-06 1e-6"]),
        ("kspace_style pppm 1e-6", []),
        ("kspace_style msm 1e-4", []),
        ("kspace_style none", []),
        ("kspace_modify order 6", []),
        ("kspace_style pppm 1e-4\nkspace_modify diff ad mesh 8 8 8", []),
        ("kspace_style pppm 1e-4\nkspace_modify order 2", []),
        ("kspace_style ewald 1e-4\nkspace_modify kmax/ewald 4 4 4", []),
        ("", []),
    ],
)
def test_which_solvers_are_refined(kspace, expected):
    words = [tuple(line.split()) for line in kspace.splitlines()]
    assert [" ".join(line) for line in refined(words)] == expected


COARSE = VACANCIES.replace("pppm 1.0e-5\nkspace_modify   order 6", "ewald 1e-4")


def test_coarse_solvers_are_refined_for_derivatives_of_the_cell(write_deck):
    with pytest.warns(UserWarning, match=r"'kspace_style ewald 1e-4' becomes .* accuracy of 1e-06"):
        point = salt(write_deck, COARSE, cell="iso")
    with point:
        predicted = point.volume_gradient(1e-6, cell=point.freedom) @ (1e-3 * CHANGE)
        cells = [point.relaxed_at(s * 1e-3 * CHANGE, 1e-7, cell=point.freedom).cell for s in (1, -1)]
        volumes = [np.linalg.det(cell) for cell in cells]
        assert predicted == pytest.approx((volumes[0] - volumes[1]) / 2, rel=1e-4)


def test_an_energy_of_too_coarse_a_solver_is_refused(write_deck):
    with pytest.raises(DeckError, match="write 1e-06 in the deck"):
        salt(write_deck, VACANCIES.replace("1.0e-5", "5.0e-2"))


def test_lammps_is_left_open_where_closing_it_would_crash(write_deck):
    coarse = VACANCIES.replace("1.0e-5", "5.0e-2").replace("order 6", "order 2")
    with pytest.raises(DeckError, match="grid3d"):
        salt(write_deck, coarse + "kspace_style pppm 1e-6\nkspace_modify order 2\nrun 0\n")


def test_a_fix_that_moves_atoms_is_still_refused(write_deck):
    text = VACANCIES + "fix m all move linear 0.001 0 0\n"
    with pytest.raises(DeckError, match="unfix m"):
        salt(write_deck, text)


def test_cells_with_a_net_charge_stay_fixed(write_deck):
    """The pressure of the background is missing in LAMMPS'."""
    charged = "set atom 3 charge 2.5\n" + MGO
    with salt(write_deck, charged) as point:
        assert point.jvp(CHANGE, 1e-5).shape == point.positions.shape
        with pytest.raises(LammpsImplicitError, match="charges sum to"):
            point.strain("iso")
    with salt(write_deck, MGO) as point:
        assert point.strain("iso").names
