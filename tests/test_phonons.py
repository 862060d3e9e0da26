"""Phonons: against phonopy with forces of plain LAMMPS, against relaxing again, and on other numbers of ranks."""

import builtins

import h5py
import numpy as np
import phonopy
import pytest
from conftest import DECKS
from mpi4py import MPI
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from plain_lammps import PlainDeck
from typer.testing import CliRunner

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.cli.app import app
from lammps_implicit.phonons import phonons_of
from lammps_implicit.phonons.dynamical import Dynamics, frequencies
from lammps_implicit.phonons.files import read_phonons
from lammps_implicit.phonons.plots import on_path, read_points, require_same_path
from lammps_implicit.phonons.samples import Spread, density_of, grid_of, propagated, sampled_frequencies, unstable_modes
from lammps_implicit.phonons.supercell import chosen_counts, heights

pytestmark = pytest.mark.filterwarnings("ignore:.*less than twice the cutoff:UserWarning")

SILICON = """
units metal
boundary p p p
lattice diamond 5.43
region cell block 0 1 0 1 0 1
create_box 1 cell
create_atoms 1 box
mass 1 28.085
pair_style sw
pair_coeff * * Si.sw Si
minimize 0 1e-10 1000 10000
"""

HCP = """
variable sigma index 1.0
units lj
boundary p p p
lattice hcp 1.09
region cell block 0 1 0 1 0 1
create_box 1 cell
create_atoms 1 box
mass 1 1.0
pair_style lj/smooth/linear 1.9
pair_coeff 1 1 1.0 ${sigma}
minimize 0 1e-10 1000 10000
"""

# Two layers of each of two kinds in turn: the distances of the layers are free coordinates.
LAYERS = """
units metal
boundary p p p
lattice custom 3.85 a1 $(sqrt(0.5)) 0 0 a2 0 $(sqrt(0.5)) 0 a3 0 0 2 &
    basis 0 0 0 basis 0.5 0.5 0.25 basis 0 0 0.5 basis 0.5 0.5 0.75
region cell block 0 1 0 1 0 1
create_box 2 cell
create_atoms 1 box basis 3 2 basis 4 2
mass 1 58.7
mass 2 63.5
pair_style lj/smooth/linear 5.0
pair_coeff 1 1 0.30 2.50
pair_coeff 1 2 0.33 2.53
pair_coeff 2 2 0.28 2.58
minimize 0 1e-10 1000 10000
"""

SHORT = {"points": 7, "mesh": (3, 3, 3)}


RHOMBOHEDRAL = """
units metal
boundary p p p
box tilt large
variable l equal 3.9*sqrt(1.5)
variable c equal 5/6
variable y equal sqrt(1-v_c*v_c)
variable yz equal (v_c-v_c*v_c)/v_y
variable z equal sqrt(1-v_c*v_c-v_yz*v_yz)
region cell prism 0 $l 0 $(v_l*v_y) 0 $(v_l*v_z) $(v_l*v_c) $(v_l*v_c) $(v_l*v_yz) units box
create_box 2 cell
create_atoms 1 single 0.0 0.0 0.0 units box
create_atoms 2 single $(v_l*(0.5+v_c)) $(v_l*(v_y+v_yz)/2) $(v_l*v_z/2) units box
mass 1 58.7
mass 2 63.5
pair_style lj/smooth/linear 5.0
pair_coeff 1 1 0.30 2.50
pair_coeff 1 2 0.33 2.53
pair_coeff 2 2 0.28 2.58
minimize 0 1e-10 1000 10000
"""


def written(folder, text, name="in.deck"):
    (folder / name).write_text(text)
    return folder / name


def split_alike(values, one, other, gap):
    """Means of two arrays over bands that are nearer than a gap: at crossings they change places."""
    for square, first, second in zip(values, one, other, strict=True):
        groups = np.concatenate([[0], np.cumsum(np.diff(square) > gap)])
        for group in range(groups[-1] + 1):
            yield first[groups == group].mean(), second[groups == group].mean()


def require_brute_force(point, supercell, step=1e-4, within=1e-5, **options):
    """Compare derivatives with frequencies of structures that are relaxed again."""
    theta, freedom = point.potential.theta, point.freedom
    direction = theta * np.random.default_rng(0).standard_normal(len(theta))
    direction /= np.abs(direction / np.where(theta == 0, 1, theta)).max()
    found = phonons_of(point, supercell, **SHORT, **options)
    again = []
    for sign in (1, -1):
        with point.excursion(sign * step * direction):
            point.relax(1e-11, cell=freedom)
            again.append(phonons_of(point, supercell, **SHORT, **options))
    # Where the standard path moves with the shape of the cell, the same fractions count.
    for bands, qpoints in ((found.bands, found.path.qpoints), (found.mesh_bands, found.mesh_qpoints)):
        values = [frequencies(one.dynamics, qpoints).values for one in again]
        brute = (values[0] - values[1]) / (2 * step)
        mine = bands.derivatives[:, :, :-1] @ direction
        pairs = np.array(list(split_alike(bands.values, mine, brute, 5e-3 * bands.values.max())))
        assert pairs[:, 0] == pytest.approx(pairs[:, 1], abs=within * np.abs(brute).max())
    return found


def w_primitive(cell="iso", **options):
    return Minimum.from_deck(DECKS / "in.w_primitive", variables={"model": "W_2J4"}, cell=cell, **options)


@pytest.fixture(scope="module")
def tungsten():
    with w_primitive(ftol=1e-11) as point:
        yield point


@pytest.fixture(scope="module")
def tungsten_phonons(tungsten):
    return phonons_of(tungsten, (3, 3, 3), **SHORT)


def test_frequencies_are_those_of_phonopy_with_forces_of_plain_lammps(tmp_path):
    deck = written(tmp_path, SILICON)
    with Minimum.from_deck(deck, cell="iso", ftol=1e-10) as point:
        found, vectors = phonons_of(point, (2, 2, 2), **SHORT), point.engine.cell
    fractions = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    fractions += [[0.25 + a, 0.25 + b, 0.25 + c] for a, b, c in fractions]
    fractions = [[part % 1 for part in place] for place in fractions]
    other = Phonopy(PhonopyAtoms(["Si"] * 8, cell=vectors, scaled_positions=fractions, masses=[28.085] * 8), [2, 2, 2])
    other.generate_displacements(1e-3, is_plusminus=True)
    edge, forces = 2 * vectors[0, 0], []
    for supercell in other.supercells_with_displacements:
        places = "\n".join(f"{k + 1} 1 {x:.16f} {y:.16f} {z:.16f}" for k, (x, y, z) in enumerate(supercell.positions))
        box = "\n".join(f"0 {edge} {axis}lo {axis}hi" for axis in "xyz")
        (tmp_path / "data").write_text(
            f"\n\n64 atoms\n1 atom types\n{box}\n\nMasses\n\n1 28.085\n\nAtoms # atomic\n\n{places}\n"
        )
        text = "units metal\natom_modify map array\nread_data data\npair_style sw\npair_coeff * * Si.sw Si\nrun 0\n"
        plain = PlainDeck(written(tmp_path, text, "in.plain"))
        forces.append(np.array(plain.lmp.gather_atoms("f", 1, 3)).reshape(-1, 3))
        plain.lmp.close()
    other.forces = forces
    other.produce_force_constants()
    other.symmetrize_force_constants()
    # Frequencies at Γ and X do not depend on how the primitive cell is chosen.
    for qpoint, name in (([0, 0, 0], "GAMMA"), ([0.5, 0, 0.5], "X")):
        other.run_qpoints([qpoint])
        row = found.path.breaks[0] if name == "GAMMA" else found.path.breaks[1] - 1
        assert found.path.labels[0] == ("GAMMA", "X")
        assert found.bands.values[row] == pytest.approx(other.qpoints.frequencies[0], abs=1e-5)
    assert found.bands.values[0, 3:] == pytest.approx([found.bands.values[0, 5]] * 3, abs=1e-6)
    assert 15 < found.bands.values[0, 5] < 20  # the Raman mode of this potential


def test_derivatives_of_a_metal_are_those_of_relaxing_again(tungsten):
    found = require_brute_force(tungsten, (2, 2, 2))
    assert found.crystal.spacegroup == "Im-3m (229)"
    # The lattice parameter follows the coefficients, and the bands follow it.
    assert np.abs(found.gradient - found.bare_gradient).max() > 0.1 * np.abs(found.gradient).max()


def test_derivatives_of_a_covalent_crystal_at_fixed_cell(tmp_path):
    with Minimum.from_deck(written(tmp_path, SILICON), parameters="sw*sigma,sw*gamma,sw*B", ftol=1e-11) as point:
        found = require_brute_force(point, (2, 2, 2))
    # Three-body terms hold no bond of the perfect crystal, but its phonons.
    gamma = found.bands.derivatives[:, :, 1]
    assert np.abs(gamma).max() > 0.1


@pytest.mark.parametrize("cell", ["none", "ortho"])
def test_derivatives_where_positions_follow(tmp_path, cell):
    with Minimum.from_deck(written(tmp_path, LAYERS), cell=cell, ftol=1e-11) as point:
        found = require_brute_force(point, (3, 3, 1))
    assert found.bands.values.shape[1] == 12
    assert np.abs(found.gradient - found.bare_gradient).max() > 0.1 * np.abs(found.gradient).max()


def test_a_crystal_that_turns_in_its_cell(tmp_path):
    # Rhombohedral, its axis along no axis of LAMMPS: strains that keep its symmetry are not upper triangular.
    with Minimum.from_deck(written(tmp_path, RHOMBOHEDRAL), cell="full", ftol=1e-11) as point:
        found = require_brute_force(point, (2, 2, 2))
    assert found.crystal.spacegroup == "R-3m (166)"
    assert found.crystal.symmetric
    assert len(found.crystal.displaced) < 12


def test_strains_that_break_the_symmetry(tmp_path):
    deck = written(tmp_path, SILICON)
    with Minimum.from_deck(deck, parameters="sw*sigma,sw*epsilon", cell="iso", ftol=1e-11) as point:
        point.relax(1e-11, cell="zz")
        # Structures relaxed again have another primitive cell.
        found = require_brute_force(point, (1, 1, 1), primitive=False)
    assert not found.crystal.symmetric
    assert len(found.crystal.displaced) == 48
    assert found.crystal.spacegroup == "Fd-3m (227)"


def test_hexagonal_crystal_in_reduced_units(tmp_path):
    deck = written(tmp_path, HCP)
    with Minimum.from_deck(deck, cell="ortho", ftol=1e-12) as point:
        found = require_brute_force(point, (3, 2, 2))
        lengths = np.diag(point.engine.cell)
    assert found.crystal.spacegroup == "P6_3/mmc (194)"
    assert len(found.crystal.masses) == 2
    names = {name for pair in found.path.labels for name in pair}
    assert names == {"GAMMA", "M", "K", "A", "L", "H"}
    # Without a third length, ω ∝ sqrt(epsilon) / sigma, if the cutoff changed with sigma; epsilon alone is exact.
    epsilon = found.bands.derivatives[:, :, 0]
    assert epsilon == pytest.approx(found.bands.values / 2, abs=1e-6 * found.bands.values.max())
    assert lengths[1] / lengths[0] == pytest.approx(np.sqrt(3), rel=1e-6)


def test_grueneisen_parameters_are_those_of_other_volumes(tmp_path):
    deck, values = written(tmp_path, LAYERS), []
    with Minimum.from_deck(deck, ftol=1e-11, parameters=()) as point:
        found = phonons_of(point, (3, 3, 1), **SHORT)
        assert found.gradient.shape[0] == 0
        for sign in (1, -1):
            strain = sign * 1e-4 * np.eye(3)
            displacement = (point.positions - point.engine.origin) @ strain.T
            with point.excursion(np.zeros(0), displacement, strain):
                point.relax(1e-11)
                values.append(phonons_of(point, (3, 3, 1), **SHORT).bands.values)
    moving = found.bands.values > 0.5
    logarithms = np.log(np.where(moving, values, 1.0))
    brute = -(logarithms[0] - logarithms[1]) / (6e-4)
    pairs = np.array(list(split_alike(found.bands.values, found.grueneisen * moving, brute, 0.01)))
    assert pairs[:, 0] == pytest.approx(pairs[:, 1], abs=1e-4)


def test_a_cell_that_is_large_enough_is_its_own_supercell(tungsten_phonons):
    variables = {"defect": "none", "n": "3", "model": "W_2J4"}
    with Minimum.from_deck(DECKS / "in.w_family", variables=variables, cell="iso") as point:
        found = phonons_of(point, (1, 1, 1), **SHORT)
        evaluations = point.engine.evaluations
    assert found.crystal.ids.size == 54
    assert found.gradient.shape[1:] == (1, 54, 3, 3)
    assert found.evaluations.forces <= evaluations.forces  # no other LAMMPS has been asked
    # Both supercells have H, N and P among their q-points, where nothing is interpolated.
    for labels, row in zip(found.path.labels, found.path.breaks[1:] - 1, strict=True):
        assert found.path.labels == tungsten_phonons.path.labels
        if labels[1] == "N":
            assert found.bands.values[row].shape == (3,)
    assert found.bands.values.max() == pytest.approx(tungsten_phonons.bands.values.max(), rel=0.1)


def test_degenerate_modes_share_the_trace(tungsten_phonons):
    found = tungsten_phonons
    row = found.path.breaks[1] - 1  # H, where all three are alike
    assert found.path.labels[0][1] == "H"
    slopes = found.bands.derivatives[row, :, :-1]
    assert slopes == pytest.approx(np.tile(slopes[:1], (3, 1)), rel=1e-12)
    matrices, changes = found.dynamics.at(found.path.qpoints[row : row + 1], derivatives=True)
    traces = np.trace(changes[:-1, 0], axis1=1, axis2=2).real / 3
    factor = found.bands.values[row, 0] / (2 * np.trace(matrices[0]).real / 3)
    assert slopes[0] == pytest.approx(factor * traces, rel=1e-6)
    # Acoustic modes at Γ stay at rest.
    assert not found.bands.values[0].any()
    assert not found.bands.derivatives[0].any()


def test_samples_are_diagonalised_one_by_one(tungsten, tungsten_phonons):
    theta = tungsten.potential.theta
    found = tungsten_phonons
    changes = 0.01 * theta * np.random.default_rng(3).standard_normal((6, len(theta)))
    sampled = sampled_frequencies(found.dynamics, changes, found.path.qpoints)
    for change, values in zip(changes[:2], sampled, strict=False):
        constants = found.force_constants + np.tensordot(change, found.gradient, 1)
        expected = frequencies(Dynamics(found.crystal, constants, found.gradient[:0]), found.path.qpoints)
        assert values == pytest.approx(expected.values, abs=1e-6)
    spread = propagated(found, changes)
    assert spread.bands.mean == pytest.approx(sampled.mean(axis=0))
    assert spread.bands.deviation == pytest.approx(sampled.std(axis=0))
    assert spread.bands.quantiles[2] == pytest.approx(np.median(sampled, axis=0))
    # A small sample is what relaxing again gives, to second order.
    small = 1e-4 * theta * np.random.default_rng(4).standard_normal(len(theta))
    freedom = tungsten.freedom
    with tungsten.excursion(small):
        tungsten.relax(1e-11, cell=freedom)
        again = phonons_of(tungsten, (3, 3, 3), **SHORT).bands.values
    predicted = sampled_frequencies(found.dynamics, small[None], found.path.qpoints)[0]
    changed = np.abs(again - found.bands.values).max()
    assert predicted == pytest.approx(again, abs=0.02 * changed)


def test_a_thousand_samples_take_seconds(tungsten_phonons):
    import time

    count = len(tungsten_phonons.gradient)
    changes = 1e-3 * np.random.default_rng(0).standard_normal((1000, count))
    start = time.perf_counter()
    spread = propagated(tungsten_phonons, changes)
    assert time.perf_counter() - start < 30
    assert isinstance(spread.bands, Spread)
    assert spread.count == 1000


def test_densities_of_states_count_modes():
    values = np.random.default_rng(0).uniform(1, 5, (50, 3))
    grid = grid_of(0.0, 5.0)
    density = density_of(values, np.arange(1, 51), grid)
    assert density.sum() * (grid[1] - grid[0]) == pytest.approx(3.0, rel=1e-3)


def test_unstable_modes_are_told_with_what_removes_them(tmp_path):
    # A simple cubic crystal of such atoms is not stable against shear.
    deck = written(tmp_path, HCP.replace("hcp 1.09", "sc 0.9").replace("1.9\n", "2.5\n"))
    with Minimum.from_deck(deck, saddle=True) as point:
        found = phonons_of(point, (3, 3, 3), **SHORT)
        modes = unstable_modes(found, point.potential.names, point.potential.theta)
    lowest = min(found.bands.values.min(), found.mesh_bands.values.min())
    assert modes[0].frequency == pytest.approx(-lowest)
    assert 1 <= len(modes) <= 3
    assert [mode.frequency for mode in modes] == sorted((mode.frequency for mode in modes), reverse=True)
    assert modes[0].name == "M"
    changes = dict(modes[0].remedies)
    # Squared frequencies are proportional to epsilon, and steeper in sigma.
    assert changes["lj/smooth/linear 1-1 epsilon"] == pytest.approx(-1.0, abs=1e-6)
    assert list(changes) == ["lj/smooth/linear 1-1 sigma", "lj/smooth/linear 1-1 epsilon"]
    assert abs(changes["lj/smooth/linear 1-1 sigma"]) < 1


def test_supercells_are_wider_than_twice_the_cutoff():
    vectors = np.array([[3.0, 0, 0], [1.0, 3.0, 0], [0, 0, 10.0]])
    counts = chosen_counts(vectors, 4.8, 1, None, True)
    assert np.all(heights(vectors) * counts >= 9.6)
    assert counts.tolist() == [4, 4, 1]
    with pytest.warns(UserWarning, match=r"2.846 wide, less than twice the cutoff, 9.6: .* --supercell 4 4 1"):
        chosen_counts(vectors, 4.8, 1, (1, 1, 1), True)
    with pytest.raises(LammpsImplicitError, match="whole numbers from 1"):
        chosen_counts(vectors, 4.8, 1, (1, 0, 1), True)
    with pytest.raises(LammpsImplicitError, match="choose one with --supercell"):
        chosen_counts(vectors, 40.0, 8, None, True)


def run(*arguments):
    return CliRunner().invoke(app, ["phonons", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files of the command, for a deck with an ensemble."""
    folder = tmp_path_factory.mktemp("phonons")
    deck, small = written(folder, LAYERS), ["--points", 7, "--mesh", 3, 3, 3, "--supercell", 3, 3, 1]
    theta = np.array([0.30, 2.50, 0.33, 2.53, 0.28, 2.58])
    np.save(folder / "samples.npy", theta * (1 + 0.002 * np.random.default_rng(1).standard_normal((40, 6))))
    (folder / "points.csv").write_text("from, to, fraction, frequency\nΓ, X, 0.5, 3.5\nX,GAMMA,0.25,4\n")
    options = ["--cell", "ortho", "--ensemble", folder / "samples.npy", "--plot", folder / "bands.png"]
    options += ["--dos-plot", folder / "dos.png", "--beside", folder / "points.csv"]
    result = run(deck, "-o", folder / "layers.h5", *small, *options)
    assert result.exit_code == 0, result.output + repr(result.exception)
    (folder / "printed").write_text(result.output)
    return folder


def test_what_is_written_is_read(folder):
    stored, printed = read_phonons(folder / "layers.h5"), (folder / "printed").read_text()
    assert "P4/nmm" in printed
    assert "one deviation of each parameter" in printed
    assert "branch 12" in printed
    assert "good: displacements of twice the length" in printed
    assert 0 < stored.attributes["accuracy"] < 1e-4
    assert stored.unit == "THz"
    rows, branches = stored.frequencies.shape
    assert stored.bands.quantiles.shape == (5, rows, branches)
    assert stored.gradient.shape == (rows, branches, 6)
    assert np.all(np.diff(stored.bands.quantiles, axis=0) >= 0)
    # Small deviations are those of the derivatives.
    samples = np.load(folder / "samples.npy") - stored.parameters.theta
    linear = (stored.gradient @ samples.T).std(axis=2)
    alone = np.diff(stored.frequencies, axis=1, prepend=-9, append=99).T
    alone = (np.minimum(alone[:-1], alone[1:]) > 0.3).T & (stored.frequencies > 1)
    assert alone.any()
    assert stored.bands.deviation[alone] == pytest.approx(linear[alone], rel=0.05)
    for name in ("bands.png", "dos.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_files_are_overwritten_only_where_asked_for(folder, tmp_path):
    deck = written(tmp_path, SILICON)
    common = [deck, "-o", tmp_path / "si.h5", "--plot", tmp_path / "si.png", "--parameters", "sw*epsilon"]
    common += ["--supercell", 1, 1, 1, "--points", 3, "--mesh", 2, 2, 2]
    assert run(*common).exit_code == 0
    again = run(*common)
    assert "exists already" in str(again.exception)
    assert run(*common, "--overwrite").exit_code == 0
    beside = run(*common, "--overwrite", "--beside", folder / "layers.h5")
    assert "another path through the Brillouin zone" in str(beside.exception)
    beside = run(*common, "--overwrite", "--beside", tmp_path / "si.h5")
    assert "also an input file" in str(beside.exception)


def test_phonopy_reads_the_same_frequencies(folder):
    stored = read_phonons(folder / "layers.h5")
    yaml, constants = folder / "layers.phonopy.yaml", folder / "layers.fc2.hdf5"
    for more in ({}, {"force_constants_filename": constants}):
        known = phonopy.load(yaml, log_level=0, **more)
        known.run_qpoints(stored.path.qpoints)
        moving = stored.frequencies > 0.1
        assert known.qpoints.frequencies[moving] == pytest.approx(stored.frequencies[moving], abs=1e-6)
    with h5py.File(constants) as file:  # the datasets that phono3py looks for
        assert file["force_constants"].shape[2:] == (3, 3)
        assert "p2s_map" in file


def test_measured_points_and_other_potentials(folder):
    stored = read_phonons(folder / "layers.h5")
    points = on_path(folder / "points.csv", read_points(folder / "points.csv"), stored.path)
    assert stored.path.labels[0] == ("GAMMA", "X")
    length = stored.path.distances[stored.path.breaks[1] - 1]
    assert points[:, 0] == pytest.approx([0.5 * length, 0.75 * length])
    bad = folder / "bad.csv"
    for text, said in (
        ("GAMMA,X,0.5,3\n", "expected measured points in columns"),
        ("from,to,fraction,frequency\nGAMMA,Q,0.5,3\n", "line 2: no point 0.5 of the way from GAMMA to Q"),
        ("from,to,fraction,frequency\nGAMMA,X,1.5,3\n", "line 2: no point 1.5"),
        ("from,to,fraction,frequency\nGAMMA,X,half,3\n", "line 2: fraction and frequency are not numbers"),
    ):
        bad.write_text(text)
        with pytest.raises(LammpsImplicitError, match=said):
            on_path(bad, read_points(bad), stored.path)
    require_same_path(stored.path, stored.unit, stored)
    with pytest.raises(LammpsImplicitError, match="frequencies in THz, not in 1/tau"):
        require_same_path(stored.path, "1/tau", stored)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (("minimize", "fix f all addforce 0 0 0\nminimize"), [], "external forces act on the atoms"),
        (
            ("minimize", "group one id 1\nfix f one setforce 0 0 0\nminimize"),
            [],
            "3 components of positions are frozen",
        ),
        (("boundary p p p", "boundary p p s"), ["--relax"], "this one is not along z"),
        (("mass 1 28.085\n", ""), [], "mass"),
        ((), ["--supercell", 0, 1, 1], "--supercell 0 1 1: give three whole numbers from 1"),
        ((), ["--supercell", -2, 1, 1], "--supercell -2 1 1: give three whole numbers from 1"),
        ((), ["--mesh", 0, 1, 1], "--mesh 0 1 1"),
        ((), ["--primitive", "maybe"], "give auto or none"),
        ((), ["--beside", "nowhere.h5", "--plot", "plot.png"], "does not exist"),
        ((), ["--ensemble", "nowhere.npy"], "does not exist"),
        ((), ["--plot", "out.h5"], "two of the files"),
    ],
)
def test_bad_input_is_told_in_one_line(tmp_path, monkeypatch, change, options, said):
    monkeypatch.chdir(tmp_path)
    text = SILICON.replace(*change) if change else SILICON
    result = run(written(tmp_path, text), "-o", "out.h5", *options)
    assert result.exit_code != 0
    told = str(result.exception)
    assert isinstance(result.exception, LammpsImplicitError), result.output
    assert said in told
    assert "\n" not in told
    assert not list(tmp_path.glob("out*"))


def test_without_phonopy_the_extra_is_named(tmp_path, monkeypatch):
    known = builtins.__import__
    monkeypatch.setattr(
        "lammps_implicit.phonons.requirements.importlib.import_module",
        lambda name: known("nothing_of_this_name") if name.startswith("phonopy") else known(name),
    )
    result = run(written(tmp_path, SILICON), "-o", tmp_path / "out.h5")
    assert "pip install 'lammps_implicit[phonons]'" in str(result.exception)


def test_charges_are_warned_of(tmp_path):
    text = SILICON.replace("units metal", "units metal\natom_style charge").replace("pair_style sw", "")
    text = text.replace("pair_coeff * * Si.sw Si", "pair_style born/coul/long 4.0\nkspace_style ewald 1e-4")
    text = text.replace("minimize", "pair_coeff 1 1 1000.0 0.35 0 0 0\nset group all charge 0.0\n#")
    text = text.replace("kspace_style", "set atom 1*4 charge 0.1\nset atom 5*8 charge -0.1\nkspace_style")
    text = text.replace("set group all charge 0.0\n", "")
    with (
        Minimum.from_deck(written(tmp_path, text), force_limit=np.inf, parameters=(), saddle=True) as point,
        pytest.warns(UserWarning, match="non-analytical term"),
    ):
        assert phonons_of(point, (1, 1, 1), **SHORT).bands.values.shape[1] == 6


@pytest.mark.parallel(nprocs=2)
def test_two_ranks_find_what_one_finds(tmp_path):
    folder = MPI.COMM_WORLD.bcast(tmp_path)
    if MPI.COMM_WORLD.rank == 0:
        written(folder, LAYERS)
    MPI.COMM_WORLD.barrier()
    results = []
    for deck, variables, cell, supercell in (
        (folder / "in.deck", {}, "ortho", (2, 2, 1)),
        (DECKS / "in.w_primitive", {"model": "W_2J4"}, "iso", (2, 2, 2)),
    ):
        for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
            with Minimum.from_deck(deck, comm, variables=variables, cell=cell, ftol=1e-10) as point:
                results.append(phonons_of(point, supercell, **SHORT))
    if MPI.COMM_WORLD.rank == 0:
        for two, one in (results[:2], results[2:]):
            largest = one.bands.values.max()
            assert two.bands.values == pytest.approx(one.bands.values, abs=1e-6 * largest)
            slopes = [found.bands.derivatives for found in (one, two)]
            for k in range(slopes[0].shape[2]):
                pairs = split_alike(one.bands.values, slopes[0][:, :, k], slopes[1][:, :, k], 1e-3 * largest)
                mine, other = np.array(list(pairs)).T
                assert mine == pytest.approx(other, abs=1e-5 * np.abs(slopes[0][:, :, k]).max())
    else:
        assert results[0] is None
