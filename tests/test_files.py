"""Files are whole or not there, whatever happens while they are written, and only whole ones are read."""

import errno
import io
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import TA_VACANCY

from lammps_implicit.errors import OutputError
from lammps_implicit.files import (
    Schema,
    group_name,
    hdf5_opened,
    hdf5_written_whole,
    numbers,
    protect_inputs,
    refuse_inputs,
    refuse_to_overwrite,
    temporary_folder,
    texts,
    written_whole,
)
from lammps_implicit.files import outputs as files_outputs
from lammps_implicit.files.hdf5 import _Guarded
from lammps_implicit.files.inputs import forget_inputs
from lammps_implicit.files.temporary import forget_temporary, remove_stale

MPIRUN = shutil.which("mpirun", path=f"{sys.prefix}/bin") or shutil.which("mpirun")
SCHEMA = Schema("thing", {"x": numbers("N", 3), "names": texts("N")}, {"parts/*": {"y": numbers("n")}}, {"who": "text"})


def write(path, **changed):
    with hdf5_written_whole(path, overwrite=True) as file:
        file.attrs["kind"], file.attrs["who"] = "thing", "me"
        for name, values in {"x": np.eye(3), "names": ["a", "b", "c"], **changed}.items():
            file[name] = values
    return path


def read(path):
    with hdf5_opened(path, [SCHEMA], "a thing") as file:
        return file["x"][()]


def test_what_is_written_is_read(tmp_path):
    path = write(tmp_path / "x.h5", **{"parts/one/y": np.ones(2), "parts/two/y": np.ones(4)})
    assert np.array_equal(read(path), np.eye(3))
    assert np.array_equal(h5py.File(path)["x"], np.eye(3))  # like any other HDF5 file


def test_every_changed_byte_is_found(tmp_path):
    path = write(tmp_path / "x.h5")
    whole = path.read_bytes()
    for at in [*range(0, 120), *np.random.default_rng(1).integers(512, len(whole), 300)]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(at % 8)
        path.write_bytes(damaged)
        with pytest.raises(OutputError, match="damaged"):
            read(path)
    for length in (0, 100, 512, 600, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(OutputError, match=r"cannot read|damaged"):
            read(path)
    path.write_bytes(whole)
    assert np.array_equal(read(path), np.eye(3))


@pytest.mark.parametrize("version", [None, 1])
def test_files_of_older_versions_are_read(tmp_path, version):
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update({"kind": "thing", "who": "me"} | ({"format_version": version} if version else {}))
        file["x"], file["names"] = np.eye(3), ["a", "b", "c"]
    assert np.array_equal(read(path), np.eye(3))


def test_shapes_agree_throughout_a_file_but_not_between_groups(tmp_path):
    with pytest.raises(OutputError, match=r"names has the shape \(2,\)"):
        read(write(tmp_path / "x.h5", names=["a", "b"]))
    with pytest.raises(OutputError, match="y holds numbers that are not finite"):
        read(write(tmp_path / "x.h5", **{"parts/one/y": [1.0, np.nan]}))
    with pytest.raises(OutputError, match="y is missing"):
        read(write(tmp_path / "x.h5", **{"parts/one/z": 1.0}))


@pytest.mark.parametrize(("name", "group"), [("a/b", "a|b"), (".", "|."), ("..", "|.."), ("", "|"), ("one", "one")])
def test_names_of_groups(name, group):
    assert group_name(name) == group


def test_links_are_followed_and_stay_links(tmp_path):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "x.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    with written_whole(link, overwrite=True) as temporary:
        assert temporary.parent == target.parent
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    (tmp_path / "dangling").symlink_to(tmp_path / "none" / "x")
    with pytest.raises(OutputError, match="does not exist"):
        refuse_to_overwrite(tmp_path / "dangling", True)


def test_files_that_inputs_name_are_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "potentials").mkdir()
    for name in ("data.x", "potentials/p.eam", "free.h5"):
        Path(name).write_text("1.0")
    Path("in.part").write_text("pair_coeff * * p.eam\n")
    Path("in.deck").write_text("read_data data.x\ninclude 'in.part'\nwrite_data new.data\n")
    Path("study.yaml").write_text("bulk: {deck: in.deck}\n")
    try:
        protect_inputs(["study.yaml", "-3", "x" * 5000, "nul\0"], [tmp_path / "potentials"])
        for name in ("study.yaml", "in.deck", "in.part", "data.x", "potentials/p.eam"):
            with pytest.raises(OutputError, match="is also an input file"):
                refuse_inputs(name)
        refuse_inputs("free.h5")
        refuse_inputs("new.data")
    finally:
        forget_inputs()


def test_leftovers_of_dead_processes_of_this_host_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = subprocess.Popen(["true"])
    dead.wait()
    host, living = socket.gethostname(), os.getppid()
    gone = [f".x.h5.{host}.{dead.pid}.partial", f".y.data.{host}.{dead.pid}.partial"]
    kept = [f".x.h5.{host}.{living}.partial", f".x.h5.elsewhere.{dead.pid}.partial", ".partial", "x.partial"]
    for name in (*gone, *kept):
        (tmp_path / name).write_text("")
    (tmp_path / f"lammps-implicit-{host}.{dead.pid}-abc").mkdir()
    (tmp_path / f"lammps-implicit-{host}.{living}-abc").mkdir()
    write(tmp_path / "x.h5")
    folder = temporary_folder()
    forget_temporary(folder)
    assert str(os.getpid()) in folder.name
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*kept, "x.h5", f"lammps-implicit-{host}.{living}-abc", folder.name}


def test_a_long_name_has_a_temporary_name_that_fits(tmp_path):
    path = tmp_path / ("é" * 120 + ".h5")
    write(path)
    assert np.array_equal(read(path), np.eye(3))
    assert len(os.fsencode(path.name)) > files_outputs._NAME_BYTES - 20


@pytest.fixture
def full(tmp_path):
    """A file system of 64 kB."""
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_what_was_there(full):
    path = write(full / "x.h5")
    with pytest.raises(OutputError, match="No space left"):
        write(path, much=np.ones(10**5))
    assert [file.name for file in full.iterdir()] == ["x.h5"]
    assert np.array_equal(read(path), np.eye(3))


class FullDisk(io.FileIO):
    """A file on a disk that takes some bytes, and lengths without bytes as long as one asks."""

    room = 0

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.parametrize("room", [0, 20, 10**6])
def test_what_a_full_disk_did_not_take_is_read_back(tmp_path, room):
    # As HDF5 does, which crashes on anything else than what it wrote.
    disk = FullDisk(tmp_path / "x.h5", "w+")
    disk.room = room
    guarded, expected = _Guarded(disk), bytearray(400)
    for start, length in ((0, 8), (300, 100), (4, 8), (0, 4), (290, 30), (4, 8)):
        piece = np.random.default_rng(start).bytes(length)
        guarded.seek(start)
        assert guarded.write(piece) == length
        expected[start : start + length] = piece
    assert guarded.seek(0, os.SEEK_END) == 400
    for start, length in ((0, 400), (2, 300), (395, 100)):
        guarded.seek(start)
        assert guarded.read(length) == expected[start : start + length]
    assert (guarded.failure is None) == (room > 400)


def run(folder, *words, launcher=(), shell="", **environment):
    command = [*launcher, sys.executable, "-m", "lammps_implicit", *words]
    if shell:
        command = ["bash", "-c", f'exec "$@" {shell}', "bash", *command]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )


def test_a_full_temporary_folder_is_told(full, tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    (full / "rest").write_bytes(bytes(2**16 - 2**12))
    outcome = run(tmp_path, "relax", "in.ta", "-o", "x.data", TMPDIR=str(full))
    assert outcome.returncode == 1
    assert outcome.stderr == "error: No space left on device: make room, or set TMPDIR to a folder with space\n"
    assert [path.name for path in full.iterdir()] == ["rest"]
    assert not (tmp_path / "x.data").exists()


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A folder with a result and new parameters."""
    folder = tmp_path_factory.mktemp("known")
    (folder / "in.ta").write_text(TA_VACANCY.replace("0 3 0 3 0 3", "0 2 0 2 0 2"))
    assert run(folder, "sensitivity", "in.ta", "-o", "ta.h5").returncode == 0
    np.save(folder / "t.npy", 1.001 * h5py.File(folder / "ta.h5")["theta"][()])
    return folder


PREDICT = ("predict", "ta.h5", "--theta", "t.npy", "--overwrite", "-o")


@pytest.mark.parametrize(
    ("shell", "status", "says"),
    [("> /dev/full", 1, "error: cannot print to standard output: No space left"), (">&-", 0, ""), ("| head -1", 0, "")],
)
def test_results_are_whole_when_nothing_can_be_printed(known, shell, status, says):
    outcome = run(known, *PREDICT, "p.h5", shell=f"{shell}; exit ${{PIPESTATUS[0]}}".replace("exec ", ""))
    assert outcome.stderr.startswith(says)
    assert outcome.stderr.count("\n") == status
    with h5py.File(known / "p.h5") as file:
        assert file["displacement"].shape == (15, 3)


@pytest.mark.parametrize("shell", ["> /dev/full", "| true"])
def test_what_others_print_than_we_is_watched_too(tmp_path, shell):
    outcome = run(tmp_path, "relax", "--help", shell=f"{shell}; exit ${{PIPESTATUS[0]}}")
    full = "full" in shell
    assert outcome.returncode == full
    assert outcome.stderr.count("\n") == outcome.stderr.count("error: cannot print to standard output") == full


def test_a_command_without_standard_streams(known):
    outcome = run(known, "relax", "in.ta", "-o", "silent.data", shell="<&- >&- 2>&-")
    assert outcome.returncode == 0
    assert "15 atoms" in (known / "silent.data").read_text()


def test_output_in_a_locale_without_special_characters(known):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    outcome = run(known, *PREDICT, "c.h5", **plain)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert " A (error of second order)" in outcome.stdout
    assert "(eV/" in run(known, "validate", "--help", **plain).stdout
    outcome = run(known, "relax", "in.å", "-o", "x", **plain)
    assert outcome.returncode == 1
    assert outcome.stderr.count("error:") == 1


def test_two_runs_to_one_output_leave_one_of_them(known):
    command = [sys.executable, "-m", "lammps_implicit", *PREDICT, "both.h5"]
    both = [subprocess.Popen(command, cwd=known, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert not list(known.glob(".*"))
    assert h5py.File(known / "both.h5").attrs["kind"] == "lammps-implicit prediction"


@pytest.mark.alone
def test_usage_is_told_once_by_all_ranks(tmp_path):
    outcome = run(tmp_path, "relax", "in.x", "--nope", launcher=[MPIRUN, "-n", "2"])
    assert outcome.returncode == 2
    assert outcome.stderr.count("No such option") == 1
    assert run(tmp_path, "relax", "--help", launcher=[MPIRUN, "-n", "2"]).stdout.count("Usage:") == 1


LEAVING = """
import os, sys
from mpi4py import MPI
def loss(*given):
    if MPI.COMM_WORLD.rank == {rank}:
        {how}
    MPI.COMM_WORLD.barrier()
"""
FIND = """\
cells: {vacancy: {deck: in.ta, relax: yes}}
loss: {terms: [{kind: function, cell: vacancy, file: loss.py, function: loss}]}
structures: false
"""


@pytest.mark.alone
@pytest.mark.parametrize(("rank", "how"), [(1, "sys.exit(3)"), (0, "sys.exit(0)"), (1, "os.kill(os.getpid(), 9)")])
def test_a_rank_that_leaves_from_a_loss_ends_them_all(tmp_path, rank, how):
    pytest.importorskip("petsc4py")
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    (tmp_path / "loss.py").write_text(LEAVING.format(rank=rank, how=how))
    (tmp_path / "find.yaml").write_text(FIND)
    start = time.monotonic()
    outcome = run(tmp_path, "invert", "find.yaml", launcher=[MPIRUN, "-n", "2"])
    assert outcome.returncode != 0
    assert time.monotonic() - start < 30
    if "exit" in how:
        assert "sys.exit(" in outcome.stderr
        assert "Traceback" not in outcome.stderr


def test_files_of_other_hosts_stay(tmp_path, monkeypatch):
    """Also where the name of the other host ends like that of this one."""
    monkeypatch.setattr("socket.gethostname", lambda: "n01")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"lammps-implicit-{{}}n01.{ended.pid}-a1_b", f".w.h5.{{}}n01.{ended.pid}.partial"]
    ours, theirs = ([tmp_path / name.format(other) for name in names] for other in ("", "g"))
    for path in (*ours, *theirs):
        path.touch()
    remove_stale([*ours, *theirs])
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in theirs)
