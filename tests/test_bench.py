"""Benchmarks: records kept and shown as they are, and every measuring function on a cell of 53 atoms."""

import json
import shutil
import subprocess
import sys

import pytest

from lammps_implicit.benchmarks import iterations, jacobians, ranks, relaxations, report
from lammps_implicit.benchmarks.cells import Cell, up_to, vacancies
from lammps_implicit.benchmarks.processes import records_of
from lammps_implicit.benchmarks.suite import BENCHMARKS
from lammps_implicit.errors import LammpsImplicitError, OutputError

MPIRUN = shutil.which("mpirun", path=f"{sys.prefix}/bin") or shutil.which("mpirun")


def _cost(seconds, iterations=20):
    return {
        "iterations": iterations,
        "force_evaluations": 30,
        "descriptor_evaluations": 1,
        "seconds": seconds,
        "seconds_in_lammps": 0.75 * seconds,
        "residual": 1e-8,
        "differencing_error": 2e-9,
    }


MADE_UP = {
    "iterations": [
        {"system": "Ta vacancy", "atoms": atoms, "ranks": 1, "springs": springs, "tolerance": tol, **_cost(2.0, count)}
        for atoms in (1023, 8191)
        for springs, tol, count in ((False, 1e-8, 53), (True, 1e-8, 17), (True, 1e-6, 12))
    ],
    "ranks": [
        {
            "system": "Ta vacancy",
            "atoms": atoms,
            "ranks": count,
            "empty_bytes": 100_000_000 * count,
            "peak_bytes": 100_000_000 * count + 9_000 * atoms,
            "relaxation": _cost(atoms * 1e-3 / count),
            "vjp": _cost(atoms * 1.6e-3 / (count * (1.0 if count == 1 else 0.8))),
        }
        for count in (2, 1)
        for atoms in (8191, 1023)
    ],
    "jacobians": [
        {
            "system": "W vacancy",
            "method": method,
            "atoms": 431,
            "parameters": 56,
            "tolerance": 1e-3,
            "force_evaluations": 50 * 8**number,
            "descriptor_evaluations": 1,
            "seconds": 7.0 * 8**number,
            "median_error": 2e-4,
            "largest_error": 1e-3,
        }
        for number, method in enumerate(jacobians.METHODS)
    ],
    "relaxations": [
        {
            "system": "Ta vacancy",
            "method": method,
            "atoms": atoms,
            "force_evaluations": 16 * 3**number,
            "seconds": atoms * 1e-3 * 3**number,
            "max_force": 5e-9 if number < 3 else 6e-8,
            "stopped": "force tolerance" if number < 3 else "line search failed",
        }
        for atoms in (431, 1023)
        for number, method in enumerate(relaxations.METHODS)
    ],
}


@pytest.fixture
def cell(tmp_path):
    return vacancies(tmp_path, "Ta", [3])[0]


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.name)
def test_records_are_kept_tabulated_and_drawn(tmp_path, benchmark):
    records = MADE_UP[benchmark.name]
    assert report.publish(benchmark, iter(records), tmp_path) == records
    data, picture = benchmark.files(tmp_path)
    document = json.loads(data.read_text())
    assert document["records"] == records
    assert document["machine"]["versions"]["lammps"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = benchmark.rows(records)
    assert len(rows) == len(records)
    assert {len(row) for row in rows} == {len(benchmark.columns)}
    console = report.console()
    with console.capture() as shown:
        console.print(report.table(benchmark, records))
    systems = [line for line in shown.get().splitlines() if "vacancy" in line]
    assert len(systems) == len(shown.get().strip().splitlines()) - 4 == len(records)  # title, header, rule: none broken


def test_efficiency_and_memory_of_made_up_ranks():
    alone, both = ({record["ranks"]: record for record in MADE_UP["ranks"]}[count] for count in (1, 2))
    assert ranks.efficiency(alone, both) == pytest.approx(0.8)
    assert ranks.efficiency(alone, both, "relaxation") == pytest.approx(1.0)
    assert ranks.bytes_above_empty(both) == pytest.approx(9_000)


def test_an_earlier_run_is_replaced_or_added_to_only_if_asked(tmp_path):
    benchmark, records = iterations.BENCHMARK, MADE_UP["iterations"]
    report.publish(benchmark, records[:3], tmp_path)
    with pytest.raises(OutputError, match="exists already"):
        report.publish(benchmark, records, tmp_path)
    anew = {**records[0], "iterations": 54}
    assert report.publish(benchmark, [anew, records[3]], tmp_path, add=True) == [anew, *records[1:4]]
    data = benchmark.files(tmp_path)[0]
    data.write_text(data.read_text().replace('"cores": ', '"cores": 1'))
    with pytest.raises(OutputError, match="another machine"):
        report.publish(benchmark, records, tmp_path, add=True)
    data.write_text("[]")
    with pytest.raises(OutputError, match="no records"):
        report.publish(benchmark, records, tmp_path, add=True)
    assert report.publish(benchmark, records[4:], tmp_path, overwrite=True) == records[4:]


def test_the_smallest_cell_is_never_left_out(tmp_path):
    cells = vacancies(tmp_path, "Ta", (8, 3, 6))
    assert [cell.atoms for cell in up_to(cells, 500)] == [53, 431]
    assert [cell.atoms for cell in up_to(cells, 1)] == [53]


def test_a_failed_measurement_says_why(tmp_path):
    with pytest.raises(LammpsImplicitError, match=r"'one_cell .*in\.none' failed: .*in\.none does not exist"):
        list(records_of("one_cell", [str(tmp_path / "in.none")]))
    missing = Cell("nothing", 1, tmp_path / "in.none")
    with pytest.raises(LammpsImplicitError, match="does not exist"):
        list(jacobians.measure(missing, lambda text: None))


def test_springs_save_iterations(cell):
    said = []
    loose, tight, bare = iterations.measure([cell], said.append)
    assert said == ["iterations: Ta vacancy, 53 atoms"]
    assert loose["atoms"] == cell.atoms == 53
    assert loose["iterations"] < tight["iterations"] < bare["iterations"]
    assert not bare["springs"]
    assert bare["norm"] == pytest.approx(tight["norm"], rel=1e-5)
    assert loose["norm"] == pytest.approx(tight["norm"], rel=1e-4)
    assert 0 < tight["seconds_in_lammps"] < tight["seconds"]
    assert tight["force_evaluations"] >= tight["iterations"]


@pytest.mark.alone
def test_time_and_memory_on_one_and_two_ranks(cell):
    counts = (1, 2) if MPIRUN and _has_petsc() else (1,)
    records = list(ranks.measure([cell], lambda text: None, counts))
    assert [record["ranks"] for record in records] == list(counts)
    for record in records:
        assert record["atoms"] == 53
        assert 10_000_000 < record["empty_bytes"] < record["peak_bytes"]
        assert record["relaxation"]["force_evaluations"] > 5
        assert record["vjp"]["iterations"] > 5


def test_all_ways_to_the_jacobian_agree(cell):
    records = {record["method"]: record for record in jacobians.measure(cell, lambda text: None)}
    assert list(records) == list(jacobians.METHODS)
    assert all(record["parameters"] == 31 for record in records.values())
    assert records["dense Hessian"]["force_evaluations"] == 3 * 53
    assert records["dense Hessian"]["largest_error"] < 1e-5
    assert records["this package"]["largest_error"] < jacobians.TOLERANCE
    assert records["LGMRES, no preconditioner"]["median_error"] < jacobians.TOLERANCE
    assert records["relaxing again"]["median_error"] < jacobians.TOLERANCE
    fewest = min(record["force_evaluations"] for record in records.values())
    assert records["this package"]["force_evaluations"] == fewest


def test_all_relaxations_lower_the_forces(cell):
    records = {record["method"]: record for record in relaxations.measure([cell], lambda text: None)}
    assert list(records) == list(relaxations.METHODS)
    assert records["this package"]["max_force"] <= relaxations.LIMIT
    assert all(record["max_force"] < 1e-5 for record in records.values())
    assert records["this package"]["force_evaluations"] < records["LAMMPS cg"]["force_evaluations"]


@pytest.mark.alone
@pytest.mark.skipif(MPIRUN is None, reason="no mpirun")
def test_the_command_refuses_to_run_under_mpirun(tmp_path):
    command = [MPIRUN, "-n", "2", sys.executable, "-m", "lammps_implicit", "bench", "-o", "bench"]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert outcome.returncode != 0
    assert outcome.stderr.count("without mpirun") == 1
    assert "Traceback" not in outcome.stderr


@pytest.mark.slow
def test_the_command_measures_everything_in_small(tmp_path):
    command = [sys.executable, "-m", "lammps_implicit", "bench", "-o", "bench", "--largest", "60"]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert outcome.returncode == 0, outcome.stderr
    names = {path.name for path in (tmp_path / "bench").iterdir()}
    assert names == {f"{benchmark.name}.{ending}" for benchmark in BENCHMARKS for ending in ("json", "png")}
    for benchmark in BENCHMARKS:
        assert benchmark.title in outcome.stdout
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert again.returncode == 1
    assert "exists already" in again.stderr


def _has_petsc():
    import importlib.util

    return importlib.util.find_spec("petsc4py") is not None
