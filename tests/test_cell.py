"""Cells that answer to the parameters, against roots of the pressure in plain LAMMPS, and identities."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from brute_force import CellRelaxer, relative_error
from conftest import DECKS, TA_VACANCY

from lammps_implicit import Minimum, testing
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError
from lammps_implicit.evaluators.deck import Deck, Fix
from lammps_implicit.results.text import write_data

ISO = [np.eye(3)]
UNITS = [np.outer(np.eye(3)[a], np.eye(3)[b]) for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]

TRICLINIC = TA_VACANCY.replace("block 0 3 0 3 0 3", "prism 0 3 0 3 0 2.5 1 0.5 0.5")
"""44 atoms in a cell spanned by lattice vectors."""

READ = "units metal\natom_style atomic\nboundary p p p\nbox tilt large\nread_data relaxed.data\n"


@dataclass(frozen=True)
class Case:
    deck: str
    files: str
    elements: str
    cell: str
    basis: list
    pressure: float = 0.0  # bar
    change: float = 0.005
    variables: dict = field(default_factory=dict)


CASES = [
    Case("in.w_vacancy", "W_2940_2017_2", "W", "iso", ISO, variables={"n": "3"}),
    Case("in.be_in_w", "WBe_Wood_PRB2019", "W Be", "iso", ISO, variables={"n": "3"}),
    Case("in.be_hcp_vacancy", "WBe_Wood_PRB2019", "W Be", "ortho", UNITS[:3], variables={"n": "3"}),
    Case("triclinic", "Ta06A", "Ta", "full", UNITS, change=0.0005),
    Case("in.w_vacancy", "W_2940_2017_2", "W", "iso", ISO, pressure=1e5, variables={"n": "3"}),
    Case("triclinic", "Ta06A", "Ta", "full", UNITS, pressure=1e5, change=0.0005),
    # Frozen atoms follow the cell.
    pytest.param(
        Case("in.w_screw_dislocation", "W_2940_2017_2", "W W", "zz", UNITS[2:3], change=0.0005), marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.deck}-{case.cell}-{case.pressure:g}")
def test_cell_and_positions_agree_with_relaxing_both_again(case, tmp_path):
    deck = DECKS / case.deck
    if case.deck == "triclinic":
        deck = tmp_path / "in.triclinic"
        deck.write_text(TRICLINIC)
    with Minimum.from_deck(deck, variables=case.variables, cell=case.cell, pressure=case.pressure) as minimum:
        theta = minimum.potential.theta
        direction = np.random.default_rng(5).standard_normal(len(theta)) * np.abs(theta)
        response = minimum.jvp(direction, 1e-7, cell=case.cell)
        engine = minimum.engine
        strain = sum(e * b for e, b in zip(response.strain, case.basis, strict=True))
        cell = engine.cell @ strain.T
        volume = minimum.volume_gradient(1e-7, cell=case.cell) @ direction
        homogeneous = (minimum.positions - engine.origin) @ strain.T
        fractional = minimum.gather(np.linalg.solve(engine.cell.T, (response.displacement - homogeneous).T).T)
        structure = tmp_path / "relaxed.data"
        write_data(structure, minimum, "relaxed")
        known = engine.cell

    text, variables = deck.read_text(), {}
    reread = tmp_path / "in.relaxed"
    if "read_data" in text:
        reread, variables = deck, {"data": str(structure), "steps": "0"}
    else:
        reread.write_text(READ + text[text.index("pair_style") :])
    names = f"{case.files}.snapcoeff", f"{case.files}.snapparam"
    relaxer = CellRelaxer(
        reread,
        "pair_coeff * * snap",
        *names,
        case.elements,
        tmp_path,
        basis=case.basis,
        target=case.pressure,
        variables=variables,
    )
    true_cell, true_fractional = relaxer.cell_jvp(direction, case.change)
    relaxer.close()
    true_fractional -= true_fractional.mean(axis=0)
    fractional -= fractional.mean(axis=0)
    true_volume = np.trace(np.linalg.solve(known, true_cell)) * np.linalg.det(known)
    assert volume == pytest.approx(true_volume, rel=1e-4)
    assert relative_error(cell, true_cell) <= 1e-4
    assert relative_error(fractional, true_fractional) <= 1e-4


@pytest.fixture(scope="module")
def relaxed_cell(tmp_path_factory):
    """A Ta vacancy in a triclinic cell at 1 GPa."""
    path = tmp_path_factory.mktemp("cell") / "in.ta"
    path.write_text(TRICLINIC)
    with Minimum.from_deck(path, cell="full", pressure="1 GPa") as minimum:
        yield minimum


@pytest.mark.parametrize("cell", ["iso", "ortho", "full", "xx,yz"])
def test_products_with_a_cell_are_adjoint(relaxed_cell, cell):
    testing.check_adjoint(relaxed_cell, cell=cell, tol=1e-6)


def test_jacobian_with_a_cell_holds_all_products(relaxed_cell):
    theta = relaxed_cell.potential.theta
    dtheta = np.random.default_rng(1).standard_normal(len(theta)) * np.abs(theta)
    jacobian = relaxed_cell.jacobian(1e-6, cell="full")
    response = relaxed_cell.jvp(dtheta, 1e-8, cell="full")
    assert relative_error(jacobian.dot(dtheta), response.displacement) <= 1e-5
    assert dtheta @ jacobian.strain_jacobian == pytest.approx(response.strain, rel=1e-5)
    trace = relaxed_cell.engine.volume * response.strain[:3].sum()
    assert jacobian.volume_gradient @ dtheta == pytest.approx(trace, rel=1e-5)
    fixed = relaxed_cell.jacobian(1e-6)
    assert fixed.strain_jacobian is None
    assert relative_error(fixed.dot(dtheta), relaxed_cell.jvp(dtheta, 1e-8)) <= 1e-5


def test_enthalpy_hessian_is_the_second_difference_of_enthalpies(relaxed_cell):
    theta = relaxed_cell.potential.theta
    dtheta = 2e-4 * np.random.default_rng(2).standard_normal(len(theta)) * np.abs(theta)
    pressure = relaxed_cell.units.pressure_tensor("1 GPa")[0, 0]
    volume, energy = relaxed_cell.engine.volume, relaxed_cell.energy
    ends = [relaxed_cell.relaxed_at(sign * dtheta, 1e-10, cell="full") for sign in (1, -1)]
    enthalpies = [end.energy + pressure * np.linalg.det(end.cell) for end in ends]
    second = dtheta @ relaxed_cell.energy_hessian(1e-6, cell="full") @ dtheta
    assert second == pytest.approx(sum(enthalpies) - 2 * (energy + pressure * volume), rel=1e-3)
    first = relaxed_cell.energy_gradient() @ dtheta
    assert first == pytest.approx((enthalpies[0] - enthalpies[1]) / 2, rel=1e-4)


def test_brute_force_with_a_cell_leaves_no_trace(relaxed_cell):
    theta = relaxed_cell.potential.theta
    before = relaxed_cell.engine.cell, relaxed_cell.positions.copy(), relaxed_cell.energy
    relaxed_cell.relaxed_at(1e-3 * theta, cell="full")
    assert np.array_equal(relaxed_cell.engine.cell, before[0])
    assert np.abs(relaxed_cell.engine.nearest_image(relaxed_cell.positions - before[1])).max() < 1e-12
    assert relaxed_cell.energy == before[2]
    assert relaxed_cell.engine.max_abs(relaxed_cell.engine.forces()) < 1e-7


def test_derivatives_are_the_same_after_brute_force(relaxed_cell):
    theta = relaxed_cell.potential.theta
    cotangent = np.random.default_rng(0).standard_normal(relaxed_cell.positions.shape)
    before = relaxed_cell.vjp(cotangent, 1e-7), relaxed_cell.jvp(theta, 1e-7)
    # Strained states, and derivatives taken elsewhere, write over what LAMMPS holds.
    relaxed_cell.relaxed_at(2e-2 * theta, cell="full")
    assert relaxed_cell.vjp(cotangent, 1e-7) == pytest.approx(before[0], rel=1e-4, abs=1e-4 * np.abs(before[0]).max())
    assert relative_error(relaxed_cell.jvp(theta, 1e-7), before[1]) < 1e-5


@pytest.mark.slow
def test_cells_follow_the_forces_where_they_and_energies_disagree():
    with Minimum.from_deck(DECKS / "in.inp_vacancy", variables={"n": "2"}, cell="iso") as minimum:
        theta, start, energy = minimum.potential.theta, minimum.engine.cell, minimum.energy
        change = 2e-4 * np.random.default_rng(5).standard_normal(len(theta)) * np.abs(theta)
        response = minimum.jvp(change, 1e-6, cell="iso")
        second = change @ minimum.energy_hessian(1e-6, cell="iso") @ change
        ends = [minimum.relaxed_at(sign * change, 1e-9, cell="iso") for sign in (1, -1)]
        strain = np.log(ends[0].cell[0, 0] / ends[1].cell[0, 0]) / 2
        assert response.strain[0] == pytest.approx(strain, rel=1e-3)
        assert second == pytest.approx(ends[0].energy + ends[1].energy - 2 * energy, rel=1e-2)
        path = minimum.follow(theta + change, cell="iso")
        assert path.reached, path.reason
        assert minimum.engine.cell == pytest.approx(ends[0].cell, rel=1e-9)
        assert abs(minimum.engine.cell - start).max() > 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "cubic"}, "not one of none, iso, ortho, full"),
        ({"cell": "xx,xx"}, "not one of none, iso, ortho, full"),
        ({"cell": "iso", "pressure": "ten GPa"}, "not a number"),
        ({"cell": "iso", "pressure": "10 eV"}, "none of Pa"),
        ({"cell": "iso", "pressure": [1.0, 2.0]}, "2 numbers"),
        ({"cell": "none", "pressure": 0.0}, "given for a fixed cell"),
        ({"cell": "iso", "pressure": "0"}, "not relaxed"),
        ({"cell": "iso", "pressure": ["a"]}, "not a number"),
    ],
)
def test_a_cell_that_cannot_answer_is_refused(relaxed_cell, arguments, message):
    with pytest.raises(LammpsImplicitError, match=message):
        relaxed_cell.jvp(relaxed_cell.potential.theta, **arguments)


def test_directions_that_are_not_periodic_are_refused(write_deck):
    slab = TA_VACANCY.replace("p p p", "p p f").replace("0 3 0 3 0 3", "0 3 0 3 0 3 units lattice")
    with Minimum.from_deck(write_deck(slab)) as minimum:
        with pytest.raises(
            LammpsImplicitError, match=r"along z, where .* not periodic; here the cell may take xx, yy, xy"
        ):
            minimum.jvp(minimum.potential.theta, cell="xx,zz")
        minimum.relax(cell="xx,yy")
        assert minimum.strain_jacobian(cell="xx,yy").shape == (31, 2)


@pytest.mark.parametrize(
    ("text", "bars"),
    [("1e5", [1e5] * 3), ("-2.5e-1 GPa", [-2500.0] * 3), ("1, 2,3,0,0,0 kbar", [1e3, 2e3, 3e3]), (10, [10.0] * 3)],
)
def test_pressures_are_read(relaxed_cell, text, bars):
    units = relaxed_cell.units
    assert np.diag(units.pressure_tensor(text)) * units.pressure_factor == pytest.approx(bars)


@pytest.mark.parametrize(
    ("words", "bars"),
    [
        ("iso 5.0", [5, 5, 5, 0, 0, 0]),
        ("x 1 y 2 couple xy vmax 0.001 nreset 10", [1, 2, 0, 0, 0, 0]),
        ("tri 3 fixedpoint 1 2 3 xy 4", [3, 3, 3, 0, 0, 4]),
    ],
)
def test_the_pressure_of_a_deck_is_that_of_its_box_relax(words, bars):
    deck = Deck(fixes={"f": Fix("f", "all", "box/relax", tuple(words.split()))})
    assert deck.pressure == tuple(bars)


def test_shear_with_atoms_held_in_part_is_refused(write_deck):
    held = TRICLINIC.replace("minimize", "group one id 5\nfix held one setforce NULL 0.0 NULL\nminimize")
    with Minimum.from_deck(write_deck(held), cell="iso") as minimum:
        assert minimum.strain_jacobian(cell="iso").shape == (31, 1)
        with pytest.raises(LammpsImplicitError, match="a shear would mix them"):
            minimum.relax(cell="full")


def test_a_stress_that_is_not_hydrostatic_is_taken_up(write_deck):
    stress = "1e4,2e4,3e4,0,0,0"
    with Minimum.from_deck(write_deck(), cell="ortho", pressure=stress) as minimum:
        assert np.diag(minimum.pressure) * minimum.units.pressure_factor == pytest.approx([1e4, 2e4, 3e4], rel=1e-6)
        theta = minimum.potential.theta
        change = 1e-4 * np.random.default_rng(1).standard_normal(len(theta)) * np.abs(theta)
        strain = minimum.jvp(change, 1e-7, cell="ortho").strain
        ends = [minimum.relaxed_at(sign * change, 1e-10, cell="ortho").cell for sign in (1, -1)]
        assert strain == pytest.approx(np.log(np.diag(ends[0]) / np.diag(ends[1])) / 2, rel=1e-3)
        with pytest.raises(LammpsImplicitError, match="hydrostatic"):
            minimum.energy_hessian(cell="ortho")


def test_a_cell_whose_relaxation_fails_is_left_as_it_was(write_deck):
    with Minimum.from_deck(write_deck()) as minimum:
        volume, energy = minimum.engine.volume, minimum.energy
        with pytest.raises((NotAMinimumError, ConvergenceError)):
            minimum.relax(cell="iso", pressure="-60 GPa")
        assert minimum.engine.volume == volume
        assert minimum.energy == pytest.approx(energy, abs=1e-9)


def test_a_cell_that_would_expand_without_end_is_refused(write_deck):
    stretched = TA_VACANCY.replace("bcc 3.316", "bcc 4.6").replace("minimize", "#")
    with pytest.raises((NotAMinimumError, ConvergenceError)):
        Minimum.from_deck(write_deck(stretched), cell="iso", pressure="-60 GPa", force_limit=np.inf)
