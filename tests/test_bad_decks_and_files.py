"""Bad input gives one message, a non-zero exit status, and leaves every file as it was."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from brute_force import SHIPPED
from commands import program
from conftest import TA_VACANCY

SETUP = TA_VACANCY.split("minimize")[0]
RELAX = "minimize 0.0 1.0e-8 1000 10000\n"
COEFFICIENTS = (SHIPPED / "Ta06A.snapcoeff").read_text()
PARAMETERS = (SHIPPED / "Ta06A.snapparam").read_text()

SADDLE = SETUP.replace("0 3 0 3 0 3", "0 3 0 3 0 4").replace(
    # An atom half-way between two neighbouring vacancies: symmetry keeps the minimiser on the migration saddle.
    "delete_atoms    group vacancy compress no",
    "group other region neighbour\ndelete_atoms group vacancy compress no\ndelete_atoms group other compress no\n"
    "create_atoms 1 single 0.25 0.25 0.25",
)
SADDLE = SADDLE.replace("create_atoms    1 box", "create_atoms 1 box\nregion neighbour sphere 0.5 0.5 0.5 0.1", 1)

DECKS = {
    "no atoms": ("units metal\natom_style atomic\n", "leaves no atoms"),
    "empty box": (SETUP.replace("group           vacancy id 1", "group vacancy region cell"), "leaves no atoms"),
    "not relaxed": (SETUP + "displace_atoms all random 0.1 0.1 0.1 7\nrun 0\n", "largest force component is"),
    "saddle": (SADDLE + RELAX, "not a minimum"),
    "missing potential": (TA_VACANCY.replace("Ta06A.snapcoeff", "none.snapcoeff"), "none.snapcoeff"),
    "unsupported style": (
        "units metal\natom_style atomic\nlattice diamond 5.431\nregion cell block 0 2 0 2 0 2\ncreate_box 1 cell\n"
        "create_atoms 1 box\nmass 1 28.0\npair_style meam/spline\npair_coeff * * Si_1.meam.spline Si\n" + RELAX,
        "has no parameters that can be differentiated",
    ),
    "no pair style": (SETUP[: SETUP.index("pair_style")], "no pair_style"),
    "dynamics": (
        TA_VACANCY + "velocity all create 3000 7 loop geom\ntimestep 0.001\nfix move all nve\nrun 20\n",
        "it runs dynamics after its last minimisation: 'run 20'",
    ),
    "moved atoms": (TA_VACANCY + "fix path all move linear 1 0 0\n", "unfix path"),
    "rigid bodies": (TA_VACANCY + "group three id 2 3 4\nfix body three rigid single\n", "unfix body"),
    "moving force": (TA_VACANCY + "fix f all setforce 0.1 0 0\n", "only zero or NULL"),
    "command error": (SETUP + "minimise 0 1e-8 100 100\n", "minimise"),
    "units": (TA_VACANCY.replace("metal", "electron").replace("Ta06A", "plain"), "units electron"),
    "short file": (TA_VACANCY.replace("Ta06A.snapcoeff", "short.snapcoeff"), "SNAP coefficient file"),
    "quit": (TA_VACANCY + "quit 1\n", "with 'quit 1'"),
    "everything frozen": (SETUP + "fix f all setforce 0 0 0\n" + RELAX, "every atom is frozen"),
    "pull on the frozen": (
        SETUP + "group held id 9\nfix h held setforce 0 0 0\nfix p all addforce 0.001 0 0\n" + RELAX,
        "'fix setforce' last",
    ),
    "pairs taken away from SNAP": (
        SETUP[: SETUP.index("pair_style")].replace("create_box      1", "create_box 2")
        + "mass 2 180.95\nset atom 9 type 2\npair_style hybrid snap morse 4.0\n"
        "pair_coeff * * snap Ta06A.snapcoeff Ta06A.snapparam Ta Ta\npair_coeff 1 2 morse 0.05 1.3 2.7\n" + RELAX,
        "takes pairs away from SNAP",
    ),
    "wrong count": (TA_VACANCY.replace("Ta06A.snapcoeff", "wrong.snapcoeff"), "SNAP parameter file"),
}


# Limits the size of files once MPI has made its own.
LIMITED = """\
import resource, sys
from lammps_implicit.cli import main
import lammps_implicit
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
main()
"""


def _run(folder: Path, *arguments: str, limited: bool = False):
    start = [sys.executable, "-c", LIMITED] if limited else program()
    command = [*start, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _refused(folder: Path, message: str, *arguments: str, limited: bool = False) -> None:
    before = _contents(folder)
    outcome = _run(folder, *arguments, limited=limited)
    assert outcome.returncode not in (0, None)
    assert 0 < outcome.returncode < 128, f"killed by signal: {outcome.stderr}"
    assert "Traceback" not in outcome.stderr + outcome.stdout
    errors = [line for line in outcome.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, outcome.stderr
    assert message in errors[0]
    assert _contents(folder) == before


@pytest.mark.parametrize("name", DECKS)
def test_decks_that_cannot_be_differentiated(name, tmp_path):
    text, message = DECKS[name]
    (tmp_path / "in.bad").write_text(text)
    (tmp_path / "plain.snapcoeff").write_text(COEFFICIENTS.replace("UNITS: metal", ""))
    (tmp_path / "plain.snapparam").write_text(PARAMETERS.replace("UNITS: metal", ""))
    (tmp_path / "short.snapcoeff").write_text("".join(COEFFICIENTS.splitlines(True)[:-3]))
    (tmp_path / "wrong.snapcoeff").write_text(COEFFICIENTS.replace("1 31", "1 30"))
    _refused(tmp_path, message, "sensitivity", "in.bad", "-o", "out.h5")


def test_a_missing_deck(tmp_path):
    _refused(tmp_path, "does not exist", "sensitivity", "in.none", "-o", "out.h5")
    _refused(tmp_path, "does not exist", "relax", "in.none", "-o", "out.data")


def test_options_out_of_range(tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    for message, *options in (
        ("no parameter matches 'W:*'", "--parameters", "W:*"),
        ("NAME=VALUE", "--var", "n"),
        ("folder", "-o", "nowhere/out.h5"),
    ):
        _refused(tmp_path, message, "sensitivity", "in.ta", "-o", "out.h5", *options)


def test_an_output_that_exists_stays_unless_overwritten(tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    (tmp_path / "out.h5").write_text("precious")
    (tmp_path / "out.data").write_text("precious")
    _refused(tmp_path, "--overwrite", "sensitivity", "in.ta", "-o", "out.h5")
    _refused(tmp_path, "--overwrite", "relax", "in.ta", "-o", "out.data")
    assert _run(tmp_path, "sensitivity", "in.ta", "-o", "out.h5", "--overwrite").returncode == 0
    assert h5py.is_hdf5(tmp_path / "out.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.ta", "out.data", "out.h5"]


def test_no_space_left(tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    _refused(tmp_path, "cannot write", "sensitivity", "in.ta", "-o", "out.h5", limited=True)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("result")
    (folder / "in.ta").write_text(TA_VACANCY)
    assert _run(folder, "sensitivity", "in.ta", "-o", "out.h5", "--parameters", "Ta:[0-4]").returncode == 0
    (folder / "in.ta").unlink()
    return folder


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("theta.npy", np.zeros(4), "5 parameters expected"),
        ("theta.npy", np.array([0, 1, np.nan, 3, 4]), "Ta:2 is not finite"),
        ("theta.npy", np.array([{}] * 5, dtype=object), "not an array of numbers"),
        ("theta.npy", np.zeros(5) + 1j, "not an array of numbers"),
        ("theta.npy", b"", "not an array of numbers"),
        ("theta.csv", b"\xff\xfe\x00", "not a text file"),
        ("theta.csv", "1,2,3\n", "5 parameters expected"),
        ("theta.csv", "Ta:0,1\nTa:1,2\nTa:2,3\nTa:3,x\nTa:4,1\n", "not a number"),
        ("theta.csv", "Ta:0,1\nTa:1,2\nTa:2,3\nTa:4,3\n", "no value for Ta:3"),
        ("theta.csv", "Ta:0,1\nTa:1,2\nTa:2,3\nTa:3,0\nTa:4,3\nTa:9,3\n", "Ta:9 is not one"),
        ("theta.snapcoeff", "1 2\nTa 0.5 1\n1.0\n2.0\n", "2 coefficients"),
        ("theta.snapcoeff", COEFFICIENTS.replace("Ta 0.5 1", "Ta 0.6 1"), "radii"),
        ("theta.snapcoeff", COEFFICIENTS.replace("0.09157", "0.1"), "Ta:5 differs"),
        ("theta.snapcoeff", "garbage", "not a SNAP coefficient file"),
    ],
)
def test_parameters_that_do_not_fit_a_result(result, tmp_path, name, content, message):
    (tmp_path / "out.h5").write_bytes((result / "out.h5").read_bytes())
    if isinstance(content, str):
        (tmp_path / name).write_text(content)
    elif isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        np.save(tmp_path / name, content, allow_pickle=content.dtype == object)
    _refused(tmp_path, message, "predict", "out.h5", "--theta", name, "-o", "new.h5")


def test_results_that_are_none(result, tmp_path):
    np.save(tmp_path / "theta.npy", np.zeros(5))
    (tmp_path / "text.h5").write_text("text")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    whole = (result / "out.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    for name, message in (
        ("text", "cannot read"),
        ("other", "is not a result"),
        ("cut", "cannot read"),
        ("no", "no such"),
    ):
        _refused(tmp_path, message, "predict", f"{name}.h5", "--theta", "theta.npy", "-o", "new.h5")


def test_predictions_overwrite_none_of_their_three_files(result, tmp_path):
    (tmp_path / "out.h5").write_bytes((result / "out.h5").read_bytes())
    np.save(tmp_path / "theta.npy", np.zeros(5))
    for suffix in ("h5", "xyz", "data"):
        (tmp_path / f"new.{suffix}").write_text("precious")
        _refused(tmp_path, "--overwrite", "predict", "out.h5", "--theta", "theta.npy", "-o", "new.h5")
        (tmp_path / f"new.{suffix}").unlink()


def test_prediction_files_do_not_collide(result, tmp_path):
    (tmp_path / "out.h5").write_bytes((result / "out.h5").read_bytes())
    np.save(tmp_path / "theta.npy", np.zeros(5))
    _refused(tmp_path, "name it .h5", "predict", "out.h5", "--theta", "theta.npy", "-o", "new.xyz")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    (tmp_path / "locked").mkdir(mode=0o500)
    _refused(tmp_path, "permission", "sensitivity", "in.ta", "-o", "locked/out.h5")
