"""The command ``barrier`` and its files: against the objects, brute force, and other numbers of ranks."""

import subprocess

import ase.io
import h5py
import numpy as np
import pytest
from commands import program
from hops import FCC
from mpi4py import MPI
from typer.testing import CliRunner

from lammps_implicit import Barrier, LammpsImplicitError, Minimum
from lammps_implicit.cli.app import app
from lammps_implicit.ensembles.ensemble import read_ensemble
from lammps_implicit.ensembles.propagation import propagate
from lammps_implicit.errors import OutputError
from lammps_implicit.observables import (
    Observable,
    differentiate_barrier,
    read_barrier,
    read_derivatives,
    trust_radius,
    write_barrier,
)

DECK = FCC.replace("variable        hop", "variable        alpha index 1.36\nvariable        hop", 1)
DECK = DECK.replace("0.35 1.36 2.87", "0.35 ${alpha} 2.87")


def run(folder, *arguments):
    command = [*program(), "barrier", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a deck, an ensemble, and the result."""
    folder = tmp_path_factory.mktemp("barrier")
    (folder / "in.fcc").write_text(DECK)
    theta = np.array([0.35, 1.36, 2.87])
    np.save(folder / "samples.npy", theta * (1 + 0.002 * np.random.default_rng(1).standard_normal((50, 3))))
    (folder / "printed").write_text(
        run(folder, "in.fcc", "--var-b", "hop=1", "--ensemble", "samples.npy", "--images", 3)
    )
    return folder


@pytest.fixture(scope="module")
def stored(folder):
    return read_barrier(folder / "barrier.h5")


def test_what_is_printed_is_what_is_stored(folder, stored):
    printed = (folder / "printed").read_text()
    assert f"{stored.forward.value:.8g} eV" in printed
    assert "2 by" in printed.split("atoms that move most")[1]
    assert "accuracy" in printed
    deviations = (
        propagate(stored.observables, stored.parameters.theta, read_ensemble(folder / "samples.npy", stored.parameters))
        .distributions["barrier"]
        .deviation
    )
    assert f"{deviations[0]:.4g}, {deviations[1]:.4g} eV" in printed.split("uncertainty of barrier")[1]


def test_states_are_stationary_points_of_the_same_atoms(stored):
    ids = stored.initial.structure.ids
    assert ids.tolist() == sorted(ids)
    for state in (stored.saddle, stored.final):
        assert state.structure.ids.tolist() == ids.tolist()
    assert stored.saddle.energy - stored.initial.energy == pytest.approx(float(stored.forward.value), abs=1e-12)
    assert stored.saddle.energy - stored.final.energy == pytest.approx(float(stored.backward.value), abs=1e-12)
    slope = stored.saddle.energy_gradient - stored.initial.energy_gradient
    assert stored.forward.gradient == pytest.approx(slope, abs=1e-12)
    assert np.linalg.norm(stored.mode) == pytest.approx(1.0, abs=1e-9)
    # The atom that jumps has the largest part in the negative mode.
    assert ids[np.argmax(np.linalg.norm(stored.mode, axis=1))] == 2
    assert stored.attributes["curvature"] < 0


def test_the_gradient_is_that_of_searching_again(folder, stored):
    step, values = 1e-4 * 1.36, []
    for sign in (1, -1):
        more = ["--var", f"alpha={1.36 + sign * step!r}", "--no-path", "--no-energy-hessian"]
        run(folder, "in.fcc", "--var-b", "hop=1", *more, "-o", f"again{sign}.h5", "--ftol", "1e-9")
        values.append(float(read_barrier(folder / f"again{sign}.h5").forward.value))
    which = stored.parameters.names.index("morse 1-1 alpha")
    assert stored.forward.gradient[which] == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6)
    middle = float(stored.forward.value)
    bend = (values[0] - 2 * middle + values[1]) / step**2
    assert stored.forward.hessian[which, which] == pytest.approx(bend, rel=1e-3)
    assert np.all(stored.gradient_errors["barrier"] < 1e-6 * np.abs(stored.forward.gradient).max())
    again = read_barrier(folder / "again1.h5")
    assert again.energy_path is None
    assert again.forward.hessian is None
    assert not (folder / "again1.png").exists()


def test_the_path_is_in_all_files(folder, stored):
    path, frames = stored.energy_path, ase.io.read(folder / "barrier.xyz", index=":")
    assert len(frames) == len(path.energies) == 9
    origin = stored.initial.structure.origin
    for frame, positions, energy in zip(frames, path.positions, path.energies, strict=True):
        assert frame.arrays["id"].tolist() == stored.initial.structure.ids.tolist()
        assert frame.positions == pytest.approx(positions - origin, abs=1e-9)
        assert frame.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    top = path.stations[1]
    assert path.energies[top] == pytest.approx(stored.saddle.energy, abs=1e-9)
    # At its stations a path has the derivatives of the minima and the saddle.
    assert path.energy_gradients[top] == pytest.approx(stored.saddle.energy_gradient, rel=1e-6)
    assert path.energy_gradients[0] == pytest.approx(stored.initial.energy_gradient, rel=1e-6)
    covariance = np.diag((0.01 * stored.parameters.theta) ** 2)
    deviations = path.deviations(covariance)
    assert deviations[0] == 0
    assert deviations[top] == pytest.approx(float(stored.forward.deviation(covariance)), rel=1e-5)
    assert (folder / "barrier.png").read_bytes().startswith(b"\x89PNG")


def test_derivatives_are_read_as_those_of_other_results(folder, stored):
    derivatives = read_derivatives(folder / "barrier.h5")
    assert list(derivatives.observables) == ["barrier", "backward barrier"]
    assert derivatives.observables["barrier"].hessian == pytest.approx(stored.forward.hessian)
    result = CliRunner().invoke(
        app,
        ["propagate", str(folder / "barrier.h5"), "--ensemble", str(folder / "samples.npy"), "-o", f"{folder}/uq.h5"],
    )
    assert result.exit_code == 0, result.output
    arguments = [str(folder / "barrier.h5"), "--ensemble", str(folder / "samples.npy"), "--samples", "2"]
    result = CliRunner().invoke(app, ["validate", *arguments, "-o", str(folder / "validation")])
    assert result.exit_code == 0, result.output
    with h5py.File(folder / "validation" / "shard-0-of-1.h5") as file:
        assert list(file["status"]) == [1, 1]
        true, estimates = file["true"][()], file["estimates"][()]
    # Searched again, the barriers are those that derivatives predict, better to second order than to first.
    missed = [np.abs(estimates[:, :, order] - true).max() for order in (0, 1)]
    assert missed[1] < 0.1 * missed[0]


def test_trust_radii_are_where_the_second_order_is_a_tenth():
    rng = np.random.default_rng(0)
    theta, gradient, half = rng.normal(size=4), rng.normal(size=4), rng.normal(size=(4, 4))
    observable = Observable(np.asarray(1.0), gradient, "eV", half + half.T)
    radius = trust_radius(observable, theta)
    changes = radius.scattered * theta * rng.standard_normal((200_000, 4))
    first, second = (np.sqrt(np.mean(term**2)) for term in observable.terms(changes))
    assert second / first == pytest.approx(0.1, rel=0.02)
    along = theta * (theta * gradient) / np.linalg.norm(theta * gradient)
    first, second = observable.terms(radius.steepest * along)
    assert abs(second / first) == pytest.approx(0.1, rel=1e-9)
    # No other relative change of the same norm has a larger first-order term.
    others = rng.standard_normal((100, 4))
    others *= radius.steepest / np.linalg.norm(others, axis=1, keepdims=True)
    assert np.all(np.abs(observable.terms(theta * others)[0]) <= abs(first))
    assert trust_radius(Observable(np.asarray(1.0), gradient, "eV"), theta) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "the final state is missing"),
        (["--var-b", "hop=0"], r"in.fcc \(hop=default\) and in.fcc \(hop=0\) are the same structure"),
        (["--var-b", "size=3"], "107 atoms instead of 31"),
        (["--var-b", "alpha=1.37"], "different potentials"),
        (["--var-b", "hop"], "--var-b hop: write NAME=VALUE"),
        (["--var-b", "hop=1", "--ensemble", "nothing.npy"], "does not exist"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(folder, options, message):
    output = folder / "bad.h5"
    result = CliRunner().invoke(app, ["barrier", str(folder / "in.fcc"), *options, "-o", str(output)])
    assert isinstance(result.exception, LammpsImplicitError)
    with pytest.raises(LammpsImplicitError, match=message):
        raise result.exception
    assert not list(folder.glob("*bad*"))


def test_existing_files_are_kept(folder):
    (folder / "kept.xyz").write_text("mine")
    arguments = ["barrier", str(folder / "in.fcc"), "--var-b", "hop=1", "-o", str(folder / "kept.h5")]
    assert isinstance(CliRunner().invoke(app, arguments).exception, OutputError)
    assert (folder / "kept.xyz").read_text() == "mine"
    assert not (folder / "kept.h5").exists()


def test_cells_that_answer_have_a_migration_volume(folder):
    printed = run(folder, "in.fcc", "--var-b", "hop=1", "-o", "iso.h5", "--cell", "iso", "--no-path")
    found, volumes = read_barrier(folder / "iso.h5"), []
    for state in (found.initial, found.saddle):
        volumes.append(np.linalg.det(state.structure.cell))
    assert float(found.observables["migration volume"].value) == pytest.approx(volumes[1] - volumes[0], rel=1e-9)
    assert "migration volume" in printed


@pytest.mark.parallel(nprocs=2)
def test_two_ranks_write_what_one_writes(tmp_path):
    folder = MPI.COMM_WORLD.bcast(tmp_path)
    if MPI.COMM_WORLD.rank == 0:
        (folder / "in.fcc").write_text(DECK)
    MPI.COMM_WORLD.barrier()
    files = []
    for comm, name in ((MPI.COMM_WORLD, "both.h5"), (MPI.COMM_SELF, f"alone{MPI.COMM_WORLD.rank}.h5")):
        first, last = (Minimum.from_deck(folder / "in.fcc", comm, variables={"hop": hop}) for hop in "01")
        options = {"images": 3, "path": True, "path_gradients": True, "across": 0.02}
        with first, last, Barrier.between(first, last, **options) as found:
            write_barrier(folder / name, differentiate_barrier(found))
        files.append(read_barrier(folder / name))
    two, one = files
    assert two.forward.value == pytest.approx(one.forward.value, abs=1e-9)
    assert two.forward.gradient == pytest.approx(one.forward.gradient, rel=1e-6)
    scaled = [found.forward.hessian * np.outer(*[found.parameters.theta] * 2) for found in files]
    assert scaled[0] == pytest.approx(scaled[1], abs=1e-4 * np.abs(scaled[1]).max())
    edge = one.saddle.structure.cell[0, 0]
    apart = (two.saddle.structure.positions - one.saddle.structure.positions) / edge
    assert edge * np.abs(apart - np.rint(apart)).max() < 1e-5
    assert abs(np.sum(two.mode * one.mode)) == pytest.approx(1.0, abs=0.02)
    assert two.energy_path.energies == pytest.approx(one.energy_path.energies, abs=5e-3)
    top = two.energy_path.stations[1]
    assert two.energy_path.energy_gradients[top] == pytest.approx(two.saddle.energy_gradient, rel=1e-6)
