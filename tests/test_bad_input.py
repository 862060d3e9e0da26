"""Bad input as data: each case of ``bad_input/*.yaml`` is refused with one message and leaves everything as it was."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from brute_force import SHIPPED
from conftest import TA_VACANCY
from fork_server import serving

CASES = Path(__file__).parent / "bad_input"
POTENTIALS = Path(__file__).parent.parent / "potentials"
MPIRUN = shutil.which("mpirun", path=f"{sys.prefix}/bin") or shutil.which("mpirun")
KEYS = {"id", "files", "run", "python", "message", "ranks"}

SMALL = TA_VACANCY.replace("0 3 0 3 0 3", "0 2 0 2 0 2")
"""15 atoms."""

TUNGSTEN = SMALL.replace("3.316", "3.18").replace("180.95", "183.84").replace("zbl 73 73", "zbl 74 74")
TUNGSTEN = TUNGSTEN.replace("Ta06A.snapcoeff Ta06A.snapparam Ta", "W_2J4.snapcoeff W_2J4.snapparam W")

PYTHON = """\
import sys
from lammps_implicit import LammpsImplicitError
try:
    exec(compile(open(sys.argv[1]).read(), "case", "exec"), {})
except LammpsImplicitError as error:
    from mpi4py import MPI
    from lammps_implicit.mpi.shutdown import end_together
    end_together(MPI.COMM_WORLD, lambda: print(f"error: {error}", file=sys.stderr, flush=True))
    sys.exit(1)
"""
"""Runs a file of Python and reports its error as a command would."""


def _cases():
    """Every case of every file on each number of ranks; those on several ranks want the cores for themselves."""
    for file in sorted(CASES.glob("*.yaml")):
        for case in yaml.safe_load(file.read_text(encoding="utf-8")):
            assert set(case) <= KEYS, f"{file.name}: {case['id']}: unknown keys {set(case) - KEYS}"
            assert ("run" in case) != ("python" in case), f"{file.name}: {case['id']}: give run or python"
            for ranks in case.get("ranks", [1]):
                marks = [pytest.mark.alone] if ranks > 1 else []
                yield pytest.param(case, ranks, id=f"{file.stem}-{case['id']}-{ranks}", marks=marks)


@pytest.fixture(scope="session")
def program():
    """Command line that starts commands and scripts with everything imported already."""
    with serving() as words:
        yield words


@pytest.fixture(scope="session")
def inputs(tmp_path_factory, program):
    """A folder with what every case may use: two decks, a finished result and an ensemble."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "in.ta").write_text(SMALL)
    (folder / "in.w").write_text(TUNGSTEN)
    for name in ("W_2J4.snapcoeff", "W_2J4.snapparam"):
        shutil.copy(POTENTIALS / name, folder)
    shutil.copy(POTENTIALS / "W_2J4.ensemble.npz", folder / "ensemble.npz")
    command = f"{program} sensitivity in.ta -o ta.h5"
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


def _make(folder, name, content, program):
    """Create a file: a text, a copy of another, bytes in hexadecimal, or whatever code that runs there writes."""
    if isinstance(content, str):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    elif "copy" in content:
        source = next(place / content["copy"] for place in (folder, SHIPPED) if (place / content["copy"]).exists())
        shutil.copy(source, folder / name)
    elif "hex" in content:
        (folder / name).write_bytes(bytes.fromhex(content["hex"]))
    else:
        (folder.parent / "make.py").write_text(content["python"])
        subprocess.run(f"{program} {folder.parent / 'make.py'}", shell=True, cwd=folder, check=True, timeout=60)
        assert (folder / name).exists(), f"the code for {name} did not write it"


def _contents(folder):
    """Every file below a folder with its bytes; folders and devices with None."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def _command(case, folder, program):
    """Command line of a case, for the shell."""
    if "python" in case:
        (folder / "case.py").write_text(case["python"])
        (folder / "run.py").write_text(PYTHON)
        return f"{program} {folder / 'run.py'} {folder / 'case.py'}"
    if "ulimit" in case["run"]:  # limits the processes that this shell starts
        program = f"{sys.executable} -m lammps_implicit"
    return case["run"].replace("lammps-implicit", program, 1)


def _ended(command, folder, environment):
    """Exit status, output and errors of a shell command that must end within a minute, with all its children."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    process = subprocess.Popen(command, shell=True, cwd=folder, env=environment, **pipes)
    try:
        output, errors = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, output, errors


@pytest.mark.parametrize(("case", "ranks"), list(_cases()))
def test_bad_input_is_refused(case, ranks, inputs, program, tmp_path):
    if ranks > 1 and MPIRUN is None:
        pytest.skip("no mpirun")
    folder, scratch = tmp_path / "case", tmp_path / "scratch"
    shutil.copytree(inputs, folder)
    scratch.mkdir()
    for name, content in case.get("files", {}).items():
        _make(folder, name, content, program)
    before = _contents(folder)
    command = _command(case, tmp_path, program)
    launch = f"{MPIRUN} -n {ranks} " if ranks > 1 else ""
    environment = {**os.environ, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    code, output, errors = _ended(launch + command, folder, environment)
    messages = [line for line in errors.splitlines() if line.lower().startswith("error:")]
    assert "Traceback" not in output + errors, errors
    assert len(messages) == 1, errors + output[-500:]
    assert re.search(case["message"], messages[0]), messages[0]
    assert code in ((1, 2) if ranks == 1 else (1, 2, 9))  # mpirun may kill a rank that ends after another
    changed = {str(path.relative_to(folder)) for path, _ in before.items() ^ _contents(folder).items()}
    assert not changed, "changed or new files"
    assert not list(scratch.glob("lammps-implicit-*")), "leftovers in the temporary folder"
