"""Machine-learning potentials that are linear in the coefficients of a file: ML-IAP, UF3, POD.

ML-IAP: A. P. Thompson et al., J. Comput. Phys. 285, 316 (2015), its quadratic model M. A. Wood, A. P. Thompson,
J. Chem. Phys. 148, 241721 (2018). UF3: S. R. Xie, M. Rupp, R. G. Hennig, npj Comput. Mater. 9, 162 (2023). POD:
N. C. Nguyen, Phys. Rev. B 107, 144103 (2023).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.files import written_whole
from lammps_implicit.potentials.commands import PairCommands, found
from lammps_implicit.potentials.number_files import NumberFile, Reader

FAMILIES = ("mliap", "uf3", "pod")

MLIAP_MODELS = ("linear", "quadratic")


@dataclass(frozen=True)
class FileFamily:
    """Coefficients of one file that the deck's pair style or one of its ``pair_coeff`` lines names.

    Attributes
    ----------
    style : str
        One of `FAMILIES`.
    file : NumberFile
    word : str
        The file as the deck names it.
    directory : Path
        Of the deck.
    elements : tuple of (str or None)
        Of each atom type.
    """

    style: str
    file: NumberFile
    word: str
    directory: Path
    elements: tuple[str | None, ...]

    def prefixed(self) -> FileFamily:
        """The same, its labels of ML-IAP told apart from those of SNAP: ``mliap Ta:0``."""
        if self.style != "mliap":
            return self
        return replace(self, file=replace(self.file, names=tuple(f"mliap {name}" for name in self.file.names)))

    @property
    def names(self) -> tuple[str, ...]:
        return self.file.names

    @property
    def values(self) -> FloatArray:
        return self.file.values

    @property
    def linear(self) -> bool:
        return True

    def edit(self, commands: PairCommands, values: FloatArray, stem: Path) -> None:
        """Write the file anew, and name it where the deck does: ML-IAP in the style, others in their lines."""
        target = stem.with_name(f"{stem.name}.{self.style}")
        with written_whole(target, overwrite=True) as temporary:
            temporary.write_text(self.file.text(values), encoding="utf-8")
        old = found(self.word, self.directory)
        commands.style = [str(target) if word == old else word for word in commands.style]
        commands.coeffs = [[str(target) if word == old else word for word in line] for line in commands.coeffs]
        commands.renewed = True


def from_deck(deck: Deck) -> Iterator[FileFamily]:
    """Families that the deck declares.

    Raises
    ------
    PotentialError
        If a file does not hold what it should, or the model is not linear in its coefficients.
    """
    styles = deck.pair_style
    hybrid = styles[0].startswith("hybrid")
    for style in FAMILIES:
        plain = [word for word in styles if word == style or word.startswith(f"{style}/")]
        if not plain:
            continue
        lines = [line for line in deck.pair_coeffs if not hybrid or line.args[2].partition("/")[0] == style]
        if not lines:
            raise PotentialError(f"the deck has pair_style {style} without a pair_coeff line")
        if len(plain) > 1:
            raise PotentialError(f"the deck has {style} {len(plain)} times: parameters of one only are supported")
        line, rest = lines[-1], lines[-1].args[3 if hybrid else 2 :]
        if style == "mliap":
            yield _mliap(deck, line.directory, tuple(rest))
        else:
            words = [word for word in rest if Path(found(word, line.directory)).is_file()]
            if len(words) != (1 if style == "uf3" else 2):
                raise PotentialError(f"pair_coeff {' '.join(line.args)}: the files of {style} are not found")
            elements = tuple(None if word == "NULL" else word for word in rest[len(words) :])
            file = (
                _uf3(Path(found(words[0], line.directory)))
                if style == "uf3"
                else _pod(Path(found(words[1], line.directory)))
            )
            yield FileFamily(style, file, words[-1], line.directory, elements)


def _mliap(deck: Deck, directory: Path, types: tuple[str, ...]) -> FileFamily:
    words = deck.pair_style[deck.pair_style.index("mliap") :]
    model = words.index("model") if "model" in words else -2
    kind = words[model + 1] if model >= 0 else ""
    if kind not in MLIAP_MODELS or "descriptor" not in words:
        raise PotentialError(f"pair_style mliap model {kind}: only models linear in their coefficients are supported")
    word, descriptor = words[model + 2], words[words.index("descriptor") + 2]
    elements = next((row[1:] for row in _words(Path(found(descriptor, directory))) if row[0] == "elems"), [])
    reader = Reader(Path(found(word, directory)))
    (_, head), *rows = reader.rows()
    count, each = (int(match.group()) for match in head[:2])
    if len(elements) != count:
        elements = [str(k) for k in range(1, count + 1)]
    names = [f"{element}:{k}" for element in elements for k in range(each)]
    named = tuple(None if name == "NULL" else name for name in types)
    return FileFamily("mliap", reader.file(rows, names), word, directory, named)


def _words(path: Path) -> list[list[str]]:
    return [[match.group() for match in words] for _, words in Reader(path).rows()]


def _uf3(path: Path) -> NumberFile:
    """Spline coefficients: of each pair its numbers, of each triple its block of numbers."""
    reader = Reader(path)
    rows, names, place = reader.rows(), [], 0
    chosen = []
    while place < len(rows):
        head = [match.group() for match in rows[place][1]]
        if head[0] == "2B":
            count, block = int(rows[place + 3][1][0].group()), rows[place + 4 : place + 5]
            label, place = f"2B {'-'.join(head[1:3])}", place + 5
        elif head[0] == "3B":
            first, second, third = (int(match.group()) for match in rows[place + 5][1])
            count, block = first * second * third, rows[place + 6 : place + 6 + first * second]
            label, place = f"3B {'-'.join(head[1:4])}", place + 6 + first * second
        else:
            raise PotentialError(f"{path}, line {rows[place][0] + 1}: a block '2B' or '3B' is expected")
        chosen += block
        names += [f"{label} {k}" for k in range(count)]
    return reader.file(chosen, names)


def _pod(path: Path) -> NumberFile:
    reader = Reader(path)
    (_, head), *rows = reader.rows()
    if not head[0].group().startswith("model_coefficients") or len(head) < 2:
        raise PotentialError(f"{path}: 'model_coefficients:' and their number are expected first")
    return reader.file(rows, [f"pod {k}" for k in range(int(head[1].group()))])
