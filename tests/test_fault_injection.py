"""An error at any engine call of any public method leaves a minimum as it was, or void and saying so."""

import contextlib

import numpy as np
import pytest
from conftest import TA_BULK
from serial_engines import jax_engine, jax_minimum, numpy_minimum

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.errors import ConvergenceError, DeckError

SMALL = TA_BULK.replace("minimize", "group vacancy id 1\ndelete_atoms group vacancy compress no\nminimize")
"""15 atoms."""

LENNARD_JONES = """\
units metal
lattice fcc 5.3
region cell block 0 2 0 2 0 2
create_box 1 cell
create_atoms 1 box
mass 1 39.95
group vacancy id 1
delete_atoms group vacancy compress no
pair_style lj/cut 5.0
pair_modify shift yes
pair_coeff 1 1 0.0104 3.4
minimize 0 1e-10 1000 10000
"""


def _pull(minimum):
    pull = np.cos(minimum.ids[:, None] * np.array([1.0, 2.0, 3.0]))
    return pull - pull.mean(axis=0)


def _search(minimum):
    """Search for saddles, whether or not there are any."""
    with contextlib.suppress(ConvergenceError):
        minimum.saddles(1)


def _calculated(minimum):
    """Energy and stress of atoms elsewhere; errors become those of ASE's calculators."""
    atoms = minimum.calculator().get_atoms()
    atoms.rattle(0.05, seed=1)
    atoms.get_stress()


def _change(minimum):
    theta = minimum.potential.theta
    return 1e-3 * np.cos(np.arange(len(theta))) * np.abs(theta)


METHODS = {
    "jvp": lambda m: m.jvp(_change(m), 1e-5),
    "jvp with cell": lambda m: m.jvp(_change(m), 1e-5, cell="iso"),
    "vjp": lambda m: m.vjp(_pull(m), 1e-5),
    "vjp with cell": lambda m: m.vjp(_pull(m), 1e-5, cell="iso", strain_cotangent=[1.0]),
    "jacobian": lambda m: m.jacobian(1e-3),
    "jacobian with cell": lambda m: m.jacobian(1e-3, cell="iso"),
    "dense jacobian": lambda m: m.jacobian(1e-3, "dense"),
    "strain_jacobian": lambda m: m.strain_jacobian(1e-5),
    "volume_gradient": lambda m: m.volume_gradient(1e-5),
    "energy_gradient": lambda m: m.energy_gradient(),
    "energy_hessian": lambda m: m.energy_hessian(1e-3),
    "relaxation_hessian": lambda m: m.relaxation_hessian(1e-3, cell="iso"),
    "cell_system": lambda m: m.cell_system(1e-5),
    "free_cell_system": lambda m: m.free_cell_system(1e-5),
    "natural_coupling": lambda m: m.natural_coupling(),
    "softest_mode": lambda m: m.softest_mode(),
    "softest_modes": lambda m: m.softest_modes(),
    "absurdities": lambda m: m.absurdities(),
    "preconditioned": lambda m: m.preconditioned(_pull(m)),
    "relax": lambda m: m.relax(1e-11),
    "relax with cell": lambda m: m.relax(1e-11, cell="ortho"),
    "relaxed_at": lambda m: m.relaxed_at(_change(m)),
    "relaxed_at with cell": lambda m: m.relaxed_at(_change(m), cell="iso"),
    "state_at": lambda m: m.state_at(_change(m), 1e-3 * _pull(m), 1e-3 * np.eye(3), gradient=True),
    "energy_at": lambda m: m.energy_at(_change(m), 1e-3 * _pull(m)),
    "expansion": lambda m: m.expansion(3, cell="iso").predict(_change(m)),
    "third_derivative": lambda m: m.propagate(m.potential.theta + np.outer([-1, 0.5, 1], _change(m)), order=3),
    "follow": lambda m: m.follow(m.potential.theta + _change(m)),
    "settle": lambda m: m.settle(),
    "forget": lambda m: m.forget(),
    "null_space": lambda m: m.null_space(),
    "sensitivity": lambda m: m.sensitivity(1e-3, cell="iso"),
    "saddles": lambda m: _search(m),
    "calculator": lambda m: _calculated(m),
    "free_energy": lambda m: m.free_energy([20.0], method="exact"),
    "free_energy by probes": lambda m: m.free_energy([20.0], False, probes=2),
    "modes": lambda m: m.modes(2),
}
"""Every public method that uses the engine."""

CALLS = (1, 2, 3, 5, 8, 13, 21, 34)
"""Which call of the engine fails."""


class InjectedError(DeckError):
    """What is raised."""


def _state(minimum):
    """What LAMMPS says at the reference, evaluated anew, and what is kept of it."""
    engine = minimum.engine
    forces = engine.forces().copy()
    return {
        "energy": engine.energy,
        "kept energy": minimum.energy,
        "forces": forces,
        "pressure": engine.pressure,
        "cell": engine.cell,
        "positions": minimum.positions.copy(),
        "theta": minimum.potential.theta.copy(),
        "ids": minimum.ids.copy(),
        "moved by other parameters": minimum.mixed.times(_change(minimum)),
    }


def test_every_public_method_is_tried():
    engineless = {
        "close",
        "take_in",
        "from_deck",
        "from_ase",
        "gather",
        "strain",
        "twin",
        "excursion",
        "relax_away",
        "predicted_at",
    }
    public = {name for name in dir(Minimum) if not name.startswith("_") and callable(getattr(Minimum, name))}
    tried = {name.split()[-1] if name.startswith("dense") else name.split()[0] for name in METHODS} | {"propagate"}
    assert public - engineless == tried


def _injected_at(minimum, monkeypatch, method, wanted, after, names):
    """Run a method with the `wanted`-th call of some of the engine's failing; return whether it got there."""
    calls = []

    def failing(real):
        def call(*arguments):
            calls.append(arguments)
            this = len(calls) == wanted
            if this and not after:
                raise InjectedError("injected")
            result = real(*arguments)
            if this:
                raise InjectedError("injected")
            return result

        return call

    for name in names:
        monkeypatch.setattr(minimum.engine, name, failing(getattr(minimum.engine, name)))
    try:
        method(minimum)
    except LammpsImplicitError as error:
        assert "injected" in str(error)
        return True
    finally:
        monkeypatch.undo()
    assert len(calls) < wanted  # no error was swallowed
    return False


DECKS = {"SNAP": SMALL, "Lennard-Jones": LENNARD_JONES}
SERIAL = {"NumPy": ("evaluate", "list_neighbours"), "JAX": ("_run", "list_neighbours")}
"""Engines in one process, and what of them fails."""

PLACES = [
    pytest.param(deck, after, marks=[] if (deck in ("SNAP", "JAX")) is after else pytest.mark.slow)
    for deck in (*DECKS, *SERIAL)
    for after in (False, True)
]
"""Engines, and whether what fails is carried out."""


@pytest.fixture(scope="module")
def engines():
    """What makes a minimum, by name of the engine in one process."""
    exact = jax_engine()
    return {"NumPy": numpy_minimum, "JAX": lambda: jax_minimum(*exact)}


@pytest.mark.parametrize(("deck", "after"), PLACES)
@pytest.mark.parametrize("name", METHODS)
def test_state_after_an_error(write_deck, monkeypatch, request, deck, after, name):
    if deck in DECKS:
        path, names = write_deck(DECKS[deck]), ("command",)
        start = lambda: Minimum.from_deck(path, ftol=1e-9, cell="iso")  # noqa: E731
    else:
        start, names = request.getfixturevalue("engines")[deck], SERIAL[deck]
    minimum, intact = start(), 0
    before = _state(minimum)
    for wanted in CALLS:
        minimum.forget()
        if not _injected_at(minimum, monkeypatch, METHODS[name], wanted, after, names):
            break
        if minimum.engine.void:  # the error came where the state before was being restored: that is said
            assert "could not be restored" in minimum.engine.void
            with pytest.raises(LammpsImplicitError, match="start again from the deck"):
                minimum.jvp(_change(minimum))
            minimum.close()
            minimum = start()
            continue
        intact += 1
        for what, value in _state(minimum).items():
            scale = max(1.0, float(np.abs(before[what]).max()))
            assert np.abs(np.asarray(value) - before[what]).max() <= 1e-12 * scale, (wanted, what)
    minimum.close()
    assert intact or name in ("settle", "preconditioned", "null_space", "energy_gradient", "absurdities")
