"""Readers of potential files: which numbers are parameters, what is written, and what is said of bad files."""

from pathlib import Path

import numpy as np
import pytest
from brute_force import SHIPPED
from hypothesis import given, settings
from hypothesis import strategies as st
from mpi4py import MPI
from test_file_families import RELAX, SI, SIC, cell

from lammps_implicit import Minimum, testing
from lammps_implicit.errors import DeckError, PotentialError
from lammps_implicit.evaluators.deck import read_transcript
from lammps_implicit.operators.sweep import sweep_parameters
from lammps_implicit.potentials import entry_potentials, file_words, meam, named_numbers, reaxff, snap, tables
from lammps_implicit.potentials.commands import PotentialCommands
from lammps_implicit.potentials.entry_layouts import LAYOUTS
from lammps_implicit.potentials.number_files import require_finite
from lammps_implicit.potentials.of_deck import start_lammps


def read(style, coeff, folder=SHIPPED):
    return read_transcript(f"pair_style {style}\npair_coeff {coeff}\n", folder)


def edited(source, deck, values):
    """The text that a source writes."""
    (text,) = source.edit(PotentialCommands.of(deck), np.asarray(values, float), Path("/tmp/tuned")).values()
    return text


BLANK = st.sampled_from([" ", "  ", "\t", " \t "])
BREAK = st.sampled_from([" ", "\n", "  \n\n ", " # 1 2 3\n", "\n# Si Si Si\n\t"])


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_editing_one_number_of_an_entry_changes_that_number_only(data, tmp_path_factory):
    """Any blanks, line breaks and comments."""
    names = LAYOUTS["sw"].names
    path = tmp_path_factory.mktemp("entries") / "a.sw"
    entries = [("Si", "Si", "Si"), ("C", "C", "C"), ("Si", "C", "C"), ("C", "Si", "Si"), ("Ge", "Ge", "Ge")]
    number = st.floats(0.5, 99.0).map(repr)
    parts, places = [data.draw(st.sampled_from(["", "# UNITS: metal\n", "\n\n"]))], {}
    for index, elements in enumerate(data.draw(st.permutations(entries))):
        parts.append(data.draw(BLANK).join(["", *elements]))
        for place, name in enumerate(names):
            text = data.draw(number) if index % 2 else f"{index}{place}.5e0"
            parts += [data.draw(BREAK), text]
            places["-".join(elements), name] = len(parts) - 1
        parts.append(data.draw(st.sampled_from(["\n", "\r\n", " # the end\n", "\n\n"])))
    path.write_bytes("".join(parts).encode())
    deck = read("sw", "* * a.sw Si C", path.parent)
    (source,) = entry_potentials.from_deck(deck, ["sw *"])
    assert not any("Ge" in name for name in source.names)
    chosen = data.draw(st.integers(0, len(source.names) - 1))
    values = source.values.copy()
    values[chosen] = 123.25
    _, elements, name = source.names[chosen].split()
    for twin in {(elements, name), (("-".join(np.array(elements.split("-"))[[1, 0, 0]])), name)} & set(places):
        same = float(parts[places[twin]]) == source.values[chosen] and name in ("epsilon", "sigma", "a", *"ABpq")
        if twin[0] == elements or same:
            parts[places[twin]] = "123.25"
    assert edited(source, deck, values).encode() == "".join(parts).encode()
    assert edited(source, deck, source.values).encode() == path.read_bytes()


def test_numbers_that_must_be_the_same_are_one_parameter():
    deck = read("sw", "* * CdTe.sw Cd Te")
    (source,) = entry_potentials.from_deck(deck, [])
    assert "sw Cd-Te-Te A" in source.names
    assert "sw Te-Cd-Cd A" not in source.names
    assert "sw Te-Cd-Cd gamma" in source.names  # of the three bodies around Te
    assert not any(name.startswith("sw Cd-Cd-Te") and name.endswith((" A", " B", " sigma")) for name in source.names)
    values = source.values + (np.array(source.names) == "sw Cd-Te-Te A")
    lines = edited(source, deck, values).splitlines()
    before = (SHIPPED / "CdTe.sw").read_text().splitlines()
    changed = [line for line, other in zip(lines, before, strict=True) if line != other]
    assert [line.split()[:3] for line in changed] == [["Cd", "Te", "Te"], ["Te", "Cd", "Cd"]]
    assert all("8.0496" in line for line in changed)


def test_cutoffs_and_exponents_are_offered_if_asked_for():
    deck = read("tersoff", "* * Si.tersoff Si")
    ((usual,), (all_,), (cutoff,)) = (entry_potentials.from_deck(deck, p) for p in ([], ["* R", "* D"], ["*Si R"]))
    assert " ".join(name.split()[2] for name in usual.names) == "gamma lambda3 c d costheta0 n beta lambda2 B lambda1 A"
    assert set(all_.names) - set(usual.names) == {"tersoff Si-Si-Si R", "tersoff Si-Si-Si D"}
    assert set(cutoff.names) - set(usual.names) == {"tersoff Si-Si-Si R"}
    assert not any(name.endswith(" m") for name in entry_potentials.from_deck(deck, ["*"])[0].names)


def test_a_meam_parameter_file_overrules_the_library():
    deck = read("meam", "* * library.meam SiS C SiC.meam SiS C")
    library, own = meam.from_deck(deck, 2, [])
    assert "meam SiS rho0" in library.names
    assert "meam C rho0" in own.names
    assert "meam C rho0" not in library.names
    assert not any(name.endswith((" lat", " z", " ibar", " rc", " delr")) for name in library.names + own.names)
    assert own.suffix != library.suffix


def test_of_very_many_parameters_some_must_be_chosen(write_deck):
    deck = read("reaxff NULL", "* * ffield.reax.cho C H O")
    with pytest.raises(PotentialError, match=r"files have 4\d\d parameters, 'ffield general 1' to .* choose with"):
        reaxff.from_deck(deck, [])
    (source,) = reaxff.from_deck(deck, ["ffield bond C-H De*"])
    assert "ffield bond C-H De3" in source.names
    assert "ffield torsion X-C-H-X V1" in source.names
    assert "ffield torsion H-C-C-H V1" in source.names
    assert not any(name.startswith("ffield offdiagonal C-H r_pi") for name in source.names)  # -1: not given
    assert "ffield offdiagonal C-H r_pi" in reaxff.from_deck(deck, ["ffield offdiagonal C-H r_pi"])[0].names


HYBRID = SI + (
    "variable half equal 0.5\npair_style hybrid/scaled v_half tersoff 0.4 sw 0.1 snap\n"
    "pair_coeff * * tersoff Si.tersoff Si\n"
    "pair_coeff * * sw Si.sw Si\npair_coeff * * snap Si_Zuo_JPCA2020.snapcoeff Si_Zuo_JPCA2020.snapparam Si\nrun 0\n"
)
SINGLE = {
    "sw": "pair_style sw\npair_coeff * * Si.sw Si\nrun 0\n",
    "snap": "pair_style snap\npair_coeff * * Si_Zuo_JPCA2020.snapcoeff Si_Zuo_JPCA2020.snapparam Si\nrun 0\n",
}
TWO_SNAPS = cell("bcc 3.17", 2, more=" basis 2 2") + (
    "pair_style hybrid/overlay zbl 4.0 4.8 snap snap\npair_coeff * * zbl 74 74\n"
    "pair_coeff * * snap 1 W_2940_2017_2.snapcoeff W_2940_2017_2.snapparam W W\n"
    "pair_coeff * * snap 2 Ta06A.snapcoeff Ta06A.snapparam NULL Ta\n"
)


def swept(path, pattern):
    engine, potential = start_lammps(path, parameters=pattern)
    try:
        forces = engine.settle()
        if isinstance(potential, snap.SnapPotential):
            mixed = potential.gradients_array(potential.gradients(engine))[np.argsort(engine.ids)]
            return potential.names, mixed, potential.sum_descriptors(engine, potential.atom_descriptors(engine))
        sweep = sweep_parameters(potential, engine, forces)
        return potential.names, sweep.forces[np.argsort(engine.ids)], sweep.energies
    finally:
        engine.close()


@pytest.mark.parametrize("style", SINGLE)
def test_styles_of_hybrid_scaled_count_with_their_factor(write_deck, style):
    pattern, factor = {"sw": ("sw * lambda", 0.4), "snap": ("Si:[1-3]", 0.1)}[style]
    names, scaled, energies = swept(write_deck(HYBRID), pattern)
    same, alone, energy = swept(write_deck(SI + SINGLE[style]), pattern)
    assert names == same
    assert np.abs(scaled - factor * alone).max() <= 1e-8 * np.abs(scaled).max()
    assert energies == pytest.approx(factor * energy, rel=1e-8)


def test_several_snap_styles_are_labelled_by_their_number(write_deck):
    deck = write_deck(TWO_SNAPS + "run 0\n")
    names, both, _ = swept(deck, "snap:2 Ta:[1-3]")
    assert names == ("snap:2 Ta:1", "snap:2 Ta:2", "snap:2 Ta:3")
    lone = TWO_SNAPS.replace("zbl 4.0 4.8 snap snap", "zbl 4.0 4.8 snap").replace("snap 2 ", "snap ")
    lone = "".join(line for line in lone.splitlines(keepends=True) if " snap 1 " not in line) + "run 0\n"
    _, alone, _ = swept(write_deck(lone), "Ta:[1-3]")
    assert np.abs(both - alone).max() <= 1e-9 * np.abs(alone).max()
    found = snap.from_deck(read("snap", "* * Ta06A.snapcoeff Ta06A.snapparam Ta"))
    assert found[0].names[0] == "Ta:0"


def test_a_family_of_files_passes_the_kit(write_deck, tmp_path):
    deck = SIC + "pair_style tersoff\npair_coeff * * SiC.tersoff Si C\n" + RELAX
    with Minimum.from_deck(write_deck(deck), parameters="tersoff Si-C-C *,* C-Si-Si B", ftol=1e-10) as point:
        testing.check_mixed_derivative(point)
        testing.check_adjoint(point)
        testing.check_restored(point)
        (tmp_path / "written").mkdir()
        testing.check_written(point.potential, tmp_path / "written")


@pytest.mark.parallel(nprocs=[1, 2])
def test_two_ranks_find_what_one_finds(tmp_path_factory):
    folder = MPI.COMM_WORLD.bcast(tmp_path_factory.mktemp("ranks") if MPI.COMM_WORLD.rank == 0 else None)
    deck = folder / "in.sic"
    if MPI.COMM_WORLD.rank == 0:
        deck.write_text(SIC + "pair_style tersoff\npair_coeff * * SiC.tersoff Si C\nrun 0\n")
    MPI.COMM_WORLD.barrier()
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        engine, potential = start_lammps(deck, comm, "tersoff Si-C-C *")
        sweep = sweep_parameters(potential, engine, engine.settle())
        found.append((sweep.energies, engine.sum((sweep.forces**2).sum(axis=(0, 1)))))
        engine.close()
    for together, alone in zip(*found, strict=True):
        assert together == pytest.approx(alone, rel=1e-7)


EAM_LIKE = {
    "eam": (cell("fcc 3.615", n=3), "* * Cu_u3.eam", ("eam Cu_u3 embedding", "eam Cu_u3 charge")),
    "adp": (
        *(cell("fcc 3.52", n=3), "* * Ni.adp Ni"),
        ("adp embedding Ni", "adp pair Ni-Ni", "adp dipole Ni-Ni", "adp quadrupole Ni-Ni"),
    ),
    "eam/he": (cell("fcc 3.9", 2, n=3, more=" basis 4 2"), "* * PdHHe.eam.he Pd H", ("eam/he pair Pd-H",)),
    "eam/cd": (cell("bcc 2.87", 2, n=3, more=" basis 2 2"), "* * FeCr.cdeam Fe Cr", ("eam/cd pair Fe-Cr",)),
}


@pytest.mark.parametrize("style", EAM_LIKE)
def test_factors_of_other_tabulated_potentials(write_deck, style):
    """Second reading of files of the same name included: LAMMPS remembers those of ``eam``."""
    atoms, coeff, labels = EAM_LIKE[style]
    deck = write_deck(f"{atoms}pair_style {style}\npair_coeff {coeff}\n{RELAX}")
    with Minimum.from_deck(deck, ftol=1e-10) as point:
        assert set(labels) <= set(point.potential.names)
        testing.check_mixed_derivative(point)
        testing.check_restored(point)


def test_factors_multiply_terms_of_the_energy(write_deck):
    """U is the sum of its parts: embedding + pair + the quadratic terms of dipoles and quadrupoles; and F + Z² φ."""
    for style in ("eam", "adp"):
        atoms, coeff, _ = EAM_LIKE[style]
        engine, potential = start_lammps(write_deck(f"{atoms}pair_style {style}\npair_coeff {coeff}\nrun 0\n"))
        try:
            sweep = sweep_parameters(potential, engine, engine.settle())
            orders = {"embedding": 1, "pair": 1, "charge": 2, "dipole": 2, "quadrupole": 2}
            parts = [
                e / orders[min(set(name.split()) & set(orders))]
                for name, e in zip(potential.names, sweep.energies, strict=True)
            ]
            assert sum(parts) == pytest.approx(engine.energy, rel=1e-9)
        finally:
            engine.close()


def _table(folder, shift, settings):
    """A Morse potential in a table of 800 rows, at distances r - shift."""
    r = np.linspace(1.8, 6.0, 800)
    decay = np.exp(-1.36 * (r - shift - 2.87))
    energy, force = 0.34 * (decay**2 - 2 * decay), 0.34 * 1.36 * 2 * (decay**2 - decay)
    rows = "".join(
        f"{k} {a:.15g} {b:.15g} {c:.15g}\n" for k, (a, b, c) in enumerate(zip(r, energy, force, strict=True), 1)
    )
    other = "OTHER\nN 2\n\n1 1.0 0.0 0.0\n2 2.0 0.0 0.0\n\n"
    (folder / "morse.table").write_text(f"# tables\n\n{other}MORSE\nN 800 {settings}\n\n{rows}")


@pytest.mark.parametrize("settings", ["", "R 1.8 6.0"])
def test_factor_and_shift_of_a_table(write_deck, tmp_path, settings):
    deck = write_deck(
        cell("fcc 3.6", n=3) + "pair_style table spline 3000\npair_coeff * * morse.table MORSE 5.5\n" + "run 0\n"
    )
    _table(deck.parent, 0.0, settings)
    names, forces, energies = swept(deck, None)
    assert names == ("table *-* scale", "table *-* shift")

    def plain(shift):
        _table(deck.parent, shift, settings)
        engine, _ = start_lammps(deck)
        found = engine.settle()[np.argsort(engine.ids)], engine.energy
        engine.close()
        return found

    (up, above), (here, energy), (down, below) = (plain(shift) for shift in (1e-4, 0.0, -1e-4))
    assert np.abs(forces[:, :, 0] + here).max() <= 1e-7 * np.abs(here).max()
    assert energies[0] == pytest.approx(energy, rel=1e-8)
    assert energies[1] == pytest.approx((above - below) / 2e-4, rel=1e-5)
    assert np.abs(forces[:, :, 1] + (up - down) / 2e-4).max() <= 1e-3 * np.abs(forces[:, :, 1]).max()


def test_what_is_scaled_in_a_table_keeps_the_rest(tmp_path):
    _table(tmp_path, 0.0, "R 1.8 6.0 FPRIME -2.5 0.125")
    section = tables.TableSection.read(tmp_path / "morse.table", "MORSE")
    text = section.text(2.0, 0.0)
    assert "N 800 R 1.8 6.0 FPRIME -5.0 0.25\n" in text
    assert text.startswith("# tables\n\nOTHER\nN 2\n\n1 1.0 0.0 0.0\n2 2.0 0.0 0.0\n")
    assert section.text(1.0, 0.0) == (tmp_path / "morse.table").read_text()


def test_a_number_by_its_place():
    deck = read("sw", "* * Si.sw Si")
    (source,) = file_words.from_deck(deck, ["file Si.sw 18:[12]", "sw*"])
    assert source.names == ("file Si.sw 18:1", "file Si.sw 18:2")
    assert source.values == pytest.approx([7.049556277, 0.6022245584])
    assert file_words.from_deck(deck, ["sw*"]) == []


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("file Si.sw", "'file Si.sw' is not 'file NAME LINE:WORD', such as 'file Si.sw 12:4'"),
        ("file Ge.sw 18:1", "the deck's potential names no such file; it names Si.sw"),
        ("file Si.sw 17:1", "no number stands there"),
    ],
)
def test_places_without_a_number(pattern, message):
    with pytest.raises(PotentialError, match=message):
        file_words.from_deck(read("sw", "* * Si.sw Si"), [pattern])


SW = (SHIPPED / "Si.sw").read_text()
BAD = {
    "too few": ("sw", "* * FILE Si", SW.replace("  21.0  ", " "), "line 17: the entry Si-Si-Si has 10 numbers"),
    "too many": ("sw", "* * FILE Si", SW.replace(" 21.0 ", " 21.0 5 "), "line 17: the entry Si-Si-Si has 12 numbers"),
    "NaN": ("sw", "* * FILE Si", SW.replace(" 21.0 ", " nan "), "line 17: 'nan' is not a finite number"),
    "a letter": ("sw", "* * FILE Si", SW.replace(" 21.0 ", " 2l.0 "), "line 17: '2l.0' is not a finite number"),
    "another layout": ("sw", "* * FILE Si", (SHIPPED / "Si.tersoff").read_text(), "has 14 numbers, expected 11"),
    "another element": ("sw", "* * FILE Ge", SW, "missing an entry for: Ge Ge Ge"),
    "MEAM": ("meam", "* * library.meam Ni4 FILE Ni4", "rc = nan\n", "line 1: 'nan' is not a finite number"),
    "a table": ("table linear 100", "* * FILE A", "A\nN 2\n\n1 1.0 0.0\n2 2.0 0.0 0.0\n", "line 4: 3 words"),
    "EAM": ("eam", "* * FILE", "a\n1 1.0 1.0 fcc\n500 1.0 500 1.0 5.0\n1.0\n", "1 numbers, expected 500 F"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_told_with_their_line(write_deck, case):
    style, coeff, text, message = BAD[case]
    deck = write_deck(SI + f"pair_style {style}\npair_coeff {coeff.replace('FILE', 'bad.file')}\nrun 0\n")
    (deck.parent / "bad.file").write_text(text)
    with pytest.raises((PotentialError, DeckError)) as refused:
        start_lammps(deck, parameters="*")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("1.0 nan 2.0\n", True),
        ("Si Si Si 1.0 inf\n", True),
        ("nan A_CC\n", True),
        ("rc = -inf\n", True),
        ("# nan is not a number\n", False),
        ("region box block INF INF 0 1 0 1\n", False),
        ("this file has no nan\n", False),
    ],
)
def test_numbers_that_are_not_finite(tmp_path, text, bad):
    path = tmp_path / "file"
    path.write_text("first line\n" + text)
    if not bad:
        return require_finite(path)
    with pytest.raises(PotentialError, match=r"line 2: .* is not a finite number"):
        require_finite(path)
    return None


def test_terms_that_are_switched_off_have_no_parameters():
    (plain,) = named_numbers.from_deck(read("airebo 3.0", "* * CH.airebo C"), [])
    (without,) = named_numbers.from_deck(read("airebo 3.0 0 0", "* * CH.airebo C"), [])
    assert {"airebo epsilon_CC", "airebo sigma_CC", "airebo epsilonT_CCCC"} == set(plain.names) - set(without.names)
    assert not any("H" in name for name in plain.names)


def test_numbers_that_equilibrate_charges_reach_the_fix(write_deck, tmp_path):
    """A fix that equilibrates charges keeps what it has read of the force field, unless it is defined again."""
    text = (SHIPPED / "ffield.reax.cho").read_text()
    atoms = cell("diamond 4.2", 2, more=" basis 5 2 basis 6 2 basis 7 2 basis 8 2", units="real", atoms="charge")
    deck = write_deck(
        atoms + "pair_style reaxff NULL\npair_coeff * * ffield H O\n"
        "fix charges all qeq/reaxff 1 0.0 10.0 1.0e-12 reaxff maxiter 1000\nrun 0\n"
    )

    def states(chi):
        (deck.parent / "ffield").write_text(text.replace("8.5000   8.9989", f"{chi:.8f}   8.9989"))
        engine, _ = start_lammps(deck, parameters=())
        found = engine.settle()[np.argsort(engine.ids)], engine.energy
        engine.close()
        return found

    (up, above), (down, below), _ = states(8.501), states(8.499), states(8.5)
    _, forces, energies = swept(deck, "ffield atom O chi")
    assert energies[0] == pytest.approx((above - below) / 2e-3, rel=1e-6)
    assert np.abs(forces[:, :, 0] + (up - down) / 2e-3).max() <= 1e-6 * np.abs(forces).max()
