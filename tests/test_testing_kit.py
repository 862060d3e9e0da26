"""The conformance kit: what this package ships passes, and whatever is broken on purpose is caught."""

import json
import subprocess
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from conftest import TA_VACANCY, TA_VACANCY_READ, ta_data
from mpi4py import MPI
from test_families import LJ

from lammps_implicit import LammpsImplicitError, Minimum, testing
from lammps_implicit.errors import OutputError
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.inverse.terms import Contribution, Number, Prior, UserTerm, positions
from lammps_implicit.observables.cells import enthalpy, volume
from lammps_implicit.observables.distances import distance
from lammps_implicit.operators.descriptor_derivative import DescriptorDerivative
from lammps_implicit.operators.swept_derivative import SweptDerivative
from lammps_implicit.potentials.snap import SnapPotential
from lammps_implicit.potentials.snap_files import read_coefficients
from lammps_implicit.solvers.conjugate_directions import ConjugateDirections
from lammps_implicit.solvers.conjugate_gradients import ConjugateGradients
from lammps_implicit.solvers.dense import Dense
from lammps_implicit.solvers.interface import Status
from lammps_implicit.solvers.minimal_residual import MinimalResidual, scipy_pass
from lammps_implicit.testing import ConformanceError
from lammps_implicit.testing.harmonic import Harmonic

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from test_autodiff import PARAMETERS, morse_of_all_pairs, vacancy

    from lammps_implicit import autodiff
    from lammps_implicit.autodiff.evaluator import AutodiffEvaluator

SMALL_LJ = LJ.replace("0 3 0 3 0 3", "0 2 0 2 0 2").replace("lj/smooth 5.5 6.0", "lj/smooth 4.5 5.5")


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """A descriptor family, one that is installed, one in JAX, and one with a relaxed cell."""
    folder = tmp_path_factory.mktemp("kit")
    (folder / "in.ta").write_text(TA_VACANCY)
    (folder / "in.lj").write_text(SMALL_LJ)
    with (
        Minimum.from_deck(folder / "in.ta", ftol=1e-10) as ta,
        Minimum.from_deck(folder / "in.lj", ftol=1e-10) as lj,
        Minimum.from_deck(folder / "in.lj", ftol=1e-10, cell="iso", pressure="1 GPa") as cell,
    ):
        exact = autodiff.minimum(vacancy(repeat=3), morse_of_all_pairs, PARAMETERS, ftol=1e-11)
        yield {"SNAP": ta, "Lennard-Jones": lj, "relaxed cell": cell, "JAX": exact}


FOUR = ("SNAP", "Lennard-Jones", "relaxed cell", "JAX")


# -- engines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOUR)
def test_our_engines_conform(points, name):
    engine = points[name].engine
    assert testing.check_forces(engine) < 1e-6
    assert set(testing.check_pressure(engine)) == {"xx", "yy", "zz"}
    assert len(testing.check_reference(engine)) == 4
    exact = testing.check_hessian(engine)["symmetry"]
    assert exact < (1e-14 if name == "JAX" else 1e-8)


def test_checks_of_engines_cost_what_they_say_and_leave_no_trace(points):
    engine = points["Lennard-Jones"].engine
    place, start = engine.positions.copy(), engine.evaluations.copy()
    testing.check_forces(engine, directions=3)
    assert engine.evaluations.since(start).forces == 14
    start = engine.evaluations.copy()
    testing.check_hessian(engine)
    assert engine.evaluations.since(start).forces == 10
    testing.check_pressure(engine)
    testing.check_reference(engine)
    assert np.array_equal(engine.positions, place)
    assert engine.max_abs(engine.forces()) < 1e-9


def springs(kind=Harmonic):
    random = np.random.default_rng(0).standard_normal((36, 36))
    free = np.ones((12, 3), bool)
    free[2] = False
    engine = kind.of(random @ random.T + np.eye(36), MPI.COMM_SELF, free)
    engine.settle()
    return engine


class WrongSign(Harmonic):
    def forces(self, displacement=None):
        return -super().forces(displacement)


class OffByAThousandth(Harmonic):
    def forces(self, displacement=None):
        forces = super().forces(displacement)
        forces[4, 1] *= 1.01
        return forces


class PullsAtFrozenAtoms(Harmonic):
    def forces(self, displacement=None):
        return super().forces(displacement) + 0.1


class OtherUnit(Harmonic):
    @property
    def energy(self):
        return 1.001 * super().energy


class StaysWhereItIs(Harmonic):
    def shift(self, displacement):
        pass


class ForgetsPositions(Harmonic):
    def set_reference(self, reference):
        pass


class WritesOver(Harmonic):
    def shift(self, displacement):
        self.positions += displacement
        self._displacement = -displacement


class Drifts(Harmonic):
    def settle(self):
        self.shift(1e-4 * self.free)
        return super().settle()


class CountsNothing(Harmonic):
    def forces(self, displacement=None):
        before = self.evaluations.copy()
        forces = super().forces(displacement)
        self.evaluations = before
        return forces


class NotSymmetric(Harmonic):
    def hessian_product(self, v):
        product = super().hessian_product(v)
        product[3, 0] += 0.1 * v[5, 1]
        return product


class StiffnessMissing(Harmonic):
    def forces(self, displacement=None):
        extra = -0.01 * (self.positions - self.rest + (0.0 if displacement is None else displacement))
        return super().forces(displacement) + extra * self.free


@pytest.mark.parametrize(
    ("check", "kind", "message"),
    [
        (testing.check_forces, WrongSign, "against the forces: .* a wrong sign"),
        (testing.check_forces, OffByAThousandth, "against the forces"),
        (testing.check_forces, PullsAtFrozenAtoms, "forces on frozen components reach 0.1"),
        (testing.check_forces, OtherUnit, "against the forces"),
        (testing.check_reference, StaysWhereItIs, "`shift` changes neither"),
        (testing.check_reference, ForgetsPositions, "after the atoms were moved and set back"),
        (testing.check_reference, WritesOver, "after the atoms were moved and set back"),
        (testing.check_reference, Drifts, "after settling"),
        (testing.check_reference, CountsNothing, "adds nothing to `evaluations.forces`"),
        (testing.check_hessian, NotSymmetric, "aᵀH b against bᵀH a"),
        (testing.check_hessian, StiffnessMissing, "H b against differences of forces"),
    ],
)
def test_broken_engines_are_caught(check, kind, message):
    check(springs())
    with pytest.raises(ConformanceError, match=message) as caught:
        check(springs(kind))
    assert "usual cause" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hessian_products_of_forces_without_an_energy_are_caught(points, monkeypatch):
    """Products that are differences of forces are not symmetric where these are no gradient."""
    engine, plain = points["Lennard-Jones"].engine, Engine.forces

    def forces(self, displacement=None):
        found = plain(self, displacement)
        if displacement is not None:
            found[0, 0] += 1e-2 * displacement[1, 1]
        return found

    monkeypatch.setattr(Engine, "forces", forces)
    with pytest.raises(ConformanceError, match="not the gradient of an energy"):
        testing.check_hessian(engine)


@pytest.mark.parametrize(
    ("wrong", "strain"),
    [
        (lambda pressure: -pressure, "xx"),
        (lambda pressure: pressure + 1e-4 * np.eye(3), "xx"),  # as a kinetic part
        (lambda pressure: pressure * np.diag([1.0, 1.0, 1.001]), "zz"),
    ],
)
def test_broken_pressures_are_caught(points, monkeypatch, wrong, strain):
    right = Engine.pressure.fget
    monkeypatch.setattr(Engine, "pressure", property(lambda self: wrong(right(self))))
    with pytest.raises(ConformanceError, match=f"by the strain {strain} over the volume"):
        testing.check_pressure(points["Lennard-Jones"].engine)


def test_a_reference_without_its_cell_is_caught(points, monkeypatch):
    plain = AutodiffEvaluator.set_reference

    def forgets_the_cell(self, reference):
        plain(self, reference._replace(cell=self.cell))

    monkeypatch.setattr(AutodiffEvaluator, "set_reference", forgets_the_cell)
    engine = points["JAX"].engine
    cell = engine.cell
    with pytest.raises(ConformanceError, match="after the cell was strained and set back"):
        testing.check_reference(engine)
    monkeypatch.undo()
    engine.set_reference(engine.reference()._replace(cell=cell))


def test_a_cell_without_strains_has_no_pressure_to_check():
    with pytest.raises(LammpsImplicitError, match="cannot be strained"):
        testing.check_pressure(springs())


# -- families ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOUR)
def test_our_families_conform(points, name):
    point = points[name]
    assert testing.check_adjoint(point) < 1e-6
    found = testing.check_mixed_derivative(point)
    assert set(found) == {"array", "times", "Cᵀv", "CᵀC", "G", "Gᵀv", "C δΘ", "∂U/∂Θ", "∂²U/∂Θ²", "D δΘ"}
    assert max(found.values()) < 1e-5
    orders = testing.check_taylor(point, order=3)
    expected = {"displacement": 2, "first": 2, "second": 3, "third": 4} | (
        {"volume": 2} if point.cell != "none" else {}
    )
    assert orders == pytest.approx(expected, abs=0.2)
    restored = testing.check_restored(point)
    assert len(restored) == 5
    assert max(restored.values()) < 1e-6


@pytest.mark.parallel(nprocs=2)
def test_engines_and_families_conform_on_several_ranks(tmp_path_factory):
    """Figures are the same on all ranks, whatever share of the atoms each has."""
    pytest.importorskip("petsc4py")
    world = MPI.COMM_WORLD
    folder = world.bcast(tmp_path_factory.mktemp("ranks") if world.rank == 0 else None)
    if world.rank == 0:
        (folder / "atoms.data").write_text(ta_data(range(2, 107, 2)))
        (folder / "in.ta").write_text(TA_VACANCY_READ)
    world.barrier()
    with Minimum.from_deck(folder / "in.ta", ftol=1e-10) as point:
        engine = point.engine
        found = [testing.check_forces(engine), testing.check_pressure(engine), testing.check_reference(engine)]
        found += [testing.check_hessian(engine), testing.check_adjoint(point), testing.check_mixed_derivative(point)]
        found += [testing.check_restored(point)]
    assert world.allgather(str(found)) == [str(found)] * world.size


@contextmanager
def broken(kind, name, wrong):
    """A method that something is done to what it returns."""
    plain = getattr(kind, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, name, lambda self, *given, **options: wrong(plain(self, *given, **options)))
        yield


def scaled(factor):
    return lambda found: factor * found


MISSING = {
    "transposed_times": (DescriptorDerivative, "transposed_times", scaled(1.001), "Cᵀ v, δΘ"),
    "times": (DescriptorDerivative, "times", scaled(-1.0), "C δΘ"),
    "energy_gradient": (DescriptorDerivative, "energy_gradient", lambda found: found - 1e-3 * found[1], "∂U/∂Θ δΘ"),
    "gram": (DescriptorDerivative, "gram", scaled(1.001), "CᵀC"),
    "gradients_transposed_times": (DescriptorDerivative, "gradients_transposed_times", scaled(0.0), "must be in `odd`"),
    "to_array": (DescriptorDerivative, "to_array", lambda found: found * np.linspace(1, 1.01, 31), "C as an array"),
    "gradients_array": (DescriptorDerivative, "gradients_array", scaled(1.001), "as an array against C δΘ"),
    "coupling": (DescriptorDerivative, "coupling", lambda found: replace(found, mixed=1.001 * found.mixed), "pressure"),
}


@pytest.mark.parametrize("what", MISSING)
def test_broken_mixed_derivatives_are_caught(points, what):
    kind, name, wrong, message = MISSING[what]
    with broken(kind, name, wrong), pytest.raises(ConformanceError, match=message):
        testing.check_mixed_derivative(points["SNAP"])


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("bare_second_derivative", scaled(0.0), "∂²U/∂Θ² δΘ at fixed positions .* not linear"),
        ("bare_second_derivative", scaled(1.001), "∂²U/∂Θ² δΘ at fixed positions"),
        ("times", scaled(1.001), "C as an array against C δΘ"),
    ],
)
def test_broken_derivatives_of_installed_parameters_are_caught(points, name, wrong, message):
    with broken(SweptDerivative, name, wrong), pytest.raises(ConformanceError, match=message):
        testing.check_mixed_derivative(points["Lennard-Jones"])


@pytest.mark.parametrize("name", ["SNAP", "relaxed cell"])
def test_products_that_are_not_adjoint_are_caught(points, name):
    kind = DescriptorDerivative if name == "SNAP" else SweptDerivative
    with broken(kind, "transposed_times", scaled(1.001)), pytest.raises(ConformanceError, match="against ⟨g, jvp"):
        testing.check_adjoint(points[name])


@pytest.mark.parametrize(
    ("method", "wrong", "message"),
    [
        ("energy_gradient", scaled(0.0), "energy to first order"),
        ("energy_gradient", scaled(1.01), "energy to (first|second) order"),
        ("energy_hessian", scaled(1.05), "energy to second order"),
        ("predicted_at", lambda found: (1.02 * found[0], found[1]), "displacement"),
        ("predicted_at", lambda found: (found[0], 1.05 * found[1]), "volume"),
        ("state_at", lambda found: found._replace(energy=found.energy + 1e-4), "energy to third order"),
    ],
)
def test_broken_expansions_are_caught(points, method, wrong, message):
    point = points["relaxed cell"]
    with broken(type(point), method, wrong), pytest.raises(ConformanceError, match=f"{message}: errors fall"):
        testing.check_taylor(point, order=3)


def test_what_stays_installed_is_caught(points):
    """An excursion that comes back to other parameters than it left."""
    point = points["SNAP"]
    plain, step = SnapPotential.install, 1e-5 * point.potential.theta
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SnapPotential, "install", lambda self, engine, dtheta: plain(self, engine, dtheta + step))
        with pytest.raises(ConformanceError, match="after a visit"):
            testing.check_restored(point)
    point.potential.install(point.engine, 0 * step)
    testing.check_restored(point)


def test_an_interrupted_sweep_is_caught(points):
    point = points["Lennard-Jones"]

    def prepare(self, progress=lambda done, total: None):
        self.potential.install(self.engine, 1e-3 * self.potential.theta)
        progress(1, 6)

    with pytest.MonkeyPatch.context() as patch:
        point.mixed.prepare()
        patch.setattr(SweptDerivative, "prepare", prepare)
        with pytest.raises(ConformanceError, match="after an error while parameters were installed one by one"):
            testing.check_restored(point)
    point.potential.install(point.engine, 0 * point.potential.theta)


def test_files_of_our_families(points, tmp_path):
    reads = {
        "SNAP": lambda files: read_coefficients(files[0]).theta,
        "Lennard-Jones": None,
        "JAX": lambda files: list(json.loads(files[0].read_text())["theta"].values()),
    }
    for name, read in reads.items():
        folder = tmp_path / name
        folder.mkdir()
        assert testing.check_written(points[name].potential, folder, read=read)


@dataclass
class Written:
    """A potential that is written to two files."""

    theta: np.ndarray
    careful: bool = True
    first_of_all: bool = False
    digits: int = 17
    remarks: bool = True
    returned: int = 2

    def write(self, stem, comments, overwrite):
        files = [stem.with_suffix(ending) for ending in (".theta", ".settings")]
        if self.careful and not overwrite:
            for path in files:
                if path.exists():
                    if self.first_of_all and path != files[0]:
                        files[0].write_text("half")
                    raise OutputError(f"{path} exists")
        files[0].write_text(
            f"{comments[0] if self.remarks else ''}\n" + " ".join(f"{value:.{self.digits}g}" for value in self.theta)
        )
        files[1].write_text("none")
        return files[: self.returned]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"careful": False}, "does not refuse"),
        ({"first_of_all": True}, "leaves \\['tuned.theta'\\]"),
        ({"digits": 6}, "too few digits"),
        ({"remarks": False}, "lacks the comments"),
        ({"returned": 1}, "not returned"),
    ],
)
def test_careless_writers_are_caught(tmp_path, settings, message):
    theta = np.random.default_rng(0).standard_normal(4)

    def read(files):
        return [float(word) for word in files[0].read_text().splitlines()[1].split()]

    for name, wrong in (("good", {}), ("bad", settings)):
        (tmp_path / name).mkdir()
        check = partial(testing.check_written, Written(theta, **wrong), tmp_path / name, read=read)
        if wrong:
            with pytest.raises(ConformanceError, match=message):
                check()
        else:
            check()


# -- solvers -----------------------------------------------------------------------------------------------------------


OURS = {
    "conjugate gradients": (ConjugateGradients(), {"limited": ConjugateGradients(2)}),
    "conjugate directions": (ConjugateDirections(500), {"limited": ConjugateDirections(500, 2)}),
    "dense": (Dense(1e-10), {}),
    "dense, at a saddle": (Dense(1e-10), {"saddle": True}),
    "minimal residuals": (MinimalResidual(scipy_pass), {"saddle": True}),
}


@pytest.mark.parametrize("name", OURS)
def test_our_solvers_conform(name):
    solver, options = OURS[name]
    found = testing.check_solver(solver, **options)
    assert found["residual"] <= 1.0 + 1e-3
    assert found["reported"] < 1e-3


@pytest.mark.parallel(nprocs=2)
def test_solvers_of_many_ranks_conform():
    pytest.importorskip("petsc4py")
    from lammps_implicit.solvers.backend import backend

    made = backend(MPI.COMM_WORLD)
    testing.check_solver(made.at_minimum(), comm=MPI.COMM_WORLD)
    testing.check_solver(made.for_many(500), comm=MPI.COMM_WORLD)
    testing.check_solver(made.at_saddle(), comm=MPI.COMM_WORLD, saddle=True)


class Broken:
    """Conjugate directions with something done to the system or to the solution."""

    name = "broken"

    def __init__(self, system=lambda system: system, solution=lambda found, tol: found, loosen=1.0):
        self.inner, self.system, self.solution, self.loosen = ConjugateDirections(500), system, solution, loosen

    def prepare(self, system):
        self.inner.prepare(self.system(system))

    def solve(self, right, tol, scale):
        return self.solution(self.inner.solve(right, self.loosen * tol, scale), tol)


BROKEN = {
    "looser than asked": (Broken(loosen=3.0), "in units of the tolerance, asked for"),
    "reports the tolerance": (Broken(solution=lambda x, tol: replace(x, residual=tol)), "the reported residual"),
    "drifts": (Broken(solution=lambda x, tol: replace(x, x=x.x + 1e-6)), "the part of x in the null space"),
    "gives up": (Broken(solution=lambda x, tol: replace(x, status=Status.DIVERGED)), "the status is DIVERGED"),
    "blind": (Broken(system=lambda system: replace(system, saddle=True)), "NotAMinimumError is not raised"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_solvers_are_caught(what):
    solver, message = BROKEN[what]
    testing.check_solver(Broken())
    with pytest.raises(ConformanceError, match=message), np.errstate(invalid="ignore"):
        testing.check_solver(solver)


def test_a_limit_that_is_hushed_up_is_caught():
    def hush(found, tol):
        return replace(found, status=Status.CONVERGED)

    limited = Broken(solution=hush)
    limited.inner.maxiter = 2
    with pytest.raises(ConformanceError, match="CONVERGED after too few iterations"):
        testing.check_solver(ConjugateGradients(), limited=limited)


# -- losses and observables --------------------------------------------------------------------------------------------


def volume_term(cells):
    target = float(volume(cells["cell"]).value) * 1.01
    return Number("volume", lambda now, order: volume(now["cell"], 1e-8, order), target, scale=10.0)


def pulled(minimum):
    weights = np.cos(minimum.ids[:, None] * np.array([1.0, 2.0, 3.0]))
    weights -= weights.mean(axis=0)
    return float(np.vdot(weights, minimum.positions)), weights


def moved_target(cells):
    minimum = cells["cell"]
    target = minimum.positions + 0.05 * np.random.default_rng(4).standard_normal(minimum.positions.shape)
    return positions(cells, "cell", minimum.ids, target)


def test_our_losses_conform(points):
    cells, theta = {"cell": points["relaxed cell"]}, points["relaxed cell"].potential.theta
    found = testing.check_loss(moved_target(cells), cells)
    assert found["gradient"] < 1e-5
    assert found["curvature"] > -1e-10
    assert testing.check_loss(volume_term(cells), cells)["gradient"] < 1e-5
    assert testing.check_loss(Prior(1.01 * theta, np.diag(1 / theta**2)), cells)["gradient"] < 1e-9
    fixed = {"cell": points["Lennard-Jones"]}
    assert set(testing.check_loss(UserTerm("cell", pulled), fixed)) == {"gradient"}
    assert testing.check_loss(moved_target(fixed), fixed)["gradient"] < 1e-5


@dataclass(frozen=True)
class BrokenTerm:
    """A term with something done to what it contributes."""

    term: object
    wrong: object
    name: str = "broken"

    def value(self, cells):
        return self.term.value(cells)

    def contribution(self, cells, tol, curvature):
        return self.wrong(self.term.contribution(cells, tol, curvature), curvature)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda found, bent: replace(found, gradient=1.001 * found.gradient), "the gradient of broken along δΘ"),
        (lambda found, bent: Contribution(2 * found.value, found.gradient), "`value` is"),
        (
            lambda found, bent: replace(found, gradient=(1 + bent) * found.gradient),
            "the gradient with curvature differs",
        ),
        (lambda found, bent: replace(found, curvature=-np.eye(6) if bent else None), "the lowest eigenvalue"),
        (lambda found, bent: replace(found, curvature=np.triu(np.ones((6, 6))) if bent else None), "not symmetric"),
    ],
)
def test_broken_losses_are_caught(points, wrong, message):
    cells = {"cell": points["relaxed cell"]}
    with pytest.raises(ConformanceError, match=message):
        testing.check_loss(BrokenTerm(volume_term(cells), wrong), cells)


def test_a_loss_that_leaves_the_cell_out_is_caught(points):
    """Positions follow the cell: a gradient by positions alone, of a loss that holds the volume too, is not enough."""
    cells = {"cell": points["relaxed cell"]}

    def held(minimum):
        value, weights = pulled(minimum)
        return value + 0.1 * minimum.engine.volume, weights

    with pytest.raises(ConformanceError, match="such as that on the cell"):
        testing.check_loss(UserTerm("cell", held), cells)


def test_our_observables_conform(points):
    cells = {"cell": points["relaxed cell"]}
    found = testing.check_observable(lambda now, order: enthalpy(now["cell"], 1e-7, order), cells)
    assert found["gradient"] < 1e-6
    assert found["hessian"] < 1e-4
    assert set(testing.check_observable(lambda now, order: volume(now["cell"], 1e-8, order), cells)) == {"gradient"}
    ids = tuple(map(int, cells["cell"].ids[:2]))
    # Measured: up to 1.6e-5, depending on what the shared cell went through before; its own differences leave as much.
    assert (
        testing.check_observable(lambda now, order: distance(now["cell"], ids, 1e-8, order), cells)["gradient"] < 5e-5
    )
    fixed = {"cell": points["SNAP"]}
    assert testing.check_observable(lambda now, order: enthalpy(now["cell"], 1e-7, order), fixed)["hessian"] < 1e-4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda found, cell: replace(found, gradient=1.001 * found.gradient), "the gradient along δΘ"),
        (lambda found, cell: replace(found, hessian=found.hessian * 1.01), "d²f/dΘ² δΘ"),
        (
            lambda found, cell: replace(found, hessian=cell.mixed.bare_second_derivative()),
            "the contribution of relaxation",
        ),
        (lambda found, cell: replace(found, value=found.value + 1e-3), "the value is"),
    ],
)
def test_broken_observables_are_caught(points, wrong, message):
    cells = {"cell": points["relaxed cell"]}

    def measure(now, order):
        found = enthalpy(now["cell"], 1e-7, order)
        return wrong(found, now["cell"]) if order else found

    with pytest.raises(ConformanceError, match=message):
        testing.check_observable(measure, cells)


def test_the_kit_is_public_and_needs_no_pytest():
    script = "import sys, lammps_implicit.testing as kit; print('pytest' in sys.modules, len(kit.__all__))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "13"]
    assert all(getattr(testing, name).__doc__ for name in testing.__all__)
    assert issubclass(ConformanceError, AssertionError)
