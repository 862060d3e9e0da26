"""`lammps-implicit inspect`: what a deck is, on decks that are good, fail, hold atoms, or have no parameters."""

import json
import math
import shlex
import shutil
import subprocess

import numpy as np
import pytest
from commands import program
from conftest import TA_VACANCY, TA_VACANCY_READ, ta_data
from plain_decks import DECKS

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.errors import DeckError, PotentialError
from lammps_implicit.inspection import inspect_deck
from lammps_implicit.inspection.minimisations import minimisations
from lammps_implicit.potentials.of_deck import start_lammps


def run(*arguments, cwd):
    return subprocess.run([*program(), "inspect", *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(DECKS, tmp_path / "decks")
    return tmp_path / "decks"


@pytest.mark.parallel(nprocs=[1, 2])
def test_a_good_deck(tmp_path):
    path = tmp_path / "in.ta"
    path.write_text(TA_VACANCY_READ)
    (tmp_path / "atoms.data").write_text(ta_data(range(1, 54)))
    seen = inspect_deck(path)
    assert (seen.atoms, seen.units, seen.dimension, seen.boundary) == (53, "metal", 3, "p p p")
    assert [(kind.element, kind.count, kind.mass) for kind in seen.types] == [("Ta", 53, 180.95)]
    assert seen.styles == {"pair_style": "hybrid/overlay zbl 4.0 4.8 snap"}
    assert np.diag(seen.cell) == pytest.approx([9.948] * 3)
    assert len(seen.minimisations) == 1
    assert seen.relaxed
    assert seen.largest_force == pytest.approx(seen.minimisations[0].force, rel=1e-2, abs=1e-9)
    assert dict(seen.families[0].values)["Ta:1"] == -0.01137
    assert len(seen.plan.labels) == 31
    assert seen.plan.jacobian_bytes == 31 * 53 * 3 * 8
    assert 0 < seen.plan.seconds < 1
    assert seen.obstacles == ()
    assert seen.usable


def test_it_sees_what_the_package_takes(write_deck):
    path = write_deck()
    seen = inspect_deck(path, parameters="Ta:[1-3]")
    with Minimum.from_deck(path, parameters="Ta:[1-3]") as minimum:
        assert seen.plan.labels == tuple(minimum.potential.names)
        assert seen.energy == pytest.approx(minimum.energy, rel=1e-9)
        before = minimum.engine.evaluations.forces
        minimum.jvp(minimum.potential.theta, tol=1e-5)
        spent = minimum.engine.evaluations.forces - before
    assert seen.plan.evaluations["jvp"] == pytest.approx(spent, abs=8)
    assert (
        seen.plan.time("jvp") == seen.plan.evaluations["jvp"] * seen.plan.seconds
    )  # descriptors: nothing is installed


def test_times_count_that_lammps_reads_parameters(write_deck):
    seen = inspect_deck(write_deck(), parameters="zbl*")
    plan = seen.plan
    assert plan.installing > 0
    product = "second derivatives of the energy"
    assert plan.evaluations[product] == plan.installations[product] == 4
    assert plan.time(product) == pytest.approx(4 * plan.installing)
    assert plan.time("vjp") > plan.evaluations["vjp"] * min(plan.seconds, plan.installing) * 0.999


@pytest.mark.parallel(nprocs=[1, 2])
def test_a_deck_that_fails_is_reported_as_far_as_it_came(tmp_path):
    path = tmp_path / "in.ta"
    path.write_text(TA_VACANCY.replace("minimize", "fix hold all setforce 0 NULL NULL\nminimise"))
    seen = inspect_deck(path)
    assert "in the line 'minimise" in seen.failed
    assert (seen.atoms, seen.units) == (53, "metal")
    assert [fix.role for fix in seen.fixes] == ["freezes"]
    assert seen.plan is None
    assert not seen.usable
    assert math.isnan(seen.largest_force)


def test_a_deck_that_fails_ends_with_status_1_and_no_traceback(tmp_path):
    (tmp_path / "in.bad").write_text("units metal\natom_style atomic\nlattice fcc\n")
    done = run("in.bad", cwd=tmp_path)
    assert done.returncode == 1
    assert "in the line 'lattice fcc'" in done.stdout
    assert "units metal" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_fixes_are_told_by_what_they_do(write_deck):
    text = TA_VACANCY.replace(
        "minimize",
        "region low block INF INF INF INF INF 0.3 units lattice\ngroup low region low\n"
        "fix run all rigid single\nfix hold low setforce 0 0 NULL\nfix push all addforce 0 0 0\n"
        "fix box all box/relax iso 0\nminimize",
    )
    seen = inspect_deck(write_deck(text))
    assert [fix.role for fix in seen.fixes] == ["refused", "freezes", "energy", "removed"]
    assert "unfix run" in seen.refused
    assert seen.obstacles[0] == seen.refused
    assert not seen.usable
    assert seen.plan.evaluations["jvp"] > 0


def test_held_components_are_counted(write_deck):
    seen = inspect_deck(write_deck(TA_VACANCY.replace("minimize", "fix hold all setforce NULL 0 0\nminimize")))
    assert seen.held == 2 * 53


def test_a_deck_that_is_not_relaxed_is_told_what_to_write(write_deck):
    seen = inspect_deck(write_deck(TA_VACANCY.partition("minimize")[0] + "run 0\n"))
    assert not seen.relaxed
    assert seen.minimisations == ()
    assert "it minimises nothing: add --relax" in seen.obstacles[0]


def test_a_deck_without_parameters(folder):
    seen = inspect_deck(folder / "in.ti_spline")
    assert seen.plan is None
    assert seen.relaxed
    assert "'pair_style meam/spline' has no parameters" in seen.obstacles[0]
    done = run("in.ti_spline", cwd=folder)
    assert done.returncode == 0
    assert "lammps-implicit relax in.ti_spline -o relaxed.data" in done.stdout


def test_charges_and_what_is_left_out(folder):
    seen = inspect_deck(folder / "in.nacl_ewald")
    assert [kind.charge for kind in seen.types] == [31.0, -31.0]
    assert seen.styles["kspace_style"] == "ewald 1e-6"
    assert {family.name for family in seen.families} >= {"coefficients", "charges", "dielectric"}
    assert any("kspace_style" in text for text in seen.left_out)


def test_parameters_that_are_too_many_for_a_default_are_listed(folder):
    seen = inspect_deck(folder / "in.reax_no_charges")
    (family,) = [family for family in seen.families if family.name == "reaxff"]
    assert family.values["ffield bond C-H De1"] == 170.2316
    assert family.default == ()
    assert seen.plan is None
    assert "choose with --parameters" in seen.obstacles[0]


def test_json_and_long_lists(write_deck):
    path = write_deck()
    done = run(str(path), "--json", cwd=path.parent)
    seen = json.loads(done.stdout)
    assert seen["atoms"] == 53
    assert seen["families"][0]["values"]["Ta:1"] == -0.01137
    assert seen["relaxed"] is True
    assert inspect_deck(path).as_dict()["minimisations"] == seen["minimisations"]
    short, whole = (run(str(path), *more, cwd=path.parent).stdout for more in ((), ("--all",)))
    assert "23 more (--all)" in short
    assert "Ta:30 = " not in short
    assert "Ta:30 = " in whole


def test_bad_input_is_one_line(tmp_path, write_deck):
    done = run("in.none", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    with pytest.raises(DeckError, match="does not exist"):
        inspect_deck(tmp_path / "in.none")
    with pytest.raises(LammpsImplicitError, match="no parameter matches 'Xx:"):
        inspect_deck(write_deck(), parameters="Xx:*")
    with pytest.raises(DeckError, match="has no value"):
        inspect_deck(write_deck(), variables={"n": ""})


def test_minimisations_are_read_from_what_lammps_prints():
    text = """Minimization stats:
  Stopping criterion = linesearch alpha is zero
  Energy initial, next-to-last, final = 
     -1.0  -2.0  -2.0
  Force two-norm initial, final = 5 1
  Force max component initial, final = 0.5 1.5e-3
  Final line search alpha, max atom move = 1 2
  Iterations, force evaluations = 33 147
"""  # noqa: W291
    (one, two) = minimisations(text + text.replace("linesearch alpha is zero", "force tolerance"))
    assert (one.force, one.iterations, one.evaluations) == (1.5e-3, 33, 147)
    assert "fire" in one.gave_up
    assert two.gave_up == ""


def test_the_next_command_can_be_run_as_it_is(tmp_path):
    (tmp_path / "some decks").mkdir()
    (tmp_path / "some decks" / "in.ta").write_text(TA_VACANCY)
    arguments = ("some decks/in.ta", "--parameters", "Ta:[1-3]", "--var", "unused=3")
    (tmp_path / "some decks" / "in.ta").write_text("variable unused index 2\n" + TA_VACANCY)
    line = next(line for line in run(*arguments, cwd=tmp_path).stdout.splitlines() if line.startswith("next"))
    command = shlex.split(line.removeprefix("next"))
    assert command[:3] == ["lammps-implicit", "sensitivity", "some decks/in.ta"]
    done = subprocess.run([*program(), *command[1:]], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "result.h5").exists()


def test_commands_for_replicas_are_named(write_deck):
    text = TA_VACANCY.partition("minimize")[0] + "atom_modify sort 0 0\nfix n all neb 1.0\nneb 0 0.01 10 10 10 none\n"
    seen = run(write_deck(text).name, cwd=write_deck(text).parent)
    assert seen.returncode == 1
    assert "says 'neb', which takes several replicas" in seen.stdout
    with pytest.raises(DeckError, match="says 'neb'"):
        Minimum.from_deck(write_deck(text))


def test_zero_epsilons_of_tip4p_hydrogens_are_no_parameters(tmp_path):
    """LAMMPS refuses any other, and says so for one that is asked for."""
    rows = []
    for molecule, (x, y, z) in enumerate([(2.0, 2.0, 2.0), (4.8, 2.3, 2.4)]):
        first = 3 * molecule
        rows += [f"{first + 1} {molecule + 1} 1 -1.0484 {x} {y} {z}"]
        rows += [f"{first + 2} {molecule + 1} 2 0.5242 {x + 0.7569} {y + 0.5859} {z}"]
        rows += [f"{first + 3} {molecule + 1} 2 0.5242 {x - 0.7569} {y + 0.5859} {z}"]
    bonds = [f"{k + 1} 1 {3 * (k // 2) + 1} {3 * (k // 2) + 2 + k % 2}" for k in range(4)]
    angles = [f"{k + 1} 1 {3 * k + 2} {3 * k + 1} {3 * k + 3}" for k in range(2)]
    (tmp_path / "water.data").write_text(
        "waters\n\n6 atoms\n4 bonds\n2 angles\n2 atom types\n1 bond types\n1 angle types\n\n"
        "0 12 xlo xhi\n0 12 ylo yhi\n0 12 zlo zhi\n\nMasses\n\n1 16\n2 1\n\nAtoms # full\n\n"
        + "\n".join(rows) + "\n\nBonds\n\n" + "\n".join(bonds) + "\n\nAngles\n\n" + "\n".join(angles) + "\n"
    )  # fmt: skip
    head = (
        "units real\natom_style full\nboundary f f f\nread_data water.data\n"
        "pair_style lj/cut/tip4p/cut 1 2 1 1 0.125 5.0\n"
    )
    end = "bond_style harmonic\nbond_coeff 1 450 0.9572\nangle_style harmonic\nangle_coeff 1 55 104.52\nrun 0\n"
    path = tmp_path / "in.water"
    path.write_text(head + "pair_coeff 1 1 0.16275 3.16435\npair_coeff * 2 0.0 1.0\n" + end)
    seen = inspect_deck(path)
    labels = [label for label in seen.plan.labels if "tip4p" in label]
    assert labels == ["lj/cut/tip4p/cut 1-1 epsilon", "lj/cut/tip4p/cut 1-1 sigma", "lj/cut/tip4p/cut *-2 sigma"]
    assert any("*-2 epsilon: zero, and LAMMPS refuses" in line for line in seen.left_out)
    with pytest.raises(PotentialError, match=r"\*-2 epsilon' is zero, and LAMMPS refuses any other value"):
        inspect_deck(path, parameters="lj/cut/tip4p/cut *-2 epsilon")

    path.write_text(head + "variable e index 0\npair_coeff 1 1 0.16275 3.16435\npair_coeff * 2 $e 1.0\n" + end)
    engine, potential = start_lammps(path, parameters="var:e")
    with pytest.raises(
        PotentialError, match=r"^'var:e' cannot be changed .*epsilon must be 0.* --parameters '!var:e'$"
    ):
        potential.install(engine, np.array([1e-3]))
    engine.close()
