"""Shared fixtures: decks of the repository and small decks written on the spot."""

import os
import sys
from pathlib import Path

import pytest
from commands import stop
from contributing import install
from mpi4py import MPI

# mpi-pytest starts ranks with the mpiexec it finds first: that of this environment.
os.environ["PATH"] = f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"

DECKS = Path(__file__).parent.parent / "lammps_scripts"

ALONE = ("test_faults.py", "test_parallel.py")
"""Files whose tests start ranks or watch the clock."""


WORLD = MPI.COMM_WORLD


def pytest_configure():
    """Where many tests run under one mpirun, let rank 0 tell."""
    if WORLD.rank:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end


def pytest_unconfigure():
    """End the server of commands."""
    stop()


def pytest_runtest_logreport(report):
    """End all ranks when a test fails on one, for which the others would wait forever."""
    if report.failed and WORLD.size > 1:
        text = f"{report.nodeid} failed on rank {WORLD.rank} of {WORLD.size}:\n{report.longreprtext}\n"
        print(text, file=sys.__stderr__, flush=True)
        WORLD.Abort(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests that want the cores for themselves, so that others can share them."""
    for item in items:
        # Of the tests for several numbers of ranks, those on one start none.
        one = "callspec" in vars(item) and item.callspec.params.get("_nprocs") == 1
        if (item.get_closest_marker("parallel") and not one) or item.path.name in ALONE:
            item.add_marker("alone")


TA_VACANCY = """\
units           metal
atom_style      atomic
boundary        p p p
lattice         bcc 3.316
region          cell block 0 3 0 3 0 3
create_box      1 cell
create_atoms    1 box
mass            1 180.95
group           vacancy id 1
delete_atoms    group vacancy compress no
pair_style      hybrid/overlay zbl 4.0 4.8 snap
pair_coeff      1 1 zbl 73 73
pair_coeff      * * snap Ta06A.snapcoeff Ta06A.snapparam Ta
minimize        0.0 1.0e-8 1000 10000
"""
"""53 atoms, 31 parameters: milliseconds an evaluation."""

TA_BULK = TA_VACANCY.replace("group           vacancy id 1\ndelete_atoms    group vacancy compress no\n", "").replace(
    "0 3 0 3 0 3", "0 2 0 2 0 2"
)
"""16 atoms of the same."""

TA_VACANCY_READ = (
    TA_VACANCY.partition("lattice")[0] + "read_data atoms.data\n" + TA_VACANCY[TA_VACANCY.index("pair_style") :]
)
"""The same from a data file: ``create_atoms`` numbers atoms by rank, a file makes ids the same on any number."""


def ta_data(ids):
    """The data file of `TA_VACANCY_READ`, its atoms numbered by these 53 ids."""
    cube = [(x, y, z) for x in range(3) for y in range(3) for z in range(3)]
    sites = [(x + s, y + s, z + s) for x, y, z in cube for s in (0.0, 0.5)][1:]
    box = "".join(f"0 9.948 {axis}lo {axis}hi\n" for axis in "xyz")
    atoms = (f"{id_} 1 {3.316 * x} {3.316 * y} {3.316 * z}\n" for id_, (x, y, z) in zip(ids, sites, strict=True))
    return f"vacancy\n\n53 atoms\n1 atom types\n\n{box}\nMasses\n\n1 180.95\n\nAtoms\n\n{''.join(atoms)}"


@pytest.fixture
def write_deck(tmp_path):
    """Write a deck into the test's folder and return its path."""

    def write(text: str = TA_VACANCY, name: str = "in.test") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="session")
def additions(tmp_path_factory):
    """A folder with the package that CONTRIBUTING.md shows."""
    return install(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def ta_vacancy(tmp_path_factory):
    """One Ta vacancy for tests that leave it as it is."""
    from lammps_implicit import Minimum

    path = tmp_path_factory.mktemp("ta") / "in.ta"
    path.write_text(TA_VACANCY)
    with Minimum.from_deck(path) as minimum:
        yield minimum
