"""Charges and the dielectric constant as parameters."""

import warnings

import numpy as np
import pytest
from brute_force import NewtonRelaxer, relative_error
from waters import WATER_COEFFICIENTS, WATER_END, WATER_HEAD, write_water

from lammps_implicit import Minimum
from lammps_implicit.errors import DeckError, PotentialError
from lammps_implicit.evaluators.kspace import kept_resolution
from lammps_implicit.potentials import start_lammps

OXIDE = """\
units           metal
atom_style      charge
lattice         custom 4.21 a1 1 0 0 a2 0 1 0 a3 0 0 1 &
                basis 0 0 0 basis 0 0.5 0.5 basis 0.5 0 0.5 basis 0.5 0.5 0 &
                basis 0.5 0 0 basis 0 0.5 0 basis 0 0 0.5 basis 0.5 0.5 0.5
region          cell block 0 2 0 2 0 2
create_box      {types} cell
create_atoms    1 box basis 5 2 basis 6 2 basis 7 2 basis 8 2
mass            * 20
set             type 1 charge 2
set             type 2 charge -2
group           pair id 1 5
group           oxygen type 2
group           magnesium type 1
delete_atoms    group pair compress no
{lines}
pair_style      buck/coul/long 6.0
pair_coeff      * * 0.0 1.0 0.0
pair_coeff      1 2 1428.5 0.2945 0.0
pair_coeff      2 2 22764.3 0.149 27.88
{kspace}
minimize        0 1.0e-8 5000 20000
"""


def oxide(folder, lines="", kspace="kspace_style ewald 1.0e-6", types=2):
    deck = folder / "in.oxide"
    deck.write_text(OXIDE.format(lines=lines, kspace=kspace, types=types))
    return deck


@pytest.mark.parametrize("kspace", ["kspace_style ewald 1.0e-6", "kspace_style pppm 1.0e-6"])
def test_columns_of_a_pair_of_vacancies(tmp_path, kspace):
    deck = oxide(tmp_path, kspace=kspace)
    with Minimum.from_deck(
        deck, parameters="charge*,dielectric,buck/coul/long 1-2 rho", force_limit=1, ftol=1e-9
    ) as point:
        order, names = np.argsort(point.ids), point.potential.names
        columns, gradient = point.jacobian(1e-7).to_array()[:, order], point.energy_gradient()
        values, positions = map(float, point.potential.theta), point.positions[order]
        kspace = [" ".join(words) for words in point.engine.deck.kspace]
    lines = {
        "buck/coul/long 1-2 rho": lambda value: [f"pair_coeff 1 2 1428.5 {value!r} 0.0"],
        "charge type 1": lambda value: [f"set type 1 charge {value!r}", f"set type 2 charge {-value!r}"],
        "charge type 2": lambda value: [f"set type 2 charge {value!r}", f"set type 1 charge {-value!r}"],
        "dielectric": lambda value: [f"dielectric {value!r}"],
    }
    assert names == tuple(lines)
    brute = NewtonRelaxer(deck, positions, ["pair_modify table 0", *kspace])
    for name, value, column, energy in zip(names, values, columns, gradient, strict=True):
        moved, change = brute.column(lines[name], value, 1e-3 * abs(value))
        assert relative_error(column - column.mean(axis=0), moved - moved.mean(axis=0)) < 1e-5, name
        assert energy == pytest.approx(change, rel=1e-6), name
    brute.close()


def test_what_keeps_a_deck_neutral(tmp_path):
    """Two kinds of cations: either by the anions; the anions by both in proportion; or what is named."""
    deck = oxide(
        tmp_path, "set atom 2*4 type 3", "pair_coeff 2 3 1428.5 0.2945 0.0\nkspace_style ewald 1.0e-6", types=3
    )
    asked = ["charge type 1", "charge type 2", "charge type 3", "charge type 1 / 3", "charge group oxygen / type 1"]
    engine, potential = start_lammps(deck, parameters=asked[:4])
    charges, types = engine.charges()
    count = np.bincount(types)
    for k, expected in enumerate(
        [
            {1: 0.01, 2: -0.01 * count[1] / count[2]},
            {2: 0.01, 1: -0.01 * count[2] / (count[1] + count[3]), 3: -0.01 * count[2] / (count[1] + count[3])},
            {3: 0.01, 2: -0.01 * count[3] / count[2]},
            {1: 0.01, 3: -0.01 * count[1] / count[3]},
        ]
    ):
        potential.install(engine, 0.01 * np.eye(4)[k])
        changes = engine.charges()[0] - charges
        assert changes == pytest.approx([expected.get(kind, 0.0) for kind in types])
        assert abs(changes.sum()) < 1e-12
    potential.install(engine, np.zeros(4))
    assert np.array_equal(engine.charges()[0], charges)
    engine.close()
    engine, potential = start_lammps(deck, parameters=asked[4])
    potential.install(engine, np.array([0.01]))
    assert engine.charges()[0] - charges == pytest.approx(
        [{2: 0.01, 1: -0.01 * count[2] / count[1]}.get(k, 0) for k in types]
    )
    engine.close()


@pytest.mark.parallel(nprocs=[1, 2])
def test_charges_are_restored_after_an_error(write_deck):
    deck = write_deck(OXIDE.format(lines="", kspace="kspace_style ewald 1.0e-6", types=2))
    engine, potential = start_lammps(deck, parameters="charge type 1,buck/coul/long 1-2 rho")
    before, (charges, _) = engine.settle(), engine.charges()
    assert potential.names == ("buck/coul/long 1-2 rho", "charge type 1")
    with pytest.raises(PotentialError, match="pair_coeff"):
        potential.install(engine, np.array([-1.0, 0.3]))
    assert np.array_equal(engine.charges()[0], charges)
    changed = potential.install(engine, np.array([0.0, 0.3]))
    assert engine.max_abs(changed - before) > 1e-3 or engine.max_abs(before) < 1e-6
    potential.install(engine, np.zeros(2))
    assert np.array_equal(engine.charges()[0], charges)
    engine.close()


def test_a_deck_that_is_not_neutral_has_independent_charges(tmp_path):
    """Without a sum over images nothing asks for neutrality."""
    deck = oxide(tmp_path, "set type 1 charge 1.9", "pair_style buck/coul/cut 6.0\npair_coeff * * 1000 0.3 0")
    engine, potential = start_lammps(deck, parameters="charge*")
    charges, types = engine.charges()
    potential.install(engine, np.array([0.01, 0.0]))
    assert engine.charges()[0] - charges == pytest.approx(np.where(types == 1, 0.01, 0.0))
    engine.close()


@pytest.mark.parametrize(
    ("lines", "parameters", "message"),
    [
        ("", "charge type 7", "'charge type 7': atom types are numbers from 1 to 2"),
        ("", "charge type X", "'charge type X': atom types are numbers from 1 to 2"),
        ("", "charge group nobody", "the deck has no group 'nobody'"),
        ("", "charge types", "no parameter matches 'charge types'"),
        ("", "charge type 1 / 1", "name other atoms behind the slash"),
        ("", "charge type 1,charge group magnesium / group oxygen", "have atoms in common"),
        ("group none empty", "charge group none", "there are no such atoms"),
        ("set atom 3 charge 1.5", "charge type 1", "these atoms have charges from 1.5 to 2"),
        ("set atom 3 charge 1.5", "charge type 2", "charges of type 1 differ, so that it is not known what keeps"),
        ("set atom 3 charge 1.5", "charge*", "'charge\\*': charges of type 1 differ: define groups of atoms"),
        ("fix q all qeq/point 1 6.0 1e-4 10 qeq.parameters", "charge*", "chooses the charges"),
        ("set type 2 charge 0", "charge type 1", "no others have the opposite sign"),
        ("fix q all qeq/point 1 6.0 1e-4 10 qeq.parameters", "charge type 1", "qeq/point"),
    ],
)
def test_what_cannot_be_a_charge(tmp_path, lines, parameters, message):
    (tmp_path / "qeq.parameters").write_text("1 1.0 10.0 0 0 0\n2 8.0 14.0 0 0 0\n")
    deck = oxide(tmp_path, lines)
    with pytest.raises((PotentialError, DeckError), match=message) as refused, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start_lammps(deck, parameters=parameters)
    assert "\n" not in str(refused.value)


def test_charges_that_differ_within_a_type_do_not_disturb_other_parameters(tmp_path):
    engine, potential = start_lammps(oxide(tmp_path, "set atom 3 charge 1.5"))
    assert all(name.startswith("buck") for name in potential.names)
    engine.close()


def test_charges_are_no_parameters_unless_asked_for(tmp_path):
    """A deck that has nothing else, and may not even use them."""
    deck = oxide(tmp_path, kspace="pair_style coul/long 6.0\npair_coeff * *\nkspace_style ewald 1.0e-6")
    deck.write_text(deck.read_text().replace("minimize        0 1.0e-8 5000 20000", "run 0"))
    engine, potential = start_lammps(deck)
    engine.close()
    with pytest.raises(PotentialError, match=r"has no parameters .* charges \(charge type 2\)"):
        potential.refuse()
    engine, potential = start_lammps(deck, parameters="charge type 2")
    assert potential.names == ("charge type 2",)
    engine.close()


def test_a_molecule_of_water_by_groups(tmp_path):
    """Charges of one molecule, compensated within it."""
    write_water(tmp_path / "water.data")
    deck = tmp_path / "in.water"
    groups = "group one molecule 1\ngroup oxygen type 1\ngroup O intersect one oxygen\ngroup H subtract one O\n"
    deck.write_text(f"{WATER_HEAD}read_data water.data\n{groups}{WATER_COEFFICIENTS}{WATER_END}")
    engine, potential = start_lammps(deck, parameters="charge group O / H")
    assert potential.theta == pytest.approx([-0.82])
    charges, types = engine.charges()
    potential.install(engine, np.array([0.02]))
    changed = engine.charges()[0] - charges
    assert changed[engine.in_group("one")] == pytest.approx(np.where(types[engine.in_group("one")] == 1, 0.02, -0.01))
    assert not changed[~engine.in_group("one")].any()
    files = potential.changed(np.array([0.02])).write(tmp_path / "tuned", [], overwrite=False)
    written = [line.rpartition(" ") for line in files[0].read_text().split("\n")]
    assert [line[0] for line in written[:2]] == ["set group O charge", "set group H charge"]
    assert [float(line[2]) for line in written[:2]] == pytest.approx([-0.80, 0.40])
    engine.close()


def test_the_resolution_that_lammps_tells():
    text = "  G vector (1/distance) = 0.71\n  grid = 9 9 9\nPPPM\n  G vector (1/distance) = 0.7240\n  grid = 30 24 30\n"
    assert kept_resolution(text) == ("kspace_modify", "gewald", "0.7240", "mesh", "30", "24", "30")
    text = "G vector (1/distance) = 0.7\n KSpace vectors: actual\n                  kxmax kymax kzmax  = 8 7 8\n"
    assert kept_resolution(text) == ("kspace_modify", "gewald", "0.7", "kmax/ewald", "8", "7", "8")
    assert kept_resolution("") == ()
