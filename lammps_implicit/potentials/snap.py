"""Spectral neighbour analysis potentials (SNAP) as in LAMMPS: linear or quadratic, of one or more elements.

U = Σ_i Σ_k Θ_{e(i),k} B_k(i), with B_0 = 1 and the products B_k B_l of a quadratic SNAP as descriptors of their own
(A. P. Thompson et al., J. Comput. Phys. 285, 316 (2015); M. A. Wood, A. P. Thompson, J. Chem. Phys. 148, 241721
(2018); with ``chemflag`` M. A. Cusentino et al., J. Phys. Chem. A 124, 5456 (2020)).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck, PairCoeff
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.evaluators.potential_folders import potential_file
from lammps_implicit.operators.descriptor_derivative import DescriptorDerivative
from lammps_implicit.operators.interface import Hessian
from lammps_implicit.potentials.commands import PotentialCommands, elements_after
from lammps_implicit.potentials.file_numbers import last_lines
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.output import write_text, write_together
from lammps_implicit.potentials.snap_files import (
    CoefficientFile,
    ParameterFile,
    bispectrum_components,
    expected_coefficients,
    read_coefficients,
    read_parameters,
)

STYLES = ("snap", "snap/intel")
"""Pair styles of SNAP."""

_DESCRIPTORS, _GRADIENTS = "li_descriptors", "li_gradients"
"""Names of the computes."""


@dataclass(frozen=True)
class SnapFile:
    """Coefficients of a SNAP potential, installed one by one: with other parameters or several SNAP styles; a `Source`.

    Attributes
    ----------
    prefix : str
        Start of the labels: empty, or ``snap:2`` with a blank for the second of several SNAP styles.
    coefficients : CoefficientFile
    line, word : int
        Indices of the file name among the ``pair_coeff`` lines of the deck and the words of the line.
    elements : tuple of (str or None)
        Element of each atom type.
    """

    prefix: str
    coefficients: CoefficientFile
    line: int
    word: int
    elements: tuple[str | None, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Labels ``element:index`` of all coefficients, after the prefix."""
        return tuple(f"{self.prefix}{name}" for name in self.coefficients.names)

    @property
    def values(self) -> FloatArray:
        """All coefficients."""
        return self.coefficients.theta

    @property
    def linear(self) -> bool:
        """U is linear in all of them."""
        return True

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Replace the coefficient file in the deck's line: see `Source.edit`."""
        number = self.prefix.strip().partition(":")[2]
        target = stem.with_name(f"{stem.name}.{number + '.' if number else ''}snapcoeff")
        commands.change(self.line, self.word, str(target))
        return {target: self.coefficients.with_theta(values).text()}


@dataclass
class SnapPotential:
    """The SNAP potential of a deck, alone or with other, fixed, styles in ``hybrid`` or ``hybrid/overlay``.

    Attributes
    ----------
    coefficients : CoefficientFile
        The file that the deck names; Θ are its coefficients, element by element, constant terms included.
    hyperparameters : ParameterFile
        Settings of the descriptors.
    elements : tuple of (str or None)
        Element of each atom type; None for ``NULL``.
    substyle : str
        Word between ``pair_coeff * *`` and the file names; empty for a plain ``pair_style snap``.
    selected : (P,) int array
        Indices of the coefficients with respect to which derivatives are taken.
    fixed : dict of str to str
        Everything that is not a parameter: the parameter file, and other pair styles for each pair of elements.
    """

    coefficients: CoefficientFile
    hyperparameters: ParameterFile
    elements: tuple[str | None, ...]
    substyle: str
    selected: IntArray
    fixed: dict[str, str]

    @classmethod
    def from_deck(cls, deck: Deck) -> SnapPotential:
        """Read the SNAP potential of a deck, with all coefficients selected.

        Raises
        ------
        PotentialError
            If the deck has no SNAP style or several, if its files are not found or do not fit each other, or if other
            styles of a plain ``hybrid`` override it.
        """
        line, substyle = _snap_line(deck)
        files = line.args[3:5] if substyle else line.args[2:4]
        coefficients = read_coefficients(_found(files[0], line.directory))
        hyperparameters = read_parameters(_found(files[1], line.directory))
        elements = elements_after(line.args[5:] if substyle else line.args[4:])
        expected = expected_coefficients(hyperparameters, len(coefficients.blocks))
        if coefficients.coefficients_per_element != expected:
            raise PotentialError(
                f"{files[0]} holds {coefficients.coefficients_per_element} coefficients per element, but {files[1]} "
                f"calls for {expected}"
            )
        fixed = {"parameter file": hyperparameters.text, "pair_style": " ".join(deck.pair_style)}
        fixed |= _beside(deck, line, elements)
        return cls(coefficients, hyperparameters, elements, substyle, np.arange(len(coefficients.theta)), fixed)

    @property
    def theta(self) -> FloatArray:
        """Selected coefficients, (P,), eV per unit of the descriptor in ``units metal``."""
        return self.coefficients.theta[self.selected]

    @property
    def names(self) -> tuple[str, ...]:
        """Labels ``element:index`` of the selected coefficients."""
        names = self.coefficients.names
        return tuple(names[index] for index in self.selected)

    @property
    def text(self) -> str:
        """The coefficient file as read."""
        return self.coefficients.text()

    def define(self, engine: Engine) -> None:
        """Define the computes of descriptors and their gradients; tell the engine how to restore these parameters."""
        settings = self._compute_settings()
        engine.command(f"compute {_DESCRIPTORS} all sna/atom {settings}")
        engine.command(f"compute {_GRADIENTS} all snad/atom {settings}")
        engine.installed = (self._prepared(engine, engine.scratch / "deck"),)

    def select(self, indices: IntArray) -> SnapPotential:
        """The same potential with these of its selected parameters selected."""
        return replace(self, selected=self.selected[indices])

    def mixed_derivative(self, engine: Engine, hessian: Hessian) -> DescriptorDerivative:
        """C at the reference, from LAMMPS' descriptors."""
        return DescriptorDerivative(engine, self, hessian)

    def install(self, engine: Engine, dtheta: FloatArray) -> FloatArray:
        """Install Θ + δΘ and return the forces at the reference, (n, 3). One force evaluation."""
        return engine.reissue(self.changed(dtheta)._prepared(engine, engine.parameter_stem))

    def _prepared(self, engine: Engine, stem: Path) -> list[str]:
        """Write the files on rank 0; return the command that installs them."""
        files = self._files(stem)

        def write() -> None:
            for path, text in files.items():
                write_text(path, text)

        engine.on_root(write)
        names = " ".join("NULL" if element is None else element for element in self.elements)
        paths = " ".join(f'"{path}"' for path in files)
        return [f"pair_coeff * * {self.substyle} {paths} {names}"]

    def _files(self, stem: Path, *comments: str) -> dict[Path, str]:
        """Text of the coefficient file, with comments at its top, and of the parameter file."""
        return {
            stem.with_name(f"{stem.name}.snapcoeff"): self.coefficients.with_comment(*comments).text(),
            stem.with_name(f"{stem.name}.snapparam"): self.hyperparameters.text,
        }

    def changed(self, dtheta: FloatArray) -> SnapPotential:
        """The same potential with Θ + δΘ."""
        theta = self.coefficients.theta.copy()
        theta[self.selected] += dtheta
        return replace(self, coefficients=self.coefficients.with_theta(theta))

    def write(self, stem: Path, comments: Sequence[str], overwrite: bool) -> list[Path]:
        """Write ``.snapcoeff``, with comments at its top, and ``.snapparam``: see `Potential.write`."""
        return write_together(self._files(stem, *comments), overwrite)

    def atom_descriptors(self, engine: Engine) -> FloatArray:
        """Descriptors of each atom at the last evaluated positions, (n, K), without the constant one."""
        return engine.compute_atom(_DESCRIPTORS)

    def sum_descriptors(self, engine: Engine, atoms: FloatArray) -> FloatArray:
        """Sum of the descriptors over the atoms of each element, (P,); zero for constant terms."""
        blocks = np.zeros((len(self.coefficients.blocks), self.coefficients.coefficients_per_element))
        for type_, block in self._types():
            blocks[block, 1:] += atoms[engine.types == type_].sum(axis=0)
        return np.asarray(engine.sum(blocks)).reshape(-1)[self.selected]

    def counts(self, engine: Engine) -> FloatArray:
        """Number of atoms of each selected constant term, (P,); zero for all others."""
        blocks = np.zeros((len(self.coefficients.blocks), self.coefficients.coefficients_per_element))
        for type_, block in self._types():
            blocks[block, 0] += np.count_nonzero(engine.types == type_)
        return np.asarray(engine.sum(blocks)).reshape(-1)[self.selected]

    def gradient_bytes(self, n_atoms: int) -> int:
        """Bytes that ``snad/atom`` needs for `n_atoms` atoms."""
        return 8 * n_atoms * len(self.elements) * 3 * (self.coefficients.coefficients_per_element - 1)

    def gradients(self, engine: Engine) -> FloatArray:
        """-∂B/∂X in the layout of ``snad/atom``, (n, types, 3, K), where B is summed over the atoms of each type.

        This is LAMMPS' own memory: see `Engine.compute_atom`.
        """
        shape = len(engine.ids), len(self.elements), 3, self.coefficients.coefficients_per_element - 1
        return engine.compute_atom(_GRADIENTS, copy=False).reshape(shape)

    def gradients_times(self, gradients: FloatArray, dtheta: FloatArray) -> FloatArray:
        """∂B/∂X δΘ, (n, 3)."""
        weights = np.zeros((len(self.coefficients.blocks), self.coefficients.coefficients_per_element))
        weights.flat[self.selected] = dtheta
        product = np.zeros((len(gradients), 3))
        for type_, block in self._types():
            product -= gradients[:, type_ - 1] @ weights[block, 1:]
        return product

    def gradients_transposed_times(self, gradients: FloatArray, vector: FloatArray) -> FloatArray:
        """(∂B/∂X)ᵀ v, (P,), of this rank's atoms alone."""
        blocks = np.zeros((len(self.coefficients.blocks), self.coefficients.coefficients_per_element))
        for type_, block in self._types():
            blocks[block, 1:] -= np.einsum("nak,na->k", gradients[:, type_ - 1], vector)
        return blocks.reshape(-1)[self.selected]

    def gradients_array(self, gradients: FloatArray) -> FloatArray:
        """∂B/∂X, (n, 3, P)."""
        # Column of each selected parameter in the block of its element; constant terms have no gradient.
        block_of, column = np.divmod(self.selected, self.coefficients.coefficients_per_element)
        array = np.zeros((len(gradients), 3, len(self.selected)))
        for type_, block in self._types():
            here = np.flatnonzero((block_of == block) & (column > 0))
            array[:, :, here] -= gradients[:, type_ - 1][:, :, column[here] - 1]
        return array

    def inconsistent_directions(self) -> FloatArray:
        """Orthonormal directions of the selected Θ along which forces are not -Σ_k Θ_k ∂B_k/∂X, (P, m).

        With ``chemflag`` a descriptor B(e1 e2 e3; j1 j2 j) does not change if elements with equal j are exchanged. The
        force loop of LAMMPS assumes that the coefficients of such equal descriptors are equal, as in fitted files: it
        counts one of them two or three times, in place of each once. The energy does not. Along directions in which
        such coefficients differ, forces are therefore not minus the gradient of the energy, and only the forces
        determine where LAMMPS relaxes to.
        """
        if not self.hyperparameters.flag("chemflag"):
            return np.zeros((len(self.selected), 0))
        count = self.coefficients.coefficients_per_element
        classes = self._equal_descriptors()
        directions = []
        for block in range(len(self.coefficients.blocks)):
            for members in classes:
                # Orthonormal complement of the common change of all members (Helmert vectors).
                for size in range(1, len(members)):
                    vector = np.zeros(len(self.coefficients.theta))
                    vector[block * count + members[:size]] = 1.0
                    vector[block * count + members[size]] = -float(size)
                    directions.append(vector[self.selected] / np.sqrt(size * (size + 1)))
        return np.array([d for d in directions if d.any()]).reshape(-1, len(self.selected)).T

    def _equal_descriptors(self) -> list[IntArray]:
        """Classes of indices within an element's block whose descriptors are equal by symmetry."""
        components = bispectrum_components(int(self.hyperparameters.number("twojmax", 0)))
        elements = range(len(self.coefficients.blocks))
        keys = [
            (component, tuple(sorted(zip(component, triple, strict=True))))
            for triple in itertools.product(elements, repeat=3)
            for component in components
        ]
        if self.hyperparameters.flag("quadraticflag"):
            pairs = itertools.combinations_with_replacement(range(len(keys)), 2)
            keys += [tuple(sorted((keys[a], keys[b]))) for a, b in pairs]  # type: ignore[misc]
        classes: dict[object, list[int]] = {}
        for index, key in enumerate(keys, 1):
            classes.setdefault(key, []).append(index)
        return [np.array(members) for members in classes.values() if len(members) > 1]

    def _types(self) -> list[tuple[int, int]]:
        """Atom types on which the potential acts, each with the index of its element's block."""
        blocks = [block.element for block in self.coefficients.blocks]
        return [(type_, blocks.index(element)) for type_, element in enumerate(self.elements, 1) if element is not None]

    def _compute_settings(self) -> str:
        """Arguments of ``compute sna/atom`` that reproduce the pair style."""
        hyper = self.hyperparameters
        blocks = {block.element: block for block in self.coefficients.blocks}
        # Atoms of a NULL type have no descriptors and do not count as neighbours: weight 0.
        radii = [blocks[element].radius if element else 0.0 for element in self.elements]
        weights = [blocks[element].weight if element else 0.0 for element in self.elements]
        words: list[object] = [repr(hyper.number("rcutfac", 0)), repr(hyper.number("rfac0", 0.99363))]
        words += [int(hyper.number("twojmax", 0)), *map(repr, radii), *map(repr, weights)]
        words += ["rmin0", repr(hyper.number("rmin0", 0.0))]
        for keyword, default in (("switchflag", True), ("bzeroflag", True), ("quadraticflag", False)):
            words += [keyword, int(hyper.flag(keyword, default))]
        # LAMMPS numbers elements in the order in which pair_coeff first names them.
        order = list(dict.fromkeys(element for element in self.elements if element))
        numbers = [order.index(element) if element else 0 for element in self.elements]
        if hyper.flag("chemflag"):
            words += ["chem", len(order), *numbers]
        for keyword in ("bnormflag", "wselfallflag"):
            words += [keyword, int(hyper.flag(keyword))]
        if hyper.flag("switchinnerflag"):
            words += ["switchinnerflag", 1]
            for keyword in ("sinner", "dinner"):
                words += [keyword, *(hyper.values[keyword][number] for number in numbers)]
        return " ".join(map(str, words))


def _beside(deck: Deck, snap: PairCoeff, elements: tuple[str | None, ...]) -> dict[str, str]:
    """Coefficients of the other pair styles, by the elements for which they are."""
    found = {}
    for line in deck.pair_coeffs:
        if line is not snap:
            first, second = (sorted(_types_in(word, len(elements))) for word in line.args[:2])
            for a, b in itertools.product(first, second):
                pair = " ".join(sorted(elements[type_ - 1] or "NULL" for type_ in (a, b)))
                found[f"{line.args[2]} of {pair}"] = " ".join(line.args[2:])
    return found


def _snap_line(deck: Deck) -> tuple[PairCoeff, str]:
    """The ``pair_coeff`` line of the deck's SNAP style, and the name of the sub-style in it."""
    style = deck.pair_style
    if not style:
        raise PotentialError("the deck defines no pair_style")
    hybrid = style[0] in ("hybrid", "hybrid/overlay")
    found = sum(word in STYLES for word in (style[1:] if hybrid else style[:1]))
    if found != 1:
        what = "several SNAP styles" if found else "no parameters that can be differentiated"
        raise PotentialError(
            f"'pair_style {' '.join(style)}' has {what}; supported: one {' or '.join(STYLES)}, alone or with other, "
            "fixed, styles in hybrid or hybrid/overlay"
        )
    position = 2 if hybrid else 0
    lines = [line for line in deck.pair_coeffs if not hybrid or line.args[2] in STYLES]
    if not lines or lines[-1].args[:2] != ("*", "*"):
        raise PotentialError("no 'pair_coeff * * ... .snapcoeff .snapparam ELEMENTS' line was read from the deck")
    if style[0] == "hybrid":
        _refuse_overrides(deck.pair_coeffs[deck.pair_coeffs.index(lines[-1]) + 1 :], lines[-1])
    return lines[-1], lines[-1].args[position] if hybrid else ""


def _refuse_overrides(later: list[PairCoeff], snap: PairCoeff) -> None:
    """Refuse lines that take pairs away from SNAP in plain ``hybrid``: descriptor computes still include them."""
    elements = snap.args[5:]
    mapped = {type_ for type_, element in enumerate(elements, 1) if element != "NULL"}
    for line in later:
        first, second = (_types_in(word, len(elements)) & mapped for word in line.args[:2])
        if first and second:
            raise PotentialError(
                f"'pair_coeff {' '.join(line.args)}' takes pairs away from SNAP in 'pair_style hybrid', so its forces "
                "do not follow from its descriptors; map such a type to NULL in the SNAP line, or use hybrid/overlay"
            )


def _types_in(word: str, n_types: int) -> set[int]:
    """Atom types that a ``pair_coeff`` argument means (``2``, ``*``, ``2*4``); all types for a type label."""
    low, star, high = word.partition("*")
    try:
        start = int(low) if low else 1
        stop = (int(high) if high else n_types) if star else start
    except ValueError:
        start, stop = 1, n_types
    return set(range(start, stop + 1))


def _found(name: str, directory: Path) -> Path:
    path = potential_file(name, directory)
    if path is None:
        raise PotentialError(f"potential file {name} was read by LAMMPS but is no longer found from {directory}")
    return path


def has_snap(deck: Deck) -> bool:
    """Whether the deck's pair style is SNAP or contains it."""
    return any(word in STYLES for word in deck.pair_style)


def from_deck(deck: Deck) -> list[SnapFile]:
    """Coefficients of each SNAP style of a deck, of which there may be several, also in ``hybrid/scaled``.

    Labels are ``W:0``, or ``snap:2 W:0`` for the second of several styles.

    Raises
    ------
    PotentialError
        If a file is not found or not a coefficient file.
    """
    lines = last_lines(deck, ("snap",))
    found = []
    for number, line, style, word in lines:
        coefficients = read_coefficients(_found(line.args[word], line.directory))
        prefix = f"{style} " if len(lines) > 1 else ""
        found.append(SnapFile(prefix, coefficients, number, word, elements_after(line.args[word + 2 :])))
    return found


def _whole(engine: Engine) -> SnapPotential | None:
    """The potential with descriptors, which know no factors of styles and of one SNAP style only."""
    deck = engine.deck
    single = sum(word in STYLES for word in deck.pair_style) == 1 and not deck.pair_style[0].startswith("hybrid/scaled")
    return engine.on_root(lambda: SnapPotential.from_deck(deck)) if single else None


def _sources(engine: Engine, patterns: Sequence[str]) -> list[SnapFile]:
    return engine.on_root(lambda: from_deck(engine.deck) if has_snap(engine.deck) else [])


FAMILY = PotentialFamily(_sources, "snap", order=0, on_request=True, whole=_whole)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
