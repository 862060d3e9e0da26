"""``doctor`` finds what is wrong with an installation, says what to do, and ends with status 1 if it is needed."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import types
from collections import namedtuple

import numpy as np
import pytest
from mpi4py import MPI
from packaging.requirements import Requirement

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.cli import doctor, doctor_libraries, doctor_places, doctor_self_test, installation
from lammps_implicit.cli.doctor_check import Check, FaultError, attempt, on_every_rank
from lammps_implicit.evaluators.lammps import Engine

MPIRUN = shutil.which("mpirun", path=f"{sys.prefix}/bin") or shutil.which("mpirun")


def found(find):
    """What a check finds, and what it says to do."""
    check = attempt("planted", find)
    assert not check.good
    assert check.state == "BAD"
    assert check.remedy
    return check.finding, check.remedy


def test_a_potential_folder_that_does_not_exist(monkeypatch, tmp_path):
    monkeypatch.setenv("LAMMPS_POTENTIALS", str(tmp_path / "nowhere"))
    finding, remedy = found(doctor_places.potentials)
    assert str(tmp_path / "nowhere") in finding
    assert "unset it" in remedy


def test_folders_without_potentials(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor_places, "potential_folders", lambda: [tmp_path])
    assert "no .snapcoeff file" in found(doctor_places.potentials)[0]


def test_a_temporary_folder_that_does_not_exist(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    finding, remedy = found(doctor_places.temporary)
    assert "nowhere is no folder that can be written to" in finding
    assert "set TMPDIR" in remedy


def test_a_full_disk(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(2**40, 2**40 - 2**20, 2**20))
    assert "1 MiB free" in found(doctor_places.temporary)[0]
    assert "1 MiB free" in found(doctor_places.working_folder)[0]


def test_more_threads_than_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1000")
    finding, remedy = found(doctor_libraries.threads)
    assert "1 × 1000 threads" in finding
    assert "export OMP_NUM_THREADS=" in remedy


def _package(name):
    [check] = [check for check in doctor_libraries.packages() if check.name == name]
    return check


def test_a_package_that_is_missing_and_one_that_is_too_old(monkeypatch):
    genuine = importlib.metadata.version

    def version(name):
        if name == "pyamg":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.2" if name == "scipy" else genuine(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setitem(sys.modules, "pyamg", None)  # importing it raises ImportError
    missing, old = _package("pyamg"), _package("scipy")
    assert (missing.state, missing.finding) == ("BAD", "missing")
    assert missing.remedy == "pip install 'pyamg>=5.1'"
    assert (old.state, old.finding) == ("BAD", "1.2, but >=1.11 is needed")
    assert _package("numpy").good


def test_every_requirement_is_looked_at():
    names = {check.name for check in doctor_libraries.packages()}
    assert {Requirement(line).name.lower() for line in importlib.metadata.requires("lammps_implicit")} - names <= {
        # those for development alone
        "hypothesis",
        "mpi-pytest",
        "mypy",
        "pytest",
        "pytest-xdist",
        "ruff",
        "types-pyyaml",
        "lammps_implicit",
        "lammps-implicit",
    }


@pytest.mark.parametrize(
    ("scalar", "says"),
    [(np.complex128, "complex numbers"), (np.float32, "float32")],
)
def test_a_petsc_of_other_numbers(monkeypatch, scalar, says):
    options = pytest.importorskip("lammps_implicit.solvers.petsc_options")
    fake = types.SimpleNamespace(ScalarType=scalar, IntType=np.int32, Sys=options.PETSc.Sys)
    monkeypatch.setattr(options, "PETSc", fake)
    finding, remedy = found(doctor_libraries.petsc)
    assert says in finding
    assert "--with-scalar-type=real" in remedy


def test_the_size_of_petscs_integers_is_told(monkeypatch):
    options = pytest.importorskip("lammps_implicit.solvers.petsc_options")
    fake = types.SimpleNamespace(ScalarType=np.float64, IntType=np.int64, Sys=options.PETSc.Sys)
    monkeypatch.setattr(options, "PETSc", fake)
    assert "64 bit integers" in doctor_libraries.petsc()


def test_a_launcher_of_another_mpi(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    finding, remedy = found(doctor_libraries.mpi)
    assert "mpi4py sees only one in each" in finding
    assert "mpirun of that library" in remedy


def test_a_lammps_of_another_mpi(monkeypatch):
    def require(size):
        raise LammpsImplicitError("LAMMPS brings a.so, but mpi4py uses b.so: build them against the same MPI library")

    monkeypatch.setattr(doctor_libraries, "require_one_mpi", require)
    assert found(doctor_libraries.mpi) == (
        "LAMMPS brings a.so, but mpi4py uses b.so",
        "build them against the same MPI library",
    )
    monkeypatch.setattr(doctor.tests, "self_test", lambda: pytest.fail("LAMMPS was started"))
    assert not doctor.ready(list(doctor.examine()))


def test_a_lammps_without_snap(monkeypatch):
    monkeypatch.setattr(Engine, "packages", ["MANYBODY"])
    finding, remedy = found(doctor_libraries.lammps)
    assert finding == "built without ML-SNAP"
    assert "PKG_ML-SNAP=on" in remedy
    assert "ML-IAP" in found(doctor_libraries.families)[0]


def test_an_hdf5_library_that_fails(monkeypatch):
    import h5py

    def broken(*_, **__):
        raise OSError("Unable to synchronously create file")

    monkeypatch.setattr(h5py, "File", broken)
    assert "Unable to synchronously create file" in found(doctor_places.hdf5)[0]


def test_numbers_that_hdf5_changes(monkeypatch):
    monkeypatch.setattr(np, "array_equal", lambda one, other: False)
    assert "read other than they were written" in found(doctor_places.hdf5)[0]


def test_jax_in_single_precision():
    pytest.importorskip("jax")
    program = (
        "from lammps_implicit.cli import doctor_libraries\nfrom lammps_implicit.cli.doctor_check import attempt\n"
        "check = attempt('jax', doctor_libraries.jax)\nprint(check.finding)\nprint(check.remedy)"
    )
    environment = {**os.environ, "JAX_ENABLE_X64": "0"}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert told.stdout == "computes in float32\nset the environment variable JAX_ENABLE_X64=1\n"


def test_a_jax_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    assert found(doctor_libraries.jax) == ("missing", "pip install 'lammps_implicit[autodiff]'")


@pytest.mark.parametrize(("wrong", "says"), [("jvp", "jvp and vjp disagree"), ("both", "relaxing again")])
def test_wrong_derivatives(monkeypatch, wrong, says):
    jvp, vjp = Minimum.jvp, Minimum.vjp
    monkeypatch.setattr(Minimum, "jvp", lambda self, *given, **more: 1.001 * jvp(self, *given, **more))
    if wrong == "both":
        monkeypatch.setattr(Minimum, "vjp", lambda self, *given, **more: 1.001 * vjp(self, *given, **more))
    finding, remedy = found(doctor_self_test.self_test)
    assert says in finding
    assert "cannot be trusted" in remedy


def test_ranks_that_do_not_see_each_other(monkeypatch):
    alone = {"ranks": 1, "finding": "fine", "fault": []}
    monkeypatch.setattr(doctor_self_test, "records_of", lambda *_, **__: iter([alone, alone]))
    assert "do not see each other" in found(doctor_self_test.self_test_on_two_ranks)[0]
    wrong = {"ranks": 2, "finding": "", "fault": ["they disagree", "report it"]}
    monkeypatch.setattr(doctor_self_test, "records_of", lambda *_, **__: iter([wrong]))
    assert found(doctor_self_test.self_test_on_two_ranks) == ("they disagree", "report it")


@pytest.mark.parallel(nprocs=2)
def test_what_one_rank_alone_finds_is_told_by_all():
    world = MPI.COMM_WORLD
    bad = Check("disk", "full", False, True, "make room") if world.rank == 1 else Check("disk", "fine")
    assert on_every_rank(world, bad) == Check("disk", "rank 1: full", False, True, "make room")
    told = on_every_rank(world, Check("library", f"version {world.rank}"))
    assert (told.state, told.finding) == ("BAD", "rank 0: version 0; rank 1: version 1")


def test_a_fault_gives_status_1_and_json_says_all(monkeypatch, capsys):
    checks = [Check("disk", "full", False, True, "make room"), Check("jax", "missing", False, False, "install it")]
    monkeypatch.setattr(installation, "examine", lambda: iter(checks))
    with pytest.raises(LammpsImplicitError, match="incomplete"):
        installation.doctor(as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["ready"] is False
    assert told["checks"][0] == {"name": "disk", "state": "BAD", "finding": "full", "remedy": "make room"}
    assert told["checks"][1]["state"] == "--"
    with pytest.raises(LammpsImplicitError, match="incomplete"):
        installation.doctor()
    assert "BAD  disk: full\n       -> make room\n" in capsys.readouterr().out


def test_what_is_not_needed_leaves_the_installation_ready(monkeypatch, capsys):
    monkeypatch.setattr(installation, "examine", lambda: iter([Check("jax", "missing", False, False, "install it")]))
    installation.doctor()
    assert capsys.readouterr().out.endswith("ready\n")


def test_a_table_on_a_terminal(capsys):
    doctor._show_table([Check("disk", "full", False, True, "make room")])
    shown = capsys.readouterr().out
    assert "what to do" in shown
    assert "BAD" in shown
    assert "make room" in shown


def test_other_errors_are_findings():
    def fail():
        raise FaultError("broken", "mend it")

    assert attempt("it", fail, needed=False) == Check("it", "broken", False, False, "mend it")
    assert attempt("it", lambda: 1 / 0).finding == "ZeroDivisionError: division by zero"
