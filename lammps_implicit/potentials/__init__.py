"""Potentials: how to install parameters Θ in LAMMPS, and fast paths to descriptors where LAMMPS has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.errors import PotentialError
from lammps_implicit.potentials import eam, file_families, pair_coefficients, variables
from lammps_implicit.potentials.file_families import FileFamily
from lammps_implicit.potentials.installed import InstalledPotential, Source
from lammps_implicit.potentials.snap import STYLES, SnapFile, SnapPotential

if TYPE_CHECKING:
    from lammps_implicit.engine import Engine
    from lammps_implicit.operators import Hessian, MixedDerivative

SUPPORTED = ("snap", *file_families.FAMILIES, *eam.STYLES)


class Potential(Protocol):
    """A potential as minima need it. Everything refers to the *selected* parameters, P of them."""

    @property
    def theta(self) -> NDArray[np.float64]:
        """Values of the selected parameters, (P,)."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the selected parameters."""
        ...

    @property
    def text(self) -> str:
        """The parameter file as read: what a result needs to name its potential."""
        ...

    @property
    def fixed(self) -> Mapping[str, str]:
        """What the potential has besides Θ, by name: settings, and pair styles beside it for each pair of elements."""
        ...

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Chemical element of each atom type, None where the potential does not act on it."""
        ...

    def mixed_derivative(self, engine: Any, hessian: Hessian) -> MixedDerivative:
        """C at the engine's reference, which has measured nothing yet."""
        ...

    def install(self, engine: Any, dtheta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Install Θ + δΘ and return the forces at the reference, (n, 3). One force evaluation."""
        ...

    def changed(self, dtheta: NDArray[np.float64]) -> Potential:
        """The same potential with Θ + δΘ, to count changes from; LAMMPS is told nothing."""
        ...

    def write(self, stem: Path, comments: Sequence[str], overwrite: bool) -> list[Path]:
        """Write the files that LAMMPS reads it from, comments at their top, named `stem` with their endings."""
        ...


class DescriptorPotential(Potential, Protocol):
    """One that is linear in its parameters, U = Σ_k Θ_k B_k(X) + fixed part, with LAMMPS computes of B and ∂B/∂X."""

    def atom_descriptors(self, engine: Engine) -> NDArray[np.float64]:
        """Per-atom descriptors at the last evaluated positions, (n, K), until the next. One descriptor evaluation."""
        ...

    def sum_descriptors(self, engine: Engine, atoms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum per-atom descriptors to one number a selected parameter, (P,), constants left at zero."""
        ...

    def counts(self, engine: Engine) -> NDArray[np.float64]:
        """∂U/∂Θ of the selected constant terms, i.e. numbers of atoms, (P,); zero elsewhere."""
        ...

    def gradient_bytes(self, n_atoms: int) -> int:
        """Memory that LAMMPS takes for the descriptors' gradients of so many atoms."""
        ...

    def gradients(self, engine: Engine) -> NDArray[np.float64]:
        """∂B/∂X at the last evaluated positions as LAMMPS holds it. One descriptor evaluation."""
        ...

    def gradients_times(self, gradients: NDArray[np.float64], dtheta: NDArray[np.float64]) -> NDArray[np.float64]:
        """∂B/∂X δΘ, (n, 3)."""
        ...

    def gradients_transposed_times(
        self, gradients: NDArray[np.float64], vector: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(∂B/∂X)ᵀ v over this rank's atoms, (P,)."""
        ...

    def gradients_array(self, gradients: NDArray[np.float64]) -> NDArray[np.float64]:
        """∂B/∂X, (n, 3, P)."""
        ...

    def inconsistent_directions(self) -> NDArray[np.float64]:
        """Orthonormal directions of Θ along which LAMMPS' forces are not -Σ_k Θ_k ∂B_k/∂X, (P, m); mostly none."""
        ...


def from_engine(engine: Engine, parameters: str | Sequence[str] | None = None) -> SnapPotential | InstalledPotential:
    """Return the deck's potential with the parameters that match the patterns.

    Where the deck has SNAP and all patterns are labels of its coefficients, they are taken with LAMMPS' descriptors.
    Else the coefficients of all ML-IAP, UF3 and POD styles are parameters, factors of tabulated EAM, SNAP's if a
    pattern asks for them, and, likewise or where there is nothing else, the numbers of ``pair_coeff`` lines; or the
    variables that patterns with ``var:`` name.

    Parameters
    ----------
    engine : Engine
        After its deck ran.
    parameters : str or sequence of str, optional
        Shell patterns on labels (``"Be:*"``, ``"W:[1-9]"``, ``"lj/cut 1-2 sigma"``) or variables (``"var:eps"``); a
        string may hold several separated by commas. Default: all.

    Raises
    ------
    PotentialError
        If no supported style is in the deck or no label matches a pattern.
    """
    patterns = [] if parameters is None else _split(parameters)
    if any(pattern.startswith(variables.PREFIX) for pattern in patterns):
        return _variables(engine, patterns)
    potential = engine.on_root(lambda: _of_deck(engine, patterns))
    if not patterns:
        return potential
    return replace(potential, selected=select(potential.names, patterns))


def _of_deck(engine: Engine, patterns: Sequence[str]) -> SnapPotential | InstalledPotential:
    deck = engine.deck
    if not deck.pair_style:
        raise PotentialError("the deck declares no pair_style")
    snap = SnapPotential.from_deck(deck) if any(word in STYLES for word in deck.pair_style) else None
    if snap is not None and all(matches(snap.names, pattern) for pattern in patterns):
        return snap
    numbers = pair_coefficients.from_deck(deck, beside_words=bool(patterns))
    sources: list[Source]
    try:
        sources = [*file_families.from_deck(deck), *eam.from_deck(deck)]
    except PotentialError:
        if numbers is None or not (patterns and all(matches(numbers.names, pattern) for pattern in patterns)):
            raise
        sources = []  # what is not supported stays as it is beside the numbers that are asked for
    if snap is not None:  # whose labels are those of ML-IAP
        sources = [source.prefixed() if isinstance(source, FileFamily) else source for source in sources]
    for pattern in patterns:
        pair_coefficients.require_number(deck, pattern)
    if snap is not None and any(matches(snap.names, pattern) for pattern in patterns):
        sources.insert(0, SnapFile.from_deck(deck, snap))
    labels = [label for source in sources for label in source.names]
    wanted = [pattern for pattern in patterns if not matches(labels, pattern)]
    asked = numbers is not None and any(matches(numbers.names, pattern) for pattern in wanted)
    if numbers is not None and (asked or not (sources or snap)):
        sources.append(numbers)
    if not sources:
        if snap is not None:
            return snap  # select says which pattern matches nothing
        raise PotentialError(
            f"'pair_style {' '.join(deck.pair_style)}' has no parameters that can be differentiated: no numbers in its "
            f"pair_coeff lines, and none of {', '.join(SUPPORTED)}; a variable it uses can be one (var:NAME)"
        )
    return InstalledPotential.of(sources, deck, engine.n_types)


def _variables(engine: Engine, patterns: Sequence[str]) -> InstalledPotential:
    values = []
    for name in patterns:
        if not name.startswith(variables.PREFIX):
            raise PotentialError(f"'{name}': variables are taken by themselves, not with other parameters")
        values.append(engine.variable(name.removeprefix(variables.PREFIX)))
    source = engine.on_root(lambda: variables.from_deck(engine.deck, patterns, np.array(values)))
    return InstalledPotential.of([source], engine.deck, engine.n_types)


def _split(parameters: str | Sequence[str]) -> list[str]:
    patterns = parameters.split(",") if isinstance(parameters, str) else parameters
    return [pattern.strip() for pattern in patterns]


def matches(names: Sequence[str], pattern: str) -> list[int]:
    """Indices of the labels that a shell pattern matches; a label itself, which may hold a ``*``, matches no other."""
    if pattern in names:
        return [names.index(pattern)]
    return [index for index, name in enumerate(names) if fnmatchcase(name, pattern)]


def select(names: Sequence[str], parameters: str | Sequence[str]) -> NDArray[np.int64]:
    """Return the indices of the labels that match at least one pattern, in the labels' order.

    Raises
    ------
    PotentialError
        If a pattern matches nothing.
    """
    chosen: set[int] = set()
    for pattern in _split(parameters):
        found = matches(names, pattern)
        if not found:
            raise PotentialError(f"no parameter matches '{pattern}': labels run from {names[0]} to {names[-1]}")
        chosen.update(found)
    return np.array(sorted(chosen), np.int64)
