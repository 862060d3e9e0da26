"""Engines that are one function: against exact derivatives in JAX, and what is left after errors."""

import json
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from mpi4py import MPI

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.errors import OutputError, PotentialError
from lammps_implicit.evaluators import Evaluator, SerialEvaluator
from lammps_implicit.potentials import PlainPotential
from lammps_implicit.structures import from_ase

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from test_autodiff import PARAMETERS, morse_of_all_pairs, relative, vacancy

    from lammps_implicit import autodiff


@dataclass(kw_only=True)
class Borrowed(SerialEvaluator):
    """The energy of an engine in JAX, without its derivatives; `break_after` changes what it finds."""

    lender: Evaluator
    fault: object = None
    faulty: int = -1
    once: bool = True

    def evaluate(self, positions, cell, theta):
        found = self.lender.evaluate(positions, cell, theta)
        if self.fault is None or self.evaluations.forces < self.faulty:
            return found
        fault, self.fault = self.fault, None if self.once else self.fault
        return fault(*found)

    def break_after(self, count, fault, once=True):
        """Break the evaluation after so many, or all from there on."""
        self.fault, self.faulty, self.once = fault, self.evaluations.forces + count, once


@pytest.fixture(scope="module")
def exact():
    return autodiff.minimum(vacancy(repeat=3), morse_of_all_pairs, PARAMETERS, ftol=1e-11, cell="iso")


def borrowed(exact, patterns=None, linear=("depth",), ftol=1e-10):
    structure, free = from_ase(vacancy(repeat=3))
    parameters = dict(zip(exact.potential.names, exact.potential.theta, strict=True))
    potential = PlainPotential.of(parameters, structure.elements, linear=linear, patterns=patterns)
    engine = Borrowed(comm=MPI.COMM_SELF, structure=structure, free=free, theta=potential.values, lender=exact.engine)
    return Minimum(engine, potential, ftol, np.inf, cell="iso")


def test_derivatives_are_those_of_exact_ones(exact):
    found = borrowed(exact)
    assert found.engine.deck.units == "metal"
    assert found.energy == pytest.approx(exact.energy, abs=1e-9)
    assert np.abs(found.engine.cell - exact.engine.cell).max() < 1e-8
    change = exact.potential.theta * [0.5, -1.0, 0.7]
    assert relative(found.jvp(change, 1e-8), exact.jvp(change, 1e-8)) < 1e-5
    for cell in ("iso", "ortho"):
        ours, theirs = (minimum.jvp(change, 1e-8, cell=cell) for minimum in (found, exact))
        assert relative(ours.displacement, theirs.displacement) < 1e-5
        assert relative(ours.strain, theirs.strain) < 1e-5
    pull = np.random.default_rng(0).normal(0, 1, found.positions.shape)
    assert relative(found.vjp(pull, 1e-8), exact.vjp(pull, 1e-8)) < 1e-5
    assert relative(found.jacobian(1e-8).to_array(), exact.jacobian(1e-8).to_array()) < 1e-5
    assert relative(found.energy_gradient(), exact.energy_gradient()) < 1e-6
    assert relative(found.energy_hessian(1e-8), exact.energy_hessian(1e-8)) < 1e-5


def test_some_parameters_are_differentiated_and_all_installed(exact):
    every, some = borrowed(exact), borrowed(exact, "r0,al*")
    assert some.potential.names == ("alpha", "r0")
    assert some.engine.theta.tolist() == exact.potential.theta.tolist()
    assert some.energy_gradient() == pytest.approx(every.energy_gradient()[[0, 2]])
    with some.excursion([0.01, 0.02]):
        assert some.engine.theta == pytest.approx(exact.potential.theta + np.array([0.01, 0, 0.02]))
    assert json.loads(some.potential.text) == pytest.approx(PARAMETERS)
    with pytest.raises(PotentialError, match="no parameter matches 'beta': labels run from alpha to r0"):
        borrowed(exact, "beta")


def test_a_sweep_costs_one_evaluation_for_what_is_linear(exact):
    minimum = borrowed(exact)
    start = minimum.engine.evaluations.copy()
    minimum.mixed.prepare()
    assert minimum.engine.evaluations.since(start).forces == 1 + 2 * 2 + 2 + 1  # each, a doubled step, and Θ again


def out_of_order(*found):
    raise RuntimeError("out of order\nand more lines")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (out_of_order, r"Borrowed cannot evaluate the atoms \(RuntimeError: out of order\)"),
        (lambda energy, forces, pressure: (np.nan, forces, pressure), "not finite"),
        (lambda energy, forces, pressure: (energy, forces / 0 * 0, pressure), "not finite"),
        (lambda energy, forces, pressure: (energy, forces[1:], pressure), r"shape \(106, 3\)"),
        (lambda energy, forces, pressure: (energy, forces, pressure[0]), r"shape \(3,\)"),
        (lambda energy, forces, pressure: (energy, forces), "not enough values"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_an_engine_does_wrong_is_said_in_one_line(exact, fault, message):
    engine = borrowed(exact).engine
    engine.break_after(0, fault)
    with pytest.raises(LammpsImplicitError, match=message) as told:
        engine.forces()
    assert "\n" not in str(told.value)


VISITS = {
    "installing": lambda m: m.potential.install(m.engine, 0.01 * m.potential.theta),
    "straining": lambda m: m.engine.strain_reference(np.diag([0.01, 0.0, 0.0])),
    "straining for a while": lambda m: m.mixed.coupling(m.freedom),
    "minimising": lambda m: m.engine.minimize(1e-12, 100, 100),
    "visiting": lambda m: m.state_at(0.01 * m.potential.theta, np.zeros_like(m.positions), np.diag([0.01, 0, 0])),
    "relaxing elsewhere": lambda m: m.relaxed_at(0.01 * m.potential.theta, 1e-8, cell="iso"),
    "sweeping": lambda m: m.mixed.prepare(),
}


@pytest.mark.parametrize("visit", VISITS)
@pytest.mark.parametrize("count", [0, 1])
def test_errors_leave_everything_as_it_was(exact, visit, count):
    minimum = borrowed(exact)
    engine = minimum.engine
    if visit == "minimising":
        engine.shift(np.full_like(engine.positions, 0.01) * np.sin(np.arange(107))[:, None])
    before, theta, forces = engine.reference(), engine.theta.copy(), engine.forces()
    energy, pressure = engine.energy, engine.pressure
    engine.break_after(count, out_of_order)
    try:
        VISITS[visit](minimum)
    except LammpsImplicitError as error:
        assert "out of order" in str(error)
    else:
        assert count == 1 and visit in ("installing", "straining")  # of one evaluation only
        return
    assert not engine.void
    assert np.array_equal(engine.theta, theta)
    assert np.array_equal(engine.positions, before.positions)
    assert np.array_equal(engine.cell, before.cell)
    assert engine.forces() == pytest.approx(forces, abs=1e-12)
    assert engine.energy == pytest.approx(energy, abs=1e-10)
    assert engine.pressure == pytest.approx(pressure, abs=1e-12)


def test_an_engine_that_cannot_be_restored_says_so_from_then_on(exact):
    minimum = borrowed(exact)
    engine = minimum.engine
    engine.break_after(2, out_of_order, once=False)
    with pytest.raises(LammpsImplicitError, match="the parameters could not be restored after an error"):
        minimum.mixed.prepare()
    engine.fault = None
    for evaluate in (engine.forces, engine.settle, engine.unstrain, lambda: minimum.jvp([0.1, 0.1, 0.1])):
        with pytest.raises(LammpsImplicitError, match="start again from the deck"):
            evaluate()


def test_minimising_stays_within_its_stride_and_holds_frozen_atoms(exact):
    engine = borrowed(exact).engine
    relaxed, held = engine.positions.copy(), engine.forces()
    engine.free = engine.free.copy()
    engine.free[:5] = False
    engine.shift(0.1 * np.sin(np.arange(3 * 107)).reshape(-1, 3) * engine.free)
    forces = engine.minimize(1e-5, 1000, 1000)
    assert engine.max_abs(forces) <= 1e-5
    assert np.array_equal(forces[:5], np.zeros((5, 3)))
    assert engine.max_abs(engine.nearest_image(engine.positions - relaxed)) < 1e-4
    assert engine.max_abs(held) < 1e-8


def test_parameters_are_written_whole_and_never_over_others(exact, tmp_path):
    potential = borrowed(exact).potential.changed(np.array([0.1, 0.0, 1 / 3]))
    (path,) = potential.write(tmp_path / "tuned", ["from a test"], overwrite=False)
    assert json.loads(path.read_text()) == {
        "comments": ["from a test"],
        "theta": dict(zip(PARAMETERS, potential.theta.tolist(), strict=True)),
    }
    with pytest.raises(OutputError):
        potential.write(tmp_path / "tuned", [], overwrite=False)


@pytest.mark.parallel(nprocs=2)
def test_several_ranks_are_refused_by_all():
    structure, free = from_ase(vacancy())
    with pytest.raises(LammpsImplicitError, match="Borrowed runs in one process: start without mpirun"):
        Borrowed(comm=MPI.COMM_WORLD, structure=structure, free=free, theta=np.ones(1), lender=None)
