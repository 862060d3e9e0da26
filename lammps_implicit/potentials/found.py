"""What a deck has to differentiate with respect to, and what is left out of it, without raising errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials import pair_coefficients
from lammps_implicit.potentials.charges import PREFIX
from lammps_implicit.potentials.commands import pair_styles, plain_style
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.of_deck import FAMILIES, from_engine
from lammps_implicit.potentials.style_arguments import pair_arguments
from lammps_implicit.potentials.variables import used_variables


@dataclass(frozen=True)
class FoundFamily:
    """Parameters of one family in a deck.

    Attributes
    ----------
    name : str
        Name under which the family is registered; ``variables`` for those of the deck.
    values : mapping of str to float
        Values of its parameters by label, in the units of the deck.
    default : tuple of str
        Labels of those that are taken if no pattern is given; the others are taken on request.
    refusal : str
        Why the family has none, if the deck has its styles; otherwise empty.
    """

    name: str
    values: Mapping[str, float]
    default: tuple[str, ...]
    refusal: str = ""


@dataclass(frozen=True)
class FoundParameters:
    """All parameters of a deck.

    Attributes
    ----------
    families : tuple of FoundFamily
        Families of which the deck has something, in the order of their parameters.
    left_out : tuple of str
        What acts in the deck and is no parameter, as sentences.
    """

    families: tuple[FoundFamily, ...]
    left_out: tuple[str, ...]


def found_parameters(engine: Engine) -> FoundParameters:
    """List the parameters of a deck, and what is left out. Collective; no force evaluation.

    Parameters
    ----------
    engine : Engine
        Its deck has run; nothing is changed.
    """
    try:
        default = from_engine(engine).names
    except LammpsImplicitError:
        default = ()
    found = []
    for name, family in sorted(FAMILIES.items(), key=lambda item: item[1].order):
        if family.prefix:
            continue
        values, refusal = _values(engine, family, [])
        if refusal:  # of a default that would be too many, perhaps
            values, still = _values(engine, family, ["*"])
            refusal = refusal if still else ""
        if values or refusal:
            found.append(FoundFamily(name, values, tuple(label for label in values if label in default), refusal))
    variables = _variables(engine)
    if variables:
        found.append(FoundFamily("variables", variables, ()))
    labels = [label for family in found for label in family.values]
    offers = " ".join(FAMILIES.load(family.name).offers for family in found if family.name in FAMILIES.names)
    return FoundParameters(tuple(found), tuple(_left_out(engine, labels, offers)))


def _values(engine: Engine, family: PotentialFamily, patterns: list[str]) -> tuple[dict[str, float], str]:
    """Values of a family's parameters by label, and why there are none."""
    values: dict[str, float] = {}
    try:
        for source in family.sources(engine, patterns):
            values |= dict(zip(source.names, map(float, source.values), strict=True))
    except LammpsImplicitError as error:
        return {}, str(error)
    return values, ""


def _variables(engine: Engine) -> dict[str, float]:
    """Values of the variables in the deck's potential that are numbers, by label."""
    found = {}
    for label in used_variables(engine.deck):
        try:
            found[label] = engine.variable(label.partition(":")[2])
        except LammpsImplicitError:
            continue
    return found


def _left_out(engine: Engine, labels: list[str], offers: str) -> list[str]:
    """What acts in a deck and is no parameter, given the labels of those that are and the styles of their families."""
    deck = engine.deck
    found = [
        f"pair_style {style}: nothing of it is a parameter"
        for style in pair_styles(deck)
        if not any(label.startswith(f"{style} ") for label in labels)
        and plain_style(style) not in offers
        and pair_arguments(style) != ()
    ]
    for kind, style in deck.bonded_styles.items():
        if style[0] not in ("none", "zero") and not any(label.startswith(f"{kind} ") for label in labels):
            found.append(f"{kind}_style {' '.join(style)}: nothing of it is a parameter")
    zeros = pair_coefficients.without_derivative(deck, engine.n_types)
    for why in dict.fromkeys(zeros.values()):
        found.append(f"{', '.join(label for label in zeros if zeros[label] == why)}: zero, and {why}")
    if deck.kspace:
        found.append(f"{' '.join(deck.kspace[0])}: accuracy and resolution are settings, not parameters")
    if any(label.startswith(PREFIX) for label in labels):
        found.append("charges and the dielectric constant: on request only (--parameters 'charge*')")
    elif engine.comm.allreduce(bool(engine.charges()[0].any())):
        found.append(
            "charges: they differ within each type, have no opposite, or are equilibrated; name groups "
            "('charge group A / group B')"
        )
    return found
