"""Charges that are equilibrated: derivatives with their response, against relaxing again in plain LAMMPS."""

import numpy as np
import pytest
from brute_force import SHIPPED, Newton, relative_error
from conftest import DECKS
from mpi4py import MPI

from lammps_implicit import Minimum, testing
from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.charges import equilibration
from lammps_implicit.evaluators.deck import read_transcript

ZNO = """\
units real
atom_style charge
lattice custom 1.0 a1 3.25 0 0 a2 0 5.629 0 a3 0 0 5.207 basis 0 0 0 basis 0.5 0.5 0 basis 0 0.3333 0.5 &
  basis 0.5 0.8333 0.5 basis 0 0 0.382 basis 0.5 0.5 0.382 basis 0 0.3333 0.882 basis 0.5 0.8333 0.882
region c block 0 2 0 1 0 1
create_box 2 c
create_atoms 1 box basis 5 2 basis 6 2 basis 7 2 basis 8 2
mass 1 65
mass 2 16
group v id 1 5
delete_atoms group v compress no
pair_style reaxff NULL
pair_coeff * * ffield.reax.ZnOH Zn O
fix q all qeq/reaxff 1 0.0 10.0 1e-6 reaxff
displace_atoms all random 0.05 0.05 0.05 5
"""
"""Wurtzite with a pair of vacancies; the energy of ReaxFF has a cusp where its atoms stand symmetrically."""

CONVERGED = ("fix q all qeq/reaxff 1 0.0 10.0 1e-14 reaxff maxiter 500",)

NUMBERS = {"ffield atom Zn chi": (1.0, " 2.0219 "), "ffield offdiagonal O-Zn r_s": (0.1, " 1.9804 ")}
"""Electronegativity of zinc and radius of its bonds to oxygen: relative steps, and how the file has them."""


@pytest.fixture
def zinc_oxide(write_deck):
    path = write_deck(ZNO)
    with Minimum.from_deck(path, parameters=list(NUMBERS), ftol=1e-9, force_limit=np.inf) as point:
        yield point, path


def by_id(point):
    gathered = point.gather(point.positions)
    return point.engine.comm.bcast(gathered)


def test_reaxff_answers_with_its_charges(zinc_oxide, tmp_path):
    """Forces, energy, and what they give, of a structure whose charges move with it."""
    point, path = zinc_oxide
    rows = np.argsort(point.ids)
    moved = [point.jvp(change, 1e-6)[rows] for change in np.eye(2)]
    assert point.statistics.iterations < 40
    brute = Newton(path, by_id(point), commands=CONVERGED)

    text = (SHIPPED / "ffield.reax.ZnOH").read_text()

    def changed(word):
        def change(t):
            assert text.count(word) == 1
            (tmp_path / "changed").write_text(text.replace(word, f" {float(word) + t!r} "))
            return [f"pair_coeff * * {tmp_path / 'changed'} Zn O", *CONVERGED]

        return change

    for k, (step, word) in enumerate(NUMBERS.values()):
        expected = brute.jvp(changed(word), 0.01 * step)
        expected -= expected.mean(axis=0)
        assert np.abs(expected).max() > 0.05
        found = moved[k] - moved[k].mean(axis=0)
        assert relative_error(found, expected) < 1e-4  # measured: 1e-6
    assert np.ptp(point.engine.lmp.numpy.extract_atom("q")[:14]) > 1.0
    brute.close()
    # The energy is that of the forces: LAMMPS' own is off by 5e-4 in this second derivative.
    ends = [point.relaxed_at([s, 0.0], 1e-8)[1] for s in (0.02, -0.02)]
    assert point.energy_gradient()[0] == pytest.approx((ends[0] - ends[1]) / 0.04, rel=1e-5)
    assert point.energy_hessian()[0, 0] == pytest.approx((ends[0] + ends[1] - 2 * point.energy) / 0.02**2, rel=1e-4)


def test_forces_do_not_depend_on_the_way(zinc_oxide):
    """Charges start from those found before, and end where they would from anywhere."""
    engine = zinc_oxide[0].engine
    far = 0.05 * np.cos(np.arange(engine.positions.size)).reshape(-1, 3)
    here, there = engine.forces(), engine.forces(far)
    for _ in range(3):
        engine.forces(-far)
        assert engine.max_abs(engine.forces() - here) < 1e-10
    engine.shift(far)
    assert engine.max_abs(engine.settle() - there) < 1e-10  # lists and bonds built there


def test_silica():
    """The deck of the repository, from where it was built."""
    with Minimum.from_deck(DECKS / "in.silica", parameters="ffield atom Si chi", force_limit=np.inf) as point:
        assert point.setup.forces < 40
        charges = point.engine.lmp.numpy.extract_atom("q")[:24]
        assert charges[point.engine.types == 1].min() == pytest.approx(1.61, abs=0.01)
        moved = point.jvp([1.0], 1e-6)
        assert point.statistics.verdict == "good" and point.statistics.iterations < 25
        ends = [point.relaxed_at([s], 1e-9)[0] for s in (0.02, -0.02)]
        assert relative_error(moved, (ends[0] - ends[1]) / 0.04) < 1e-3


CLUSTER = """\
units metal
atom_style charge
lattice sc 2.2
region box block -6 8 -6 8 -6 8
region cluster block 0 1 0 1 0 2
create_box 2 box
create_atoms 1 region cluster
mass * 20
set group all type 1
set atom 2*3 type 2
set atom 5 type 2
set atom 8 type 2
set atom 10*11 type 2
pair_style hybrid/overlay buck 12.0 coul/cut {cutoff}
pair_coeff * * coul/cut
pair_coeff 1 1 buck 0 1 0
pair_coeff 1 2 buck 1428 0.28 0
pair_coeff 2 2 buck 22764 0.149 0
fix q all {style} {every} 12.0 1e-6 200 costs.txt
displace_atoms all random 0.05 0.05 0.05 5
group held id 1:4
fix held held setforce 0 0 0
"""
"""Twelve ions, so close together that no pair crosses a cutoff; four are held."""

COSTS = "# type chi eta gamma zeta core\n1 0.1 1.2 0 0 0\n2*2 1.2 1.3 0 0 0\n"


def cluster(write_deck, tmp_path, style="qeq/point", cutoff=12.0, every=1):
    if MPI.COMM_WORLD.rank == 0:
        (tmp_path / "costs.txt").write_text(COSTS)
    return write_deck(CLUSTER.format(style=style, cutoff=cutoff, every=every))


@pytest.mark.parametrize("style", ["qeq/point", "qeq/dynamic", "qeq/fire"])
def test_ions_answer_with_their_charges(write_deck, tmp_path, style):
    path = cluster(write_deck, tmp_path, style, every=7)
    with Minimum.from_deck(path, parameters="buck 1-2 *", ftol=1e-9, force_limit=np.inf) as point:
        charges = point.engine.lmp.numpy.extract_atom("q")[:12]
        assert np.ptp(charges) > 0.3 and abs(charges.sum()) < 1e-12
        found = point.jvp([0.0, 1.0, 0.0], 1e-6)
        commands = ("unfix q", "fix q all qeq/point 1 12.0 1e-14 500 costs.txt")
        brute = Newton(path, by_id(point), np.eye(36)[:, 12:], commands)
        expected = brute.jvp(lambda t: [f"pair_coeff 1 2 buck 1428 {0.28 + t!r} 0"], 1e-4)
        brute.close()
        assert relative_error(found[np.argsort(point.ids)], expected) < 1e-4
        testing.check_taylor(point)


@pytest.mark.parallel(nprocs=[1, 2])
def test_charges_on_ranks(write_deck, tmp_path):
    tmp_path = MPI.COMM_WORLD.bcast(tmp_path)
    path = tmp_path / "in.test"
    if MPI.COMM_WORLD.rank == 0:
        cluster(write_deck, tmp_path)
    MPI.COMM_WORLD.Barrier()
    with Minimum.from_deck(path, parameters="buck 1-2 *", ftol=1e-9, force_limit=np.inf) as point:
        gradient, hessian = point.energy_gradient(), point.energy_hessian(1e-6)
        moved = point.gather(point.jvp([0.0, 1.0, 0.0], 1e-6))
    if moved is not None:
        assert np.abs(moved).max() == pytest.approx(27.9784, rel=1e-4)
    assert gradient[1] == pytest.approx(162.34897, rel=1e-7)
    assert hessian[1, 1] == pytest.approx(-1327.02, rel=1e-4)


REFUSED = {
    "other cutoff": CLUSTER.format(style="qeq/point", cutoff=3.5, every=1),
    "other interaction": CLUSTER.format(style="qeq/shielded", cutoff=12.0, every=1),
}


@pytest.mark.parametrize("case", REFUSED)
def test_charges_of_another_energy_are_refused(write_deck, tmp_path, case):
    (tmp_path / "costs.txt").write_text(COSTS.replace("0 0 0", "0.6 0 0"))
    with pytest.raises(DeckError, match=r"'fix q all qeq/.*forces are not the derivative of an energy.*'unfix'"):
        Minimum.from_deck(write_deck(REFUSED[case]), force_limit=np.inf)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("1 0.1\n", "cannot be read"), ("1 a b 0 0 0\n2 1 1 0 0 0\n", "cannot be read")],
)
def test_files_of_costs_that_are_wrong(tmp_path, text, complaint):
    (tmp_path / "costs.txt").write_text(text)
    deck = read_transcript("pair_style coul/cut 9\nfix q all qeq/point 1 9 1e-6 100 costs.txt\n", tmp_path)
    with pytest.raises(DeckError, match=complaint):
        equilibration(deck, " ".join(deck.pair_style), 2)


def test_fixes_are_issued_to_converge_at_every_step(tmp_path):
    (tmp_path / "numbers").touch()
    lines = {
        "qeq/reaxff 5 0.0 10.0 1e-6 reaxff maxiter 200 nowarn": "1 0.0 10.0 1e-14 reaxff nowarn maxiter 5000",
        "qeq/slater 5 9.0 1e-6 100 coul/streitz alpha 0.2": "1 9.0 1e-14 5000 coul/streitz alpha 0.2",
        "acks2/reaxff 1 0.0 10.0 1e-6 numbers": f"1 0.0 10.0 1e-24 {tmp_path}/numbers maxiter 5000",
        "qeq/comb 10 0.001 file out": "1 1e-14",
    }
    for line, expected in lines.items():
        deck = read_transcript(f"pair_style reaxff NULL\nfix q all {line}\n", tmp_path)
        (command,) = equilibration(deck, " ".join(deck.pair_style), 2).commands
        assert command == f"fix q all {line.split()[0]} {expected}"
    with pytest.raises(DeckError, match="both equilibrate charges"):
        equilibration(read_transcript("".join(f"fix {k} all qeq/comb 1 1e-4\n" for k in "ab"), tmp_path), "comb", 2)
