"""Labels of parameters, patterns that select and exclude, and names of the coefficients of styles."""

import lammps
import pytest
from mpi4py import MPI

from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.data_coefficients import data_commands
from lammps_implicit.evaluators.deck import read_transcript
from lammps_implicit.potentials import found_parameters, pair_coefficients, start_lammps
from lammps_implicit.potentials.labels import select
from lammps_implicit.potentials.style_arguments import bonded_arguments, pair_arguments

NAMES = ("buck 1-1 A", "buck 1-1 rho", "buck 1-1 C", "bond harmonic 1 K", "bond harmonic 1 r0")


@pytest.mark.parametrize(
    ("parameters", "chosen"),
    [
        ("*", [0, 1, 2, 3, 4]),
        ("buck*,!*C", [0, 1]),
        ("!bond*", [0, 1, 2]),
        ("!bond*,!*rho", [0, 2]),
        (["!*r0", "bond*"], [3]),
        ("bond*, !*r0", [3]),
    ],
)
def test_patterns_select_and_exclude(parameters, chosen):
    assert select(NAMES, parameters).tolist() == chosen


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("lj*", r"no parameter matches 'lj\*'"),
        ("buck*,!lj*", r"no parameter matches 'lj\*'"),
        ("buck*,!buck*", "leaves no parameter: exclude fewer"),
        ("!*", "leaves no parameter: exclude fewer"),
    ],
)
def test_patterns_that_match_or_leave_nothing(parameters, message):
    with pytest.raises(PotentialError, match=message):
        select(NAMES, parameters)


SETTINGS = {
    "beck": "8.0",
    "born/coul/long": "8.0",
    "born/coul/wolf/cs": "0.3 8.0",
    "born/gauss": "8.0",
    "buck/coul/cut": "8.0",
    "buck/coul/long/cs": "8.0",
    "buck/long/coul/long": "long long 8.0",
    "buck/mdf": "6.0 8.0",
    "cosine/squared": "8.0",
    "gauss": "8.0",
    "gauss/cut": "8.0",
    "lennard/mdf": "6.0 8.0",
    "lj/class2/coul/long": "8.0",
    "lj/charmm/coul/long": "6.0 8.0",
    "lj/cubic": "",
    "lj/cut/coul/dsf": "0.2 8.0",
    "lj/cut/coul/long/soft": "2 0.5 10.0 8.0",
    "lj/cut/soft": "2 0.5 8.0",
    "lj/cut/tip4p/long": "1 2 1 1 0.15 8.0",
    "lj/expand/coul/long": "8.0",
    "lj/gromacs/coul/gromacs": "6.0 8.0",
    "lj/long/coul/long": "long long 8.0",
    "lj/mdf": "6.0 8.0",
    "lj96/cut": "8.0",
    "mie/cut": "8.0",
    "momb": "8.0 0.75 20.0",
    "morse/smooth/linear": "8.0",
    "nm/cut/coul/long": "8.0",
    "pedone": "8.0",
    "soft": "8.0",
    "ufm": "8.0",
    "yukawa/colloid": "2.0 8.0",
    "zbl": "3.0 4.0",
}


@pytest.mark.parametrize("style", SETTINGS)
def test_lammps_wants_as_many_coefficients_as_have_names(style):
    names = pair_arguments(style)
    accepted = []
    for count in (len(names), len(names) - 1):
        lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"], comm=MPI.COMM_SELF)
        lmp.commands_string(
            "units metal\natom_style full\nregion r block 0 20 0 20 0 20\ncreate_box 2 r bond/types 1 angle/types 1"
        )
        lmp.command(f"pair_style {style} {SETTINGS[style]}")
        try:
            lmp.command(f"pair_coeff 1 2 {' '.join(['1.5'] * count)}")
            accepted.append(True)
        except Exception as error:
            assert "pair" in str(error)
            accepted.append(False)
        lmp.close()
    assert accepted == [True, False]


def test_names_of_variants():
    assert pair_arguments("buck/coul/long/cs") == pair_arguments("buck/omp") == ("A", "rho", "C")
    assert pair_arguments("lj/cut/coul/long/soft") == ("epsilon", "sigma", "lambda")
    assert pair_arguments("lj/charmm/coul/long/soft")[2] == "lambda"
    assert pair_arguments("coul/long") == pair_arguments("coul/wolf/cs") == ()
    assert pair_arguments("eam/alloy") is None
    assert pair_arguments("table") is None
    assert bonded_arguments("dihedral", "charmm", ["1"] * 4) == ("K", "-", "-", "-")
    assert bonded_arguments("dihedral", "fourier", ["2"] + ["1"] * 6) == ("-", "K1", "-", "phi1", "K2", "-", "phi2")
    assert bonded_arguments("angle", "class2 ba", []) == ("N1", "N2", "r1", "r2")
    assert bonded_arguments("bond", "table", []) is None


def test_styles_with_third_atoms_or_words_before_their_numbers(tmp_path):
    text = """pair_style hybrid/overlay atm 5.0 2.0 lj/spica 8.0 table linear 100
pair_coeff 1 1 atm 1 0.5
pair_coeff 1 1 atm 2 0.6
pair_coeff 1 2 lj/spica lj12_4 0.3 2.5
pair_coeff 2 2 table file.table ENTRY 4.0
"""
    numbers = pair_coefficients.from_deck(read_transcript(text, tmp_path))
    assert dict(zip(numbers.names, numbers.values, strict=True)) == {
        "atm 1-1 1 nu": 0.5,
        "atm 1-1 2 nu": 0.6,
        "lj/spica 1-2 epsilon": 0.3,
        "lj/spica 1-2 sigma": 2.5,
    }


def test_numbers_of_unlike_nuclei_are_two(tmp_path):
    lines = ["pair_style zbl 3 4", "pair_coeff 1 1 29 29", "pair_coeff 1 2 29 28", "pair_coeff 2* 2* 28 28"]
    text = "\n".join([*lines, "pair_coeff 3 3* 27 27"])
    numbers = pair_coefficients.from_deck(read_transcript(text, tmp_path), types=4)
    assert numbers.names == ("zbl 1-1 Z", "zbl 1-2 Zi", "zbl 1-2 Zj", "zbl 2*-2* Z", "zbl 3-3* Z")


def test_random_forces_have_no_parameters(tmp_path):
    deck = read_transcript("pair_style dpd 1.0 1.0 3\npair_coeff 1 1 3.0 1.0\n", tmp_path)
    with pytest.raises(PotentialError, match="the forces of pair_style dpd are random"):
        pair_coefficients.require_numbers(deck, [], 1)


DATA = """\
title: Bond Coeffs

2 atoms

0 1 xlo xhi

Masses

1 1.0

Pair Coeffs # lj/cut

1 0.1 3.0
2 0.2 3.1 # b

PairIJ Coeffs

1 2 0.3 3.2

Bond Coeffs

C-H 100 1.1

Angle Coeffs

1 class2 110 1 2 3
2 harmonic 5 110

BondAngle Coeffs

1 class2 1 2 3 4
2 harmonic 0 0 0 0

Bond Type Labels

1 C-H

Atoms # full

1 1 1 0 0 0 0
"""


def test_sections_of_data_files(tmp_path):
    (tmp_path / "a.data").write_text(DATA)
    styles = {"bond": ("harmonic",), "angle": ("hybrid", "class2", "harmonic")}
    assert [" ".join(words) for words in data_commands(["a.data"], tmp_path, ("lj/cut", "5.0"), styles)] == [
        "pair_coeff 1 1 0.1 3.0",
        "pair_coeff 2 2 0.2 3.1",
        "pair_coeff 1 2 0.3 3.2",
        "bond_coeff C-H 100 1.1",
        "angle_coeff 1 class2 110 1 2 3",
        "angle_coeff 2 harmonic 5 110",
        "angle_coeff 1 class2 ba 1 2 3 4",
    ]
    assert data_commands(["a.data", "nocoeff"], tmp_path, ("lj/cut", "5.0"), styles) == []
    assert data_commands(["missing.data"], tmp_path, (), {}) == []


SALT = """\
units           metal
atom_style      charge
variable        sigma index 2.5
lattice         fcc 5.64
region          cell block 0 2 0 2 0 2
create_box      2 cell
create_atoms    1 box
create_atoms    2 single 0.5 0 0
create_atoms    2 single 0.5 0.5 0.5
mass            * 20
set             type 1 charge 0.0625
set             type 2 charge -1
pair_style      lj/cut/coul/long 5.0
pair_coeff      1 1 0.01 ${sigma}
pair_coeff      2 2 0.0 2.5
kspace_style    ewald 1.0e-6
run             0
"""


def test_what_is_found_in_a_deck_and_what_is_left_out(write_deck):
    engine, potential = start_lammps(write_deck(SALT))
    found = found_parameters(engine)
    engine.close()
    values = {family.name: family.values for family in found.families}
    style = "lj/cut/coul/long"
    assert list(values) == ["coefficients", "charges", "dielectric", "variables"]
    assert list(values["coefficients"]) == [f"{style} 1-1 epsilon", f"{style} 1-1 sigma", f"{style} 2-2 sigma"]
    assert found.families[0].default == potential.names == tuple(values["coefficients"])
    assert values["charges"] == {"charge type 1": 0.0625, "charge type 2": -1.0}
    assert found.families[1].default == ()
    assert values["dielectric"] == {"dielectric": 1.0}
    assert values["variables"] == {"var:sigma": 2.5}
    assert [line.partition(":")[0] for line in found.left_out] == [
        f"{style} 2-2 epsilon",
        "kspace_style ewald 1.0e-6",
        "charges and the dielectric constant",
    ]
