"""Thermal functions and their gradients, compared with dense Hessians of structures relaxed at other parameters."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import TA_VACANCY_READ, ta_data
from hops import BCC, FCC, halfway
from hypothesis import given
from hypothesis import strategies as st
from mpi4py import MPI

from lammps_implicit import LammpsImplicitError
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.vibrations import gibbs_energy, harmonic_free_energy
from lammps_implicit.vibrations import spectrum as spectrum_module
from lammps_implicit.vibrations.mode_derivatives import mode_derivatives
from lammps_implicit.vibrations.sampled import sampled_vibrations
from lammps_implicit.vibrations.spectrum import dense_spectrum
from lammps_implicit.vibrations.strain_model import fit, inconsistency, nodes

TEMPERATURES = [80.0, 700.0]

ALLOY = """\
units           metal
lattice         fcc 3.7
region          cell block 0 2 0 2 0 2
create_box      2 cell
create_atoms    1 box
mass            1 50.0
mass            2 80.0
set             type 1 type/fraction 2 0.4 7
group           vacancy id 1
delete_atoms    group vacancy compress no
pair_style      lj/smooth 5.5 6.0
pair_modify     shift yes
pair_coeff      1 1 0.4 2.4
pair_coeff      2 2 0.35 2.55
pair_coeff      1 2 0.42 2.45
minimize        0 1e-10 5000 50000
"""

HCP = """\
units           metal
lattice         hcp 2.6
region          cell block 0 3 0 2 0 2
create_box      1 cell
create_atoms    1 box
mass            1 63.546
group           vacancy id 1
delete_atoms    group vacancy
pair_style      morse 6.0
pair_coeff      1 1 0.35 1.36 2.87
pair_modify     shift yes
minimize        0 1e-6 1000 10000
"""

RIM = FCC.replace(
    "minimize",
    "region core block 0.4 1.6 0.4 1.6 INF INF\ngroup core region core\n"
    "group rim subtract all core\nfix rim rim setforce 0 0 0\nminimize",
)

SLAB = """\
units           metal
boundary        p p f
lattice         fcc 3.7
region          cell block 0 2 0 2 -2 4.4
create_box      1 cell
region          layers block 0 2 0 2 -0.1 1.4
create_atoms    1 region layers
mass            1 50.0
pair_style      lj/smooth 5.5 6.0
pair_coeff      1 1 0.4 2.4
minimize        0 1e-10 1000 10000
"""

CLUSTER = """\
units           lj
boundary        f f f
lattice         fcc 1.0
region          cell block -2 2 -2 2 -2 2
create_box      1 cell
region          ball sphere 0.1 0.2 0.3 1.05
create_atoms    1 region ball
mass            1 1.0
displace_atoms  all random 0.1 0.1 0.1 5
pair_style      lj/smooth 3.5 4.0
pair_coeff      1 1 1.0 1.0
minimize        0 1e-10 1000 10000
"""

SYSTEMS = {
    "snap vacancy": (BCC.replace("0 3 0 3 0 3", "0 2 0 2 0 2"), {"parameters": "Ta:*"}, 3),
    "morse vacancy": (FCC, {"parameters": "morse*"}, 3),
    "alloy": (ALLOY, {"parameters": "lj*"}, 3),
    "hcp": (HCP, {"parameters": "morse*"}, 3),
    "rim": (RIM, {"parameters": "morse*"}, 0),
    "slab": (SLAB, {"parameters": "lj*"}, 3),
    "cluster": (CLUSTER, {"parameters": "lj*"}, 6),
    "saddle": (halfway(FCC), {"parameters": "morse*", "saddle": True}, 3),
    "iso": (FCC, {"parameters": "morse*", "cell": "iso"}, 3),
    "full": (HCP, {"parameters": "morse*", "cell": "full", "pressure": "1 GPa"}, 3),
}
"""Decks, how they are opened, and their zero modes."""


def opened(tmp_path, text, **options):
    path = tmp_path / "in.test"
    path.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return StationaryPoint.from_deck(path, ftol=1e-9, force_limit=np.inf, **options)


def frequencies(point):
    """Eigenvalues of the mass-weighted Hessian, by central differences of forces, without those next to zero."""
    engine = point.engine
    order = np.argsort(engine.ids)
    free = engine.free[order].reshape(-1)
    masses = np.repeat(engine.atom_masses()[order], 3)[free]
    columns = []
    for place in np.flatnonzero(free):
        forces = []
        for sign in (1, -1):
            step = np.zeros_like(engine.positions)
            step[order[place // 3], place % 3] = sign * 3e-5
            forces.append(engine.forces(step)[order].reshape(-1)[free])
        columns.append((forces[1] - forces[0]) / 6e-5)
    engine.return_to_reference()
    hessian = np.array(columns) / np.sqrt(np.outer(masses, masses))
    return np.linalg.eigvalsh((hessian + hessian.T) / 2)


def thermal(values, temperatures, quantum, lj):
    """F, U, S and C of oscillators, written down once more, per temperature."""
    hbar_omega = np.sqrt(values) * (1.0 if lj else 0.06465415)  # √(eV/(Å² g/mol)) ħ in eV (CODATA 2018)
    found = []
    for temperature in temperatures:
        kt = temperature * (1.0 if lj else 8.617333262e-5)
        x = hbar_omega / kt
        if quantum:
            free = hbar_omega / 2 + kt * np.log1p(-np.exp(-x))
            energy = hbar_omega * (0.5 + 1 / np.expm1(x))
            heat = x**2 * np.exp(x) / np.expm1(x) ** 2
        else:
            free, energy, heat = kt * np.log(x), kt + 0 * x, 1 + 0 * x
        found.append([free.sum(), energy.sum(), ((energy - free) / temperature).sum(), heat.sum() * kt / temperature])
    return np.array(found).T


def of_energies(found):
    return np.array([found.free_energy, found.energy, found.entropy, found.heat_capacity])


def of_gradients(found):
    return np.array(
        [
            found.free_energy_gradient,
            found.energy_gradient,
            found.entropy_gradient,
            found.heat_capacity_gradient,
        ]
    )


@pytest.mark.parametrize("name", SYSTEMS)
def test_gradients_agree_with_relaxing_again(name, tmp_path):
    text, options, zero_modes = SYSTEMS[name]
    lj = "units           lj" in text
    temperatures = [0.1, 0.5] if lj else TEMPERATURES
    with opened(tmp_path, text, **options) as point:
        freedom = point.strain(point.cell)
        found = harmonic_free_energy(point, temperatures, not lj, freedom=freedom, method="exact")
        assert found.zero_modes == zero_modes
        saddle = 1 if point.saddle else 0

        def brute():
            values = frequencies(point)
            values = np.delete(values, np.argsort(np.abs(values))[:zero_modes])[saddle:]
            assert len(values) == found.modes
            energies = thermal(values, temperatures, not lj, lj)
            energies[:2] += point.energy + np.trace(point.target) / 3 * point.engine.volume * (point.cell != "none")
            return energies

        np.testing.assert_allclose(of_energies(found), brute(), rtol=1e-6)
        theta = point.potential.theta
        change = np.random.default_rng(1).standard_normal(len(theta)) * theta * 2e-5
        ends = []
        for sign in (1, -1):
            moved = point.relaxed_at(sign * change, **({"cell": freedom} if point.cell != "none" else {}))
            strain = None if len(moved) == 2 else strain_to(point.engine.cell, moved[2])
            with point.excursion(sign * change, moved[0], strain):
                ends.append(brute())
        expected = (ends[0] - ends[1]) / 2
        size = np.abs(of_gradients(found) * change).max(axis=2)
        np.testing.assert_allclose(of_gradients(found) @ change / size, expected / size, atol=3e-5)


def strain_to(before, after):
    return (np.linalg.solve(before, after) - np.eye(3)).T


def test_atoms_of_one_type_may_have_masses_of_their_own(tmp_path):
    text = FCC.replace("mass            1 63.546\n", "")
    text = text.replace("units           metal\n", "units           metal\natom_style      sphere\n")
    text = text.replace(
        "pair_style", "set type 1 diameter 1.0\nset type 1 mass 63.546\nset atom 5 mass 30.0\npair_style"
    )
    with opened(tmp_path, text, parameters="morse*") as point:
        assert len(set(point.engine.atom_masses())) == 2
        found = harmonic_free_energy(point, [300.0], False, method="exact")
        theta, ends = point.potential.theta, []
        change = np.random.default_rng(1).standard_normal(len(theta)) * theta * 2e-5
        for sign in (1, -1):
            moved = point.relaxed_at(sign * change)
            with point.excursion(sign * change, moved[0]):
                values = np.delete(np.sort(frequencies(point)), range(3))
                ends.append(thermal(values, [300.0], False, False)[2, 0])
        size = np.abs(found.entropy_gradient[0] * change).max()
        np.testing.assert_allclose(found.entropy_gradient[0] @ change, (ends[0] - ends[1]) / 2, atol=3e-5 * size)


@pytest.mark.parametrize("quantum", [False, True])
def test_random_probes_agree_with_all_modes_within_their_errors(quantum, tmp_path):
    with opened(tmp_path, SYSTEMS["alloy"][0], parameters="lj*", cell="iso") as point:
        freedom = point.strain("iso")
        exact = harmonic_free_energy(point, TEMPERATURES, quantum, freedom=freedom, method="exact")
        found = harmonic_free_energy(point, TEMPERATURES, quantum, 24, freedom=freedom)
        assert found.method == "24 random probes" and found.modes == exact.modes
        for name in ("free_energy", "entropy"):
            error = getattr(found, f"{name}_error")
            assert np.all(error > 0)
            assert np.all(np.abs(getattr(found, name) - getattr(exact, name)) < 4 * error)
            slopes, error = getattr(found, f"{name}_gradient"), getattr(found, f"{name}_gradient_error")
            missed = np.abs(slopes - getattr(exact, f"{name}_gradient"))
            # A t-distribution of 15 degrees of freedom, for a dozen numbers that depend on the same probes.
            assert np.all(missed < 5 * error + 1e-5 * np.abs(slopes))
        np.testing.assert_allclose(found.vibrations.strains, exact.vibrations.strains, rtol=0.2)


def test_probes_leave_the_negative_mode_of_a_saddle_out(tmp_path):
    with opened(tmp_path, halfway(FCC), parameters="morse*", saddle=True) as point:
        exact = harmonic_free_energy(point, [300.0], False, gradient=False, method="exact")
        found = harmonic_free_energy(point, [300.0], False, 24, gradient=False)
        assert found.modes == exact.modes == 3 * point.engine.n_atoms - 4
        assert abs(found.entropy - exact.entropy) < 4 * found.entropy_error


def test_equal_numbers_of_atoms_give_equal_probes(tmp_path):
    with opened(tmp_path, FCC, parameters="morse*") as point:
        fixed = point.strain("none")
        arguments = point.response, np.array([300.0]), False, fixed, False, 1e-6, 4
        first, again = sampled_vibrations(*arguments), sampled_vibrations(*arguments, alike=point.ids)
        other = sampled_vibrations(*arguments, alike=point.ids + 1000)
        np.testing.assert_array_equal(first.samples, again.samples)
        assert not np.allclose(first.samples, other.samples, rtol=1e-6)


def test_groups_that_move_as_one_count_once(tmp_path):
    text = FCC.replace("minimize", "group pair id 5 6\nfix together pair aveforce 0 0 0\nminimize")
    with opened(tmp_path, text, parameters="morse*") as point:
        exact = harmonic_free_energy(point, [300.0], False, method="exact")
        found = harmonic_free_energy(point, [300.0], False, 24, gradient=False)
        assert exact.modes == found.modes == 3 * (point.engine.n_atoms - 1) - 3
        assert abs(found.entropy - exact.entropy) < 4 * found.entropy_error


def test_heat_capacity_and_energy_are_derivatives_with_respect_to_temperature(tmp_path):
    with opened(tmp_path, FCC, parameters="morse*") as point:
        step, at = 1.0, 150.0
        found = harmonic_free_energy(point, [at - step, at, at + step], gradient=False)
        slopes = [(values[2] - values[0]) / (2 * step) for values in (found.free_energy, found.energy)]
        np.testing.assert_allclose(-slopes[0], found.entropy[1], rtol=1e-4)
        np.testing.assert_allclose(slopes[1], found.heat_capacity[1], rtol=1e-4)
        np.testing.assert_allclose(found.energy - found.temperatures * found.entropy, found.free_energy, rtol=1e-12)
        limit = harmonic_free_energy(point, [1e4], gradient=False).heat_capacity[0] / 8.617333262e-5
        np.testing.assert_allclose(limit, found.modes, rtol=1e-3)


@pytest.mark.parametrize("cell", ["iso", "ortho"])
def test_a_cell_minimises_its_free_energy_at_each_temperature(cell, tmp_path):
    temperatures = [60.0, 400.0]
    text = FCC if cell == "iso" else HCP.replace("0 3 0 2 0 2", "0 2 0 2 0 2")
    with opened(tmp_path, text, parameters="morse*", cell=cell) as point:
        freedom = point.strain(cell)
        found = gibbs_energy(point, temperatures, freedom=freedom)
        assert not found.caution
        system = point.response.held_cell_system(freedom, 1e-7)
        patterns, tensors = system.patterns(), freedom.tensors()
        still = np.zeros(len(point.potential.theta))

        def free(amounts, temperature):
            shift, strain = np.tensordot(amounts, patterns, axes=1), np.tensordot(amounts, tensors, axes=1)
            with point.excursion(still, shift, strain):
                point.relax(1e-9)
                values = np.delete(frequencies(point), np.arange(3))
                return thermal(values, [temperature], True, False)[0, 0] + point.energy

        for place, temperature in enumerate(temperatures):
            strain = found.strain[place]
            middle = free(strain, temperature)
            np.testing.assert_allclose(found.free_energy[place], middle, atol=2e-6)
            for unit in np.diag(3e-4 * np.ones(len(strain))):
                ends = [free(strain + sign * unit, temperature) for sign in (1, -1)]
                missed = (ends[0] - ends[1]) / 2 / (ends[0] + ends[1] - 2 * middle) * unit.sum()
                assert abs(missed) < 5e-3 * np.abs(strain).max()
        theta = point.potential.theta
        change = np.random.default_rng(1).standard_normal(len(theta)) * theta * 1e-4
        ends = []
        for sign in (1, -1):
            moved = point.relaxed_at(sign * change, cell=freedom)
            with point.excursion(sign * change, moved[0], strain_to(point.engine.cell, moved[2])):
                ends.append(gibbs_energy(point, temperatures, freedom=point.strain(cell), gradient=False))
        for name in ("free_energy", "entropy", "volume"):
            expected = (getattr(ends[0], name) - getattr(ends[1], name)) / 2
            np.testing.assert_allclose(getattr(found, f"{name}_gradient") @ change, expected, rtol=2e-2)
        for name in ("free_energy", "volume"):
            expected = (getattr(ends[0], name) - getattr(ends[1], name)) / 2
            np.testing.assert_allclose(getattr(found, f"{name}_gradient") @ change, expected, rtol=5e-4)


@pytest.mark.slow
def test_kinks_of_the_free_energy_along_strain_are_told(tmp_path):
    # Third neighbours in Ta are just beyond the cutoff: around a vacancy, some come within it.
    with opened(tmp_path, BCC, parameters="Ta:*", cell="iso") as point:
        found = gibbs_energy(point, [1000.0], freedom=point.strain("iso"), gradient=False)
    assert "pairs cross the cutoff" in found.caution


def test_a_cell_that_expands_without_end_is_told(tmp_path):
    text = BCC.replace("0 3 0 3 0 3", "0 2 0 2 0 2")
    with (
        opened(tmp_path, text, parameters="Ta:*", cell="iso") as point,
        pytest.raises(LammpsImplicitError, match="no minimum with respect to the cell"),
    ):
        gibbs_energy(point, [1000.0], freedom=point.strain("iso"), gradient=False)


@given(st.integers(1, 3), st.integers(0, 1000))
def test_models_of_strain_reproduce_polynomials(count, seed):
    random = np.random.default_rng(seed)
    centre, reach = random.normal(size=count), random.uniform(0.5, 1.5, count)
    linear, quadratic, fifth = random.normal(size=count), random.normal(size=(count, count)), random.normal(size=count)

    def value(x):
        return linear @ x + x @ quadratic @ x + fifth @ x**5

    def slope(x):
        return linear + (quadratic + quadratic.T) @ x + 5 * fifth * x**4

    places = nodes(centre, reach)
    values, slopes = np.array([value(x - centre) for x in places]), np.array([slope(x - centre) for x in places])
    model = fit(centre, reach, values, slopes)
    at = centre + reach * random.uniform(-1, 1, count)
    np.testing.assert_allclose(model.value(at), value(at - centre), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(model.slope(at), slope(at - centre), rtol=1e-8, atol=1e-8)
    # Simpson's rule is exact without the fifth power.
    lower = values - np.array([fifth @ (x - centre) ** 5 for x in places])
    without = slopes - np.array([5 * fifth * (x - centre) ** 4 for x in places])
    assert inconsistency(reach, lower, without) < 1e-8
    jump = lower + 10 * np.abs(lower).max() * (np.arange(len(values)) == 1)
    assert inconsistency(reach, jump, without) > 0.05


@pytest.mark.parametrize("name", ["alloy", "snap vacancy", "full"])
def test_derivatives_of_single_modes(name, tmp_path):
    text, options, zero_modes = SYSTEMS[name]
    with opened(tmp_path, text, **options) as point:
        spectrum = dense_spectrum(point.response)
        freedom = point.strain(point.cell)
        vectors = spectrum.coordinates.local(spectrum.vectors)
        found = mode_derivatives(point, spectrum.eigenvalues, vectors, freedom, 1e-8)
        theta = point.potential.theta
        change = np.random.default_rng(1).standard_normal(len(theta)) * theta * 1e-5
        ends = []
        for sign in (1, -1):
            moved = point.relaxed_at(sign * change, **({"cell": freedom} if point.cell != "none" else {}))
            strain = None if len(moved) == 2 else strain_to(point.engine.cell, moved[2])
            with point.excursion(sign * change, moved[0], strain):
                ends.append(np.sort(frequencies(point))[zero_modes:])
        expected = (ends[0] - ends[1]) / 2
        np.testing.assert_allclose(found.parameters @ change, expected, atol=1e-4 * np.abs(expected).max())
        pattern = point.response.cell_system(point.strain("iso"), 1e-8).patterns()[0]
        ends = []
        for sign in (1, -1):
            with point.excursion(0 * theta, sign * 1e-4 * pattern, sign * 1e-4 * np.eye(3)):
                point.relax(1e-9)
                ends.append(np.sort(frequencies(point))[zero_modes:])
        expected = -(np.log(ends[0]) - np.log(ends[1])) / 2 / 6e-4
        np.testing.assert_allclose(found.gruneisen, expected, atol=2e-4)


def test_symmetry_saves_products_and_changes_nothing(tmp_path, monkeypatch):
    with opened(tmp_path, FCC, parameters="morse*") as point:
        with_it = harmonic_free_energy(point, TEMPERATURES, False, method="exact")
        point.response.kept.clear()
        monkeypatch.setattr(spectrum_module, "find_symmetry", lambda *_: None)
        without = harmonic_free_energy(point, TEMPERATURES, False, method="exact")
        assert with_it.method == "exact (atoms)" and without.method == "exact (modes)"
        np.testing.assert_allclose(of_energies(with_it), of_energies(without), rtol=1e-7)
        size = np.abs(of_gradients(without)).max(axis=2, keepdims=True) + 1e-12
        np.testing.assert_allclose(of_gradients(with_it) / size, of_gradients(without) / size, atol=1e-5)
        assert with_it.evaluations < 0.7 * without.evaluations


@pytest.mark.parametrize(
    ("text", "options", "arguments", "message"),
    [
        (FCC, {}, {"temperatures": [300.0, 0.0]}, "temperature 0 K is not a positive number"),
        (FCC, {}, {"temperatures": [np.nan]}, "temperature nan K is not a positive number"),
        (FCC, {}, {"temperatures": []}, "temperatures of shape"),
        (FCC, {}, {"temperatures": "warm"}, "are no numbers"),
        (FCC, {}, {"temperatures": 300.0, "probes": 1}, "give at least 2"),
        (FCC, {}, {"temperatures": 300.0, "probes": 3, "method": "exact"}, "takes no probes"),
        (FCC, {}, {"temperatures": 300.0, "method": "dense"}, "is not one of auto, exact, probes"),
        (CLUSTER, {}, {"temperatures": 0.3}, "need ħ, which has no value in reduced units"),
        (halfway(FCC), {"saddle": True}, {"temperatures": 300.0, "as_minimum": True}, "1 mode is negative where none"),
        (FCC, {}, {"temperatures": 300.0, "as_saddle": True}, "this is no saddle, but a minimum"),
    ],
)
@pytest.mark.parametrize("method", ["exact", "probes"])
def test_what_is_wrong_is_said(text, options, arguments, message, method, tmp_path):
    with opened(tmp_path, text, **options) as point:
        arguments = dict(arguments)
        if arguments.pop("as_minimum", False):
            point.saddle = point.response.saddle = False
            message = message if method == "exact" else "negative mode"
        if arguments.pop("as_saddle", False):
            point.saddle = point.response.saddle = True
        arguments.setdefault("method", method)
        with pytest.raises(LammpsImplicitError, match=message) as refused:
            harmonic_free_energy(point, **arguments)
        assert "\n" not in str(refused.value)


def test_atoms_without_mass_are_named(tmp_path, monkeypatch):
    with opened(tmp_path, FCC) as point:
        monkeypatch.setattr(point.engine, "atom_masses", lambda: 0 * point.engine.positions[:, 0])
        with pytest.raises(LammpsImplicitError, match="atoms of type 1 have no mass"):
            harmonic_free_energy(point, 300.0)


def test_atoms_that_nothing_holds_are_told(tmp_path):
    text = FCC.replace("pair_coeff      1 1 0.35 1.36 2.87", "pair_coeff      1 1 0.35 1.36 2.87 2.0")
    with opened(tmp_path, text) as point, pytest.raises(LammpsImplicitError):
        harmonic_free_energy(point, 300.0)


def test_further_temperatures_cost_nothing(tmp_path):
    with opened(tmp_path, FCC, parameters="morse*") as point:
        first = harmonic_free_energy(point, [300.0], method="exact")
        again = harmonic_free_energy(point, [50.0, 300.0], method="exact")
        assert first.evaluations > 0 and again.evaluations == 0
        np.testing.assert_allclose(again.entropy_gradient[1], first.entropy_gradient[0], rtol=1e-12)
        point.relax()
        point.response.kept.clear()
        loose = harmonic_free_energy(point, [300.0], method="exact", tol=1e-3)
        assert loose.evaluations < first.evaluations
        np.testing.assert_allclose(loose.entropy_gradient, first.entropy_gradient, rtol=1e-3)


def test_a_structure_without_parameters_has_a_free_energy(tmp_path):
    with opened(tmp_path, FCC, parameters=[]) as point:
        found = harmonic_free_energy(point, TEMPERATURES)
        assert found.free_energy_gradient is None and np.isfinite(found.free_energy).all()


@pytest.mark.parallel(nprocs=[1, 2])
@pytest.mark.parametrize("probes", [None, 3])
def test_thermal_functions_on_any_number_of_ranks(probes, tmp_path_factory):
    comm = MPI.COMM_WORLD
    folder = Path(comm.bcast(str(tmp_path_factory.mktemp("ranks"))))
    if comm.rank == 0:
        (folder / "atoms.data").write_text(ta_data(range(2, 55)))
        (folder / "in.ta").write_text(TA_VACANCY_READ)
    comm.Barrier()
    found = []
    for ranks in (MPI.COMM_SELF, comm):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            point = StationaryPoint.from_deck(folder / "in.ta", ranks, ftol=1e-9, force_limit=np.inf)
        with point:
            found.append(harmonic_free_energy(point, [300.0], False, probes))
    alone, together = found
    np.testing.assert_allclose(together.entropy, alone.entropy, rtol=3e-6)
    size = np.abs(alone.entropy_gradient).max()
    np.testing.assert_allclose(together.entropy_gradient, alone.entropy_gradient, atol=1e-3 * size)
    assert together.zero_modes == alone.zero_modes == 3
