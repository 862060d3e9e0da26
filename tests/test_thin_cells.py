"""Cells of two-dimensional decks, sheets and wires: strains along the directions in which they are periodic."""

import numpy as np
import pytest
from mpi4py import MPI
from plain_lammps import PlainDeck, centred

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.observables import elastic_constants, volume
from lammps_implicit.results import read_sensitivity

PLANE = """\
units metal
atom_modify map array
dimension 2
boundary p p p
lattice hex 3.8
region cell prism 0 4 0 3 -0.5 0.5 {tilt} 0 0
create_box 2 cell
create_atoms 1 region cell
set atom 5*7 type 2
group out id 1
delete_atoms group out compress no
mass * 40
pair_style lj/smooth/linear 7.0
pair_coeff 1 1 0.0104 3.4
pair_coeff 2 2 0.0104 3.5
pair_coeff 1 2 0.0120 3.4
fix flat all enforce2d
{more}
min_style cg
minimize 0 1e-9 5000 50000
"""
XX, YY, XY = (np.outer(np.eye(3)[a], np.eye(3)[b]) for a, b in ((0, 0), (1, 1), (0, 1)))
FLAT = {"iso": [XX + YY], "ortho": [XX, YY], "full": [XX, YY, XY], "xx": [XX], "yy,xy": [YY, XY]}


def _against_relaxing_again(path, cell, strains, pressure, variables=None, tol=1e-5, **limits):
    """Relative errors of the derivatives of the cell and of the atoms' x, y, z along a direction; area, its slope."""
    with Minimum.from_deck(path, cell=cell, pressure=pressure, variables=variables, ftol=1e-9, **limits) as minimum:
        theta = minimum.potential.theta
        direction = theta * np.linspace(1.0, 0.3, len(theta))
        jacobian = minimum.jacobian(tol, cell=cell)
        strain = np.tensordot(direction @ jacobian.strain_jacobian, minimum.freedom.tensors(), axes=1)
        offset = minimum.positions - minimum.engine.origin
        order = np.argsort(minimum.ids)
        found = minimum.engine.cell @ strain.T, (jacobian.dot(direction) - offset @ strain.T)[order]
        measure, slope = minimum.engine.volume, float(minimum.volume_gradient(tol, cell=cell) @ direction)
        names = minimum.potential.names

    def commands(step):
        values = theta + step * direction
        pairs = sorted({name.split()[1] for name in names})
        words = {name: repr(float(value)) for name, value in zip(names, values, strict=True)}
        style = names[0].split()[0]
        return [
            f"pair_coeff {' '.join(pair.split('-'))} {'lj/cut ' if limits else ''}"
            f"{words[f'{style} {pair} epsilon']} {words[f'{style} {pair} sigma']}"
            for pair in pairs
        ]

    plain = PlainDeck(path, strains, pressure, variables)
    vectors, moved = plain.slope(commands, 1e-3)
    plain.close()
    missed, size = centred(found[1]) - centred(moved), np.linalg.norm(centred(moved))
    return (
        np.linalg.norm(found[0] - vectors) / np.linalg.norm(vectors),
        np.linalg.norm(missed, axis=0) / size,
        (measure, slope, vectors),
    )


@pytest.mark.parametrize("cell", FLAT)
def test_two_dimensions(write_deck, cell):
    """Derivatives of tilted cells with a vacancy, under pressure, are those of relaxing again in plain LAMMPS."""
    path = write_deck(PLANE.format(tilt=1.0, more=""))
    wrong_cell, wrong_atoms, (area, slope, vectors) = _against_relaxing_again(path, cell, FLAT[cell], 150.0)
    assert wrong_cell < 1e-5 and wrong_atoms.max() < 1e-4
    with Minimum.from_deck(path, cell=cell, pressure=150.0) as minimum:
        vertical = np.linalg.inv(minimum.engine.cell)
    assert slope == pytest.approx(area * np.trace(vertical @ vectors), rel=1e-5)


def test_an_area_is_told_as_one(write_deck, tmp_path, capsys):
    path = write_deck(PLANE.format(tilt=0.0, more="fix held all box/relax iso 120.0"))
    with Minimum.from_deck(path, cell="iso") as minimum:
        lengths = np.diag(minimum.engine.cell)
        assert minimum.engine.volume == pytest.approx(lengths[0] * lengths[1], rel=1e-14)
        assert np.trace(minimum.pressure) / 2 * minimum.units.pressure_factor == pytest.approx(120.0, rel=1e-6)
        assert minimum.units.pressure == "bar*Å"
        assert volume(minimum).units == "Å^2"
        found = minimum.sensitivity(1e-5, cell="iso")
        found.write(tmp_path / "plane.h5")
        pressure = 120.0 / minimum.units.pressure_factor
        assert found.enthalpy == pytest.approx(minimum.energy + pressure * lengths[0] * lengths[1], rel=1e-12)
        with pytest.raises(LammpsImplicitError, match="three dimensions"):
            elastic_constants(minimum)
    known = read_sensitivity(tmp_path / "plane.h5")
    assert known.volume == pytest.approx(lengths[0] * lengths[1], rel=1e-14)
    assert known.units.volume == "Å^2" and known.mean_pressure == pytest.approx(pressure, rel=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cell": "zz"}, "along z, which a two-dimensional deck lacks; here the cell may take xx, yy, xy"),
        ({"cell": "xz"}, "along z, which a two-dimensional deck lacks"),
        ({"cell": "iso", "pressure": "1 GPa"}, "a force per length; give a plain number, in bar"),
        ({"cell": "iso", "pressure": "1 eV"}, "not a quantity in bar"),
    ],
)
def test_what_two_dimensions_lack(write_deck, given, message):
    with pytest.raises(LammpsImplicitError, match=message):
        Minimum.from_deck(write_deck(PLANE.format(tilt=0.0, more="")), **given)


def test_a_force_per_length_is_a_pressure(write_deck):
    path = write_deck(PLANE.format(tilt=0.0, more=""))
    areas = []
    for pressure in (1.6021765e2, "1e-4 eV/Å^2"):
        with Minimum.from_deck(path, cell="ortho", pressure=pressure) as minimum:
            areas.append(minimum.engine.volume)
    assert areas[0] == pytest.approx(areas[1], rel=1e-9)


@pytest.mark.parallel(nprocs=[1, 2])
def test_two_dimensions_on_ranks(tmp_path_factory):
    comm = MPI.COMM_WORLD
    path = comm.bcast(tmp_path_factory.mktemp("plane") / "in.plane" if comm.rank == 0 else None)
    if comm.rank == 0:
        path.write_text(PLANE.format(tilt=1.0, more=""))
    comm.barrier()
    gradients = []
    for among in (comm, MPI.COMM_SELF):
        with Minimum.from_deck(path, among, cell="full", ftol=1e-9) as minimum:
            gradients.append(minimum.volume_gradient(1e-7, cell="full"))
    assert np.abs(gradients[0] - gradients[1]).max() < 1e-4 * np.abs(gradients[1]).max()


SHEET = """\
units metal
atom_modify map array
variable bc index p
boundary p p ${bc}
lattice custom 2.57 a1 1 0 0 a2 0 1.7320508 0 a3 0 0 4 basis 0 0 0.5 basis 0.5 0.5 0.5 basis 0 0.333333333 0.5 &
    basis 0.5 0.833333333 0.5
region cell block 0 4 0 2 0 2
create_box 1 cell
region sheet block 0 4 0 2 0 1
create_atoms 1 region sheet
group out id 7
delete_atoms group out compress no
mass * 12.011
pair_style hybrid/overlay tersoff lj/cut 5.0
pair_modify shift yes
pair_coeff * * tersoff SiC.tersoff C
pair_coeff 1 1 lj/cut 0.05 1.5
displace_atoms all random 0.01 0.01 0.01 5
min_style cg
minimize 0 1e-8 5000 50000
"""


@pytest.mark.parametrize(
    ("cell", "boundary", "strains"),
    [("xx,yy", "p", [XX, YY]), ("iso", "f", [XX + YY]), ("ortho", "f", [XX, YY]), ("full", "f", [XX, YY, XY])],
)
def test_a_sheet_under_tension(write_deck, cell, boundary, strains):
    """Graphene with a vacancy, in a periodic box and in one that is open across it."""
    path, tension = write_deck(SHEET), -5000.0
    wrong_cell, wrong_atoms, _ = _against_relaxing_again(
        path, cell, strains, tension, {"bc": boundary}, parameters="lj*", force_limit=np.inf
    )
    # A sheet hardly resists bending: across it, where nothing moves, errors are larger for the same residual.
    assert wrong_cell < 1e-5 and wrong_atoms[:2].max() < 1e-4 and wrong_atoms[2] < 1e-3


def test_strains_that_are_left_out_are_told(write_deck):
    path = write_deck(SHEET)
    with pytest.warns(UserWarning, match="cell 'full' is xx, yy, xy here: along other directions"):
        Minimum.from_deck(path, variables={"bc": "f"}, cell="full", force_limit=np.inf).close()


def test_vacuum_resists_no_strain(write_deck):
    """A sheet in a periodic box does not hold the box across it: said, with what to write."""
    path = write_deck(SHEET)
    with pytest.raises(LammpsImplicitError, match=r"nothing resists the strain zz .* as with cell 'xx,yy'"):
        Minimum.from_deck(path, cell="ortho", pressure=-5000.0, force_limit=np.inf)


def test_strains_of_another_cell_are_not_taken_for_its_own(write_deck):
    path = write_deck(SHEET)
    whole, thin = (Minimum.from_deck(path, variables={"bc": bc}, parameters="lj*", force_limit=np.inf) for bc in "pf")
    with whole, thin, pytest.raises(LammpsImplicitError, match="of another cell are not those of this one"):
        thin.jvp(thin.potential.theta, cell=whole.strain("iso"))
