"""Decks of molecules, made here: water, a crystal of benzene, chains of polyethylene.

Each function returns the text of a deck and that of its data file, which the deck reads from its own folder. Numbers
are those of common force fields (SPC/Fw, OPLS).
"""

import itertools

import numpy as np

BENZENE_CELL = np.array([7.39, 9.42, 6.81])
"""Orthorhombic, Pbca, 138 K, Å."""

_BENZENE = {
    "C": [(-0.0569, 0.1387, -0.0054), (-0.1335, 0.0460, 0.1264), (-0.0774, -0.0925, 0.1295)],
    "H": [(-0.0976, 0.2447, -0.0177), (-0.2409, 0.0794, 0.2218), (-0.1371, -0.1631, 0.2312)],
}
"""Fractions of the cell; the other half of a molecule is its inversion."""


def _bonded(bonds, count):
    """Angles and dihedrals, as tuples of atoms, of the bonds between `count` atoms."""
    near = [[] for _ in range(count)]
    for a, b in bonds:
        near[a].append(b)
        near[b].append(a)
    angles = [(a, m, b) for m in range(count) for a, b in itertools.combinations(sorted(near[m]), 2)]
    dihedrals = [(a, b, c, d) for b, c in bonds for a in near[b] if a != c for d in near[c] if d not in (a, b)]
    return angles, dihedrals, near


def _data(name, cell, masses, molecules, types, charges, positions, terms):
    """A data file of atom style ``full``; `terms` maps sections to lists of (type, atoms), counted from 1 and 0."""
    counts = "".join(f"{len(lines)} {section.lower()}\n" for section, lines in terms.items() if lines)
    kinds = "".join(
        f"{max(kind for kind, _ in lines)} {section.lower()[:-1]} types\n" for section, lines in terms.items() if lines
    )
    box = "".join(f"0 {length:.8f} {axis}lo {axis}hi\n" for axis, length in zip("xyz", cell, strict=True))
    atoms = "".join(
        f"{k + 1} {molecules[k]} {types[k]} {charges[k]} {x:.8f} {y:.8f} {z:.8f}\n"
        for k, (x, y, z) in enumerate(positions)
    )
    sections = "".join(
        f"\n{section}\n\n"
        + "".join(f"{k} {kind} {' '.join(str(a + 1) for a in members)}\n" for k, (kind, members) in enumerate(lines, 1))
        for section, lines in terms.items()
        if lines
    )
    weights = "".join(f"{k} {mass}\n" for k, mass in enumerate(masses, 1))
    return (
        f"{name}\n\n{len(positions)} atoms\n{counts}{len(masses)} atom types\n{kinds}\n{box}\n"
        f"Masses\n\n{weights}\nAtoms # full\n\n{atoms}{sections}"
    )


WATER = """\
# flexible water (SPC/Fw), fixed cell
units           real
atom_style      full
bond_style      harmonic
angle_style     harmonic
special_bonds   lj/coul 0 0 0.5
pair_style      lj/cut/coul/long 9.0
kspace_style    {kspace} 1.0e-6
pair_modify     table 0
read_data       water_{count}.data
pair_coeff      * * 0 1
pair_coeff      1 1 0.155425 3.165492
bond_coeff      1 529.581 1.012
angle_coeff     1 37.95 113.24
variable        away index 0.05
displace_atoms  all random ${{away}} ${{away}} ${{away}} 7
variable        steps index 20000
min_style       cg
minimize        0 1.0e-6 ${{steps}} 200000
"""


def water(side=4, kspace="pppm", seed=1):
    """side³ molecules of water, turned at random, at 1 g/cm³."""
    rng = np.random.default_rng(seed)
    spacing = 3.1035
    shape = np.array([(0.0, 0.0, 0.0), (0.8165, 0.5773, 0.0), (-0.8165, 0.5773, 0.0)])
    positions, molecules = [], []
    for k, site in enumerate(itertools.product(range(side), repeat=3)):
        turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        positions += list((np.array(site) + 0.5) * spacing + shape @ (turn * np.linalg.det(turn)).T)
        molecules += [k + 1] * 3
    count = side**3
    terms = {
        "Bonds": [(1, (3 * k, 3 * k + h)) for k in range(count) for h in (1, 2)],
        "Angles": [(1, (3 * k + 1, 3 * k, 3 * k + 2)) for k in range(count)],
    }
    cell, types, charges = np.full(3, side * spacing), [1, 2, 2] * count, [-0.82, 0.41, 0.41] * count
    data = _data("water", cell, (15.9994, 1.008), molecules, types, charges, positions, terms)
    return WATER.format(kspace=kspace, count=count), data


BENZENE = """\
# crystal of benzene (OPLS), fixed cell
units           real
atom_style      full
bond_style      harmonic
angle_style     harmonic
dihedral_style  harmonic
improper_style  cvff
special_bonds   lj/coul 0 0 0.5
pair_style      lj/cut/coul/long 9.0
pair_modify     shift yes
kspace_style    {kspace} 1.0e-6
pair_modify     table 0
read_data       benzene_crystal.data
pair_coeff      1 1 0.07 3.55
pair_coeff      1 2 0.0458 2.931
pair_coeff      2 2 0.03 2.42
bond_coeff      1 469.0 1.40
bond_coeff      2 367.0 1.08
angle_coeff     1 63.0 120.0
angle_coeff     2 35.0 120.0
dihedral_coeff  1 3.625 -1 2
improper_coeff  1 1.1 -1 2
variable        away index 0.05
displace_atoms  all random ${{away}} ${{away}} ${{away}} 7
variable        steps index 20000
min_style       cg
minimize        0 1.0e-6 ${{steps}} 200000
"""


def benzene(repeat=(2, 2, 2), kspace="ewald"):
    """Molecules of benzene in their orthorhombic crystal, four a cell."""
    half = [(kind, np.array(place)) for kind, places in _BENZENE.items() for place in places]
    whole = [(kind, sign * place) for kind, place in half for sign in (1, -1)]  # C1 -C1 C2 -C2 C3 -C3 H1 -H1 ...
    ring = [0, 2, 4, 1, 3, 5]
    operations = [
        lambda p: p,
        lambda p: np.array([0.5 + p[0], 0.5 - p[1], -p[2]]),
        lambda p: np.array([-p[0], 0.5 + p[1], 0.5 - p[2]]),
        lambda p: np.array([0.5 - p[0], -p[1], 0.5 + p[2]]),
    ]
    inside = [(ring[k], ring[(k + 1) % 6]) for k in range(6)] + [(k, k + 6) for k in range(6)]
    angles, dihedrals, near = _bonded(inside, 12)
    impropers = [(carbon, *near[carbon]) for carbon in range(6)]
    positions, molecules, terms = [], [], {"Bonds": [], "Angles": [], "Dihedrals": [], "Impropers": []}
    places = itertools.product(*(range(n) for n in repeat))
    for number, (cell, operation) in enumerate(itertools.product(places, operations)):
        first = 12 * number
        positions += [(operation(place) + np.array(cell)) * BENZENE_CELL for _, place in whole]
        molecules += [number + 1] * 12
        for section, members in zip(terms, (inside, angles, dihedrals, impropers), strict=True):
            for atoms in members:
                kind = 1 + (max(atoms) > 5) if section in ("Bonds", "Angles") else 1
                terms[section].append((kind, tuple(first + a for a in atoms)))
    count = len(positions) // 12
    types, charges = ([1] * 6 + [2] * 6) * count, ([-0.115] * 6 + [0.115] * 6) * count
    size = BENZENE_CELL * np.array(repeat)
    data = _data("benzene", size, (12.011, 1.008), molecules, types, charges, positions, terms)
    return BENZENE.format(kspace=kspace), data


POLYETHYLENE = """\
# chains of polyethylene with all their atoms (OPLS without charges), fixed cell
units           real
atom_style      full
bond_style      harmonic
angle_style     harmonic
dihedral_style  opls
special_bonds   lj/coul 0 0 0.5
pair_style      lj/cut 9.0
pair_modify     shift yes
read_data       polyethylene_chains.data
pair_coeff      1 1 0.066 3.50
pair_coeff      1 2 0.0445 2.958
pair_coeff      2 2 0.03 2.50
bond_coeff      1 268.0 1.529
bond_coeff      2 340.0 1.09
angle_coeff     1 58.35 112.7
angle_coeff     2 37.5 110.7
angle_coeff     3 33.0 107.8
dihedral_coeff  1 1.3 -0.05 0.2 0.0
dihedral_coeff  2 0.0 0.0 0.3 0.0
variable        away index 0.05
displace_atoms  all random ${away} ${away} ${away} 7
variable        steps index 20000
min_style       cg
minimize        0 1.0e-6 ${steps} 200000
"""


def polyethylene(across=(2, 3), carbons=10):
    """Chains of `carbons` atoms of carbon in their orthorhombic packing, two a cell."""
    a, b, rise, gap = 7.6, 5.1, 1.27, 2.9
    setting = np.radians(48.0)
    molecules, positions, types, bonds = [], [], [], []
    for number, (i, j, k) in enumerate(itertools.product(range(across[0]), range(across[1]), range(2))):
        centre = np.array([(i + 0.5 * k) * a, (j + 0.5 * k) * b])
        angle = setting if k == 0 else np.pi - setting
        out, aside = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        first = len(positions)
        backbone = []
        for c in range(carbons):
            sign, z = (-1) ** c, 1.0 + rise * c
            here = len(positions)
            plane = centre + sign * 0.42 * out
            positions.append(np.array([*plane, z]))
            types.append(1)
            hydrogens = [(*(plane + sign * 0.63 * out + s * 0.89 * aside), z) for s in (1, -1)]
            if c in (0, carbons - 1):  # a methyl group's third
                hydrogens.append((*(plane - sign * 0.55 * out), z + (-0.94 if c == 0 else 0.94)))
            positions += [np.array(h) for h in hydrogens]
            types += [2] * len(hydrogens)
            bonds += [(here, here + 1 + h) for h in range(len(hydrogens))]
            backbone.append(here)
        bonds += list(itertools.pairwise(backbone))
        molecules += [number + 1] * (len(positions) - first)
    angles, dihedrals, _ = _bonded(bonds, len(positions))
    hydrogens = [sum(types[m] == 2 for m in members) for members in angles]
    terms = {
        "Bonds": [(1 if types[a_] == types[b_] else 2, (a_, b_)) for a_, b_ in bonds],
        "Angles": [(1 + n, members) for n, members in zip(hydrogens, angles, strict=True)],
        "Dihedrals": [(1 if all(types[m] == 1 for m in members) else 2, members) for members in dihedrals],
    }
    size = np.array([across[0] * a, across[1] * b, rise * (carbons - 1) + 2.0 + gap])
    masses, charges = (12.011, 1.008), [0.0] * len(types)
    return POLYETHYLENE, _data("polyethylene", size, masses, molecules, types, charges, positions, terms)


def write(folder, name, deck, data):
    """Write a deck and its data file into a folder; return the deck's path."""
    file = next(line.split()[1] for line in deck.splitlines() if line.startswith("read_data"))
    (folder / file).write_text(data)
    path = folder / f"in.{name}"
    path.write_text(deck)
    return path
