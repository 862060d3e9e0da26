"""Results say how accurate they are found to be, and are refused where their own checks contradict them."""

from dataclasses import dataclass, replace

import h5py
import numpy as np
import pytest
from conftest import TA_VACANCY
from mpi4py import MPI
from typer.testing import CliRunner

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.cli.app import app
from lammps_implicit.conformance.costs import estimate_costs
from lammps_implicit.errors import AccuracyError, NotAMinimumError
from lammps_implicit.operators import DifferencedHessian, descriptor_derivative
from lammps_implicit.operators.coupling import STRAIN_STEPS
from lammps_implicit.response.statistics import Statistics, combined
from lammps_implicit.solvers.interface import LinearSystem
from lammps_implicit.solvers.nullspace import NullSpace
from lammps_implicit.testing.harmonic import Harmonic

ATOMS = 6
# Ne and Xe in rock-salt order, Lennard-Jones without a shift: a strain of 5e-5 carries a pair across its cutoff.
CUTOFF_WITHIN_THE_STRAIN = """\
units           metal
atom_style      atomic
lattice         fcc 8 origin 0 0 0
region          cell block 0 2 0 2 0 2
create_box      2 cell
create_atoms    1 box
lattice         fcc 8 origin 0.5 0 0
create_atoms    2 box
mass            1 20.18
mass            2 131.29
pair_style      lj/cut 10
pair_coeff      1 1 0.003705453303 2.73 6
pair_coeff      1 2 0.006323399148 3.472 8
pair_coeff      2 2 0.02206037315 3.92 10
fix             press all box/relax iso 0.0 vmax 0.001
min_style       cg
minimize        1e-25 1e-25 5000 10000
unfix           press
displace_atoms  all random 0.1 0.1 0.1 5
minimize        0 1e-9 50000 100000
min_style       fire
minimize        0 1e-9 50000 100000
"""
# Every force vanishes by symmetry, and so does its derivative by every parameter.
HCP = """\
units metal
lattice custom 1.0 a1 2.8 0 0 a2 1.4 2.42487113 0 a3 0 0 4.5 basis 0 0 0 basis 0.33333333333 0.3333333333333 0.5
region cell prism 0 5.6 0 4.84974226 0 4.5 2.8 0 0 units box
create_box 1 cell
create_atoms 1 region cell
mass 1 91
pair_style hybrid/overlay lj/mdf 5.0 7.0 buck/mdf 5.0 6.5
pair_coeff 1 1 lj/mdf 0.20 2.55
pair_coeff 1 1 buck/mdf 30.0 0.5 4.0
minimize 0 1e-10 10000 100000
"""


@dataclass(kw_only=True)
class Kinked(Harmonic):
    """`Harmonic` with forces only, and a further force on one component beyond a displacement of 3e-6 Å."""

    jump: float = 0.0
    stiffer: float = 0.0

    @property
    def exact(self):
        return False

    def forces(self, displacement=None):
        forces = super().forces(displacement)
        u = (self.positions - self.rest + (0.0 if displacement is None else displacement))[2, 0]
        if u > 3e-6:
            forces[2, 0] += self.jump - self.stiffer * (u - 3e-6)
        return forces


def _kinked(**kink):
    random = np.random.default_rng(0).standard_normal((3 * ATOMS, 3 * ATOMS))
    engine = Kinked.of(np.eye(3 * ATOMS) + 0.1 * random @ random.T, MPI.COMM_SELF)
    for name, value in kink.items():
        setattr(engine, name, value)
    return engine


def test_a_kink_within_the_step_is_stepped_around():
    engine = _kinked(stiffer=5.0)
    hessian = DifferencedHessian(engine, engine.settle())
    hessian.calibrate(np.random.default_rng(1).uniform(-1, 1, (ATOMS, 3)))
    v = np.random.default_rng(2).standard_normal((ATOMS, 3))
    true = (engine.matrix @ v.reshape(-1)).reshape(v.shape)
    error = lambda product: np.linalg.norm(product - true) / np.linalg.norm(true)  # noqa: E731
    assert error(hessian.central(v, 1e-4)) > 0.01
    assert error(hessian.product(v, 1e-9)) < 1e-7
    assert hessian.measured is not None and hessian.measured.step <= 1e-6
    assert error(hessian.second(v)) < 1e-6


def test_smooth_forces_cost_no_measurement():
    engine = _kinked()
    hessian = DifferencedHessian(engine, engine.settle())
    hessian.calibrate(np.random.default_rng(1).uniform(-1, 1, (ATOMS, 3)))
    v, before = np.random.default_rng(2).standard_normal((ATOMS, 3)), engine.evaluations.forces
    for _ in range(3):
        hessian.product(v, 1e-10)
    assert hessian.measured is None
    assert engine.evaluations.forces - before <= 3 * 2 + 2


def test_a_step_across_a_cutoff_makes_no_saddle_of_a_minimum():
    engine = _kinked(jump=1e-3)
    hessian = DifferencedHessian(engine, engine.settle())
    hessian.calibrate(1e-3 * np.random.default_rng(1).uniform(-1, 1, (ATOMS, 3)))
    v = np.zeros((ATOMS, 3))
    v[2, 0] = 1.0
    system = LinearSystem(
        engine, lambda v, *_: hessian.central(v, 1e-5), np.copy, NullSpace(engine, []), 1.0, measure=hessian.measure
    )
    with pytest.raises(NotAMinimumError, match="negative curvature"):
        replace(system, measure=None).product(v, 0.0)
    assert system.product(v, 0.0)[1] == pytest.approx(engine.matrix[6, 6], rel=1e-6)


def test_strain_derivatives_with_a_cutoff_within_the_step(write_deck):
    with Minimum.from_deck(write_deck(CUTOFF_WITHIN_THE_STRAIN), cell="iso", ftol=1e-9) as minimum:
        theta = minimum.potential.theta
        dtheta = 1e-5 * np.random.default_rng(3).standard_normal(len(theta)) * theta
        up, down = (minimum.relaxed_at(sign * dtheta, 1e-9, cell="iso") for sign in (1, -1))
        expected = (np.linalg.det(up.cell) - np.linalg.det(down.cell)) / 2
        assert minimum.volume_gradient(1e-6) @ dtheta == pytest.approx(expected, rel=1e-4)
        assert minimum.statistics.missed < 3  # right here; a change that carries pairs across their cutoffs sees others
        assert "strains of 0.001 see others" in minimum.statistics.verdict
        # What one step of the usual length would have given.
        unchecked = minimum.response.cell_system(minimum.strain("iso"), 1e-6, steps=STRAIN_STEPS[:1])
        assert unchecked.volume_gradient @ dtheta != pytest.approx(expected, rel=0.05)


IRON = """\
units metal
lattice bcc 2.855
region cell block 0 2 0 2 0 2
create_box 1 cell
create_atoms 1 box
mass 1 55.845
pair_style eam/fs
pair_coeff * * Fe_mm.eam.fs Fe
minimize 0 1e-10 1000 10000
"""
COPPER = IRON.replace("bcc 2.855", "fcc 3.615").replace("55.845", "63.55").replace("eam/fs", "eam/alloy")
COPPER = COPPER.replace("Fe_mm.eam.fs Fe", "Cu_zhou.eam.alloy Cu")


def test_tables_whose_second_derivative_jumps_are_told(write_deck):
    """The derivative is right for a change of 1e-6; one of 1e-3 to 1e-2 sees another, by about as much as is said."""
    with Minimum.from_deck(write_deck(IRON), cell="iso", ftol=1e-9) as minimum:
        change = minimum.potential.theta * [1.0, 0.0]
        slope = minimum.volume_gradient(1e-6) @ change

        def seen(size):
            up, down = (minimum.relaxed_at(sign * size * change, 1e-9, cell="iso").cell for sign in (1, -1))
            return (np.linalg.det(up) - np.linalg.det(down)) / (2 * size)

        assert seen(1e-5) == pytest.approx(slope, rel=1e-4)
        assert 1e-3 < seen(3e-3) / slope - 1 < 1e-2
        told = float(minimum.statistics.verdict.partition("strains of 0.001 see others, by ")[2].split()[0])
        assert told == pytest.approx(100 * (seen(3e-3) / slope - 1), rel=0.3)
        minimum.jacobian(1e-5, cell="iso")  # from what is known
        assert "see others" in minimum.statistics.verdict
    with Minimum.from_deck(write_deck(COPPER), cell="iso", ftol=1e-9) as minimum:
        minimum.cell_system(1e-6)
        assert minimum.statistics.verdict == "good"


@pytest.mark.parametrize("cell", ["iso", "ortho"])
def test_the_cost_of_a_cell_is_about_what_is_estimated(write_deck, cell):
    with Minimum.from_deck(write_deck(COPPER), cell=cell) as minimum:
        strains = len(minimum.freedom.names)
        costs = estimate_costs(minimum.engine, minimum.potential, "", strains).evaluations
        (estimated,) = (count for product, count in costs.items() if "with the cell" in product)
        minimum.cell_system(1e-5, cell)
        counted = minimum.statistics.evaluations.forces
        assert 4 * strains + 4 <= counted <= estimated <= 3 * counted


def _noisy(engine, monkeypatch, size):
    """Add to the forces of an engine a function of positions that looks like noise."""
    real = engine.forces

    def forces(displacement=None):
        moved = engine.positions + (0.0 if displacement is None else displacement)
        return real(displacement) + size * np.sin(1e11 * moved) * engine.free

    monkeypatch.setattr(engine, "forces", forces)


def test_forces_too_noisy_for_the_tolerance(write_deck, monkeypatch):
    with Minimum.from_deck(write_deck(), accept_accuracy=0.0) as minimum:
        dtheta, before = 0.01 * minimum.potential.theta, minimum.positions.copy()
        truth = minimum.jvp(dtheta, 1e-8)
        assert minimum.statistics.verdict == "good" and 0 < minimum.statistics.accuracy < 3e-8
        minimum.forget()
        _noisy(minimum.engine, monkeypatch, 1e-8)
        with pytest.raises(AccuracyError, match="--accept-accuracy"):
            minimum.jvp(dtheta, 1e-9)
        assert minimum.statistics.verdict.startswith("refused: the linear solve is accurate to")
        assert np.array_equal(minimum.positions, before)
        found = minimum.jvp(dtheta, 1e-2)
        assert minimum.statistics.verdict == "good"
        assert np.linalg.norm(found - truth) < 0.02 * np.linalg.norm(truth)


def test_the_overall_quality_is_the_worst_at_this_reference(write_deck, monkeypatch):
    with Minimum.from_deck(write_deck(), accept_accuracy=0.5) as minimum:
        dtheta = 0.01 * minimum.potential.theta
        assert minimum.overall.verdict == "not checked"
        minimum.jvp(dtheta, 1e-6)
        assert minimum.overall.verdict == "good"
        _noisy(minimum.engine, monkeypatch, 1e-8)
        with minimum.excursion(0.001 * dtheta):
            minimum.jvp(dtheta, 1e-9)
            assert minimum.overall.verdict.startswith("limited: the linear solve")
            minimum.jvp(dtheta, 1e-2)
            assert minimum.statistics.verdict == "good" and minimum.overall.verdict.startswith("limited")
            assert "vacancy: the linear" in combined({"vacancy": minimum.overall, "none": Statistics("", 0)}).verdict
        assert minimum.overall.verdict == "good"


def test_a_refused_jacobian_is_not_kept(write_deck, monkeypatch):
    with Minimum.from_deck(write_deck()) as minimum:
        _noisy(minimum.engine, monkeypatch, 1e-8)
        for _ in range(2):
            with pytest.raises(AccuracyError, match="the Jacobian is accurate to"):
                minimum.jacobian(1e-9)


def test_forces_that_vanish_by_symmetry_are_smooth(write_deck):
    with Minimum.from_deck(write_deck(HCP), cell="ortho") as minimum:
        assert np.abs(minimum.jacobian(1e-4, cell="ortho").strain_jacobian).max() > 1e-3


def test_the_verdict_stands_in_the_file(write_deck, tmp_path):
    result = CliRunner().invoke(app, ["sensitivity", str(write_deck()), "-o", str(tmp_path / "ta.h5")])
    assert result.exit_code == 0, result.output
    with h5py.File(tmp_path / "ta.h5") as file:
        assert file.attrs["verdict"] == "good"
        assert 0 < file.attrs["accuracy"] < 3e-5


@pytest.mark.parametrize("value", [-1e-3, 1.0, np.nan])
def test_an_accuracy_that_cannot_be_accepted(write_deck, value):
    with pytest.raises(LammpsImplicitError, match="accept_accuracy"):
        Minimum.from_deck(write_deck(TA_VACANCY), accept_accuracy=value)


def test_products_with_the_transpose_are_checked_where_they_are_differences(write_deck, monkeypatch):
    monkeypatch.setattr(descriptor_derivative, "MIXED_MEMORY", 0)
    with Minimum.from_deck(write_deck()) as minimum:
        pull = np.random.default_rng(0).standard_normal(minimum.positions.shape)
        minimum.vjp(pull, 1e-6)
        assert minimum.statistics.verdict == "good"
        monkeypatch.setattr(descriptor_derivative, "CENTRAL_STEP", 0.3)  # too long by far
        with pytest.raises(AccuracyError, match="products with Cᵀ are accurate to"):
            minimum.vjp(pull, 1e-6)
