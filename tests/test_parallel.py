"""Many ranks give the numbers of one, and fail together."""

import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from conftest import DECKS, TA_VACANCY, TA_VACANCY_READ, ta_data

pytest.importorskip("petsc4py")

MPIRUN = shutil.which("mpirun", path=f"{sys.prefix}/bin") or shutil.which("mpirun")

DATA = ta_data(range(2, 55))


def _run(folder, ranks, *arguments):
    command = [MPIRUN, "-n", str(ranks), sys.executable, "-m", "lammps_implicit", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def _prepared(folder):
    (folder / "atoms.data").write_text(DATA)
    (folder / "in.ta").write_text(TA_VACANCY_READ)
    return folder


@pytest.fixture
def folder(tmp_path):
    return _prepared(tmp_path)


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory):
    """Results of one rank."""
    folder = _prepared(tmp_path_factory.mktemp("one"))
    assert _run(folder, 1, "sensitivity", "in.ta", "-o", "one.h5", "--tol", "1e-6").returncode == 0
    return _results(folder / "one.h5")


def _results(path):
    with h5py.File(path) as file:
        return {name: file[name][()] for name in ("ids", "energy", "energy_gradient", "energy_hessian", "jacobian")}


def _assert_same(found, expected):
    assert found["ids"].tolist() == expected["ids"].tolist()
    for name in ("energy", "energy_gradient", "energy_hessian", "jacobian"):
        difference = np.linalg.norm(found[name] - expected[name])
        assert difference <= 2e-6 * np.linalg.norm(expected[name]), name


@pytest.mark.parametrize(
    ("ranks", "setting"),
    [
        (2, ""),
        (3, "processors 1 3 1\n"),
        (2, "comm_style tiled\n"),
    ],
)
def test_sensitivity_is_the_same_on_any_number_of_ranks(folder, one_rank, ranks, setting):
    balance = "balance 1.0 rcb\n" if "tiled" in setting else ""
    text = TA_VACANCY_READ.replace("read_data", setting + "read_data").replace("minimize", balance + "minimize")
    (folder / "in.many").write_text(text)
    outcome = _run(folder, ranks, "sensitivity", "in.many", "-o", "many.h5", "--tol", "1e-6")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.count("wrote many.h5") == 1
    _assert_same(_results(folder / "many.h5"), one_rank)


def test_frozen_boundaries_are_the_same_on_two_ranks(tmp_path):
    for ranks in (1, 2):
        deck = DECKS / "in.w_screw_dislocation"
        arguments = ["-o", f"{ranks}.h5", "--tol", "1e-3", "--parameters", "W:[1-3]"]
        outcome = _run(tmp_path, ranks, "sensitivity", deck, *arguments)
        assert outcome.returncode == 0, outcome.stderr
    one, two = (_results(tmp_path / f"{ranks}.h5")["jacobian"] for ranks in (1, 2))
    assert np.linalg.norm(two - one) < 2e-3 * np.linalg.norm(one)


def test_more_ranks_than_atoms_in_a_corner(tmp_path):
    # All atoms in one half of the box: the other rank owns none.
    text = TA_VACANCY.replace("boundary        p p p", "boundary f f f").replace("0 3 0 3 0 3", "-30 30 -9 9 -9 9")
    text = text.replace("create_atoms    1 box", "region ball block 10 11.6 0 1.6 0 1.6\ncreate_atoms 1 region ball")
    (tmp_path / "in.ball").write_text("processors 2 1 1\n" + text)
    outcome = _run(tmp_path, 2, "sensitivity", "in.ball", "-o", "ball.h5", "--tol", "1e-4")
    assert outcome.returncode == 0, outcome.stderr


def test_relax_runs_on_two_ranks(folder):
    (folder / "in.far").write_text(
        TA_VACANCY_READ.split("minimize")[0] + "displace_atoms all random 0.05 0.05 0.05 7\n"
    )
    outcome = _run(folder, 2, "relax", "in.far", "-o", "far.data")
    assert outcome.returncode == 0, outcome.stderr
    assert "53 atoms" in (folder / "far.data").read_text()


def test_predict_and_demo_run_on_two_ranks(folder):
    assert _run(folder, 2, "demo", "-o", "shown").returncode == 0
    assert len(list((folder / "shown").iterdir())) == 5
    with h5py.File(folder / "shown" / "w_vacancy.h5") as file:
        np.save(folder / "new.npy", 1.01 * file["theta"][()])
    outcome = _run(folder, 2, "predict", "shown/w_vacancy.h5", "--theta", "new.npy", "-o", "new.h5")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.count("wrote") == 1
    outcome = _run(folder, 2, "predict", "shown/w_vacancy.h5", "--theta", "none.npy", "-o", "none.h5")
    assert outcome.returncode == 1
    assert outcome.stderr.count("error:") == 1
    assert "ready" in _run(folder, 2, "doctor").stdout


def test_petsc_options_pass_through(folder):
    outcome = _run(folder, 2, "sensitivity", "in.ta", "-o", "ta.h5", "-li_pc_type", "jacobi", "--tol", "1e-3")
    assert outcome.returncode == 0, outcome.stderr
    outcome = _run(folder, 2, "sensitivity", "in.ta", "-o", "tb.h5", "-li_pc_type", "nonsense", "--tol", "1e-3")
    assert outcome.returncode != 0
    assert "error: PETSc cannot set up" in outcome.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Ta06A.snapcoeff", "none.snapcoeff"), "none.snapcoeff"),
        (("minimize", "fix move all move linear 0 0 0\nminimize"), "unfix move"),
        (("1.0e-8 1000 10000", "1.0e-8 1 1"), "does not end in a minimum"),
    ],
)
def test_failures_end_all_ranks_with_one_message(folder, change, message):
    (folder / "in.bad").write_text(TA_VACANCY_READ.replace(*change))
    outcome = _run(folder, 2, "sensitivity", "in.bad", "-o", "bad.h5")
    assert outcome.returncode != 0
    errors = [line for line in outcome.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, outcome.stderr
    assert message in errors[0]
    assert "Traceback" not in outcome.stderr
    assert not list(folder.glob("*bad.h5*"))
