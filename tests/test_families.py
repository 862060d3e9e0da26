"""Potentials of every family: derivatives against relaxing again, and what cannot be a parameter."""

import subprocess

import h5py
import numpy as np
import pytest
from commands import program
from conftest import DECKS, TA_VACANCY

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.errors import DeckError, PotentialError
from lammps_implicit.evaluators.deck import read_transcript
from lammps_implicit.potentials import pair_coefficients
from lammps_implicit.potentials.commands import PotentialCommands
from lammps_implicit.potentials.number_files import Reader

HEAD = """\
units           metal
boundary        p p p
atom_style      atomic
lattice         {lattice}
region          cell block 0 {n} 0 {n} 0 {n}
create_box      {types} cell
create_atoms    1 box
mass            * 50.0
"""
VACANCY = "group vacancy id 1\ndelete_atoms group vacancy compress no\n"
RELAX = "minimize 0.0 1.0e-10 5000 50000\n"

LJ = (
    HEAD.format(lattice="fcc 3.7", n=3, types=2)
    + """\
set             type 1 type/fraction 2 0.4 7
pair_style      lj/smooth 5.5 6.0
pair_modify     shift yes
pair_coeff      1 1 0.4 2.4
pair_coeff      2 2 0.35 2.55
pair_coeff      1 2 0.42 2.45
"""
    + RELAX
)
MORSE = (
    HEAD.format(lattice="fcc 3.62", n=4, types=1)
    + VACANCY
    + """\
variable        depth index 0.3429
variable        width equal 1.3588
pair_style      morse/smooth/linear 6.5
pair_coeff      1 1 ${depth} ${width} 2.866
"""
    + RELAX
)
MLIAP = (
    HEAD.format(lattice="bcc 3.316", n=3, types=1)
    + VACANCY
    + """\
pair_style      hybrid/overlay zbl 4.0 4.8 mliap model linear Ta06A.mliap.model descriptor sna Ta06A.mliap.descriptor
pair_coeff      1 1 zbl 73 73
pair_coeff      * * mliap Ta
"""
    + RELAX
)
TWICE = (
    HEAD.format(lattice="bcc 3.316", n=2, types=1)
    + """\
pair_style      hybrid/overlay mliap model linear Ta06A.mliap.model descriptor sna Ta06A.mliap.descriptor &
                mliap model linear Ta06A.mliap.model descriptor sna Ta06A.mliap.descriptor
pair_coeff      * * mliap 1 Ta
pair_coeff      * * mliap 2 Ta
"""
    + RELAX
)
NI_MO = (
    HEAD.format(lattice="fcc 3.52", n=3, types=2).replace("create_atoms    1", "create_atoms    2")
    + """\
group           mo id 5 40 77
set             group mo type 1
pair_style      mliap model linear Ni_Mo.mliap.model descriptor so3 Ni_Mo.mliap.descriptor
pair_coeff      * * Mo Ni
minimize        0.0 1.0e-8 5000 50000
"""
)
UF3 = (
    HEAD.format(lattice="bcc 3.31", n=3, types=1)
    + VACANCY
    + """\
pair_style      uf3 3
pair_coeff      * * Nb.uf3 Nb
"""
    + RELAX
)

POTENTIALS = DECKS.parent / "potentials"
POD = (DECKS / "in.ta_pod_vacancy").read_text().replace("../potentials", str(POTENTIALS))
QUADRATIC = (DECKS / "in.w_quadratic_mliap").read_text().replace("../potentials", str(POTENTIALS))
EAM = (
    HEAD.format(lattice="fcc 3.57", n=3, types=2)
    + """\
set             type 1 type/fraction 2 0.4 7
pair_style      eam/alloy
pair_coeff      * * CuNi.eam.alloy Cu Ni
"""
    + RELAX
)
FINNIS_SINCLAIR = (
    HEAD.format(lattice="bcc 2.8553", n=3, types=1)
    + VACANCY
    + "pair_style hybrid/overlay zero 5.0 eam/fs\npair_coeff * * zero\npair_coeff * * eam/fs Fe_mm.eam.fs Fe\n"
    + RELAX
)
TWO_FILES = (
    HEAD.format(lattice="fcc 3.62", n=3, types=2)
    + """\
set             type 1 type/fraction 2 0.4 7
pair_style      hybrid eam/alloy eam/alloy morse/smooth/linear 6.0
pair_coeff      * * eam/alloy 1 Cu_mishin1.eam.alloy Cu NULL
pair_coeff      * * eam/alloy 2 Cu_zhou.eam.alloy NULL Cu
pair_coeff      1 2 morse/smooth/linear 0.34 1.36 2.6
"""
    + RELAX
)
BESIDE_POD = (
    HEAD.format(lattice="bcc 3.31", n=3, types=2)
    + f"""\
set             type 1 type/fraction 2 0.1 7
pair_style      hybrid morse/smooth/linear 5.0 pod
pair_coeff      * 2 morse/smooth/linear 0.4 1.4 2.9
pair_coeff      * * pod {POTENTIALS}/Ta_pod.param {POTENTIALS}/Ta_pod.coefficients Ta NULL
"""
    + RELAX
)
BUCK = (
    LJ.partition("pair_style")[0].replace("3.7", "4.2")
    + """\
pair_style      buck 5.5
pair_modify     shift yes
pair_coeff      * * 2.0e6 0.15 0.0
pair_coeff      1 1 1.0e6 0.15 0.0
"""
    + RELAX
)
SEVERAL = (
    HEAD.format(lattice="bcc 3.31", n=3, types=1)
    + VACANCY
    + f"""\
pair_style      hybrid/overlay zbl 4.0 4.8 snap mliap model linear Ta06A.mliap.model descriptor sna &
                Ta06A.mliap.descriptor uf3 3 pod morse/smooth/linear 5.0
pair_coeff      1 1 zbl 73 73
pair_coeff      * * snap Ta06A.snapcoeff Ta06A.snapparam Ta
pair_coeff      * * uf3 Nb.uf3 Nb
pair_coeff      * * mliap Ta
pair_coeff      1 1 morse/smooth/linear 0.2 1.3 2.9
pair_coeff      * * pod {POTENTIALS}/Ta_pod.param {POTENTIALS}/Ta_pod.coefficients Ta
"""
    + RELAX
)

FAMILIES = {
    "Lennard-Jones alloy": (LJ, None, 6),
    "one pair of it": (LJ, "lj/smooth 1-2 *", 2),
    "Morse": (MORSE, None, 3),
    "variables": (MORSE, "var:depth,var:width", 2),
    "ML-IAP": (MLIAP, None, 31),
    "UF3 pairs": (UF3, "2B*", 27),
    "POD": (POD, None, 23),
    "quadratic ML-IAP": (QUADRATIC, "W:[0-9],W:3*,W:11*", 31),
    "EAM of an alloy": (EAM, None, 5),
    "Finnis-Sinclair": (FINNIS_SINCLAIR, None, 2),
    "two files of EAM": (TWO_FILES, "eam*,morse* 1-2 *", 7),
    "numbers before POD": (BESIDE_POD, "morse*", 3),
    "sizes apart": (BUCK, "buck *-* rho,buck 1-1 A,buck *-* A", 3),
    "five families at once": (SEVERAL, "2B*,pod*,Ta:[1-5],mliap Ta:[1-4],morse*r0", 60),
}


def random_change(minimum, size):
    theta = minimum.potential.theta
    return size * np.random.default_rng(0).standard_normal(len(theta)) * np.abs(theta)


@pytest.mark.parametrize("family", FAMILIES)
def test_derivatives_agree_with_relaxing_again(write_deck, family):
    deck, parameters, count = FAMILIES[family]
    with Minimum.from_deck(write_deck(deck), parameters=parameters, ftol=1e-10) as minimum:
        assert len(minimum.potential.theta) == count
        change, size = random_change(minimum, 1.0), 1e-4
        (up, high), (down, low) = (minimum.relaxed_at(sign * size * change, 1e-10) for sign in (1, -1))
        moved = (up - down) / (2 * size)
        moved -= moved.mean(axis=0)
        for found in (minimum.jvp(change, 1e-6), minimum.jacobian(1e-5).dot(change)):
            found = found - found.mean(axis=0)
            assert np.linalg.norm(found - moved) <= 1e-4 * np.linalg.norm(moved)
        pull = np.random.default_rng(1).standard_normal(moved.shape)
        gradient = minimum.vjp(pull - pull.mean(axis=0), 1e-7)
        felt, typical = np.vdot(pull - pull.mean(axis=0), moved), np.linalg.norm(pull) * np.linalg.norm(moved)
        assert gradient @ change == pytest.approx(felt, rel=1e-4, abs=1e-5 * typical)
        assert minimum.energy_gradient() @ change == pytest.approx((high - low) / (2 * size), rel=1e-4)
        bend = (high + low - 2 * minimum.energy) / size**2
        assert change @ minimum.energy_hessian() @ change == pytest.approx(bend, rel=0.01)


@pytest.mark.slow
def test_an_alloy_of_nickel_and_molybdenum(write_deck):
    with Minimum.from_deck(write_deck(NI_MO)) as minimum:
        change, size = random_change(minimum, 1.0), 1e-4
        up, down = (minimum.relaxed_at(sign * size * change, 1e-10)[0] for sign in (1, -1))
        moved = (up - down) / (2 * size)
        found = minimum.jvp(change, 1e-6)
        difference = (found - found.mean(axis=0)) - (moved - moved.mean(axis=0))
        assert np.linalg.norm(difference) <= 1e-4 * np.linalg.norm(moved)


@pytest.mark.parametrize(("deck", "parameters"), [(LJ, None), (MLIAP, "Ta:[1-9]")])
def test_cells_answer_too(write_deck, deck, parameters):
    with Minimum.from_deck(write_deck(deck), parameters=parameters, ftol=1e-9, cell="iso") as minimum:
        change, size = random_change(minimum, 1.0), 1e-4
        ends = [minimum.relaxed_at(sign * size * change, 1e-10, cell="iso") for sign in (1, -1)]
        volumes = [np.linalg.det(end.cell) for end in ends]
        expected = (volumes[0] - volumes[1]) / (2 * size)
        assert minimum.volume_gradient(1e-6, cell="iso") @ change == pytest.approx(expected, rel=1e-4)


def test_the_same_potential_as_snap_and_as_mliap(write_deck):
    """Two ways to the same numbers: LAMMPS' descriptors, and installing every coefficient."""
    snap = MLIAP.replace("mliap model linear Ta06A.mliap.model descriptor sna Ta06A.mliap.descriptor", "snap").replace(
        "* * mliap Ta", "* * snap Ta06A.snapcoeff Ta06A.snapparam Ta"
    )
    with (
        Minimum.from_deck(write_deck(MLIAP, "in.mliap"), ftol=1e-10) as mliap,
        Minimum.from_deck(write_deck(snap, "in.snap"), ftol=1e-10) as reference,
    ):
        assert mliap.potential.names == reference.potential.names
        assert mliap.energy == pytest.approx(reference.energy, rel=1e-12)
        assert mliap.energy_gradient() == pytest.approx(reference.energy_gradient(), rel=1e-7, abs=1e-6)
        difference = mliap.mixed.to_array() - reference.mixed.to_array()
        assert np.abs(difference).max() <= 1e-7 * np.abs(reference.mixed.to_array()).max()


def test_what_a_tuned_potential_is_written_to_is_read_by_lammps(write_deck, tmp_path):
    for deck, pattern in ((LJ, None), (MLIAP, None), (UF3, "2B*"), (EAM, None), (SEVERAL, "Ta:*,mliap*,pod*")):
        with Minimum.from_deck(write_deck(deck), parameters=pattern) as minimum:
            change = random_change(minimum, 0.01)
            files = minimum.potential.changed(change).write(tmp_path / "tuned", ["a comment"], overwrite=True)
            with minimum.excursion(change):
                expected = minimum.energy
            minimum.engine.reissue([f"include {files[0]}"])
            assert minimum.engine.energy == pytest.approx(expected, rel=1e-12)
            assert files[0].read_text().startswith("# a comment\n")


@pytest.mark.parametrize(
    ("deck", "parameters", "message"),
    [
        (SEVERAL, "Ta:1,snap *-* 2", "'snap *-* 2' is 'Ta06A.snapparam' in the deck, which is no number"),
        (EAM.replace("eam/alloy\n", "pace\n"), None, "ML-PACE package which is not enabled"),
        (EAM.replace("CuNi.eam.alloy", "Ta06A.snapcoeff"), None, "LAMMPS stopped"),
        (TWICE, None, "the deck has mliap 2 times"),
        (LJ, "lj/cut *", "no parameter matches 'lj/cut *'"),
        (LJ, "var:nothing", "the variable 'nothing' does not exist in the deck, or is not a number"),
        (MORSE.replace("${depth}", "0.3429"), "var:depth", "no pair_style or pair_coeff of the deck uses"),
        (MORSE, "var:depth,morse*", "variables are taken by themselves"),
        (
            LJ + "pair_coeff 1*2 2 0.41 2.42\n" + RELAX,
            "lj/smooth 1-2 *",
            "'lj/smooth 1-2 epsilon', 'lj/smooth 1-2 sigma' have no",
        ),
        (LJ.replace("set  ", "#set  "), "lj/smooth 2-2 *", "'lj/smooth 2-2 epsilon', 'lj/smooth 2-2 sigma' have no"),
        (
            HEAD.format(lattice="diamond 5.431", n=2, types=1)
            + "pair_style meam/spline\npair_coeff * * Si_1.meam.spline Si\n"
            + RELAX,
            None,
            "has no parameters that can be differentiated",
        ),
        (MLIAP.replace("model linear Ta06A.mliap.model", "model nn Ta06A.nn.mliap.model"), None, ""),
    ],
)
def test_what_cannot_be_a_parameter(write_deck, deck, parameters, message):
    with (
        pytest.raises((PotentialError, DeckError), match=r"\w") as refused,
        Minimum.from_deck(write_deck(deck), parameters=parameters, force_limit=1.0) as minimum,
    ):
        minimum.jacobian()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_parameters_without_effect_are_told_and_have_zero_derivatives(write_deck):
    """Types that do not occur, or the range of a repulsion of zero strength."""
    with Minimum.from_deck(write_deck(LJ.replace("set  ", "#set  ")), force_limit=1.0) as minimum:
        with pytest.warns(UserWarning, match="'lj/smooth 2-2 epsilon', .* have no effect"):
            found = minimum.jacobian(1e-3).to_array()
        idle = [name.startswith(("lj/smooth 1-2", "lj/smooth 2-2")) for name in minimum.potential.names]
        assert any(idle) and not found[idle].any()
        assert all(found[index].any() for index in np.flatnonzero(~np.array(idle)))


@pytest.mark.parametrize(
    ("parameters", "first", "count"),
    [
        (None, "Ta:0", 31),
        ("*", "Ta:0", 31),
        ("Ta:[1-3]", "Ta:1", 3),
        ("zbl*", "zbl 1-1 Z", 1),
        ("!Ta:0,!Ta:3?", "Ta:1", 29),
        ("Ta:*,zbl*,!Ta:[5-9]", "Ta:0", 27),
        ("Ta:1,zbl*", "Ta:1", 2),
        ("zbl 1-1 2", "zbl 1-1 Z", 1),
    ],
)
def test_what_patterns_choose_beside_a_fixed_style(write_deck, parameters, first, count):
    with Minimum.from_deck(write_deck(MLIAP), parameters=parameters) as minimum:
        assert (minimum.potential.names[0], len(minimum.potential.theta)) == (first, count)


def test_a_typing_error_is_told_in_the_labels_of_snap(write_deck):
    with pytest.raises(PotentialError, match="labels run from Ta:0 to Ta:30"):
        Minimum.from_deck(write_deck(TA_VACANCY), parameters="W:*")


def test_labels_of_coefficients(tmp_path):
    text = """pair_style hybrid/overlay lj/cut 5.0 morse 5.0 morse 6.0 zbl 3.0 4.0 table linear 100
pair_coeff * * lj/cut 1.0 2.0
pair_coeff 1 1 lj/cut 0.5 2.5 4.0
pair_coeff 1 2 morse 1 1.0 2.0 3.0
pair_coeff 1 2 morse 2 1.5 2.5 3.5
pair_coeff 1 1 zbl 29 29
pair_coeff 2 2 table file.table ENTRY 4.0
pair_coeff 1 1 lj/cut 0.6 2.6 4.0
"""
    deck = read_transcript(text, tmp_path)
    numbers = pair_coefficients.from_deck(deck)
    found = dict(zip(numbers.names, numbers.values, strict=True))
    assert found == {
        "lj/cut *-* epsilon": 1.0,
        "lj/cut *-* sigma": 2.0,
        "lj/cut 1-1 epsilon": 0.6,
        "lj/cut 1-1 sigma": 2.6,
        "morse:1 1-2 D0": 1.0,
        "morse:1 1-2 alpha": 2.0,
        "morse:1 1-2 r0": 3.0,
        "morse:2 1-2 D0": 1.5,
        "morse:2 1-2 alpha": 2.5,
        "morse:2 1-2 r0": 3.5,
        "zbl 1-1 Z": 29.0,
    }
    commands = PotentialCommands.of(deck)
    numbers.edit(commands, numbers.values * 2, tmp_path / "theta")
    lines = commands.lines()
    assert len(lines) == 6
    assert "pair_coeff 1 2 morse 2 3.0 5.0 7.0" in lines
    assert "pair_coeff 1 1 zbl 58.0 58.0" in lines
    assert "pair_coeff 1 1 lj/cut 0.5 2.5 4.0" in lines


def test_files_keep_what_is_no_parameter(tmp_path):
    (tmp_path / "model").write_text("# head\n2 2  # counts\n1.0 2.5e-3 # one line\n\n3.0\n-4\n")
    reader = Reader(tmp_path / "model")
    file = reader.file(reader.rows()[1:], ["a", "b", "c", "d"])
    assert file.values.tolist() == [1.0, 0.0025, 3.0, -4.0]
    assert file.text(np.array([1.0, 7.0, 3.0, 8.0])) == "# head\n2 2  # counts\n1.0 7.0 # one line\n\n3.0\n8.0\n"
    with pytest.raises(LammpsImplicitError, match="4 coefficients, expected 3"):
        reader.file(reader.rows()[1:], ["a", "b", "c"])


def test_commands_take_lennard_jones_as_they_take_snap(write_deck, tmp_path):
    deck = write_deck(LJ)

    def run(*arguments, good=True):
        command = [*program(), *map(str, arguments)]
        outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert (outcome.returncode == 0) is good, outcome.stderr
        assert "Traceback" not in outcome.stderr
        return outcome.stdout + outcome.stderr

    with Minimum.from_deck(deck, cell="iso", ftol=1e-9) as minimum:
        theta, start = minimum.potential.theta, minimum.energy
        change = 0.002 * theta * np.array([1.0, -1.0, 0.5, 1.0, -0.5, 1.0])
        relaxed = minimum.relaxed_at(change, 1e-9, cell="iso")
    samples = theta * (1 + 0.002 * np.random.default_rng(0).standard_normal((300, len(theta))))
    np.save(tmp_path / "samples.npy", samples)
    np.save(tmp_path / "new.npy", theta + change)
    run("sensitivity", deck.name, "-o", "lj.h5", "--cell", "iso", "--ensemble", "samples.npy")
    run("predict", "lj.h5", "--theta", "new.npy", "-o", "new.h5")
    with h5py.File(tmp_path / "new.h5") as file:
        moved = abs(relaxed.energy - start)
        assert file["energy"][()] == pytest.approx(relaxed.energy, abs=0.02 * moved)
        assert np.linalg.det(file["cell"][()]) == pytest.approx(np.linalg.det(relaxed.cell), rel=1e-4)
    assert "samples" in run("propagate", "lj.h5", "--ensemble", "samples.npy", "-o", "uq.h5")
    run("validate", "lj.h5", "--ensemble", "samples.npy", "--samples", "3", "-o", "validated")
    told = run("merge", "validated", "-o", "merged.h5")
    assert "3 samples" in told
    (tmp_path / "w.snapcoeff").write_text("1 2\nW 0.5 1\n1.0\n2.0\n")
    assert "give its parameters as .npy or .csv" in run(
        "predict", "lj.h5", "--theta", "w.snapcoeff", "-o", "none.h5", good=False
    )


@pytest.mark.parametrize("deck", [LJ, UF3])
def test_expansions_hold_to_second_order(write_deck, deck):
    """Of a potential that is not linear ∂²U/∂Θ² counts too."""
    with Minimum.from_deck(write_deck(deck), parameters=None if deck is LJ else "2B*", ftol=1e-10) as minimum:
        model, theta = minimum.expansion(2), minimum.potential.theta
        direction = theta * np.array([1.0, -1.0, 0.5, 1.0, -0.5, 1.0]) if deck is LJ else random_change(minimum, 1.0)
        errors = []
        for size in (1e-3, 5e-4):
            predicted = model.predict(size * direction).enthalpy
            errors.append(abs(predicted - minimum.relaxed_at(size * direction, 1e-10)[1]))
        assert errors[0] / errors[1] == pytest.approx(8.0, rel=0.2)
