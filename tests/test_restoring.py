"""After a caught error a minimum is as it was before, or says that its state is unknown."""

import numpy as np
import pytest
from conftest import TA_VACANCY
from test_families import EAM, LJ, MORSE, SEVERAL, UF3

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.errors import DeckError, PotentialError
from lammps_implicit.operators import DescriptorDerivative, trial_parameters
from lammps_implicit.operators import descriptor_derivative as from_descriptors

CASES = {
    "SNAP": (TA_VACANCY, None),
    "numbers": (LJ, None),
    "variables": (MORSE, "var:depth,var:width"),
    "EAM": (EAM, None),
    "UF3": (UF3, "2B Nb-Nb 1[0-3]"),
}
SEVERAL_CASE = (SEVERAL, "Ta:[1-2],pod [0-2],morse*r0")

WORK = {
    "mixed derivative": lambda minimum, change: minimum.mixed.times(change),
    "sweep": lambda minimum, change: minimum.mixed.prepare(),
    "second derivative": lambda minimum, change: minimum.mixed.bare_second_derivative(),
    "strains": lambda minimum, change: minimum.natural_coupling(),
    "Jacobian": lambda minimum, change: minimum.jacobian(1e-3),
    "installation": lambda minimum, change: minimum.potential.install(minimum.engine, 1e-3 * change),
}


class FailureError(DeckError):
    """What is injected."""


@pytest.fixture
def fail_at(monkeypatch):
    """Make the k-th call of one of an engine's methods fail, before or after what it does."""

    def inject(engine, method, k, after=False):
        real, calls = getattr(engine, method), []

        def failing(*arguments):
            calls.append(arguments)
            if len(calls) != k:
                return real(*arguments)
            if after:
                real(*arguments)
            raise FailureError(f"injected into {method}")

        monkeypatch.setattr(engine, method, failing)
        return calls

    yield inject


def _change(minimum):
    theta = minimum.potential.theta
    return np.cos(np.arange(len(theta))) * np.abs(theta)


def _told(minimum):
    """Forces and energy where LAMMPS has to evaluate, and products made anew."""
    engine = minimum.engine
    minimum.forget()
    pull = np.cos(minimum.ids[:, None] * np.array([1.0, 2.0, 3.0]))
    pull -= pull.mean(axis=0)
    forces = engine.forces().copy()
    return {
        "energy": engine.energy,
        "forces": forces,
        "pressure": engine.pressure,
        "cell": engine.cell,
        "positions": minimum.positions.copy(),
        "jvp": minimum.jvp(_change(minimum), 1e-6),
        "vjp": minimum.vjp(pull, 1e-6),
    }


def _require_same(found, expected):
    for name, value in expected.items():
        scale = max(1.0, float(np.abs(value).max()))
        assert np.abs(np.asarray(found[name]) - value).max() <= 1e-12 * scale, name


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("after", [False, True])
def test_everything_is_as_before_an_error(write_deck, fail_at, monkeypatch, case, after):
    deck, parameters = CASES[case]
    injected = 0
    with Minimum.from_deck(write_deck(deck), parameters=parameters, ftol=1e-9) as minimum:
        minimum.jvp(_change(minimum), 1e-6)  # fits the springs, which are kept from then on
        before = _told(minimum)
        for what, work in WORK.items():
            for k in (1, 2, 5):
                minimum.forget()
                fail_at(minimum.engine, "command", k, after)
                failed = False
                try:
                    work(minimum, _change(minimum))
                except LammpsImplicitError as error:
                    failed = True
                    assert "injected" in str(error), what
                    # An error in what restores the parameters leaves others, and is told as such.
                    assert bool(minimum.engine.void) is ("could not be restored" in str(error)), what
                monkeypatch.undo()
                if minimum.engine.void:
                    minimum.engine.void = ""
                    minimum.potential.install(minimum.engine, np.zeros_like(minimum.potential.theta))
                elif failed:
                    injected += 1
                elif what == "installation":
                    minimum.potential.install(minimum.engine, np.zeros_like(minimum.potential.theta))
                _require_same(_told(minimum), before)
    assert injected >= 8


def test_descriptors_that_do_not_fit_into_memory(write_deck, fail_at, monkeypatch):
    """C δΘ and Cᵀ v then install trial parameters, or displace atoms."""
    monkeypatch.setattr(from_descriptors, "MIXED_MEMORY", 0)
    with Minimum.from_deck(write_deck(TA_VACANCY), ftol=1e-9) as minimum:
        assert isinstance(minimum.mixed, DescriptorDerivative)
        assert not minimum.mixed.fits
        minimum.jvp(_change(minimum), 1e-6)
        before = _told(minimum)
        for work in (
            lambda: minimum.mixed.times(_change(minimum)),
            lambda: minimum.mixed.transposed_times(np.cos(minimum.positions)),
        ):
            for after in (False, True):
                minimum.forget()
                fail_at(minimum.engine, "command", 1, after)
                with pytest.raises(LammpsImplicitError, match="injected"):
                    work()
                monkeypatch.undo()
                monkeypatch.setattr(from_descriptors, "MIXED_MEMORY", 0)
                _require_same(_told(minimum), before)


@pytest.mark.parametrize(("deck", "parameters"), [CASES["SNAP"], CASES["numbers"], SEVERAL_CASE])
def test_an_interrupted_context_restores_the_parameters(write_deck, deck, parameters):
    with Minimum.from_deck(write_deck(deck), parameters=parameters) as minimum:
        engine, potential = minimum.engine, minimum.potential
        with pytest.raises(KeyboardInterrupt), trial_parameters(potential, engine) as install:
            install(1e-2 * _change(minimum))
            assert engine.energy != pytest.approx(minimum.energy, abs=1e-9)
            raise KeyboardInterrupt
        assert engine.energy == pytest.approx(minimum.energy, rel=1e-13)


def test_parameters_that_lammps_refuses_leave_those_before(write_deck):
    """Also where those before are others than the deck's."""
    with Minimum.from_deck(write_deck(LJ)) as minimum:
        engine, potential = minimum.engine, minimum.potential
        forces = potential.install(engine, 0.01 * potential.theta).copy()
        energy = engine.energy
        bad = np.full(len(potential.theta), np.nan)
        with pytest.raises(PotentialError, match="these parameters cannot be changed after the deck ran"):
            potential.install(engine, bad)
        assert engine.energy == energy
        assert not engine.void
        assert np.array_equal(engine.forces(), forces)
        with pytest.raises(DeckError, match="refused"):
            engine.reissue(["pair_coeff 1 1 9.0 2.0", "pair_coeff 1 1 a b"])
        assert engine.energy == energy
        potential.install(engine, np.zeros(len(potential.theta)))
        assert engine.energy == pytest.approx(minimum.energy, rel=1e-14)


def test_a_line_that_lammps_takes_only_once_leaves_the_potential(write_deck):
    """What brings the potential back then is the whole pair style."""
    with Minimum.from_deck(write_deck(SEVERAL), parameters="zbl*") as minimum:
        engine = minimum.engine
        engine.installed = (["pair_coeff 1 1 zbl 73 74"], *engine.installed[1:])
        with pytest.raises(DeckError, match="refused 'pair_coeff 1 1 zbl 9 8'"):
            engine.reissue(["pair_coeff 1 1 zbl 9 8"])
        minimum.engine.forces()
        assert minimum.engine.energy == pytest.approx(minimum.energy, rel=1e-12)
        assert not minimum.engine.void


def test_what_cannot_be_restored_is_void(write_deck, fail_at, monkeypatch):
    with Minimum.from_deck(write_deck(LJ)) as minimum:
        engine, real, broken = minimum.engine, minimum.engine.command, []

        def breaking(line):
            broken.extend(["now"] if line.startswith("pair_coeff") else [])
            if broken:
                raise DeckError("LAMMPS is gone")
            real(line)

        monkeypatch.setattr(engine, "command", breaking)
        with pytest.raises(LammpsImplicitError, match=r"could not be restored after an error .*LAMMPS is gone") as told:
            minimum.mixed.prepare()
        assert "\n" not in str(told.value)
        assert "start again from the deck" in engine.void
        assert engine.void.count("could not be restored") == 1
        monkeypatch.undo()
        for work in (engine.forces, engine.settle, lambda: engine.reissue([]), lambda: minimum.jvp(_change(minimum))):
            with pytest.raises(LammpsImplicitError, match="start again from the deck"):
                work()


@pytest.mark.parametrize("after", [False, True])
def test_an_evaluation_that_fails_is_not_taken_for_the_reference(write_deck, fail_at, monkeypatch, after):
    with Minimum.from_deck(write_deck(TA_VACANCY)) as minimum:
        engine = minimum.engine
        before = engine.forces().copy()
        fail_at(engine, "command", 1, after)
        with pytest.raises(FailureError):
            engine.forces(1e-3 * np.cos(np.arange(before.size)).reshape(before.shape))
        monkeypatch.undo()
        engine.return_to_reference()
        assert engine.energy == pytest.approx(minimum.energy, rel=1e-14)
        assert np.array_equal(engine.forces(), before)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("k", [1, 2])
def test_a_strain_that_fails_leaves_the_cell(write_deck, fail_at, monkeypatch, k, after):
    with Minimum.from_deck(write_deck(TA_VACANCY)) as minimum:
        engine = minimum.engine
        before, cell = engine.forces().copy(), engine.cell
        fail_at(engine, "command", k, after)
        with pytest.raises(FailureError):
            engine.strain_reference(np.diag([1e-3, 2e-3, 0.0]))
        monkeypatch.undo()
        assert engine.cell == pytest.approx(cell, abs=1e-13)
        assert engine.forces() == pytest.approx(before, abs=1e-12)
        assert engine.energy == pytest.approx(minimum.energy, rel=1e-14)
        fail_at(engine, "command", k, after)
        with pytest.raises(FailureError):
            engine.minimize(1e-8, 10, 10)
        monkeypatch.undo()
        assert engine.forces() == pytest.approx(before, abs=1e-12)


@pytest.mark.parametrize("way", ["unstrain", "set_reference"])
def test_atoms_that_cannot_be_put_back_in_order_make_the_engine_void(write_deck, monkeypatch, way):
    """Outside of any context that restores: springs to points in space have data of each atom."""
    tied = TA_VACANCY.replace("minimize", "fix tether all spring/self 0.5\nminimize")
    with Minimum.from_deck(write_deck(tied)) as minimum:
        engine, reference = minimum.engine, minimum.engine.reference()
        engine.strained_forces(np.diag([1e-3, 0.0, 0.0]))
        present = engine._current_ids
        monkeypatch.setattr(engine, "_current_ids", lambda: present()[::-1])  # as after a change of owners
        arguments = [reference] if way == "set_reference" else []
        with pytest.raises(LammpsImplicitError, match="could not be restored: atoms changed ranks or order"):
            getattr(engine, way)(*arguments)
        monkeypatch.undo()
        assert engine.void.count("could not be restored") == 1
        for work in (engine.forces, lambda: minimum.jvp(_change(minimum)), lambda: minimum.strain("iso")):
            with pytest.raises(LammpsImplicitError, match="start again from the deck"):
                work()
