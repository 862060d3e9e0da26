"""The dielectric constant of a deck as a parameter: Coulomb energies are divided by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.commands import PotentialCommands
from lammps_implicit.potentials.interface import PotentialFamily


@dataclass(frozen=True)
class Dielectric:
    """The dielectric constant; a `Source`.

    Attributes
    ----------
    values : (1,) float array
        Its value in the deck.
    """

    values: FloatArray

    @property
    def names(self) -> tuple[str, ...]:
        """Its label."""
        return ("dielectric",)

    @property
    def linear(self) -> bool:
        """U is not linear in it."""
        return False

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Empty: it does not name elements."""
        return ()

    def define(self, engine: Engine) -> None:
        """Have LAMMPS keep the resolution of its long-range forces: see `Engine.keep_resolution`."""
        engine.keep_resolution()

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Set it after all else: see `Source.edit`; there are no files."""
        commands.final.append(f"dielectric {float(values[0])!r}")
        return {}


def _sources(engine: Engine, patterns: Sequence[str]) -> list[Dielectric]:
    charges, _ = engine.charges()
    charged = engine.comm.allreduce(int(np.count_nonzero(charges))) > 0
    return [Dielectric(np.array([engine.dielectric()]))] if charged else []


FAMILY = PotentialFamily(_sources, "the dielectric constant (dielectric)", order=106, on_request=True, fallback=False)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
