"""Charges of a running LAMMPS: what its atoms have, and what its solver of long-range forces makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.kspace import kept_resolution, may_be_kept
from lammps_implicit.evaluators.lammps_session import LammpsSession


@dataclass(kw_only=True)
class ChargedSession(LammpsSession):
    """A LAMMPS instance that tells the charges of its atoms."""

    def charges(self) -> tuple[FloatArray, IntArray]:
        """Return charges and types of this rank's atoms, (n,) each; zeros if the deck's atoms have no charges."""
        n = self.lmp.extract_setting("nlocal")
        types = self._owned("type", n).astype(np.int64)
        has = n and self.lmp.extract_setting("q_flag")
        return (self._owned("q", n).astype(float) if has else np.zeros(n)), types

    def in_group(self, group: str) -> BoolArray:
        """Return which of this rank's atoms are in a group, (n,).

        Raises
        ------
        DeckError
            If the deck has no such group.
        """
        groups = self.lmp.available_ids("group")
        if group not in groups:
            raise DeckError(f"the deck has no group '{group}': it has {', '.join(filter(None, groups))}")
        mask = self._owned("mask", self.lmp.extract_setting("nlocal")).astype(np.int64)
        return np.asarray((mask & (1 << groups.index(group))) != 0)

    def dielectric(self) -> float:
        """Return the dielectric constant by which LAMMPS divides Coulomb energies."""
        return float(self.lmp.extract_global("dielectric"))

    def keep_resolution(self) -> None:
        """Keep the waves or the mesh of long-range forces as they are now, also when charges change.

        LAMMPS otherwise chooses them anew for each set of charges. One force evaluation if the deck has such forces.
        """
        if may_be_kept(self.deck.kspace):
            self._evaluated()
            self.lmp.flush_buffers()
            words = self.on_root(lambda: kept_resolution(self._transcript()))
            if words:
                self.command(" ".join(words))
                self.deck.kspace.append(words)
