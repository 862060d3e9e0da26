"""Saddles as cells of configurations: barriers as observables, ensembles, inverse problems, paths of saddles."""

import re

import numpy as np
import pytest
from hops import BCC, FCC, WELL, halfway
from mpi4py import MPI
from test_observables import BULK
from typer.testing import CliRunner

from lammps_implicit import Barrier, LammpsImplicitError, Minimum
from lammps_implicit.cli.app import app
from lammps_implicit.continuation.softness import Softness, Stiffnesses
from lammps_implicit.ensembles import as_ensemble, validate
from lammps_implicit.ensembles.shards import CHANGED, DONE, SHARD_KIND, read_records
from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.expansion import leading_directions, relaxation_sizes
from lammps_implicit.inverse.config import InversionSettings
from lammps_implicit.inverse.run import invert
from lammps_implicit.observables import StudySettings, barrier, migration_volume, read_configuration, read_derivatives
from lammps_implicit.observables.study import run_study, write_study
from lammps_implicit.saddles import FollowedMode, negative_modes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saddles")
    (folder / "in.fcc").write_text(FCC)
    (folder / "in.fcc_bulk").write_text(re.sub("(?m)^(group|delete_atoms|region          second|if).*\n", "", FCC))
    (folder / "in.fcc_saddle").write_text(halfway(FCC))
    (folder / "in.bcc").write_text(BCC)
    (folder / "in.bcc_bulk").write_text(BULK)
    (folder / "in.bcc_saddle").write_text(halfway(BCC))
    (folder / "in.well").write_text(WELL)
    return folder


def change_of(point, size):
    theta = point.potential.theta
    return size * np.random.default_rng(3).standard_normal(len(theta)) * np.abs(theta)


def differences(values, h):
    """First and second derivative of a function, extrapolated from steps h and h/2."""
    middle, found = values(0.0), []
    for step in (h, h / 2):
        ahead, behind = values(step), values(-step)
        found.append(np.array([(ahead - behind) / (2 * step), (ahead - 2 * middle + behind) / step**2]))
    return (4 * found[1] - found[0]) / 3


@pytest.mark.parametrize(("name", "size"), [("fcc", 1e-3), ("bcc", 1e-3)])
def test_barriers_at_fixed_cell_against_searching_again(folder, name, size):
    with (
        Minimum.from_deck(folder / f"in.{name}", ftol=1e-10) as minimum,
        Minimum.from_deck(folder / f"in.{name}_saddle", ftol=1e-10, saddle=True) as saddle,
    ):
        change = change_of(minimum, size)

        def energies(h):
            return np.subtract(*(point.relaxed_at(h * change, 1e-10)[1] for point in (saddle, minimum)))

        first, second = differences(energies, 1.0)
        found = barrier(saddle, minimum, 1e-6)
        assert found.units == "eV"
        assert found.gradient @ change == pytest.approx(first, rel=1e-6)
        assert change @ found.hessian @ change == pytest.approx(second, rel=1e-3)
        moved = saddle.jvp(change, 1e-7)
        there = [saddle.relaxed_at(h * change, 1e-10)[0] for h in (1.0, -1.0)]
        assert np.abs((there[0] - there[1]) / 2 - moved).max() < 1e-4 * np.abs(moved).max()
        # Values alone need no derivatives, and the gradient no solve.
        iterations = saddle.statistics.iterations
        assert float(barrier(saddle, minimum, order=1).value) == pytest.approx(float(found.value), abs=1e-12)
        assert saddle.statistics.iterations == iterations


@pytest.mark.parametrize(("name", "pressure"), [("fcc", "2 GPa"), ("bcc", "20 GPa")])
def test_barriers_and_migration_volumes_of_cells_that_answer(folder, name, pressure):
    settings = {"cell": "iso", "pressure": pressure, "ftol": 1e-9, "relax": True}
    with (
        pytest.warns(UserWarning, match="was relaxed"),
        Minimum.from_deck(folder / f"in.{name}", **settings) as minimum,
        Minimum.from_deck(folder / f"in.{name}_saddle", saddle=True, **settings) as saddle,
    ):
        change = change_of(minimum, 1e-4)

        def enthalpies_and_volumes(h):
            found = []
            for point in (saddle, minimum):
                with point.excursion(h * change):
                    point.relax_away(1e-9, point.freedom)
                    found.append([point.enthalpy, point.engine.volume])
            return np.subtract(*found)

        first, _ = differences(enthalpies_and_volumes, 1.0)
        energy, volume = barrier(saddle, minimum, order=1), migration_volume(saddle, minimum, 1e-7, order=1)
        assert energy.gradient @ change == pytest.approx(first[0], rel=1e-6)
        assert volume.gradient @ change == pytest.approx(first[1], rel=1e-4)
        assert float(volume.value) == pytest.approx(saddle.engine.volume - minimum.engine.volume, rel=1e-9)
        # The wider the cell, the lower the barrier: its derivative by pressure is the volume.
        held = (
            [
                Minimum.from_deck(folder / f"in.{name}{kind}", saddle=bool(kind), **settings | {"pressure": p})
                for p in ("2.01 GPa", "1.99 GPa")
                for kind in ("_saddle", "")
            ]
            if name == "fcc"
            else []
        )
        if held:
            ends = [held[0].enthalpy - held[1].enthalpy, held[2].enthalpy - held[3].enthalpy]
            step = 0.02e4 / minimum.units.pressure_factor
            assert (ends[0] - ends[1]) / step == pytest.approx(float(volume.value), rel=1e-4)
        for point in held:
            point.close()


STUDY = """\
cell: none
bulk: {deck: in.fcc_bulk}
defects:
  hop: {barrier: {from: vacancy, to: moved}, sites: 32}
  vacancy: {deck: in.fcc}
  moved: {deck: in.fcc, variables: {hop: 1}}
  by deck: {deck: in.fcc_saddle, saddle: true}
observables:
  migration: {kind: migration energy, saddle: by deck, minimum: vacancy}
  the same: {kind: barrier, saddle: hop, minimum: moved}
"""


def study_of(folder, text, name="study.yaml"):
    path = folder / name
    path.write_text(text)
    return read_configuration(path, StudySettings)


@pytest.fixture(scope="module")
def studied(folder):
    study = run_study(study_of(folder, STUDY))
    write_study(folder / "study.h5", study)
    return study


def test_a_study_has_the_barriers_of_its_saddles(folder, studied):
    found = studied.observables
    names = ["hop: barrier", "hop: backward barrier", "migration", "the same"]
    values = [float(found[name].value) for name in names]
    assert values == pytest.approx([values[0]] * 4, abs=1e-8)
    for name in names[1:]:
        assert found[name].gradient == pytest.approx(found[names[0]].gradient, rel=1e-5)
        assert found[name].hessian == pytest.approx(found[names[0]].hessian, rel=1e-3, abs=1e-3)
    formation = found["hop: formation energy"].value - found["vacancy: formation energy"].value
    assert float(formation) == pytest.approx(values[0], abs=1e-12)
    assert "by deck: barrier" not in found  # no minimum is known that it leads to
    assert [line.partition(":")[0] for line in studied.attributes["saddles"]] == ["hop", "by deck"]
    assert len(studied.attributes["decks"]) == 4  # the saddle between two cells has none
    assert list(found)[1].startswith("hop")  # in the order of the configuration


def test_ensembles_of_barriers_are_searched_again(folder, studied):
    derivatives = read_derivatives(folder / "study.h5")
    theta = studied.parameters.theta
    samples = theta * (1 + 2e-3 * np.random.default_rng(1).standard_normal((20, len(theta))))
    ensemble = as_ensemble(samples, derivatives.parameters)
    records, _ = read_records(validate(derivatives, ensemble, 2, folder=folder / "validation"), SHARD_KIND)
    assert list(records.status) == [DONE, DONE], records.reasons
    column = records.names.index("hop: barrier")
    changes = records.true[:, column] - float(studied.observables["hop: barrier"].value)
    assert np.abs(changes).min() > 1e-4
    assert records.estimates[:, column, 1] == pytest.approx(records.true[:, column], abs=2e-2 * np.abs(changes).min())


def test_a_saddle_that_has_merged_with_a_minimum_is_told(folder):
    with Minimum.from_deck(folder / "in.well", parameters="*1-3 r0,*2-3 r0", saddle=True) as saddle:
        saddle.sensitivity().write(folder / "well.h5")
        theta = saddle.potential.theta
    derivatives = read_derivatives(folder / "well.h5")
    ensemble = as_ensemble(np.array([1.05 * theta, 1.35 * theta]), derivatives.parameters)
    records, _ = read_records(validate(derivatives, ensemble, 2, folder=folder / "merged"), SHARD_KIND)
    by_row = dict(zip(records.rows, zip(records.status, records.reasons, strict=True), strict=True))
    assert by_row[0] == (DONE, "")
    assert by_row[1][0] == CHANGED
    assert "the saddle has merged with a minimum, and there is no barrier any more" in by_row[1][1]


@pytest.mark.parametrize("depth", ["0.35", "0.3675"])
def test_a_saddle_is_followed_until_it_merges(folder, depth):
    """In the middle of equal wells both minima and the saddle meet; of others one goes first, where H = 0 too."""
    settings = {"variables": {"depth": depth}, "parameters": "*1-3 r0,*2-3 r0", "relax": True}
    with (
        pytest.warns(UserWarning, match="was relaxed"),
        Minimum.from_deck(folder / "in.well", saddle=True, **settings) as saddle,
    ):
        start = saddle.potential.theta
        near = saddle.follow(1.05 * start, stop_at_new_neighbours=False)
        assert near.reached, near.reason
        assert near.steps[-1].stiffness < 0
        path = saddle.follow(1.4 * start, stop_at_new_neighbours=False)
        assert not path.reached
        assert path.reason.startswith("the saddle merges with a minimum (barrier → 0)"), path.reason
        assert saddle.max_force <= 1e-8
        # It is left at the last point that is a saddle, with hardly any curvature.
        (mode,) = negative_modes(saddle)
        assert -0.02 * 0.3 < mode.curvature < 0
        if depth == "0.35":  # bonds of half the way between the walls, less ln(2)/α
            assert saddle.potential.theta == pytest.approx(np.full(2, 4 - np.log(2) / 1.2), abs=0.02)


def test_why_the_path_of_a_saddle_ends():
    start = Stiffnesses(-2.0, 1.0)
    softness = Softness(True, start)
    assert not softness.ends(Stiffnesses(-1.0, 0.5))
    assert softness.ends(Stiffnesses(-0.03, 0.5)) and not softness.lost(Stiffnesses(-0.03, 0.5))
    assert softness.lost(Stiffnesses(0.03, 0.5))
    assert "merges with a minimum" in softness.reason(Stiffnesses(-0.03, 0.5), "", 0.5)
    assert softness.ends(Stiffnesses(-1.0, 0.01))
    assert softness.lost(Stiffnesses(-1.0, -0.01))
    assert "a second mode of the saddle becomes negative" in softness.reason(Stiffnesses(-1.0, 0.01), "", 0.5)
    assert "is lost" in softness.reason(Stiffnesses(-1.0, 0.5), "steps fail", 0.5)
    assert Softness(False, Stiffnesses(1.0)).ends(Stiffnesses(0.01))
    for wrong in (Stiffnesses(1.0, 2.0), Stiffnesses(-2.0, -1.0)):
        with pytest.raises(NotAMinimumError, match="exactly one negative mode"):
            Softness(True, wrong)


def test_taylor_models_at_saddles(folder):
    with Minimum.from_deck(folder / "in.fcc_saddle", ftol=1e-10, saddle=True) as saddle:
        theta = saddle.potential.theta
        changes = 2e-3 * np.random.default_rng(0).standard_normal((50, len(theta))) * theta
        directions = leading_directions(changes, [relaxation_sizes(saddle, 1e-6, "none")])
        third, along = saddle.third_derivative(directions, 1e-6), directions.vectors[:, 0]
        mode = saddle.softest_modes()[0].modes[0]
        assert mode.curvature < 0

        def energy_and_curvature(h):
            with saddle.excursion(h * along):
                saddle.relax_away(1e-10)
                return np.array([saddle.energy, np.vdot(mode.vector, saddle.hessian.central(mode.vector))])

        values = {h: energy_and_curvature(h) for h in (-2, -1, 0, 1, 2)}
        curvature = (values[1] - values[-1])[1] / 2 / values[0][1]
        assert third.softening[0] @ along == pytest.approx(curvature, rel=2e-3)
        cubic = (values[2] - 2 * values[1] + 2 * values[-1] - values[-2])[0] / 2
        assert third.enthalpy.inner[0, 0, 0] == pytest.approx(cubic, rel=2e-2)
        model = saddle.expansion(order=3, tol=1e-7)
        errors = [abs(float(model.predict(h * along).enthalpy) - values[h][0]) for h in (1, 2)]
        assert errors[1] < 0.1 * abs(cubic)
        assert errors[0] < errors[1] / 6


def test_responses_of_saddles_count_by_their_size(folder):
    settings = {"variables": {"depth": "0.3675"}, "parameters": "*1-3*,*2-3*", "relax": True}
    with (
        pytest.warns(UserWarning, match="was relaxed"),
        Minimum.from_deck(folder / "in.well", saddle=True, **settings) as saddle,
    ):
        gained = np.linalg.eigvalsh(-saddle.relaxation_hessian(1e-8))
        sizes = np.linalg.eigvalsh(-relaxation_sizes(saddle, 1e-8, "none"))
        # It moves along its one mode only, which is negative.
        assert gained[0] < -0.1
        assert sizes[-1] == pytest.approx(-gained[0], rel=1e-6)
        assert sizes[0] > -1e-6 * sizes[-1]


INVERSION = """\
cells:
  bulk: {deck: in.bcc_bulk}
  vacancy: {deck: in.bcc}
  moved: {deck: in.bcc, variables: {hop: 1}}
  hop: SADDLE
observables:
  formation: {kind: formation energy, defect: vacancy, bulk: bulk}
  migration: {kind: migration energy, saddle: hop, minimum: vacancy}
hold: {observables: [formation]}
structures: false
loss:
  observables:
    migration: {change: 0.1}
"""


@pytest.mark.parametrize("source", ["{barrier: {from: vacancy, to: moved}}", "{deck: in.bcc_saddle, saddle: true}"])
def test_a_potential_is_tuned_to_a_barrier(folder, source):
    path = folder / "invert.yaml"
    path.write_text(INVERSION.replace("SADDLE", source))
    results = folder / ("between" if "barrier:" in source else "deck")
    results.mkdir()
    lines = []
    found = invert(read_configuration(path, InversionSettings), results, say=lines.append)
    assert found.descent.converged
    assert not [line for line in lines if "warning" in line]
    assert found.end["migration"] == pytest.approx(found.start["migration"] + 0.1, abs=1e-6)
    assert found.end["formation"] == pytest.approx(found.start["formation"], abs=1e-6)
    # Found anew, from the minima, with the tuned potential.
    tuned = BCC.replace("Ta06A.snapcoeff", str(results / "tuned.snapcoeff"))
    (folder / "in.tuned").write_text(tuned)
    ends = [Minimum.from_deck(folder / "in.tuned", variables={"hop": hop}) for hop in ("0", "1")]
    with ends[0], ends[1], Barrier.between(*ends) as again:
        assert again.forward == pytest.approx(found.start["migration"] + 0.1, abs=1e-6)


def test_a_saddle_is_seen_to_stay_one(folder):
    with (
        Minimum.from_deck(folder / "in.fcc_saddle", saddle=True) as saddle,
        Minimum.from_deck(folder / "in.fcc") as minimum,
    ):
        followed, before = FollowedMode(saddle), saddle.engine.evaluations.forces
        followed.require(saddle)
        assert saddle.engine.evaluations.forces - before == 1
        with pytest.raises(NotAMinimumError, match="no negative mode"):
            followed.require(minimum)


ATOP = """\
units           metal
boundary        p p f
lattice         fcc 3.62
region          cell block 0 4 0 4 0 8
create_box      1 cell
region          slab block 0 4 0 4 0 2.1
create_atoms    1 region slab
create_atoms    1 single 2 2 2.65
mass            1 63.55
pair_style      morse/smooth/linear 6.5
pair_coeff      1 1 0.3429 1.3588 2.866
region          around cylinder z 2 2 0.9 INF INF side out
region          below block INF INF INF INF INF 1.9
group           held region around
group           deep region below
group           held union held deep
group           adatom id $(count(all))
group           held subtract held adatom
fix             held held setforce 0 0 0
fix             up adatom setforce 0 0 NULL
minimize        0 1e-8 1000 10000
unfix           up
"""


def test_two_negative_modes_that_are_equal_by_symmetry(folder):
    """An atom on top of another: it would roll down in any direction."""
    (folder / "in.atop").write_text(ATOP)
    settings = study_of(folder, STUDY.replace("in.fcc_saddle", "in.atop"), "atop.yaml")
    with pytest.raises(NotAMinimumError, match=r"by deck: in\.atop .*2 negative modes instead of one"):
        run_study(settings)


def test_a_minimum_is_no_saddle(folder):
    settings = study_of(folder, STUDY.replace("in.fcc_saddle", "in.fcc"), "minimum.yaml")
    with pytest.raises(NotAMinimumError, match=r"by deck: in\.fcc .*no negative mode: it is a minimum"):
        run_study(settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("to: moved", "to: nowhere"),
            "hop: barrier: nowhere is not one of the cells bulk, hop, vacancy, moved, by deck",
        ),
        (("to: moved", "to: hop"), "hop: barrier: hop is this saddle itself"),
        (("to: moved", "to: by deck"), "hop: barrier: by deck is a saddle: name two cells with minima"),
        (("to: moved", "to: vacancy"), "hop: barrier: from and to are both vacancy"),
        (("to: moved}", "to: moved}, deck: in.fcc"), "hop: give either deck or barrier"),
        (("{deck: in.fcc_saddle, saddle: true}", "{saddle: true}"), "by deck: give either deck or barrier"),
        (("to: moved}", "to: moved}, relax: true"), "hop: relax: a saddle between two cells is of no deck"),
        (("from: vacancy, ", ""), "hop: barrier: from: Field required"),
        (("kind: barrier, saddle: hop", "kind: barrier, saddle: nowhere"), "the same: nowhere is not one of the cells"),
        (("  the same:", "  'hop: barrier':"), "hop: barrier: this name is taken"),
        (("{deck: in.fcc_bulk}", "{deck: in.fcc_bulk, saddle: true}"), "bulk: saddle: Extra inputs are not permitted"),
    ],
)
def test_settings_of_saddles_that_make_no_sense(folder, change, message):
    text = STUDY.replace(*change)
    assert text != STUDY
    with pytest.raises(LammpsImplicitError, match=message):
        study_of(folder, text, "wrong.yaml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{deck: in.fcc_saddle, saddle: true, from_start: true}", "from_start: a saddle is followed"),
        ("{barrier: {from: vacancy, to: moved}, cell: iso}", "cell, pressure: those of a saddle between two cells"),
        ("{barrier: {from: vacancy, to: elsewhere}}", "hop: barrier: elsewhere is not one of the cells"),
    ],
)
def test_settings_of_saddles_in_inverse_problems_that_make_no_sense(folder, given, message):
    path = folder / "wrong.yaml"
    path.write_text(INVERSION.replace("SADDLE", given))
    with pytest.raises(LammpsImplicitError, match=message):
        read_configuration(path, InversionSettings)


def test_observables_of_what_is_no_barrier(folder):
    (folder / "in.small").write_text(FCC.replace("fcc 3.615", "fcc 3.6"))
    with (
        Minimum.from_deck(folder / "in.fcc") as minimum,
        Minimum.from_deck(folder / "in.small") as small,
        Minimum.from_deck(folder / "in.fcc_bulk") as bulk,
        Minimum.from_deck(folder / "in.fcc_saddle", saddle=True) as saddle,
    ):
        for pair, message in (
            ((minimum, minimum), "in.fcc is taken for a minimum: a barrier is that of a saddle"),
            ((saddle, saddle), "in.fcc_saddle is a saddle itself"),
            ((saddle, small), "have different cells"),
            ((saddle, bulk), "have different atoms: type 1 31, and type 1 32"),
        ):
            with pytest.raises(LammpsImplicitError, match=message):
                barrier(*pair)
        with pytest.raises(LammpsImplicitError, match="a volume depends"):
            migration_volume(saddle, minimum)


def test_the_help_names_saddles():
    shown = CliRunner().invoke(app, ["observables", "--help"]).output
    for text in (
        "saddle (default no)",
        "from (required)",
        "kind: barrier or migration energy",
        "kind: migration volume",
    ):
        assert text in shown
    assert shown.count("kind: barrier or migration energy") == 1


@pytest.mark.parallel(nprocs=[1, 2])
def test_barriers_of_configurations_on_ranks(tmp_path_factory):
    """What two ranks find is what one finds: 1.12347 eV."""
    comm = MPI.COMM_WORLD
    path = comm.bcast(tmp_path_factory.mktemp("ranks") if comm.rank == 0 else None)
    if comm.rank == 0:
        texts = {"in.bcc": BCC, "in.bcc_bulk": BULK, "in.bcc_saddle": halfway(BCC)}
        for name, text in texts.items():
            (path / name).write_text(text)
        (path / "study.yaml").write_text(STUDY.replace("in.fcc", "in.bcc").replace("sites: 32", "sites: 54"))
    comm.barrier()
    found = run_study(read_configuration(path / "study.yaml", StudySettings)).observables
    change = 1e-2 * np.ones(31)
    for name in ("hop: barrier", "hop: backward barrier", "migration"):
        assert float(found[name].value) == pytest.approx(1.1234727, abs=1e-6)
        assert found[name].gradient @ change == pytest.approx(found["migration"].gradient @ change, rel=1e-6)
        assert change @ found[name].hessian @ change == pytest.approx(
            change @ found["migration"].hessian @ change, rel=1e-3
        )
