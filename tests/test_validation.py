"""Commands on ensembles: propagate, validate in shards, merge, report."""

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from conftest import TA_VACANCY, TA_VACANCY_READ, ta_data
from typer.testing import CliRunner

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.cli.app import app
from lammps_implicit.ensembles.agreement import agreement
from lammps_implicit.ensembles.same_structure import Structure
from lammps_implicit.ensembles.shards import (
    MERGED_KIND,
    merge_shards,
    read_records,
    shard_index,
    shard_path,
)
from lammps_implicit.ensembles.validation import Tolerances, require_same_values
from lammps_implicit.files import locked
from lammps_implicit.observables import Observable
from lammps_implicit.potentials.snap_files import read_coefficients
from lammps_implicit.units import units_of

SHIPPED = Path(__import__("lammps").__file__).parent / "share/lammps/potentials"
BULK = TA_VACANCY.replace("group           vacancy id 1\ndelete_atoms    group vacancy compress no\n", "").replace(
    "0 3 0 3 0 3", "0 2 0 2 0 2"
)
STUDY = """\
cell: iso
pressure: 20 GPa
tol: 1.0e-4
bulk: {deck: in.bulk, repeat: [2, 2, 2]}
defects:
  vacancy: {deck: in.vacancy, sites: 54}
"""


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def good(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def error(*arguments):
    result = run(*arguments)
    assert isinstance(result.exception, LammpsImplicitError), result.output + repr(result.exception)
    return str(result.exception)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Observables of a vacancy with third derivatives along an ensemble, and four shards of their validation."""
    folder = tmp_path_factory.mktemp("ensembles")
    (folder / "in.bulk").write_text(BULK)
    (folder / "in.vacancy").write_text(TA_VACANCY)
    (folder / "study.yaml").write_text(STUDY)
    theta = read_coefficients(SHIPPED / "Ta06A.snapcoeff").theta
    rng = np.random.default_rng(0)
    np.save(folder / "e.npy", theta + 3e-3 * rng.standard_normal((400, len(theta))) * np.abs(theta))
    good("observables", folder / "study.yaml", "-o", folder / "out.h5", "--ensemble", folder / "e.npy")
    for shard in range(1, 4):  # the index counts from one here
        validate(folder, f"{shard}/3")
    return folder


def validate(folder, shard, output="shards", *more):
    arguments = ["validate", folder / "out.h5", "--ensemble", folder / "e.npy", "--samples", 7, "--shard", shard]
    return good(*arguments, "-o", folder / output, *more)


def test_distributions_are_written_and_told(study, tmp_path):
    output = good("propagate", study / "out.h5", "--ensemble", study / "e.npy", "-o", tmp_path / "uq.h5")
    assert "accuracy of derivatives: good" in output
    assert "vacancy: formation volume" in output
    assert "outside the trust range" in output
    with h5py.File(tmp_path / "uq.h5") as file, h5py.File(study / "out.h5") as known:
        energy = file["observables/vacancy: formation energy"]
        assert list(energy.attrs["orders"]) == ["first", "second", "third"]
        assert energy["estimates"].shape == (3, 400)
        assert energy["value"][()] == known["observables/vacancy: formation energy/value"][()]
        assert file["observables/vacancy: formation volume/estimates"].shape == (2, 400)
        assert file["flagged"].shape == (400,)
        assert file.attrs["samples"] == 400
    assert {path.name for path in tmp_path.iterdir()} == {"uq.h5", "uq.distributions.png", "uq.drivers.png"}
    assert "exists already" in error(
        "propagate", study / "out.h5", "--ensemble", study / "e.npy", "-o", tmp_path / "uq.h5"
    )


def test_shards_add_up_to_what_one_process_finds(study, tmp_path):
    validate(study, "0/1", tmp_path / "whole")
    output = good("merge", study / "shards", "-o", tmp_path / "merged.h5")
    assert "7 samples" in output
    merged, _ = read_records(tmp_path / "merged.h5", MERGED_KIND)
    whole, _ = merge_shards([tmp_path / "whole"])
    assert np.array_equal(merged.rows, whole.rows)
    assert len(set(merged.rows)) == 7
    assert merged.true == pytest.approx(whole.true, rel=1e-9)
    for one in agreement(merged, 0.1):
        assert one.trusted == np.count_nonzero(~merged.flagged)
        # What is predicted is what relaxing again finds.
        assert one.mean[0] == pytest.approx(one.mean[1], rel=1e-3)
        assert one.deviation[0] == pytest.approx(one.deviation[1], rel=2e-2)
    energy = merged.names.index("vacancy: formation energy")
    errors = np.abs(merged.estimates[:, energy] - merged.true[:, energy, None]).max(axis=0)
    assert errors[2] < errors[1] < errors[0]
    assert (tmp_path / "merged.png").stat().st_size > 10_000


def test_more_shards_than_samples(study, tmp_path):
    for shard in range(3):
        arguments = [
            "validate",
            study / "out.h5",
            "--ensemble",
            study / "e.npy",
            "--samples",
            2,
            "--shard",
            f"{shard}/3",
        ]
        good(*arguments, "-o", tmp_path / "few")
    assert "2 samples" in good("merge", tmp_path / "few", "-o", tmp_path / "m.h5")


def test_a_killed_shard_goes_on_where_it_was(study, tmp_path):
    command = [sys.executable, "-m", "lammps_implicit", "validate", study / "out.h5", "--ensemble", study / "e.npy"]
    command += ["--samples", "7", "--shard", "0/3", "-o", tmp_path / "again"]
    target, done = tmp_path / "again" / "shard-0-of-3.h5", -1
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while done < 1 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
        if target.exists():
            with h5py.File(target) as file:
                done = np.count_nonzero(file["status"])
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "again" / ".shard-0-of-3.h5.123.partial").write_text("left behind")
    assert done >= 1
    assert "is not finished" in error("merge", tmp_path / "again", "-o", tmp_path / "m.h5") or done == 3
    validate(study, "0/3", tmp_path / "again")
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["shard-0-of-3.h5"]
    with h5py.File(target) as file, h5py.File(study / "shards" / "shard-0-of-3.h5") as expected:
        for name in ("rows", "true", "moved", "forces", "status"):
            assert np.array_equal(file[name][()], expected[name][()]), name


def test_shards_that_do_not_fit_are_named(study, tmp_path):
    shards = tmp_path / "shards"
    shutil.copytree(study / "shards", shards)
    (shards / "shard-1-of-3.h5").unlink()
    assert "run --shard 1/3" in error("merge", shards, "-o", tmp_path / "m.h5")
    whole = (study / "shards" / "shard-1-of-3.h5").read_bytes()
    (shards / "shard-1-of-3.h5").write_bytes(whole[: len(whole) // 2])
    assert re.search(r"cannot read .*shard-1-of-3.h5: ", error("merge", shards, "-o", tmp_path / "m.h5"))
    validate(study, "1/3", tmp_path / "other", "--seed", 1)
    shutil.copy(tmp_path / "other" / "shard-1-of-3.h5", shards)
    assert "other settings than" in error("merge", shards, "-o", tmp_path / "m.h5")
    assert "started with other settings: seed 1 instead of 0" in error(
        "validate", study / "out.h5", "--ensemble", study / "e.npy", "--samples", 7, "--shard", "1/3", "-o", shards
    )
    assert "not a validation shard" in error("merge", study / "out.h5", "-o", tmp_path / "m.h5")
    assert "no shard in" in error("merge", tmp_path, "-o", tmp_path / "m.h5")
    assert not (tmp_path / "m.h5").exists()


@pytest.mark.parametrize(
    ("text", "shard"), [("0/4", (0, 4)), ("3/4", (3, 4)), ("4/4", (0, 4)), ("1/1", (0, 1)), ("7/12", (7, 12))]
)
def test_shards_count_from_zero_or_one(text, shard):
    assert shard_index(text) == shard


@pytest.mark.parametrize("text", ["", "1", "a/b", "5/4", "-1/4", "1/0", "1/2/3"])
def test_shards_that_are_none_are_refused(text):
    with pytest.raises(LammpsImplicitError, match="write INDEX/COUNT"):
        shard_index(text)


def test_decks_that_have_changed_are_refused(study, tmp_path):
    for name in ("in.bulk", "in.vacancy", "study.yaml", "e.npy"):
        shutil.copy(study / name, tmp_path)
    good("observables", tmp_path / "study.yaml", "-o", tmp_path / "out.h5")
    with open(tmp_path / "in.vacancy", "a") as deck:
        deck.write("# another line\n")
    told = error(
        "validate", tmp_path / "out.h5", "--ensemble", tmp_path / "e.npy", "--samples", 2, "-o", tmp_path / "v"
    )
    assert "in.vacancy has changed" in told
    assert "cannot select 401 samples: e.npy has 400" in error(
        "validate", tmp_path / "out.h5", "--ensemble", tmp_path / "e.npy", "--samples", 401, "-o", tmp_path / "v"
    )


def test_a_report_needs_nothing_else(study, tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    good("sensitivity", tmp_path / "in.ta", "-o", tmp_path / "ta.h5", "--ensemble", study / "e.npy")
    arguments = ["propagate", tmp_path / "ta.h5", "--ensemble", study / "e.npy", "-o", tmp_path / "uq.h5"]
    assert "distance 2-40" in good(*arguments, "--distance", "2-40")
    with h5py.File(tmp_path / "uq.h5") as file:
        assert file["displacement_covariance"].shape == (53, 3, 3)
        deviation = np.sqrt(np.trace(file["displacement_covariance"][()], axis1=1, axis2=2))
    assert deviation.max() > 1e-4
    assert "deviation" in (tmp_path / "uq.xyz").read_text().splitlines()[1]
    for shard in ("0/2", "1/2"):
        good(
            "validate",
            tmp_path / "ta.h5",
            "--ensemble",
            study / "e.npy",
            "--samples",
            4,
            "--shard",
            shard,
            "-o",
            tmp_path / "v",
        )
    good("merge", tmp_path / "v", "-o", tmp_path / "v.h5")
    good("report", tmp_path / "uq.h5", "--validation", tmp_path / "v.h5")
    page = (tmp_path / "uq.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert "http" not in page
    assert "relaxed again" in page
    good("merge", study / "shards", "-o", tmp_path / "other.h5")
    assert "made with other derivatives" in error(
        "report", tmp_path / "uq.h5", "--validation", tmp_path / "other.h5", "-o", tmp_path / "x.html"
    )
    for pair, message in (("2_40", "write two atom ids"), ("2-1", "no atom 1"), ("5-5", "two atoms")):
        assert message in error(*arguments, "--distance", pair, "--overwrite")
    assert "not a result of" in error(
        "propagate", tmp_path / "uq.h5", "--ensemble", study / "e.npy", "-o", tmp_path / "z.h5"
    )
    assert "not a result of" in error("report", tmp_path / "ta.h5", "-o", tmp_path / "z.html")


def test_a_structure_without_energy_of_others_has_no_distances(study, tmp_path):
    arguments = ["propagate", study / "out.h5", "--ensemble", study / "e.npy", "-o", tmp_path / "uq.h5"]
    assert "holds no structure" in error(*arguments, "--distance", "1-2")


def test_a_shard_is_one_processs(study, tmp_path):
    target = shard_path(tmp_path, 0, 3)
    with locked(target):
        code = (
            "from pathlib import Path; from lammps_implicit.files import locked\n"
            f"with locked(Path({str(target)!r})): pass"
        )
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "another process works on" in other.stderr
    assert list(tmp_path.iterdir()) == []


def test_samples_that_stop_lammps_are_kept_as_failed(study, tmp_path, monkeypatch):
    from lammps_implicit.ensembles import reopening

    arguments = ["validate", study / "out.h5", "--ensemble", study / "e.npy", "--samples", 7, "--shard", "0/3"]
    real, calls = reopening.ReopenedCells.relaxed_at, []

    def fails_first(self, dtheta, ftol):
        calls.append(dtheta)
        if len(calls) == 1:
            raise LammpsImplicitError("Lost atoms")
        return real(self, dtheta, ftol)

    monkeypatch.setattr(reopening.ReopenedCells, "relaxed_at", fails_first)
    assert "stopped the relaxation: Lost atoms" in error(*arguments, "-o", tmp_path / "v")
    good(*arguments, "-o", tmp_path / "v")
    with h5py.File(tmp_path / "v" / "shard-0-of-3.h5") as file:
        assert list(file["status"]) == [2, 1, 1]


def test_samples_that_become_another_structure_are_counted_apart(study, tmp_path, monkeypatch):
    """In one sample a neighbour of the vacancy hops into it: the energies are right, but those of another place."""
    from lammps_implicit.stationary.point import StationaryPoint

    real, calls = StationaryPoint.relax_away, []

    def hops(cell, *arguments, **options):
        calls.append(cell)
        if len(calls) == 4:  # the vacancy of the second sample
            empty = cell.engine.origin
            near = np.linalg.norm(cell.engine.nearest_image(cell.positions - empty), axis=1).argmin()
            hop = np.zeros_like(cell.positions)
            hop[near] = 0.9 * cell.engine.nearest_image((empty - cell.positions[near])[None])[0]
            cell.engine.shift(hop)
            cell._take(cell.engine.settle())
        return real(cell, *arguments, **options)

    monkeypatch.setattr(StationaryPoint, "relax_away", hops)
    arguments = ["validate", study / "out.h5", "--ensemble", study / "e.npy", "--samples", 3]
    good(*arguments, "-o", tmp_path / "v")
    monkeypatch.undo()
    output = good("merge", tmp_path / "v", "-o", tmp_path / "m.h5")
    assert "3 samples relaxed again, " in output and "1 became another structure" in output
    assert "vacancy: neighbours change" in output
    records, settings = read_records(tmp_path / "m.h5", MERGED_KIND)
    assert sorted(records.status) == [1, 1, 3]
    (row,) = np.flatnonzero(records.status == 3)
    assert records.moved[row] > 2
    for one in agreement(records, settings.limit):
        assert one.trusted == np.count_nonzero(~np.delete(records.flagged, row))
        assert one.large >= 1


@pytest.mark.parametrize(("share", "told"), [(0.05, ""), (0.42, "two atoms are")])
def test_structures_are_compared_beyond_the_strain_of_the_cell(write_deck, share, told):
    """An atom moves towards its nearest neighbour, in a cell that is strained by 5 %."""
    with Minimum.from_deck(write_deck(), cell="iso", force_limit=np.inf) as minimum:
        before, positions = Structure.of(minimum), minimum.positions
        assert before.difference(minimum) == ""
        to_others = minimum.engine.nearest_image(np.delete(positions, 30, axis=0) - positions[30])
        moved, strain = np.zeros_like(positions), 0.05 * np.eye(3)
        moved[30] = share * to_others[np.linalg.norm(to_others, axis=1).argmin()]
        homogeneous = (positions - minimum.engine.origin) @ strain
        with minimum.excursion(np.zeros_like(minimum.potential.theta), homogeneous + moved, strain):
            assert before.moved(minimum) == pytest.approx(np.linalg.norm(moved[30]), rel=0.1)
            found = before.difference(minimum)
            assert re.search(told, found) if told else found == ""


def test_names_may_hold_slashes(study, tmp_path):
    for name in ("in.bulk", "in.vacancy", "e.npy"):
        shutil.copy(study / name, tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY.replace("vacancy: {", "V/Ta: {"))
    good("observables", tmp_path / "study.yaml", "-o", tmp_path / "out.h5", "--ensemble", tmp_path / "e.npy")
    good("validate", tmp_path / "out.h5", "--ensemble", tmp_path / "e.npy", "--samples", 1, "-o", tmp_path / "v")
    assert "V/Ta: formation energy" in good("merge", tmp_path / "v", "-o", tmp_path / "m.h5")
    assert "is also an input file" in error(
        "merge", tmp_path / "v" / "shard-0-of-1.h5", "-o", tmp_path / "v" / "shard-0-of-1.h5", "--overwrite"
    )


def made_up(name, value, units, gradient=0.0):
    observable = Observable(np.asarray(value), np.full(2, gradient), units)
    return SimpleNamespace(observables={name: observable}, path=Path("out.h5"))


@pytest.mark.parametrize("atoms", [2, 10_000_000])
@pytest.mark.parametrize(
    ("name", "units", "of_cell"),
    [
        ("lattice parameter a", "Å", lambda length, atoms: length),
        ("vacancy: formation volume", "Å^3", lambda length, atoms: atoms / 2 * length**3 - atoms / 2 * 3.3**3 + 10.0),
        ("volume", "Å^3", lambda length, atoms: atoms / 2 * length**3),
        ("density", "Å^-3", lambda length, atoms: 2 / length**3),
    ],
)
def test_a_cell_that_changed_is_noticed_at_any_size(atoms, name, units, of_cell):
    """1e-4 of a length is a change, 1e-8 is what relaxing leaves."""
    tolerances = Tolerances(units_of("metal"), atoms, atoms / 2 * 3.3**3, np.ones(2))
    known = made_up(name, of_cell(3.3, atoms), units)
    require_same_values(known, {name: of_cell(3.3 * (1 + 1e-8), atoms)}, tolerances)
    with pytest.raises(LammpsImplicitError, match="no longer lead to the minimum of the result"):
        require_same_values(known, {name: of_cell(3.3 * (1 + 1e-4), atoms)}, tolerances)


@pytest.mark.parametrize("atoms", [2, 10_000_000])
def test_energies_are_compared_per_atom(atoms):
    tolerances = Tolerances(units_of("metal"), atoms, 20.0 * atoms, np.ones(2))
    for name, value, size in (("enthalpy", -8.0 * atoms, atoms), ("bulk energy per atom", -8.0, 1)):
        known = made_up(name, value, "eV")
        require_same_values(known, {name: value + 1e-7 * size}, tolerances)
        with pytest.raises(LammpsImplicitError, match="no longer lead to the minimum"):
            require_same_values(known, {name: value + 1e-5 * size}, tolerances)


def test_observables_of_other_units_that_vanish_are_compared_with_how_they_depend_on_parameters():
    tolerances = Tolerances(units_of("metal"), 100, 1600.0, np.array([1.0, 3.0]))
    known = made_up("dipole", 0.0, "eV Å", gradient=5.0)
    require_same_values(known, {"dipole": 1e-6}, tolerances)
    with pytest.raises(LammpsImplicitError, match="no longer lead to the minimum"):
        require_same_values(known, {"dipole": 1e-3}, tolerances)


def test_a_fixed_cell_that_changed_is_refused(study, tmp_path):
    """The deck is the same, the data file that it reads is not; the energy hardly says so."""
    (tmp_path / "in.ta").write_text(TA_VACANCY_READ)
    data = ta_data(range(2, 55))
    (tmp_path / "atoms.data").write_text(data)
    good("sensitivity", tmp_path / "in.ta", "-o", tmp_path / "ta.h5")
    arguments = ["validate", tmp_path / "ta.h5", "--ensemble", study / "e.npy", "--samples", 1, "-o", tmp_path / "v"]
    good(*arguments)
    edge = 9.948 * (1 + 1e-4)
    (tmp_path / "atoms.data").write_text(data.replace("0 9.948 xlo", f"0 {edge} xlo"))
    assert "the cell of in.ta is no longer that of ta.h5" in error(*arguments, "--overwrite")
