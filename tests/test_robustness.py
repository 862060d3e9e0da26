"""Structures of every shape: each is right against relaxing again, or refused with the reason."""

import numpy as np
import pytest

from lammps_implicit import LammpsImplicitError, Minimum

HEAD = "units metal\natom_modify map array\n"
PAIRS = "pair_style lj/cut 6.0\npair_modify shift yes\n"
ARGON = "mass * 40\n" + PAIRS + "pair_coeff * * 0.0104 3.4\n"
RELAX = "min_style cg\nminimize 0 1e-9 5000 50000\nmin_style fire\nminimize 0 1e-9 20000 100000\n"
VACANCY = "group out id 1\ndelete_atoms group out compress no\n"
JIGGLE = "displace_atoms all random 0.05 0.05 0.05 11\n"


def _block(size, boundary="p p p", lattice="fcc 5.25", types=1):
    return (
        f"{HEAD}boundary {boundary}\nlattice {lattice}\nregion cell block {size}\ncreate_box {types} cell\n"
        "create_atoms 1 box\n"
    )


FIVE = "".join(
    f"pair_coeff {i} {j} {0.0104 * (1 + 0.1 * i) * (1 + 0.05 * j):.6g} {3.4 + 0.03 * (i + j) - 0.2:.6g}\n"
    for i in range(1, 6)
    for j in range(i, 6)
)
STIFF = "mass * 40\n" + PAIRS + "pair_coeff 1 1 0.0104 3.4\npair_coeff 2 2 1.04 3.4\npair_coeff 1 2 0.104 3.4\n"
PLANE = (
    f"{HEAD}dimension 2\nboundary p p p\nlattice hex 3.8\nregion cell block 0 4 0 3 -0.5 0.5\ncreate_box 1 cell\n"
    f"create_atoms 1 box\n{VACANCY}{ARGON}fix flat all enforce2d\nmin_style cg\nminimize 0 1e-9 5000 50000\n"
)
RIGHT = {
    "thin cell": _block("0 1 0 1 0 4") + VACANCY + ARGON + JIGGLE + RELAX,
    "triclinic": f"{HEAD}lattice fcc 5.25\nregion cell prism 0 2 0 2 0 2 0.5 0.3 0.2\ncreate_box 1 cell\n"
    f"create_atoms 1 box\n{VACANCY}{ARGON}{JIGGLE}{RELAX}",
    "slab": _block("0 2 0 2 0 2", "p p f") + "change_box all z delta -10 10 units box\n" + VACANCY + ARGON + RELAX,
    "slab that LAMMPS wraps": _block("0 2 0 2 0 2", "p p s") + VACANCY + ARGON + RELAX,
    "wire": _block("0 2 0 2 0 3", "s s p") + VACANCY + ARGON + RELAX,
    "cluster": _block("0 2 0 2 0 2", "s s s") + VACANCY + ARGON + RELAX,
    "two dimensions": PLANE,
    "components frozen in part": _block("0 2 0 2 0 2")
    + VACANCY
    + ARGON
    + "group a id 2:6\ngroup b id 9:12\nfix a a setforce 0 NULL 0\nfix b b setforce NULL NULL 0\n"
    + RELAX,
    "stiffness ratio of 100": _block("0 2 0 2 0 2", types=2)
    + "set type 1 type/fraction 2 0.5 77\n"
    + VACANCY
    + STIFF
    + JIGGLE
    + RELAX,
    "near instability": _block("0 2 0 2 0 2", lattice="fcc 5.85") + VACANCY + ARGON + RELAX,
    "five elements": _block("0 2 0 2 0 2", types=5)
    + "".join(f"set type 1 type/fraction {k} {1 / (7 - k):.3f} {70 + k}\n" for k in (2, 3, 4, 5))
    + "mass * 40\n"
    + PAIRS
    + FIVE
    + JIGGLE
    + RELAX,
    "ids with gaps": _block("0 2 0 2 0 2")
    + "group out id 3 11 17\ndelete_atoms group out compress no\n"
    + ARGON
    + RELAX,
    "film and an isolated atom": _block("0 2 0 2 0 6")
    + "region far block INF INF INF INF 2.1 INF\ngroup far region far\ndelete_atoms group far\n"
    + VACANCY
    + "create_atoms 1 single 1 1 4\n"
    + ARGON
    + RELAX,
}
BOX = f"{HEAD}boundary p p p\nregion cell block 0 40 0 40 0 40\ncreate_box 1 cell\n"
TETRAHEDRON = "".join(
    f"create_atoms 1 single {x} {y} {z}\n" for x, y, z in ((5, 5, 5), (8, 8, 5), (8, 5, 8), (5, 8, 8))
)
RIGHT |= {
    "fragments out of each other's reach": BOX
    + TETRAHEDRON
    + TETRAHEDRON.replace("5", "25").replace("8", "27.8")
    + ARGON
    + JIGGLE
    + RELAX,
    "film with molecules on it": f"{HEAD.replace('atom_modify', 'atom_style bond' + chr(10) + 'atom_modify')}"
    "boundary p p f\nlattice fcc 5.25\nregion cell block 0 2 0 2 0 5\n"
    "create_box 2 cell bond/types 1 extra/bond/per/atom 1 extra/special/per/atom 2\n"
    "region film block INF INF INF INF 0.9 2.4\ncreate_atoms 1 region film\n"
    "create_atoms 2 single 0.3 0.3 2.75\ncreate_atoms 2 single 0.5 0.3 2.75\n"
    "create_atoms 2 single 1.3 1.2 2.75\ncreate_atoms 2 single 1.5 1.3 2.75\n"
    "mass * 40\nspecial_bonds lj 0 1 1\n"
    + PAIRS
    + "pair_coeff * * 0.0104 3.4\npair_coeff 2 2 0.006 3.2\nbond_style harmonic\nbond_coeff 1 40 1.1\n"
    "group gas type 2\ncreate_bonds many gas gas 1 0.8 1.5\n" + RELAX,
    "components frozen at the rim only": _block("0 2 0 2 0 3", "p p f")
    + VACANCY
    + ARGON
    + "region low block INF INF INF INF INF 0.6\ngroup low region low\nfix hold low setforce 0 0 0\n"
    + RELAX,
}
REFUSED = {
    "two atoms out of reach": (
        f"{HEAD}region cell block 0 40 0 40 0 40\ncreate_box 1 cell\ncreate_atoms 1 single 5 5 5\n"
        f"create_atoms 1 single 25 25 25\n{ARGON}{RELAX}",
        "no forces|no effect",
    ),
}


def _rigid_part_removed(minimum, moved):
    return minimum.null_space().project(moved)


@pytest.mark.parametrize("name", RIGHT)
def test_right_against_relaxing_again(write_deck, name):
    with Minimum.from_deck(write_deck(RIGHT[name]), ftol=1e-9, force_limit=0.1) as minimum:
        theta = minimum.potential.theta
        dtheta = 1e-4 * np.cos(np.arange(len(theta))) * theta
        found = minimum.jvp(dtheta, 1e-7)
        assert minimum.statistics.verdict == "good"
        up, down = (minimum.relaxed_at(sign * dtheta, 1e-9)[0] for sign in (1, -1))
        brute = _rigid_part_removed(minimum, (up - down) / 2)
        size = np.linalg.norm(brute)
        assert size > 1e-6
        assert np.linalg.norm(found - brute) < 2e-3 * size


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason(write_deck, name):
    deck, message = REFUSED[name]
    with (
        pytest.raises(LammpsImplicitError, match=message),
        Minimum.from_deck(write_deck(deck), ftol=1e-9, force_limit=0.1) as minimum,
    ):
        minimum.jvp(1e-3 * minimum.potential.theta)


def test_one_atom_stays_where_it_is(write_deck):
    deck = _block("0 1 0 1 0 1", lattice="sc 3.2") + ARGON + RELAX
    with Minimum.from_deck(write_deck(deck), force_limit=0.1) as minimum:
        assert not minimum.jvp(1e-3 * minimum.potential.theta).any()
        assert (
            np.abs(
                minimum.volume_gradient(
                    1e-5, cell=minimum.strain("iso", minimum.pressure[0, 0] * minimum.units.pressure_factor)
                )
            ).max()
            > 0
        )


def test_a_hinge_that_costs_no_energy(write_deck):
    """Where a motion costs no energy the answer is one of many; all have the same distances of neighbours."""
    sites = "create_atoms 1 single 5 5 5\ncreate_atoms 1 single 8.816 5 5\ncreate_atoms 1 single 8.816 8.816 5\n"
    deck = BOX + sites + ARGON.replace("6.0", "5.0") + RELAX
    with Minimum.from_deck(write_deck(deck), ftol=1e-9, force_limit=0.1) as minimum:
        dtheta = 1e-4 * np.array([0.5, 1.0]) * minimum.potential.theta
        bonds = np.diff(minimum.positions, axis=0)
        moves = (
            minimum.jvp(dtheta, 1e-7),
            (minimum.relaxed_at(dtheta, 1e-9)[0] - minimum.relaxed_at(-dtheta, 1e-9)[0]) / 2,
        )
        found, brute = (np.einsum("ba,ba->b", np.diff(moved, axis=0), bonds) for moved in moves)
        assert np.abs(brute).min() > 1e-4 and found == pytest.approx(brute, rel=1e-4)
