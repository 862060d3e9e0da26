"""Options shared by several commands, and their readers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Optional

import typer

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.units import in_unit


def number(
    unit: str = "", *, zero: bool = False, below: float = math.inf, infinite: bool = False
) -> Callable[[str | float], float]:
    """Return the reader of an option that is a positive number, in decimal notation.

    Parameters
    ----------
    unit : str
        The option's unit; the number may be followed by one of the same dimension. Default: it has none.
    zero : bool
        Whether it may be zero.
    below : float
        What it must be less than.
    infinite : bool
        Whether it may be ``inf``.
    """

    def read(given: str | float) -> float:
        if infinite and str(given) == "inf":
            return math.inf
        try:
            value = in_unit(given, unit)
        except LammpsImplicitError as error:
            raise typer.BadParameter(str(error)) from None
        if value < 0 or (value == 0 and not zero):
            raise typer.BadParameter(f"{given} is not {'zero or ' if zero else ''}a positive number")
        if not value < below:
            raise typer.BadParameter(f"{given} is not less than {below:g}")
        return value

    return read


def whole(least: int = 0, most: int = 10**15) -> Callable[[str | int], int]:
    """Return the reader of an option that is a whole number between limits, in decimal notation."""

    def read(given: str | int) -> int:
        if re.fullmatch("-?[0-9]{1,18}", str(given)) is None or not least <= int(given) <= most:
            raise typer.BadParameter(f"'{str(given)[:40]}' is not a whole number from {least} to {most}")
        return int(given)

    return read


OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing output files.")]
DeckArgument = Annotated[Path, typer.Argument(help="LAMMPS input deck; the structure it ends with is taken over.")]
ParametersOption = Annotated[
    Optional[str],
    typer.Option(
        "--parameters",
        help="Parameters to differentiate by: shell patterns of labels, separated by commas, such as 'Be:*,W:[1-9]', "
        "'bond*,charge type 2', 'var:*'; those that start with ! exclude: 'buck*,!*C', '!Ta:0'.",
    ),
]
VariableOption = Annotated[
    Optional[list[str]],
    typer.Option(
        "--var", metavar="NAME=VALUE", help="Set an index variable of the deck, as LAMMPS' -var does; may be repeated."
    ),
]
ForceLimitOption = Annotated[
    float,
    typer.Option(
        "--force-limit",
        parser=number("eV/Å", infinite=True),
        help="Refuse decks that end with a larger force (eV/Å) than this; inf for none.",
    ),
]
RelaxOption = Annotated[
    bool,
    typer.Option(
        "--relax", help="Relax what the deck leaves, however far from a minimum, and say how far atoms moved."
    ),
]
EvaluatorOption = Annotated[
    Optional[str],
    typer.Option(
        "--evaluator",
        metavar="NAME",
        help="What evaluates energies: lammps (default), jax, or one that another package registers; the deck is a "
        "file that it reads.",
    ),
]
FtolOption = Annotated[
    float,
    typer.Option("--ftol", parser=number("eV/Å"), help="Relax until no force component exceeds this (eV/Å)."),
]
CellOption = Annotated[
    str,
    typer.Option(
        "--cell",
        help="Strains the cell may take: none, iso, ortho, full (all six), or components such as zz or xx,yy; "
        "the first three without those along directions that are not periodic. The cell is relaxed first.",
    ),
]
PressureOption = Annotated[
    Optional[str],
    typer.Option(
        "--pressure",
        help="Target pressure of the cell: a number in LAMMPS' unit, or with a unit, as '10 GPa'; six numbers "
        "separated by commas (xx,yy,zz,yz,xz,xy) for a tensor. Default: that of the deck's fix box/relax, else 0.",
    ),
]
EnsembleDirectionsOption = Annotated[
    Optional[Path],
    typer.Option(
        "--ensemble",
        help="Ensemble of parameters, as for 'propagate'. Third derivatives of energies and second derivatives of "
        "volumes are computed along the directions it varies.",
    ),
]
AcceptAccuracyOption = Annotated[
    float,
    typer.Option(
        "--accept-accuracy",
        parser=number(zero=True, below=1),
        help="Relative error up to which results are written although their checks miss --tol by more than ten times.",
    ),
]
CovarianceOption = Annotated[
    bool,
    typer.Option(
        "--covariance",
        help="The .npy or .csv file of --ensemble holds a covariance, one row and one column for each parameter.",
    ),
]
AcceptMeanOption = Annotated[
    bool,
    typer.Option("--accept-mean", help="Accept an ensemble whose mean is far from the parameters of the result."),
]
SaddleOption = Annotated[bool, typer.Option("--saddle", help="Accept a saddle point, such as a transition state.")]


def read_variables(settings: list[str] | None, option: str = "--var") -> dict[str, str]:
    """Index variables from ``--var NAME=VALUE`` options, or others of that form.

    Raises
    ------
    LammpsImplicitError
        If one has no name or no value.
    """
    pairs = [setting.partition("=") for setting in settings or []]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise LammpsImplicitError(f"{option} {name}{equals}{value}: write NAME=VALUE")
    return {name: value for name, _, value in pairs}


def require_exists(ensemble: Path | None) -> None:
    """Check that an ensemble, if given, exists, before anything is computed.

    Raises
    ------
    LammpsImplicitError
    """
    if ensemble is not None and not ensemble.exists():
        raise LammpsImplicitError(f"--ensemble {ensemble} does not exist")
