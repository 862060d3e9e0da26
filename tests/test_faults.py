"""Faults outside the user's control: signals, ranks that fail alone, MPI libraries that do not match."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import DECKS, TA_VACANCY

from lammps_implicit import LammpsImplicitError
from lammps_implicit.interrupts import ENDING
from lammps_implicit.mpi.libraries import loaded_mpi_libraries, require_one_mpi

MPIRUN = shutil.which("mpirun", path=f"{sys.prefix}/bin") or shutil.which("mpirun")
COMMAND = [sys.executable, "-m", "lammps_implicit"]
# A deck that goes on for an hour.
LONG = TA_VACANCY.split("minimize")[0].replace("0 3 0 3 0 3", "0 6 0 6 0 6") + "run 1000000\n"


def started(folder, *words, **environment):
    """Start a command in a folder, whose ``scratch`` is its temporary folder."""
    (folder / "scratch").mkdir()
    environment = {**os.environ, "TMPDIR": str(folder / "scratch"), **environment}
    return subprocess.Popen(words, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds):
    """Wait until something is true; return whether it became so in time."""
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(true)


def stopped_by(number):
    return f"error: stopped by {number.name}; no output file is left half-written\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_signals_stop_a_deck_that_runs_and_leave_nothing(tmp_path, number):
    (tmp_path / "in.long").write_text(LONG)
    process = started(tmp_path, *COMMAND, "sensitivity", "in.long", "-o", "out.h5")
    assert wait_for(lambda: list((tmp_path / "scratch").glob("*/transcript")), 60)
    process.send_signal(number)
    errors = process.communicate(timeout=20)[1]
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert errors == stopped_by(number)
    else:
        assert wait_for(lambda: not list((tmp_path / "scratch").iterdir()), 10)  # the watcher needs a moment
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in.long", "scratch"]


@pytest.mark.parametrize("program", [COMMAND, [f"{sys.prefix}/bin/lammps-implicit"]])
@pytest.mark.parametrize("number", ENDING)
def test_signals_while_libraries_are_loaded(tmp_path, program, number):
    (tmp_path / "mpi4py.py").write_text("import time\nopen('loading', 'w').close()\ntime.sleep(60)\n")
    process = started(tmp_path, *program, "doctor", PYTHONPATH=f"{tmp_path}:{Path(__file__).parent.parent}")
    assert wait_for((tmp_path / "loading").exists, 20)
    process.send_signal(number)
    assert process.communicate(timeout=20)[1] == stopped_by(number)
    assert process.returncode == 128 + number


def test_libraries_that_cannot_be_loaded(tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('libmpi.so:\\n failed to map segment')")
    process = started(tmp_path, *COMMAND, "doctor", PYTHONPATH=f"{tmp_path}:{Path(__file__).parent.parent}")
    errors = process.communicate(timeout=20)[1]
    assert process.returncode == 1
    assert errors.startswith("error: a library cannot be loaded (ImportError: libmpi.so: failed to map segment): is me")
    assert errors.count("\n") == 1


def test_scripts_keep_their_own_answer_to_signals(tmp_path):
    script = "import signal, lammps_implicit\nprint(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "True\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_signals_to_a_launcher_leave_nothing(tmp_path, number):
    (tmp_path / "in.long").write_text(LONG)
    process = started(tmp_path, MPIRUN, "-n", "2", *COMMAND, "sensitivity", "in.long", "-o", "out.h5")
    assert wait_for(lambda: list((tmp_path / "scratch").glob("*/transcript")), 60)
    process.send_signal(number)
    errors = process.communicate(timeout=20)[1]
    if number in (signal.SIGTERM, signal.SIGINT):  # the launcher hands these on, and kills its ranks after the others
        assert process.returncode == 128 + number
        assert errors.count(stopped_by(number)) == 1
    assert wait_for(lambda: not list((tmp_path / "scratch").iterdir()), 10)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in.long", "scratch"]


FAILING = """\
import sys, time
from mpi4py import MPI
from lammps_implicit import LammpsImplicitError, Minimum
who = [int(rank) for rank in sys.argv[2].split(",")]
with Minimum.from_deck(sys.argv[1], force_limit=1e9) as minimum:
    if MPI.COMM_WORLD.rank in who:
        raise LammpsImplicitError("that went wrong")
    minimum.relax()
    minimum.engine.norm(minimum.positions)
    MPI.COMM_WORLD.barrier()
"""


@pytest.mark.parametrize("who", ["0", "1", "0,1,2"])
def test_a_rank_that_raises_ends_them_all_with_one_message(tmp_path, who):
    pytest.importorskip("petsc4py")
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    (tmp_path / "fail.py").write_text(FAILING)
    start = time.monotonic()
    command = [MPIRUN, "-n", "3", sys.executable, "fail.py", "in.ta", who]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert outcome.returncode != 0
    assert outcome.stderr.count("that went wrong") == 2  # once in the traceback's source line, once as its message
    assert time.monotonic() - start < 60


LONE = """
from mpi4py import MPI
from lammps_implicit import Minimum
calls = []
def progress(done, total):
    calls.append(done)
    if MPI.COMM_WORLD.rank == {rank} and len(calls) == 2:
        raise ValueError("only here")
with Minimum.from_deck({deck!r}) as minimum:
    minimum.jacobian(1e-4, progress=progress)
"""
"""Raises on one rank in the middle of a sweep, where parameters are to be restored by all."""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_raises_alone_in_a_sweep_ends_them_all(tmp_path, rank):
    script = tmp_path / "script.py"
    script.write_text(LONE.format(rank=rank, deck=str(DECKS / "in.lj_alloy")))
    command = [MPIRUN, "-n", "2", sys.executable, str(script)]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert outcome.returncode != 0
    assert "only here" in outcome.stderr


def test_mpi_libraries_are_found_in_the_map_of_a_process():
    maps = (
        "7f0000000000-7f0000001000 r-xp 00000000 08:01 1  /nowhere/mpich/lib/libmpi.so.12.5.2\n"
        "7f0000002000-7f0000003000 r-xp 00000000 08:01 2  /nowhere/openmpi/lib/libmpi.so.40\n"
        "7f0000004000-7f0000005000 r-xp 00000000 08:01 3  /nowhere/lib/libmpi_usempif08.so.40\n"
        "7f0000006000-7f0000007000 r-xp 00000000 08:01 4  /nowhere/lib/libc.so.6\n"
    )
    names = {str(path) for path in loaded_mpi_libraries(maps)}
    assert names == {"/nowhere/mpich/lib/libmpi.so.12.5.2", "/nowhere/openmpi/lib/libmpi.so.40"}
    assert len(loaded_mpi_libraries()) == 1


def test_a_launcher_of_another_mpi_is_told(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with pytest.raises(LammpsImplicitError, match=r"OMPI_COMM_WORLD_SIZE=4.*libmpi"):
        require_one_mpi(1)
    require_one_mpi(4)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_lammps_of_another_mpi_is_told_before_it_starts(tmp_path):
    # Stand-ins for Open MPI's library and a LAMMPS linked against it.
    (tmp_path / "mpi.c").write_text("int MPI_Stand_in(void) { return 0; }\n")
    (tmp_path / "lammps.c").write_text(
        "int MPI_Stand_in(void);\nint lammps_config_has_mpi_support(void) { return 1 + MPI_Stand_in(); }\n"
    )
    flags = ["-shared", "-fPIC", "-Wl,-rpath," + str(tmp_path)]
    for source, library, more in (
        ("mpi.c", "libmpi.so.40", ["-Wl,-soname,libmpi.so.40"]),
        ("lammps.c", "liblammps.so", [str(tmp_path / "libmpi.so.40")]),
    ):
        subprocess.run(["cc", *flags, source, "-o", library, *more], cwd=tmp_path, check=True)
    package = tmp_path / "lammps"
    package.mkdir()
    (package / "__init__.py").write_text("")
    shutil.move(tmp_path / "liblammps.so", package)
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parent.parent}"}
    command = [sys.executable, "-m", "lammps_implicit", "sensitivity", "in.ta", "-o", "out.h5"]
    outcome = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert outcome.returncode == 1
    assert "LAMMPS brings" in outcome.stderr
    assert "libmpi.so.40" in outcome.stderr
    assert outcome.stderr.count("error:") == 1
    assert "Traceback" not in outcome.stderr
