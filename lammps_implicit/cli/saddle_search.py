"""The command ``saddles``: single-ended searches around the minimum of a deck."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Optional

import typer

from lammps_implicit.cli.console import columns, say
from lammps_implicit.cli.options import (
    DeckArgument,
    ForceLimitOption,
    FtolOption,
    OverwriteOption,
    ParametersOption,
    RelaxOption,
    VariableOption,
    read_variables,
    whole,
)
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.files import beside, refuse_inputs, refuse_to_overwrite
from lammps_implicit.minimum import Minimum
from lammps_implicit.progress import progress
from lammps_implicit.saddles.files import write_saddles, write_saddles_xyz
from lammps_implicit.saddles.searching import SaddlesAround
from lammps_implicit.saddles.starting import Push
from lammps_implicit.units import Units

RandomOption = Annotated[
    Optional[int],
    typer.Option(
        "--random",
        metavar="N",
        parser=whole(1, 2**31 - 1),
        help="Number of searches that push a random atom, of those with unusual neighbours, in a random direction.",
    ),
]
ModeOption = Annotated[
    Optional[list[str]],
    typer.Option(
        "--mode",
        metavar="ID,DX,DY,DZ",
        help="Search that pushes the atom of this id along this vector; may be repeated.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", parser=whole(0, 2**31 - 1), help="Seed of the random searches.")]


def saddles(
    deck: DeckArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="HDF5 file for the saddles; an .xyz file is written beside it.")
    ],
    random: RandomOption = None,
    mode: ModeOption = None,
    seed: SeedOption = 0,
    parameters: ParametersOption = None,
    variables: VariableOption = None,
    ftol: FtolOption = 1e-8,
    force_limit: ForceLimitOption = 1e-2,
    relax: RelaxOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Search for saddles around the minimum of a deck.

    Each search pushes an atom out of its place, climbs to a saddle and follows it down on both sides. Saddles with one
    negative mode and a path down to the minimum are written, those that are equal by symmetry once. "Behind it" is the
    energy of the minimum on the other side of a saddle.
    """
    (xyz,) = beside(output, ".xyz")
    for path in (output, xyz):
        refuse_to_overwrite(path, overwrite)
        refuse_inputs(path, deck)
    pushes, settings = read_modes(mode), read_variables(variables)
    if not (pushes or random):
        raise LammpsImplicitError("no search is asked for: give --random N, or --mode id,dx,dy,dz")
    with Minimum.from_deck(
        deck,
        parameters=parameters,
        variables=settings,
        ftol=ftol,
        force_limit=force_limit if not relax else math.inf,
        relax=relax,
    ) as minimum:
        with progress("searching", minimum.engine.comm.rank == 0) as update:
            found = minimum.saddles(random or 0, modes=pushes, seed=seed, ftol=ftol, progress=update)
        write_saddles(output, found, overwrite)
        write_saddles_xyz(xyz, found, overwrite)
        columns(table(found, minimum.units))
        columns(_summary(found, minimum.units))
    say(f"wrote {output}, {xyz}")


def read_modes(given: list[str] | None) -> list[Push]:
    """Atoms and directions from ``--mode ID,DX,DY,DZ`` options.

    Raises
    ------
    LammpsImplicitError
        If one is anything else.
    """
    pushes: list[Push] = []
    for text in given or []:
        words = text.split(",")
        try:
            if len(words) != 4 or not re.fullmatch("[0-9]{1,15}", words[0].strip()):
                raise ValueError
            vector = tuple(float(word) for word in words[1:])
        except ValueError:
            raise LammpsImplicitError(
                f"--mode {text[:60]}: write the id of an atom and three numbers, as in '--mode 7,0.5,0.5,0.5'"
            ) from None
        pushes.append((int(words[0]), vector))
    return pushes


def table(found: SaddlesAround, units: Units) -> list[tuple[str, ...]]:
    """One row for each saddle, the lowest first."""
    head = (
        f"barrier ({units.energy})",
        f"behind it ({units.energy})",
        f"curvature ({units.energy}/{units.length}^2)",
        "found",
        "places",
        "evaluations",
        f"moves most (atom: {units.length})",
    )
    return [
        head,
        *(
            (
                f"{one.barrier:.6f}",
                f"{one.behind_energy:+.6f}",
                f"{one.curvature:.4g}",
                str(one.found),
                str(one.places),
                str(one.evaluations),
                ", ".join(f"{atom}: {far:.2f}" for atom, far in one.movers),
            )
            for one in found.saddles
        ),
    ]


def _summary(found: SaddlesAround, units: Units) -> list[tuple[str, str]]:
    """What came of all searches."""
    led = found.searches - sum(found.failures.values())
    return [
        ("minimum", f"{found.energy:.9g} {units.energy}"),
        ("searches", f"{found.searches}, of which {led} led to these {len(found.saddles)} saddles"),
        *((f"searches that {reason}", str(number)) for reason, number in found.failures.items()),
        ("force evaluations", f"{found.evaluations:,} ({found.evaluations / found.searches:.0f} a search)"),
    ]
