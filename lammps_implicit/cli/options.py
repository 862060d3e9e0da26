"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from lammps_implicit.errors import LammpsImplicitError

OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace output files if they exist.")]
DeckArgument = Annotated[Path, typer.Argument(help="LAMMPS input deck that ends in a relaxed structure.")]
ParametersOption = Annotated[
    Optional[str],
    typer.Option(
        "--parameters", help="Labels of the parameters to use, shell patterns separated by commas: 'Be:*,W:[1-9]'."
    ),
]
VariableOption = Annotated[
    Optional[list[str]],
    typer.Option("--var", metavar="NAME=VALUE", help="Set an index variable of the deck, as 'lmp -var' does; repeat."),
]
ForceLimitOption = Annotated[
    float, typer.Option("--force-limit", help="Largest force (eV/Å) at which the deck's end counts as relaxed.")
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
FtolOption = Annotated[float, typer.Option("--ftol", help="Largest force (eV/Å) to relax to.")]
CellOption = Annotated[
    str,
    typer.Option(
        "--cell",
        help="What the cell may do: none, iso, ortho, full (triclinic), or components such as zz or xx,yy. "
        "It is relaxed first.",
    ),
]
PressureOption = Annotated[
    Optional[str],
    typer.Option(
        "--pressure",
        help="What the cell is held at: a number in LAMMPS' unit, or with one as '10 GPa'; six numbers separated by "
        "commas (xx,yy,zz,yz,xz,xy) for a stress. Default: that of the deck's fix box/relax, else 0.",
    ),
]
ThirdOption = Annotated[
    Optional[Path],
    typer.Option(
        "--ensemble",
        help="Ensemble of parameters, as for 'propagate': take third derivatives of energies, and second ones of "
        "volumes, along what it varies.",
    ),
]
SaddleOption = Annotated[
    bool, typer.Option("--saddle", help="Accept a stationary point that is not a minimum, such as a transition state.")
]


def read_variables(settings: list[str] | None) -> dict[str, str]:
    """Read NAME=VALUE settings."""
    pairs = [setting.partition("=") for setting in settings or []]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise LammpsImplicitError(f"--var {name}{equals}{value}: write NAME=VALUE")
    return {name: value for name, _, value in pairs}


def require_exists(ensemble: Path | None) -> None:
    if ensemble is not None and not ensemble.exists():
        raise LammpsImplicitError(f"ensemble {ensemble} does not exist")
