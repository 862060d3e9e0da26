"""Formation energies and volumes, lattice and elastic constants, against relaxing again; the command."""

import re

import h5py
import numpy as np
import pytest
from conftest import DECKS, TA_VACANCY
from typer.testing import CliRunner

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.cli.app import app
from lammps_implicit.errors import AccuracyError
from lammps_implicit.observables import (
    binding_energy,
    cohesive_energy,
    distortion_from,
    elastic_constants,
    elastic_dipole,
    formation_energy,
    formation_volume,
    lattice_parameters,
    named_constants,
    relaxation_energy,
    relaxation_volume,
)
from lammps_implicit.observables.formation import reference_weights

BULK = TA_VACANCY.replace("group           vacancy id 1\ndelete_atoms    group vacancy compress no\n", "").replace(
    "0 3 0 3 0 3", "0 2 0 2 0 2"
)
EDGE = 3.316 * np.sqrt(0.75)
SIDE = EDGE * np.sqrt(8 / 9)  # of the primitive vectors, each pair at cos⁻¹(-1/3)
TILT, HEIGHT = -EDGE / 3 * (1 + 1 / 3) * EDGE / SIDE, EDGE * np.sqrt(2 / 3)
PRIMITIVE = BULK.replace(
    BULK[BULK.index("lattice") : BULK.index("mass")],
    f"""\
region          cell prism 0 {EDGE} 0 {SIDE} 0 {HEIGHT} {-EDGE / 3} {-EDGE / 3} {TILT}
create_box      1 cell
create_atoms    1 single 0.1 0.1 0.1
""",
)
"""One atom in the primitive cell of bcc."""


@pytest.fixture(scope="module")
def tantalum(tmp_path_factory):
    """Bulk and vacancy of Ta with relaxed cells at 20 GPa, where no shell of neighbours is at Ta06A's cutoff."""
    folder = tmp_path_factory.mktemp("observables")
    (folder / "in.bulk").write_text(BULK)
    (folder / "in.vacancy").write_text(TA_VACANCY)
    settings = {"cell": "iso", "pressure": "20 GPa", "ftol": 1e-9}
    with (
        Minimum.from_deck(folder / "in.bulk", **settings) as bulk,
        Minimum.from_deck(folder / "in.vacancy", **settings) as vacancy,
    ):
        yield bulk, vacancy


def change_of(minimum, size=1e-3):
    theta = minimum.potential.theta
    return size * np.random.default_rng(4).standard_normal(len(theta)) * np.abs(theta)


def again(minimum, change):
    """Enthalpy and volume relaxed again."""
    relaxed = minimum.relaxed_at(change, 1e-10, cell="iso")
    volume = np.linalg.det(relaxed.cell)
    return relaxed.energy + minimum.target[0, 0] * volume, volume


def differences(minimum, change):
    ends = [again(minimum, sign * change) for sign in (1, -1)]
    return (np.array(ends[0]) - np.array(ends[1])) / 2


def test_formation_energy_and_volume_of_a_vacancy(tantalum):
    bulk, vacancy = tantalum
    change = change_of(bulk, 2e-4)
    energy, volume = formation_energy(vacancy, bulk, tol=1e-6), formation_volume(vacancy, bulk, tol=1e-6)
    assert 1.0 < float(energy.value) < 6.0
    atoms = vacancy.engine.n_atoms / bulk.engine.n_atoms
    expected = differences(vacancy, change) - atoms * differences(bulk, change)
    assert energy.gradient @ change == pytest.approx(expected[0], rel=1e-4)
    assert volume.gradient @ change == pytest.approx(expected[1], rel=1e-4)
    # Volume of formation and of relaxation differ by that of an atom.
    per_atom = bulk.engine.volume / bulk.engine.n_atoms
    relaxation = relaxation_volume(vacancy, bulk, 54)
    assert float(volume.value - relaxation.value) == pytest.approx(per_atom, rel=1e-9)
    larger = 5 * change
    true = again(vacancy, larger)[0] - atoms * again(bulk, larger)[0]
    first = float(energy.value + energy.gradient @ larger)
    assert abs(float(energy.predict(larger)) - true) < 0.2 * abs(first - true)


@pytest.fixture(scope="module")
def tungsten():
    """Bulk W and the Be that solutes come from."""
    with (
        Minimum.from_deck(DECKS / "in.w_bulk", cell="iso", ftol=1e-9, force_limit=np.inf) as bulk,
        Minimum.from_deck(DECKS / "in.be_hcp", variables={"n": "1"}, cell="ortho", ftol=1e-9) as beryllium,
    ):
        yield bulk, beryllium


@pytest.mark.parametrize("deck", ["in.w_be_vacancy", "in.w_be_interstitial", "in.be_in_w"])
def test_defects_in_tungsten(tungsten, deck):
    bulk, beryllium = tungsten
    change = change_of(bulk, 3e-4)
    with Minimum.from_deck(DECKS / deck, variables={"n": "3"}, cell="iso", ftol=1e-9) as defect:
        reservoirs = {"Be": beryllium} if deck == "in.be_in_w" else {}
        energy = formation_energy(defect, bulk, reservoirs, order=1)
        volume = formation_volume(defect, bulk, reservoirs, 1e-6)
        expected = differences(defect, change) - 53 / 16 * differences(bulk, change)
        if deck == "in.be_in_w":
            ends = [beryllium.relaxed_at(sign * change, 1e-10, cell="ortho") for sign in (1, -1)]
            each = [np.array([end.energy, np.linalg.det(end.cell)]) for end in ends]
            expected -= (each[0] - each[1]) / 2 / beryllium.engine.n_atoms
        elif deck == "in.w_be_interstitial":
            expected -= 2 / 16 * differences(bulk, change)
    # Differences of such steps are themselves good to some 1e-5.
    assert energy.gradient @ change == pytest.approx(expected[0], rel=1e-4)
    assert volume.gradient @ change == pytest.approx(expected[1], rel=1e-4)


def test_lattice_parameters_and_cohesive_energy(tantalum):
    bulk, _ = tantalum
    change = change_of(bulk, 2e-4)
    lattice = lattice_parameters(bulk, (2, 2, 2))
    assert lattice.value == pytest.approx([np.cbrt(bulk.engine.volume) / 2] * 3)
    lengths = [np.cbrt(again(bulk, sign * change)[1]) / 2 for sign in (1, -1)]
    assert lattice.gradient[:, 1] @ change == pytest.approx((lengths[0] - lengths[1]) / 2, rel=1e-4)
    cohesive = cohesive_energy(bulk, {"Ta": -1.0})
    enthalpy = bulk.energy + bulk.target[0, 0] * bulk.engine.volume
    assert float(cohesive.value) == pytest.approx(-1.0 - enthalpy / 16)
    assert cohesive.gradient @ change == pytest.approx(-differences(bulk, change)[0] / 16, rel=1e-4)


@pytest.fixture(scope="module")
def elastic(tmp_path_factory):
    """Elastic constants of Ta from its cubic and its primitive cell, and differences of relaxed cells."""
    found = {}
    for name, text in (("cubic", BULK.replace("0 2 0 2 0 2", "0 1 0 1 0 1")), ("primitive", PRIMITIVE)):
        deck = tmp_path_factory.mktemp(name) / "in.bulk"
        deck.write_text(text)
        with Minimum.from_deck(deck, cell="full", pressure="20 GPa", parameters="Ta:[1-4]") as bulk:
            change = 1e-3 * bulk.potential.theta * np.array([1.0, -1.0, 1.0, 1.0])
            ends = []
            for sign in (1, -1):
                with bulk.excursion(sign * change):
                    bulk.relax_away(1e-9, "full")
                    ends.append(bulk.free_cell_system().stiffness * bulk.units.pressure_factor / bulk.engine.volume)
            difference = (ends[0] - ends[1]) / 2
            found[name] = elastic_constants(bulk), change, (difference + difference.T) / 2
    return found


@pytest.mark.parametrize("cell", ["cubic", "primitive"])
def test_gradients_of_elastic_constants_agree_with_relaxing_again(elastic, cell):
    constants, change, expected = elastic[cell]
    found = np.tensordot(change, constants.gradient, axes=1)
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()


def test_elastic_constants_have_the_crystals_symmetry(elastic):
    value = elastic["cubic"][0].value
    assert value[0, 0] == pytest.approx(value[1, 1], rel=1e-5)
    assert value[0, 1] == pytest.approx(value[1, 2], rel=1e-5)
    assert value[3, 3] == pytest.approx(value[5, 5], rel=1e-5)
    assert abs(value[0, 3]) < 1e-4 * value[0, 0]
    named = named_constants(elastic["cubic"][0])
    assert float(named["C44"].value) == value[3, 3]
    # The bulk modulus knows nothing of axes: that of Ta at 20 GPa is some 250 GPa.
    moduli = [elastic[cell][0].value[:3, :3].sum() / 9 for cell in ("cubic", "primitive")]
    assert moduli[0] == pytest.approx(moduli[1], rel=1e-4)
    assert 1.5e6 < moduli[0] < 4e6


IRON = """\
units metal
lattice bcc 2.855
region cell prism 0 1 0 1 0 1 0 0 0
create_box 1 cell
create_atoms 1 box
mass 1 55.845
pair_style eam/fs
pair_coeff * * Fe_mm.eam.fs Fe
minimize 0 1e-10 1000 10000
"""
ALUMINIUM = (
    IRON.replace("bcc 2.855", "fcc 4.05")
    .replace("eam/fs", "eam/alloy")
    .replace("Fe_mm.eam.fs Fe", "Al_zhou.eam.alloy Al")
)
"""Tables whose second derivative jumps, and some that are smooth."""


def changed_constants(minimum, index, size):
    """Differences of C11, C12 and C44 of crystals relaxed again, for a relative change of one parameter."""
    change, ends = minimum.potential.theta[index] * np.eye(len(minimum.potential.theta))[index], []
    for sign in (size, -size):
        with minimum.excursion(sign * change):
            minimum.relax_away(1e-9, "full")
            stiffness = minimum.free_cell_system().stiffness * minimum.units.pressure_factor / minimum.engine.volume
            ends.append(stiffness[[0, 0, 3], [0, 1, 3]])
    return (ends[0] - ends[1]) / (2 * size)


@pytest.mark.parametrize(("deck", "size", "rel"), [(IRON, 0.02, 0.08), (ALUMINIUM, 1e-3, 1e-5)])
def test_gradients_of_elastic_constants_are_those_that_finite_changes_see(tmp_path, deck, size, rel):
    (tmp_path / "in.bulk").write_text(deck)
    with Minimum.from_deck(tmp_path / "in.bulk", cell="full", ftol=1e-9) as bulk:
        found = named_constants(elastic_constants(bulk))
        slopes = np.stack([bulk.potential.theta * constant.gradient for constant in found.values()], axis=1)
        seen = np.stack([changed_constants(bulk, index, size) for index in (0, 1)])
        assert (np.linalg.norm(slopes - seen, axis=0) < rel * np.linalg.norm(seen, axis=0)).all()
        told = {name: re.search(r"changes of 0.003 see others, by ([\d.]+) %", o.caution) for name, o in found.items()}
        if deck is ALUMINIUM:
            assert not any(told.values()) and bulk.overall.verdict == "good"
        else:
            assert 3 < float(told["C11"][1]) < float(told["C44"][1]) < float(told["C12"][1]) < 30
            assert "limited: the gradient of C12" in bulk.overall.verdict


def test_gradients_of_elastic_constants_that_depend_on_the_change_by_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lammps_implicit.observables.bulk.SAME", 0.01)
    (tmp_path / "in.bulk").write_text(IRON)
    with Minimum.from_deck(tmp_path / "in.bulk", cell="full", ftol=1e-9) as bulk:
        with pytest.raises(AccuracyError, match=r"gradient of C12, .*Choose the step .*accept_accuracy"):
            elastic_constants(bulk)
        assert elastic_constants(bulk, order=0).value[0, 0] > 2e6
    with Minimum.from_deck(tmp_path / "in.bulk", cell="full", ftol=1e-9, accept_accuracy=0.2) as bulk:
        assert elastic_constants(bulk).component(0, 1).caution
        assert "limited: the gradient of C12" in bulk.overall.verdict


def test_elastic_dipole_is_volume_times_pressure(tantalum, tmp_path):
    bulk, _ = tantalum
    lattice = np.cbrt(bulk.engine.volume) / 2
    deck = tmp_path / "in.fixed"
    deck.write_text(TA_VACANCY.replace("bcc 3.316", f"bcc {lattice:.15g}"))
    with Minimum.from_deck(deck) as vacancy:
        dipole = elastic_dipole(vacancy, bulk, 1e-7)
        assert dipole.value == pytest.approx([dipole.value[0]] * 3, rel=1e-4)
        assert dipole.value[0] < 0  # a vacancy pulls inwards
        change = change_of(bulk, 2e-4)
        ends = []
        for sign in (1, -1):
            strain = np.cbrt(again(bulk, sign * change)[1] / bulk.engine.volume) - 1
            with vacancy.excursion(sign * change, strain=strain * np.eye(3), displacement=carried(vacancy, strain)):
                vacancy.relax_away(1e-10)
                pressure = vacancy.pressure[0, 0] - bulk.target[0, 0]
                ends.append(vacancy.engine.volume * pressure)
        assert dipole.gradient[:, 0] @ change == pytest.approx((ends[0] - ends[1]) / 2, rel=1e-3)


def carried(minimum, strain):
    return strain * (minimum.positions - minimum.engine.origin)


def test_relaxation_energy(write_deck, ta_vacancy):
    deck = write_deck(TA_VACANCY.replace("minimize        0.0 1.0e-8 1000 10000", ""))
    with Minimum.from_deck(deck, ftol=np.inf, force_limit=np.inf) as unrelaxed:
        gained = relaxation_energy(unrelaxed, ta_vacancy)
        assert float(gained.value) == pytest.approx(unrelaxed.energy - ta_vacancy.energy)
        assert float(gained.value) > 0
        change = change_of(ta_vacancy)
        held = unrelaxed.energy_at(change, np.zeros_like(unrelaxed.positions))
        relaxed = ta_vacancy.relaxed_at(change, 1e-10)[1]
        assert float(gained.predict(change)) == pytest.approx(held - relaxed, rel=1e-3)


def test_distortion_of_an_alloy():
    with Minimum.from_deck(DECKS / "in.w_be_alloy", variables={"n": "3", "seed": "7"}) as alloy:
        sites = np.round(alloy.positions / (3.1803 / 2)) * (3.1803 / 2)
        distortion = distortion_from(alloy, sites)
        found = distortion.mean_square(1e-7)
        assert 1e-5 < float(found.value) < 0.1
        change = change_of(alloy, 1e-3)
        values = []
        for sign in (1, -1):
            moved = alloy.relaxed_at(sign * change, 1e-10)[0]
            displacement = distortion.displacement + moved - moved.mean(axis=0)
            values.append(np.mean(np.sum((displacement - displacement.mean(axis=0)) ** 2, axis=1)))
        assert found.gradient @ change == pytest.approx((values[0] - values[1]) / 2, rel=1e-3)
        predicted = distortion.predict(alloy.jacobian(1e-6), np.array([change, -change]))
        assert predicted == pytest.approx(values, rel=1e-3)


def test_weights_balance_compositions():
    assert reference_weights({"W": 53}, {"W": 16}, {}) == (53 / 16, {})
    assert reference_weights({"W": 53, "Be": 1}, {"W": 16}, {"Be": 32}) == (53 / 16, {"Be": 1 / 32})
    # A P vacancy in InP needs a reservoir of P; In comes from the bulk.
    count, shares = reference_weights({"In": 32, "P": 31}, {"In": 4, "P": 4}, {"P": 1})
    assert (count, shares["P"]) == (8.0, -1.0)
    # An antisite pair needs none.
    assert reference_weights({"In": 32, "P": 32}, {"In": 4, "P": 4}, {})[0] == 8.0
    with pytest.raises(LammpsImplicitError, match="does not balance: 32 In, 31 P"):
        reference_weights({"In": 32, "P": 31}, {"In": 4, "P": 4}, {})
    with pytest.raises(LammpsImplicitError, match="does not balance: Be is neither"):
        reference_weights({"W": 53, "Be": 1}, {"W": 16}, {})


def test_cells_that_cannot_be_compared_are_refused(tantalum, ta_vacancy, write_deck):
    bulk, vacancy = tantalum
    with pytest.raises(LammpsImplicitError, match="the cell of one is relaxed"):
        formation_energy(ta_vacancy, bulk)
    with (
        Minimum.from_deck(write_deck(BULK), cell="iso", pressure=0.0) as other,
        pytest.raises(LammpsImplicitError, match="different pressures"),
    ):
        formation_energy(vacancy, other)
    with (
        Minimum.from_deck(DECKS / "in.w_vacancy", variables={"n": "2"}) as tungsten,
        pytest.raises(LammpsImplicitError, match="different potentials"),
    ):
        formation_energy(ta_vacancy, tungsten)
    softer = TA_VACANCY.replace("zbl 4.0 4.8", "zbl 4.0 4.7")
    with (
        Minimum.from_deck(write_deck(softer)) as other,
        pytest.raises(LammpsImplicitError, match="different potentials"),
    ):
        formation_energy(ta_vacancy, other)
    with pytest.raises(LammpsImplicitError, match="a number, which has neither volume"):
        formation_volume(vacancy, bulk, {"Ta": -11.8})
    with pytest.raises(LammpsImplicitError, match="full"):
        elastic_constants(bulk)
    with pytest.raises(LammpsImplicitError, match="leaves no dipole"):
        elastic_dipole(vacancy)


def test_a_pair_bound_by_nothing(tantalum):
    bulk, vacancy = tantalum
    single = formation_energy(vacancy, bulk, order=1)
    assert float(binding_energy(single, [single, single]).value) == pytest.approx(float(single.value))


CONFIG = """\
cell: iso
pressure: 20 GPa
tol: 1.0e-4
bulk: {deck: in.bulk, repeat: [2, 2, 2]}
defects:
  vacancy: {deck: in.vacancy}
isolated: {Ta: 0.0}
"""


def run(*arguments):
    return CliRunner().invoke(app, ["observables", *map(str, arguments)])


@pytest.fixture
def config(tmp_path):
    (tmp_path / "in.bulk").write_text(BULK)
    (tmp_path / "in.vacancy").write_text(TA_VACANCY)

    def write(text=CONFIG):
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return path

    return write


def test_the_command_writes_a_table_a_file_and_a_plot(config, tmp_path, tantalum):
    result = run(config(), "-o", tmp_path / "study.h5")
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert "vacancy: formation energy" in result.output
    bulk, vacancy = tantalum
    expected = formation_energy(vacancy, bulk, tol=1e-4)
    with h5py.File(tmp_path / "study.h5") as file:
        group = file["observables/vacancy: formation energy"]
        assert group["value"][()] == pytest.approx(float(expected.value), abs=1e-6)
        assert group["gradient"][()] == pytest.approx(expected.gradient, rel=1e-5)
        assert group["hessian"].shape == (31, 31)
        assert group.attrs["units"] == "eV"
        assert file.attrs["pressure"] == pytest.approx(2e5)
        assert file.attrs["verdict"] == "good" and 0 < file.attrs["accuracy"] < 1e-2
    assert "accuracy of derivatives  good" in result.output
    assert (tmp_path / "study.png").stat().st_size > 10_000
    assert "exists already" in repr(run(config(), "-o", tmp_path / "study.h5").exception)


def test_the_command_says_how_much_and_why_observables_are_limited(tmp_path):
    (tmp_path / "in.bulk").write_text(IRON)
    (tmp_path / "study.yaml").write_text("cell: iso\nelastic_constants: true\nbulk: {deck: in.bulk}\n")
    lines = run(tmp_path / "study.yaml", "-o", tmp_path / "study.h5").output.splitlines()
    (accuracy,) = (line for line in lines if "accuracy of derivatives" in line)
    assert "limited: bulk, all strains: the gradient of C12" in accuracy and "bulk and bulk, all strains: " in accuracy
    limited = [line.partition("limited are")[2] for line in lines if "limited are" in line]
    assert ["C11" in line or "C12" in line or "C44" in line for line in limited] == [False, True, True, True]
    assert len({re.search(r"see others, by ([\d.]+) %", line)[1] for line in limited}) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CONFIG.replace("bulk:", "bulc:"), "Field required|Extra inputs"),
        (CONFIG.replace("in.vacancy", "in.nothing"), "defects: vacancy: deck: in.nothing does not exist"),
        (CONFIG.replace("20 GPa", "20 eV"), "pressure: pressure in 'eV'"),
        (CONFIG.replace("20 GPa", "[1, 1, 2, 0, 0, 0]"), "pressure: an enthalpy needs a hydrostatic pressure"),
        (CONFIG.replace("20 GPa", "1, 1, 1, 0, 0, 2 GPa"), "pressure: an enthalpy needs a hydrostatic pressure"),
        (CONFIG.replace("vacancy: {", "bulk: {"), "defects: bulk: this name is taken"),
        (
            CONFIG + "bindings: {pair: {complex: double, parts: [vacancy, vacancy]}}\n",
            "double is not one of the defects",
        ),
        (CONFIG.replace("tol: 1.0e-4", "tol: -1"), "tol: "),
        (CONFIG.replace("cell: iso", "cell: none"), "pressure: a cell that is not relaxed"),
        (CONFIG.replace("cell: iso", "cell: cubic"), "cell: cell 'cubic' is not one of none, iso"),
        (CONFIG + "tol: 1.0e-5\n", r"line \d+: tol is given twice"),
        ("- 1\n", "holds no settings"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_configuration_that_is_wrong_is_refused(config, tmp_path, text, message):
    result = run(config(text), "-o", tmp_path / "study.h5")
    assert isinstance(result.exception, LammpsImplicitError)
    assert re.search(message, str(result.exception)), str(result.exception)
    assert not (tmp_path / "study.h5").exists()
