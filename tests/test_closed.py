"""After an engine has been closed: one clear error from everything that would ask it, and all results still there."""

import inspect

import numpy as np
import pytest
from conftest import TA_VACANCY
from serial_engines import jax_engine, jax_minimum, numpy_minimum

from lammps_implicit import Minimum
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators import Engine

PRODUCTS = {
    "jvp": lambda m: m.jvp(np.ones_like(m.potential.theta)),
    "vjp": lambda m: m.vjp(np.ones_like(m.positions)),
    "jacobian": lambda m: m.jacobian(1e-7),
    "sensitivity": lambda m: m.sensitivity(),
    "energy_gradient": lambda m: m.energy_gradient(),
    "energy_hessian": lambda m: m.energy_hessian(),
    "strain_jacobian": lambda m: m.strain_jacobian(),
    "volume_gradient": lambda m: m.volume_gradient(),
    "preconditioned": lambda m: m.preconditioned(np.ones_like(m.positions)),
    "softest_mode": lambda m: m.softest_mode(),
    "hessian": lambda m: m.hessian.product(np.ones_like(m.positions)),
    "null_space": lambda m: m.null_space(),
    "mixed": lambda m: m.mixed.to_array(),
    "relax": lambda m: m.relax(1e-9),
    "strain": lambda m: m.strain("iso"),
    "expansion": lambda m: m.expansion(2),
    "relaxed_at": lambda m: m.relaxed_at(np.zeros_like(m.potential.theta)),
    "excursion": lambda m: m.excursion(np.zeros_like(m.potential.theta)).__enter__(),
    "energy_at": lambda m: m.energy_at(np.zeros_like(m.potential.theta), np.zeros_like(m.positions)),
}


KEPT = ("reference", "shift", "parameter_stem", "skin", "computed", "installed", "installs", "unwrapped")
"""What an engine knows without LAMMPS."""


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    deck = tmp_path_factory.mktemp("closed") / "in.ta"
    deck.write_text(TA_VACANCY)
    with Minimum.from_deck(deck) as minimum:
        mixed = minimum.mixed
        mixed.prepare()
        results = minimum.jacobian(1e-5), minimum.jvp(np.ones(31)), minimum.energy, minimum.positions.copy()
    minimum.close()  # a second time
    return minimum, mixed, results


@pytest.mark.parametrize("product", PRODUCTS)
def test_products_raise(closed, product):
    with pytest.raises(LammpsImplicitError, match="LAMMPS has been closed"):
        PRODUCTS[product](closed[0])


@pytest.fixture(scope="module")
def others():
    """Minima of engines in one process that have been closed, with operators and results that were kept."""
    found = {}
    for name, minimum in {"Argon": numpy_minimum(), "AutodiffEvaluator": jax_minimum(*jax_engine())}.items():
        with minimum:
            found[name] = minimum, minimum.hessian, minimum.mixed, minimum.energy, minimum.jvp([1e-3, 1e-3])
    return found


@pytest.mark.parametrize("name", ["Argon", "AutodiffEvaluator"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_products_of_other_engines_raise(others, name, product):
    with pytest.raises(LammpsImplicitError, match=f"{name} has been closed"):
        PRODUCTS[product](others[name][0])


@pytest.mark.parametrize("name", ["Argon", "AutodiffEvaluator"])
def test_other_engines_and_their_operators_raise_and_results_stay(others, name):
    minimum, hessian, mixed, energy, moved = others[name]
    engine = minimum.engine
    for work in (
        engine.forces,
        engine.settle,
        engine.unstrain,
        lambda: engine.strained_forces(np.zeros((3, 3))),
        lambda: engine.strain_reference(np.zeros((3, 3))),
        lambda: engine.minimize(1e-8, 1, 1),
        lambda: engine.install(minimum.potential.theta),
        lambda: hessian.product(np.ones_like(minimum.positions)),
        lambda: mixed.times(np.ones(2)),
    ):
        with pytest.raises(LammpsImplicitError, match=f"{name} has been closed"):
            work()
    minimum.close()  # a second time
    assert minimum.energy == energy
    assert moved.shape == minimum.positions.shape


@pytest.mark.parametrize("call", ["times", "transposed_times", "energy_gradient", "gradients_transposed_times"])
def test_operators_that_were_kept_raise(closed, call):
    argument = {"times": [np.ones(31)], "energy_gradient": []}.get(call, [np.ones((53, 3))])
    with pytest.raises(LammpsImplicitError, match="LAMMPS has been closed"):
        getattr(closed[1], call)(*argument)


@pytest.mark.parametrize("name", sorted(name for name in vars(Engine) if not name.startswith("_") and name not in KEPT))
def test_what_the_evaluator_asks_lammps_raises(closed, name):
    engine = closed[0].engine
    arguments = {
        "reissue": [["run 0"]],
        "set_reference": [engine.reference()._replace(cell=np.eye(3))],
        "strained_forces": [np.zeros((3, 3))],
        "strain_reference": [np.zeros((3, 3))],
        "minimize": [1e-8, 1, 1],
        "compute_atom": ["x"],
    }
    with pytest.raises(LammpsImplicitError, match="LAMMPS has been closed"):
        value = getattr(engine, name)
        value(*arguments.get(name, [])) if callable(value) else value


@pytest.mark.parametrize(
    "name",
    ["n_atoms", "n_types", "energy", "pressure", "triclinic", "periodic", "cell", "origin", "volume", "packages"],
)
def test_properties_of_the_evaluator_raise(closed, name):
    assert isinstance(inspect.getattr_static(type(closed[0].engine), name), property)
    with pytest.raises(LammpsImplicitError, match="LAMMPS has been closed"):
        getattr(closed[0].engine, name)


def test_results_stay(closed):
    minimum, _, (jacobian, change, energy, positions) = closed
    assert jacobian.dot(np.ones(31)) == pytest.approx(change, abs=1e-3 * np.abs(change).max())
    assert minimum.energy == energy
    assert np.array_equal(minimum.positions, positions)
    assert len(minimum.potential.theta) == 31


def test_no_array_is_memory_of_lammps(ta_vacancy):
    """Arrays own their memory, or are views of arrays that do: those of LAMMPS lie on pointers of ctypes."""
    engine = ta_vacancy.engine
    atoms = engine.neighbourhood()
    arrays = [
        *(engine.forces(), engine.settle(), engine.positions, engine.free, engine.ids, engine.types, engine.cell),
        *(engine.origin, engine.pressure, engine.masses(), *engine.reference(), engine.unstrain()),
        *(atoms.positions, atoms.ids, atoms.types, atoms.free),
        *(ta_vacancy.mixed.to_array(), ta_vacancy.mixed.gradients_array(), ta_vacancy.mixed.collect()),
        *(ta_vacancy.jvp(np.ones(31)), ta_vacancy.vjp(np.ones((53, 3))), ta_vacancy.jacobian(1e-5).to_array()),
    ]
    for array in arrays:
        if isinstance(array, np.ndarray):
            while isinstance(array.base, np.ndarray):
                array = array.base
            assert array.flags.owndata


def test_positions_and_ids_cannot_be_changed_in_place(ta_vacancy):
    for array in (ta_vacancy.positions, ta_vacancy.ids):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
