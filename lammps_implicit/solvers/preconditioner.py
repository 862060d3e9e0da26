"""The preconditioner K⁻¹ of learned springs, kept as long as atoms stay close to where the springs were fitted.

In a relaxation that is far from its end, stiffnesses of molecules are carried along instead: found again are only the
pairs and angles that have them, which costs no force evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.evaluators.interface import REACH, Evaluator, Neighbourhood
from lammps_implicit.solvers.bends import find_bends, find_twists
from lammps_implicit.solvers.bonds import find_bonds, find_contacts, found_again
from lammps_implicit.solvers.clusters import MANY, Clusters, widening_clusters
from lammps_implicit.solvers.nullspace import NullSpace, rigid_motions, unresisted
from lammps_implicit.solvers.spring_fit import Probe, fit_springs, random_probe, soft_probe
from lammps_implicit.solvers.springs import HELD, Springs, held_by_shift, random_vector, typical_stiffness
from lammps_implicit.solvers.yielding import yielding

SpringInverse = Callable[[FloatArray], FloatArray]
"""The function v → K⁻¹v, (n, 3) arrays."""

_VALID_WITHIN = 0.3
"""Å; displacement component beyond which springs are fitted again. Chosen: a tenth of a bond; springs that are kept
cost iterations, fitting them again costs a force evaluation or two."""

_LOOSE_WITHIN = 3e-3
"""The same where contacts hold parts together: a stiff bond that is stretched by so little resists turning as much as
contacts do."""


_FARTHEST = 0.15
"""Å; component of K⁻¹F beyond which K is shifted where contacts hold parts together. Measured for 64 waters, displaced
by 0.05 to 0.2 Å, with springs fitted again each time: 194 to 290 evaluations; 286 to 334 with 0.5, 316 to 463 without a
shift."""

_LEAST_SHIFT, _GROWTH = 1e-4, 3.0
"""The first shift, relative to the mean of the diagonal of K, and the factor between one and the next."""

_CARRIED, _FALLEN = 5, 0.1
"""Times that stiffnesses are carried along at most, and the fraction that forces have fallen to beyond which they are
not. Measured for 64 waters from 18 starts, displaced by 0.05 to 0.2 Å: 213 evaluations on average; 249 if only springs
without negative stiffnesses are carried along."""


_SADDLE_SHIFT = 1e-2
"""Shift of K at saddles, relative to the mean of its diagonal. Chosen: softer than the softest waves of a thousand
atoms. With 1e-6 springs along the negative mode of a vacancy's jump, which are zero, made K⁻¹ of a random vector 1e5
times as long as at the minimum."""

_HELD_AT_SADDLE = 0.7
"""As `HELD`, at saddles: one motion of 31 atoms that nothing but this shift resists makes 0.5, molecules make 0.99."""


@dataclass(frozen=True)
class Fitted:
    """K⁻¹ and the positions at which its springs were found.

    Attributes
    ----------
    apply : callable
        v → K⁻¹v.
    positions : (n, 3) float array
        Å.
    ids : (n,) int array
        Ids of this rank's atoms, in their order.
    clusters : Clusters or None
        The widest, see `widening_clusters`, up to `MANY` atoms.
    loose : Loose or None
        The springs themselves where contacts hold parts of the structure together; otherwise they are not kept.
    saddle : bool
        Whether K resists all motions, also those along which H is negative.
    """

    apply: SpringInverse
    positions: FloatArray
    ids: IntArray
    clusters: Clusters | None = None
    loose: Loose | None = None
    saddle: bool = False


@dataclass(frozen=True)
class Loose:
    """Springs of which some are contacts.

    Attributes
    ----------
    springs : Springs
        K.
    firm : Springs
        Without negative stiffnesses.
    signed : Springs or None
        With such, where they have been fitted: see `yielding`.
    probes : tuple of Probe
        Products that the firm ones were fitted to.
    force : float
        Norm of the forces there, eV/Å.
    carried : int
        Times that stiffnesses have been carried along since.
    shift : float
        That of the last step of a relaxation; 0 if it had none.
    """

    springs: Springs
    firm: Springs
    probes: tuple[Probe, ...]
    signed: Springs | None = None
    force: float = 0.0
    carried: int = 0
    shift: float = 0.0


class Preconditioner:
    """The springs fitted last, used at all references of an evaluator.

    Parameters
    ----------
    engine : Evaluator
    product : callable
        Maps (forces at the reference, v) to H v by the cheapest available method, (n, 3) arrays.
    invert : callable
        Maps (evaluator, springs) to the function v → K⁻¹v, see `Backend.spring_inverse`.

    Attributes
    ----------
    fitted : Fitted or None
        None before the first fit.
    """

    def __init__(
        self,
        engine: Evaluator,
        product: Callable[[FloatArray, FloatArray], FloatArray],
        invert: Callable[[Evaluator, Springs], SpringInverse],
    ) -> None:
        self.engine = engine
        self.product = product
        self._invert = invert
        self.fitted: Fitted | None = None

    @property
    def holds(self) -> bool:
        """Whether atoms and their order are those of the last fit, and no atom has moved far from there."""
        if self.fitted is None or not self.engine.order_unchanged(self.fitted.ids):
            return False
        moved = self.engine.nearest_image(self.engine.positions - self.fitted.positions)
        return self.engine.max_abs(moved) < (_VALID_WITHIN if self.fitted.loose is None else _LOOSE_WITHIN)

    @property
    def clusters(self) -> Clusters | None:
        """The widest clusters of atoms where springs were fitted last, and at present positions."""
        if self.fitted is None or self.fitted.clusters is None:
            return None
        clusters, moved = self.fitted.clusters, self.engine.nearest_image(self.engine.positions - self.fitted.positions)
        return replace(clusters, unwrapped=clusters.unwrapped + moved)

    @property
    def apply(self) -> SpringInverse:
        """The function v → K⁻¹v with the springs fitted last."""
        assert self.fitted is not None
        return self.fitted.apply

    def serves(self, saddle: bool) -> bool:
        """Whether the springs fitted last hold here, also at a saddle if this is one."""
        return self.holds and self.fitted is not None and (self.fitted.saddle or not saddle)

    def fit(
        self,
        around: Neighbourhood,
        product: FloatArray,
        times: Callable[[FloatArray], FloatArray],
        saddle: bool = False,
    ) -> None:
        """Fit springs at the reference.

        Costs two Hessian products where springs do not hold the structure together.

        Parameters
        ----------
        around : Neighbourhood
            Owned and ghost atoms at the reference.
        product : (n, 3) float array
            H w for the random w of `springs.random_vector`.
        times : callable
            v → H v by the cheapest available method, (n, 3) arrays.
        saddle : bool
            Whether H may have a negative mode, along which no spring resists: K is shifted by more there.
        """
        self._fit_firm(around, product, times, saddle)
        if self.fitted is not None and self.fitted.loose is not None:
            self._let_yield(self.fitted.loose, times)

    def _fit_firm(
        self, around: Neighbourhood, product: FloatArray, times: Callable[[FloatArray], FloatArray], saddle: bool
    ) -> None:
        """Fit springs without negative stiffnesses: see `fit`. Costs one Hessian product where there are contacts."""
        engine = self.engine
        shift = self.fitted.loose.shift if self.fitted is not None and self.fitted.loose is not None else 0.0
        self.fitted = None  # frees the previous multigrid hierarchy, which is large, before the next is set up
        bonds, _ = find_bonds(engine, around, REACH)
        bends, probes = find_bends(engine, around), [random_probe(around, product)]
        springs = _resisting(fit_springs(engine, bonds, (bends,), probes), saddle)
        apply = self._inverse(springs)
        vector, soft = self._softened(apply, probes[0].values[: len(engine.ids)])
        loose = None
        if held_by_shift(engine, springs, vector, soft) > (_HELD_AT_SADDLE if saddle else HELD):
            del apply
            contacts = find_contacts(engine, bonds) or bonds
            probes.append(soft_probe(engine, around, soft, times(soft)))
            firm = _resisting(fit_springs(engine, contacts, (bends, find_twists(engine, around)), probes), saddle)
            apply, loose = self._inverse(firm), Loose(firm, firm, tuple(probes), shift=shift)
        clusters = list(widening_clusters(engine, around))[-1] if engine.n_atoms <= MANY else None
        self.fitted = Fitted(apply, engine.positions, engine.ids, clusters, loose, saddle)

    def _let_yield(self, loose: Loose, times: Callable[[FloatArray], FloatArray]) -> None:
        """Give contacts negative stiffnesses. Costs one Hessian product."""
        engine, firm = self.engine, loose.firm
        _, soft = self._softened(self.apply, random_vector(engine.ids, 1) * engine.alone)
        probes = [*loose.probes, soft_probe(engine, firm.bonds.around, soft, times(soft))]
        signed = fit_springs(engine, firm.bonds, firm.bends, probes, signed=True)
        springs = yielding(engine, firm, signed, self.apply)
        self._take(springs, replace(loose, springs=springs, signed=signed))

    def _take(self, springs: Springs, loose: Loose) -> None:
        """Take other springs at the reference."""
        assert self.fitted is not None
        engine = self.engine
        self.fitted = replace(
            self.fitted, apply=self._inverse(springs), positions=engine.positions, ids=engine.ids, loose=loose
        )

    def _softened(self, apply: SpringInverse, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
        """A vector w and K⁻¹w, both without rigid motions, (n, 3)."""
        rigid = NullSpace(self.engine, rigid_motions(self.engine))
        vector = rigid.project(vector)
        return vector, rigid.project(apply(vector))

    def _carried(self, forces: FloatArray) -> bool:
        """Whether stiffnesses that were fitted elsewhere have been carried along to the reference.

        They are functions of lengths, and remain what they are where molecules move and turn.
        """
        if self.fitted is None or self.fitted.loose is None:
            return False
        loose, engine = self.fitted.loose, self.engine
        if loose.carried == _CARRIED or engine.norm(forces) < _FALLEN * loose.force:
            return False
        around, old = engine.neighbourhood(), loose.firm
        bonds, bends = found_again(engine, old.bonds, around), (find_bends(engine, around), find_twists(engine, around))

        def here(springs: Springs) -> Springs:
            known = zip(bends, springs.angular, old.bends, strict=True)
            angular = (new.carried(stiffness, of) for new, stiffness, of in known)
            return replace(springs, bonds=bonds, bends=bends, angular=tuple(angular))

        firm, signed = here(loose.firm), None if loose.signed is None else here(loose.signed)
        springs = firm if signed is None else yielding(engine, firm, signed, self._inverse(firm))
        self._take(springs, replace(loose, springs=springs, firm=firm, signed=signed, carried=loose.carried + 1))
        return signed is not None or self._far(forces)

    def keep(self, apply: SpringInverse) -> None:
        """Store a function v → K⁻¹v as that of the present reference."""
        self.fitted = Fitted(apply, self.engine.positions, self.engine.ids)

    def near(self, forces: FloatArray, short: bool = False, saddle: bool = False) -> SpringInverse:
        """Return the function v → K⁻¹v at the reference, with rigid motions projected out.

        Costs one Hessian product, or three, unless the springs fitted last are still valid.

        Parameters
        ----------
        forces : (n, 3) float array
            Forces at the reference, eV/Å.
        short : bool
            Whether K is shifted until it moves no atom far along the forces, as steps of a relaxation need.
        saddle : bool
            As for `fit`.
        """
        engine, times = self.engine, partial(self.product, forces)
        if not (self.serves(saddle) or (short and self._carried(forces))):
            around = engine.neighbourhood()
            self._fit_firm(around, times(random_vector(engine.ids) * engine.alone), times, saddle)
            if self.fitted is not None and self.fitted.loose is not None:
                loose = replace(self.fitted.loose, force=engine.norm(forces))
                self.fitted = replace(self.fitted, loose=loose)
                if not (short and self._far(forces)):
                    self._let_yield(loose, times)
        apply = self._within_reach(forces) if short else self.apply
        # Which motions external forces prevent is not known here, and forces have no component along those they do not.
        project = unresisted(engine).project
        return lambda v: project(apply(project(v)))

    def _far(self, forces: FloatArray) -> bool:
        """Whether K⁻¹ moves atoms far along the forces."""
        return self.engine.max_abs(self.apply(forces)) > _FARTHEST

    def _within_reach(self, forces: FloatArray) -> SpringInverse:
        """The function v → (K + σ)⁻¹v with a σ ≥ 0 for which it moves no atom far along the forces.

        Far from a minimum contacts are soft enough for steps that only a small part can be taken of, in which stiff
        bonds hardly relax.
        """
        fitted, engine = self.fitted, self.engine
        assert fitted is not None
        if fitted.loose is None:
            return fitted.apply
        apply, springs = fitted.apply, fitted.loose.springs
        shift = max(fitted.loose.shift / _GROWTH**2, _LEAST_SHIFT)  # fewer inverses than from the least one on
        while springs.shift < 1 and engine.max_abs(apply(forces)) > _FARTHEST:
            springs, shift = replace(springs, shift=shift), _GROWTH * shift
            apply = self._inverse(springs)
        self.fitted = replace(fitted, loose=replace(fitted.loose, shift=springs.shift))
        return apply

    def _inverse(self, springs: Springs) -> SpringInverse:
        """The function v → K⁻¹v, also for atoms that move together: springs see them as held.

        A typical stiffness stands for theirs. Each such group costs conjugate gradients an iteration or two.
        """
        engine, apply = self.engine, self._invert(self.engine, springs)
        if not engine.together_counts:
            return apply
        together, stiffness = engine.together > 0, typical_stiffness(engine, springs)
        return lambda v: np.where(together, v / stiffness, apply(v))


def _resisting(springs: Springs, saddle: bool) -> Springs:
    """Springs that resist all motions where there may be a saddle."""
    return replace(springs, shift=_SADDLE_SHIFT) if saddle else springs
