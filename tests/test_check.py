"""The conformance report: planted faults are found where they are, and what is smooth is called good."""

import json
import re
import subprocess
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest
from commands import program
from conftest import TA_VACANCY
from mpi4py import MPI

from lammps_implicit import LammpsImplicitError
from lammps_implicit.cli.check import _show
from lammps_implicit.conformance import (
    Conformance,
    Finding,
    Verdict,
    check_deck,
    hessian_steps,
    measure_asymmetry,
    measure_gradients,
    measure_invariance,
    measure_lists,
    measure_noise,
    measure_pressures,
    measure_smoothness,
    plot_conformance,
)
from lammps_implicit.conformance.kinks import Kink
from lammps_implicit.conformance.radii import written_radii
from lammps_implicit.conformance.smoothness import Smoothness
from lammps_implicit.conformance.starting import start_tolerant
from lammps_implicit.evaluators import SerialEvaluator
from lammps_implicit.structures import Structure

WORLD = MPI.COMM_WORLD


@dataclass(kw_only=True)
class Planted(SerialEvaluator):
    """Morse pairs of ten atoms in a large cell, with one fault at a time.

    Attributes
    ----------
    kink : float
        Radius below which a harmonic spring acts: its force is continuous, the slope jumps.
    step : float
        Energy that is added to each pair closer than `step_radius`.
    wrong : float
        Factor of the forces on atoms of type 2.
    virial : float
        Factor of the pressure.
    field : float
        Strength of a field that depends on where the atoms are.
    noise : float
        Of random forces.
    reach : float
        Pairs are listed where they are closer than this, and stay in the list until it is built again.
    """

    kink: float = 0.0
    step: float = 0.0
    step_radius: float = 0.0
    wrong: float = 1.0
    virial: float = 1.0
    field: float = 0.0
    noise: float = 0.0
    reach: float = np.inf

    def list_neighbours(self):
        super().list_neighbours()
        everyone = np.array(list(combinations(range(len(self.positions)), 2)))
        distances = np.linalg.norm(self.positions[everyone[:, 0]] - self.positions[everyone[:, 1]], axis=1)
        self.pairs = everyone[distances < self.reach]

    def evaluate(self, positions, cell, theta):
        if not hasattr(self, "pairs"):
            self.list_neighbours()
        a, b = self.pairs.T
        vectors = positions[b] - positions[a]
        r = np.linalg.norm(vectors, axis=1)
        fade = np.exp(-1.3 * (r - 2.8))
        inside = np.minimum(r - self.kink, 0.0)
        energy = np.sum(0.4 * (fade**2 - 2 * fade) + 0.05 * inside**2 + self.step * (r < self.step_radius))
        slope = 0.4 * 2.6 * (fade - fade**2) + 0.1 * inside
        pull = (slope / r)[:, None] * vectors
        forces = np.zeros_like(positions)
        np.add.at(forces, a, pull)
        np.add.at(forces, b, -pull)
        pressure = -self.virial * np.einsum("ki,kj->ij", pull, vectors) / np.linalg.det(cell)
        forces[self.types == 2] *= self.wrong
        energy += self.field * np.sum(np.cos(positions[:, 0]))
        forces[:, 0] += self.field * np.sin(positions[:, 0])
        forces = forces + self.noise * np.random.default_rng(self.evaluations.forces).normal(size=forces.shape)
        return float(energy), forces, pressure


def planted(periodic=False, **faults):
    rng = np.random.default_rng(5)
    grid = np.array([(x, y, z) for x in range(2) for y in range(2) for z in range(3)][:10], float)
    positions = 2.9 * grid + 15.0 + 0.15 * rng.normal(size=(10, 3))
    ids, types = np.arange(1, 11), np.array([1, 1, 1, 1, 1, 1, 1, 1, 2, 1])
    structure = Structure(
        ids, types, positions, 40.0 * np.eye(3), np.zeros(3), np.full(3, periodic), ("Ar", "Kr"), np.ones(2)
    )
    engine = Planted(comm=MPI.COMM_SELF, structure=structure, theta=np.zeros(0), **faults)
    engine.settle()
    return engine


def distance(engine, i, j):
    return float(np.linalg.norm(engine.positions[i] - engine.positions[j]))


def test_what_is_smooth_is_good():
    engine = planted(periodic=True)
    noise = measure_noise(engine)
    found = [
        measure_gradients(engine).finding("eV/Å", "Å"),
        measure_pressures(engine, ["xx", "yy", "zz"]).finding(),
        measure_asymmetry(engine).finding("Å"),
        hessian_steps(engine, "Å").finding(),
        noise.finding("eV/Å"),
        *measure_smoothness(engine, noise, 3).findings("Å", "eV"),
        *(one.finding("eV") for one in measure_invariance(engine)),
        measure_lists(engine).finding("eV"),
    ]
    assert {finding.name: finding.verdict for finding in found if finding.verdict is not Verdict.good} == {}
    assert 1e-17 < noise.sigma < 1e-14
    assert engine.max_abs(engine.forces() - planted().forces()) == 0


def test_a_kink_is_found_with_its_pair_and_radius():
    reference = planted()
    radius = distance(reference, 2, 7) + 5e-5
    engine = planted(kink=radius)
    found = measure_smoothness(engine, measure_noise(engine), 4)
    assert not found.rough
    assert found.nearest < 2e-4
    pair = found.kinks[0].pair
    assert pair.ids == (3, 8)
    assert pair.types == (1, 1)
    assert pair.radius == pytest.approx(radius, abs=2e-8)
    assert pair.distance == pytest.approx(radius - 5e-5, abs=1e-9)
    assert pair.sharing[0] == 1
    for kink in found.kinks:
        assert kink.force_jump == 0
        assert 1e-3 < kink.slope_jump < 1e-1
    finding = found.findings("Å", "eV")[0]
    assert finding.verdict is Verdict.limited
    assert "atoms 3-8" in finding.text
    assert f"r = {radius:.6f}" in finding.text


def test_products_are_said_to_need_steps_shorter_than_the_kink_is_away():
    radius = distance(planted(), 2, 7) + 1e-5
    errors = hessian_steps(planted(kink=radius), "Å")
    assert errors.best[0] < 1e-5
    assert errors.best[1] < 1e-6
    assert np.nanmin(errors.central[errors.steps > 5e-5]) > 1e-4


def test_a_jump_of_the_energy_is_found_and_forces_are_not_blamed():
    radius = distance(planted(), 2, 7) + 3e-4
    engine = planted(step=-1e-5, step_radius=radius)
    found = measure_smoothness(engine, measure_noise(engine), 6)
    assert not found.places
    sizes = [size for _, _, size in found.energy_jumps]
    assert sizes
    assert np.abs(sizes) == pytest.approx(1e-5, rel=1e-3)
    assert found.findings("Å", "eV")[1].verdict is Verdict.limited
    assert not measure_gradients(engine).wrong


def test_forces_that_are_not_the_energys_are_found_with_their_atom():
    found = measure_gradients(planted(wrong=1.05))
    assert found.wrong
    assert found.finding("eV/Å", "Å").verdict is Verdict.bad
    assert found.atoms[0][:2] == (9, 2)
    assert all(other[2] < 1e-3 * found.atoms[0][2] for other in found.atoms[1:])
    asymmetry = measure_asymmetry(planted(wrong=1.05))
    assert min(asymmetry.relative) > 1e-3
    assert asymmetry.finding("Å").verdict is Verdict.bad


def test_a_wrong_virial_is_found():
    found = measure_pressures(planted(periodic=True, virial=1.02), ["xx", "zz"])
    assert found.finding().verdict is Verdict.bad
    assert max(found.relative.values()) == pytest.approx(0.02, rel=0.2)


def test_a_field_is_found_by_translations_and_turns():
    found = {one.name: one.finding("eV").verdict for one in measure_invariance(planted(field=0.05))}
    assert found == {"translations": Verdict.bad, "rotations": Verdict.bad, "net force": Verdict.bad}


def test_random_forces_are_found():
    noise = measure_noise(planted(noise=1e-6))
    assert noise.repeat > 1e-6
    assert noise.sigma == pytest.approx(1e-6, rel=0.5)
    assert noise.finding("eV/Å").verdict is Verdict.bad


def test_lists_that_miss_pairs_are_found():
    whole = planted()
    distances = sorted(distance(whole, i, j) for i, j in combinations(range(10), 2))
    missing = planted(reach=distances[20] + 0.01)
    assert measure_lists(missing).finding("eV").verdict is Verdict.bad
    assert measure_lists(whole).finding("eV").verdict is Verdict.good


ARGON = """\
units           metal
atom_modify     map array
lattice         fcc 5.26
region          cell block 0 3 0 3 0 3
create_box      1 cell
create_atoms    1 box
mass            1 39.95
displace_atoms  all random 0.1 0.1 0.1 7
pair_style      {style}
pair_coeff      {coefficients}
"""


def argon(style, *lines):
    """A deck of displaced argon with these lines after its pair_style, ids by place: the same on any ranks."""
    return ARGON.format(style=style, coefficients=lines[0]) + "\n".join((*lines[1:], "reset_atoms id sort yes\n"))


def _run(folder, *arguments):
    command = [*program(), "check", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder where all ranks find the same files."""
    return WORLD.bcast(tmp_path_factory.mktemp("check") if WORLD.rank == 0 else None)


@pytest.mark.parallel(nprocs=[1, 2])
def test_a_cutoff_at_a_pair_is_found_in_lammps_on_ranks(shared):
    deck = shared / f"in.soft{WORLD.size}"

    def write(radius):
        if WORLD.rank == 0:
            lines = "1 1 morse 0.0101 1.6 3.86", "pair_coeff 1 1 soft 0.05", "pair_modify pair morse shift yes"
            deck.write_text(argon(f"hybrid/overlay morse 9.0 soft {radius}", *lines))
        WORLD.barrier()

    write("4.0")
    engine = start_tolerant(deck, MPI.COMM_SELF).engine
    engine.settle()
    i = 4
    order = np.argsort(engine.ids)
    vectors = engine.nearest_image(engine.positions[order] - engine.positions[order][i])
    lengths = np.linalg.norm(vectors, axis=1)
    j = int(np.argsort(lengths)[1])
    engine.close()
    radius = round(float(lengths[j]) + 3e-5, 6)
    write(repr(radius))
    report = check_deck(deck, lines=3, ranks=WORLD.size == 2)
    assert report["smoothness of forces"].verdict is Verdict.limited
    pair = report.smoothness.kinks[0].pair
    assert pair.ids == tuple(sorted((i + 1, j + 1)))
    assert pair.radius == pytest.approx(radius, abs=1e-6)
    assert pair.written == f"{radius!r} of pair_style"
    assert report.smoothness.nearest < 1e-4
    assert report["translations"].verdict is Verdict.good
    if WORLD.size == 2:
        assert report["number of ranks"].numbers["forces"] < 1e-10
        assert report["number of ranks"].numbers["ranks"] == [2, 1]


def test_a_smooth_deck_is_good_and_two_ranks_are_one(tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY.replace("0 3 0 3 0 3", "0 2 0 2 0 2"))
    done = _run(tmp_path, "in.ta", "--lines", 2, "-o", "report.png", "--json", "report.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "overall good" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    verdicts = {finding["name"]: finding["verdict"] for finding in report["findings"]}
    assert verdicts["number of ranks"] == verdicts["shear stress against energy"] == "good"
    assert report["verdict"] == "good"
    assert sum(finding["evaluations"] for finding in report["findings"]) <= report["evaluations"] < 600
    parameters = next(finding for finding in report["findings"] if finding["name"] == "parameters")
    assert len(parameters["numbers"]["names"]) == 31
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"
    # Nothing is replaced unasked, an input never.
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments, message in (
        (("in.ta", "-o", "report.png"), "exists already"),
        (("in.ta", "--json", "in.ta", "--overwrite"), "is also an input file"),
        (("in.ta", "-o", "x.json", "--json", "x.json"), "give two names"),
    ):
        done = _run(tmp_path, *arguments)
        assert done.returncode == 1
        assert message in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def _table(factor):
    r = np.linspace(2.0, 8.0, 3000)
    x = (3.4 / r) ** 6
    rows = zip(
        r.tolist(), (0.0416 * (x * x - x)).tolist(), (factor * 0.0416 * (12 * x * x - 6 * x) / r).tolist(), strict=True
    )
    return "PAIR\nN 3000 R 2.0 8.0\n\n" + "".join(f"{k} {a!r} {b!r} {c!r}\n" for k, (a, b, c) in enumerate(rows, 1))


@pytest.mark.parametrize(("factor", "points", "status"), [(1.0, 3000, 0), (1.02, 3000, 1), (1.02, 600, 1)])
def test_tables_are_rough_and_bad_where_their_forces_are_not_their_energies(tmp_path, factor, points, status):
    (tmp_path / "pair.table").write_text(_table(factor))
    (tmp_path / "in.table").write_text(argon(f"table linear {points}", "1 1 pair.table PAIR 7.5"))
    (tmp_path / "report.json").write_text("{}")
    done = _run(tmp_path, "in.table", "--lines", 3, "--no-ranks", "--json", "report.json", "--overwrite")
    assert done.returncode == status, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    found = {finding["name"]: finding for finding in report["findings"]}
    assert found["smoothness of forces"]["numbers"]["rough_everywhere"]
    assert found["parameters"]["verdict"] == "good"  # factor and shift of the table
    bad = {name for name, finding in found.items() if finding["verdict"] == "bad"}
    assert bad >= {"forces against energy", "pressure against energy"} if status else not bad
    assert report["verdict"] == ("bad" if status else "limited")


SALT = """\
units           metal
atom_style      charge
lattice         custom 4.21 a1 1 0 0 a2 0 1 0 a3 0 0 1 &
                basis 0 0 0 basis 0 0.5 0.5 basis 0.5 0 0.5 basis 0.5 0.5 0 &
                basis 0.5 0 0 basis 0 0.5 0 basis 0 0 0.5 basis 0.5 0.5 0.5
region          cell block 0 2 0 2 0 2
create_box      2 cell
create_atoms    1 box basis 5 2 basis 6 2 basis 7 2 basis 8 2
mass            * 20.0
set             type 1 charge 2
set             type 2 charge -2
displace_atoms  all random 0.05 0.05 0.05 3
pair_style      buck/coul/long 8.0
pair_modify     table {table} shift yes
pair_coeff      1 1 0.0 1.0 0.0
pair_coeff      1 2 1428.5 0.2945 0.0
pair_coeff      2 2 22764.3 0.149 27.88
kspace_style    ewald 1.0e-6
"""


@pytest.mark.parametrize("table", [12, 0])
def test_forces_are_those_without_coulomb_tables(write_deck, table):
    """Derivatives are taken without tables, whatever the deck says, and the report is about those."""
    report = check_deck(write_deck(SALT.format(table=table)), lines=3, ranks=False)
    assert not report.smoothness.rough
    assert report["smoothness of forces"].verdict is Verdict.good
    assert report["steps of Hessian products"].numbers["accuracy"] < 1e-8
    assert report.remarks[0].startswith("The deck does not end at a minimum")


def test_a_grid_of_reciprocal_sums_limits_and_does_not_condemn(write_deck):
    text = SALT.format(table=0).replace("ewald 1.0e-6", "pppm 1.0e-5")
    found = check_deck(write_deck(text), lines=1, ranks=False)["translations"]
    assert found.verdict is Verdict.limited
    assert 1e-6 < found.numbers["forces"] < 1e-3
    assert f"{found.numbers['energy_share']:.1e}" in found.text
    assert f"consistent to {found.numbers['forces']:.0e}" in found.remedy
    assert "kspace_style ewald" in found.remedy


PLAIN = "lj/cut 5.0", "1 1 0.0104 3.4"


def test_unshifted_energies_are_found_to_jump(write_deck):
    jump = 4 * 0.0104 * (3.4 / 5.0) ** 6 * (1 - (3.4 / 5.0) ** 6)
    report = check_deck(write_deck(argon(*PLAIN)), lines=3, ranks=False)
    sizes = np.abs([size for _, _, size in report.smoothness.energy_jumps])
    assert np.min(np.abs(sizes - jump)) < 0.01 * jump  # where one pair crosses alone
    assert report["smoothness of energies"].verdict is Verdict.limited
    shifted = check_deck(write_deck(argon(*PLAIN, "pair_modify shift yes")), lines=3, ranks=False)
    assert shifted["smoothness of energies"].verdict is Verdict.good
    assert shifted["smoothness of energies"].text.startswith("no jumps on 3 lines of ±1e-03 Å and 2 lines of ±2e-02 Å")


def test_pairs_that_cross_a_cutoff_are_not_forces_that_are_not_the_energys(write_deck):
    lines = "1 1 0.01 1.2 3.86", "pair_modify shift yes"
    report = check_deck(write_deck(argon("morse 6.0", *lines)), lines=2, ranks=False)
    found = report["forces against energy"]
    assert found.verdict is Verdict.good
    assert max(found.numbers["steps"][0]["relative"]) > 1e-4
    assert found.numbers["step"] < 1e-3
    assert "in longer steps forces jump at a cutoff" in found.text


def test_a_shell_at_a_cutoff_is_named_and_no_table(write_deck):
    text = argon("morse 5.2599", "1 1 0.01 1.6 3.86", "pair_modify shift yes").replace("displace", "# displace")
    report = check_deck(write_deck(text), lines=2, ranks=False)
    found = report["smoothness of forces"]
    assert found.verdict is Verdict.limited
    assert found.numbers["rough_everywhere"]
    assert "324 pairs of types 1-1 at r = 5.260000 Å crosses 5.2599 Å (5.2599 of pair_style)" in found.text
    assert "table" not in found.text + found.remedy


def test_cutoffs_of_snap_files_are_named(write_deck):
    engine = start_tolerant(write_deck(), MPI.COMM_SELF).engine
    try:
        assert written_radii(engine)[4.67637] == "rcutfac 4.67637 × (0.5 + 0.5) of the SNAP files"
    finally:
        engine.close()


def test_what_is_nearest_is_a_kink_that_was_looked_at():
    kinks = tuple(Kink(number, t, 1e-2, 0.0, None) for number, t in ((0, -7.19e-6), (1, 3e-4)))
    found = Smoothness((), (), ((0, -7.19e-6), (1, 3e-4), (0, 4.9e-6)), kinks, 0.0, False, (), 1e-4)
    assert "the nearest 7.2e-06 Å away" in found.findings("Å", "eV")[0].text
    assert not Kink(0, 0.0, 1e-9, 4e-15, None).seen


def test_texts_are_wrapped_on_terminals_only(monkeypatch, capsys):
    about = {"atoms": 1, "types": 2, "held components": 1, "ranks": 1, "pair style": "snap", "energy": np.nan}
    long = Finding("a name", Verdict.limited, "some words " * 20, "a remedy " * 20)
    report = Conformance("in.x", about | {"periodic": "ppp"}, [long], 1, 0.0)
    _show(report)
    assert max(map(len, capsys.readouterr().out.splitlines())) > 200
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "90")
    _show(report)
    shown = capsys.readouterr().out
    assert "1 atom, 2 types, 1 component held" in shown
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert max(map(len, lines)) <= 90
    assert sum(line.startswith(" " * 21 + "some") or line.startswith(" " * 21 + "words") for line in lines) >= 2


def test_the_plot_shows_jumps_and_says_where_text_is_cut():
    engine = planted(step=-1e-5, step_radius=distance(planted(), 2, 7) + 3e-4)
    known = measure_smoothness(engine, measure_noise(engine), 4)
    long = Finding("a name", Verdict.good, "word " * 200)
    report = Conformance("in.x", {"energy unit": "eV"}, [long], 1, 0.0, known, (hessian_steps(engine, "Å"),))
    slopes, steps, jumps, listed = plot_conformance(report).get_axes()
    assert slopes.get_ylim()[0] == steps.get_ylim()[0] == 1e-12
    assert sum(len(drawn.get_xdata()) for drawn in jumps.lines) == len(known.energy_jumps) > 0
    assert listed.texts[-1].get_text().endswith("…")
    assert len(plot_conformance(replace(report, smoothness=None)).get_axes()) == 3


def test_fixes_that_act_are_a_finding(write_deck):
    report = check_deck(write_deck(argon(*PLAIN, "fix move all move linear 0 0 0")))
    assert report.verdict is Verdict.bad
    assert "unfix move" in report["fixes"].text
    assert json.dumps(report.as_dict(), allow_nan=False)
    with pytest.raises(LammpsImplicitError, match="at least one"):
        check_deck(write_deck(argon(*PLAIN)), lines=0)


def test_one_atom_is_not_called_good(write_deck):
    text = (
        argon(*PLAIN).replace("create_atoms    1 box", "create_atoms 1 single 0 0 0").replace("displace", "# displace")
    )
    report = check_deck(write_deck(text.replace("metal", "metal\nboundary f f f")))
    assert report.verdict is Verdict.unmeasured
    assert report["forces"].verdict is Verdict.unmeasured


def test_forces_at_a_reference_restored_after_atoms_were_wrapped(write_deck):
    engine = start_tolerant(write_deck(), MPI.COMM_SELF).engine
    try:
        forces, start = engine.settle(), engine.reference()
        energy = engine.energy
        engine.shift(np.full_like(forces, -0.3))  # atoms at the lower faces come back at the upper ones
        engine.settle()
        engine.set_reference(start)
        assert engine.max_abs(engine.forces() - forces) < 1e-10
        assert engine.energy == pytest.approx(energy, abs=1e-9)
    finally:
        engine.close()
