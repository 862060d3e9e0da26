"""Smoothness of forces and energies along random lines through the reference: kinks, jumps, roughness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from lammps_implicit.conformance.causes import is_shifted, is_tabulated
from lammps_implicit.conformance.directions import angstrom
from lammps_implicit.conformance.finding import Finding, Verdict, counted
from lammps_implicit.conformance.kinks import ROUND_OFF, SEEN, Kink, look_closer, place_between
from lammps_implicit.conformance.noise import Noise
from lammps_implicit.conformance.radii import Shell, shells
from lammps_implicit.conformance.scans import Scan, scan
from lammps_implicit.evaluators.interface import Evaluator

LINES, POINTS = 10, 33
"""Lines, and points of each."""

REACH = 1e-3
"""Å; the largest component of displacements on a line goes from minus this to this."""

FAR = 20.0
"""How much farther than `REACH` two more lines go, on which energies are compared with the work of forces."""

CLOSER = 3
"""Number of kinks looked at more closely: the nearest to the reference, and those with the largest changes of slope."""

NEAR = 1e-4
"""Å; kinks farther away than this are out of reach of the steps of differences: products do not feel them."""

STANDS_OUT = 10.0
"""A change of slope this many times the typical one of its line, and of what noise makes, is a kink."""

EVERYWHERE = 1e-3
"""If the median change of slope on a line is this share of the largest, slopes change everywhere."""

SMALL = 1e-6
"""Slopes that vary by less than this share of them are smooth enough, even if they do so everywhere."""

_MOVE = (
    "Move the pairs off the radius (another cell, a hair of strain, a parameter), or let the cutoff go to zero more "
    "smoothly."
)


@dataclass(frozen=True)
class Smoothness:
    """What is not smooth along random lines.

    Attributes
    ----------
    scans : tuple of Scan
        The lines.
    far : tuple of Scan
        The longer ones, for energies.
    places : tuple of (int, float)
        Number of the line and distance along it of everything that stands out.
    kinks : tuple of Kink
        The largest of these, looked at more closely.
    roughness : float
        Largest root mean square, over the points of a line, of slopes less those of a smooth curve, relative.
    rough : bool
        Whether slopes change everywhere, as between the points of tables.
    energy_jumps : tuple of (int, float, float)
        Number of the line, distance along it and size of jumps of the energy that forces do not explain.
    near : float
        Distance within which kinks matter to products, in the deck's unit of length.
    shells : tuple of Shell
        Where slopes change everywhere or no pair explains a kink: the pairs near radii that the deck writes.
    tabulated : bool
        Whether the deck's pair styles interpolate.
    shifted : bool
        Whether the deck shifts energies at their cutoffs.
    """

    scans: tuple[Scan, ...]
    far: tuple[Scan, ...]
    places: tuple[tuple[int, float], ...]
    kinks: tuple[Kink, ...]
    roughness: float
    rough: bool
    energy_jumps: tuple[tuple[int, float, float], ...]
    near: float
    shells: tuple[Shell, ...] = ()
    tabulated: bool = False
    shifted: bool = False

    @property
    def nearest(self) -> float:
        """Least distance from the reference along a line, of kinks looked at closely if any; infinite without kinks."""
        found = [kink.t for kink in self.kinks] or [t for _, t in self.places]
        return min(map(abs, found), default=float("inf"))

    def findings(self, length: str, energy: str) -> list[Finding]:
        """Report forces and energies; `length` and `energy` are the units."""
        return [self._of_forces(length, self.near), self._of_energies(length, energy)]

    def _of_forces(self, length: str, near: float) -> Finding:
        lines = _lines(self.scans, length)
        verdict, remedy = Verdict.limited, ""
        if self.rough:
            verdict, text, remedy = self._of_roughness(lines, length)
        elif not self.places:
            verdict, text = Verdict.good, f"smooth on {lines}"
        else:
            text = f"{counted(len(self.places), 'kink')} on {lines}, the nearest {self.nearest:.1e} {length} away"
            text += "".join(f"; {cause}" for cause in _causes(self.kinks, self.shells, length))
            if self.nearest > near:
                verdict = Verdict.good
                remedy = "Products do not feel kinks so far away; displacements that cross them do."
            else:
                remedy = f"Products need steps well below {self.nearest:.0e} {length}. {_MOVE}"
        numbers = {
            "lines": len(self.scans),
            "reach": _reach(self.scans),
            "roughness": self.roughness,
            "rough_everywhere": self.rough,
            "places": [list(place) for place in self.places],
            "kinks": [asdict(kink) for kink in self.kinks],
            "shells": [asdict(shell) for shell in self.shells],
        }
        return Finding("smoothness of forces", verdict, text, remedy, numbers)

    def _of_roughness(self, lines: str, length: str) -> tuple[Verdict, str, str]:
        """Verdict, text and remedy where slopes change everywhere."""
        text = f"slopes of forces vary by {self.roughness:.1e} everywhere on {lines}"
        remedies = []
        if self.shells:
            text += f": {self.shells[0].described(length)}"
            remedies.append(_MOVE)
        if self.tabulated:
            text += (", and" if self.shells else ",") + " as if interpolated"
            remedies.append(
                "Tabulated potentials (eam, table): finer tables, or splines with continuous second derivatives; until "
                "then products are those of one interval of it."
            )
        if not remedies:
            text += ", and many pairs near no radius that the deck writes"
            remedies.append("Look for cutoffs, switching radii or tables inside the potential.")
        return (Verdict.good if self.roughness <= SMALL else Verdict.limited), text, " ".join(remedies)

    def _of_energies(self, length: str, energy: str) -> Finding:
        numbers = {"jumps": [list(jump) for jump in self.energy_jumps]}
        lines = f"{_lines(self.scans, length)} and {_lines(self.far, length)}"
        if not self.energy_jumps:
            return Finding("smoothness of energies", Verdict.good, f"no jumps on {lines}", "", numbers)
        _, t, size = max(self.energy_jumps, key=lambda jump: abs(jump[2]))
        return Finding(
            "smoothness of energies",
            Verdict.limited,
            f"{counted(len(self.energy_jumps), 'jump')} that forces do not explain on {lines}, the largest "
            f"{size:+.1e} {energy} at {t:+.1e} {length}",
            "Energies jump where pairs cross a cutoff: "
            + ("" if self.shifted else "shift them ('pair_modify shift yes') or ")
            + "take a style that goes to zero smoothly.",
            numbers,
        )


def measure_smoothness(
    engine: Evaluator, noise: Noise, lines: int = LINES, progress: Callable[[], None] = lambda: None
) -> Smoothness:
    """Scan lines for kinks and look closer at the largest: `POINTS` evaluations a line, and 43 for each kink.

    Parameters
    ----------
    engine : Evaluator
        Left at its reference.
    noise : Noise
        Of its forces.
    lines : int
        Number of lines.
    progress : callable
        Called after each line.
    """
    reach = REACH * angstrom(engine)
    t = reach * np.linspace(-1, 1, POINTS)
    scans, far = [], []
    for number in range(lines):
        scans.append(scan(engine, number, t))
        progress()
    for number in range(lines, lines + 2 * bool(lines)):
        far.append(scan(engine, number, FAR * t))
    engine.return_to_reference()
    found = [(one, _standing_out(one, noise)) for one in scans]
    rough = any(_rough(one, noise) for one, _ in found)
    places = [_Place(one, k, place_between(one.t, one.deviations(), k)) for one, indices in found for k in indices]
    kinks = {place: look_closer(engine, place.found, place.inner) for place in _chosen(places, rough)}
    kinks = {place: kink for place, kink in kinks.items() if kink.seen}
    unexplained = rough or any(kink.pair is None for kink in kinks.values())
    return Smoothness(
        tuple(scans),
        tuple(far),
        tuple((place.found.number, kinks[place].t if place in kinks else place.t) for place in places),
        tuple(kinks.values()),
        max((float(np.sqrt(np.mean(one.roughness() ** 2))) for one in scans), default=0.0),
        rough,
        tuple(jump for one in (*scans, *far) for jump in _jumps(one)),
        NEAR * angstrom(engine),
        shells(engine, 2 * reach) if unexplained else (),
        is_tabulated(engine.deck),
        is_shifted(engine.deck),
    )


def _reach(scans: tuple[Scan, ...]) -> float:
    return float(scans[0].t[-1]) if scans else 0.0


def _lines(scans: tuple[Scan, ...], length: str) -> str:
    return f"{counted(len(scans), 'line')} of ±{_reach(scans):.0e} {length}"


def _causes(kinks: tuple[Kink, ...], shells_near: tuple[Shell, ...], length: str) -> list[str]:
    """Kinks in words, those of pairs at one radius together."""
    together: dict[str, list[Kink]] = {}
    unexplained = shells_near[0].described(length) if shells_near else "no single pair explains it"
    for kink in kinks:
        radius = unexplained if kink.pair is None else kink.pair.radius_described(length)
        together.setdefault(radius, []).append(kink)
    found = []
    for radius, alike in together.items():
        sizes = max(alike, key=lambda kink: (kink.force_jump, kink.slope_jump)).size_described(length)
        places = ", ".join(
            f"{kink.t:+.2e} {length}" + ("" if kink.pair is None else f" atoms {kink.pair.ids[0]}-{kink.pair.ids[1]}")
            for kink in alike
        )
        found.append(f"{radius}: {sizes}, at {places}")
    return found


@dataclass(frozen=True, eq=False)
class _Place:
    """A kink as a scan shows it: the scan, its inner point, the distance along the line."""

    found: Scan
    inner: int
    t: float

    @property
    def size(self) -> float:
        return float(self.found.deviations()[self.inner])


def _chosen(places: list[_Place], rough: bool) -> list[_Place]:
    """The nearest kink, and the largest on other lines; where forces are rough, the largest of all."""
    by_size = sorted(places, key=lambda place: -place.size)
    if rough:
        return by_size[:1]
    chosen: list[_Place] = []
    for place in [*sorted(places, key=lambda place: abs(place.t))[:1], *by_size]:
        if len(chosen) < CLOSER and all(place.found is not other.found for other in chosen):
            chosen.append(place)
    return chosen


def _floor(one: Scan, noise: Noise) -> float:
    """Changes of slope that noise of the forces makes on a line, relative to the slope."""
    # The projection of noise on a vector of n components, uniform within ±1, is √(n/3) σ; slopes are scaled alike.
    stiffness = max(noise.size, np.finfo(float).tiny)
    return float(np.sqrt(18) * min(noise.sigma / stiffness, ROUND_OFF) / one.spacing)


def _rough(one: Scan, noise: Noise) -> bool:
    sizes = one.deviations()
    limit = max(STANDS_OUT * _floor(one, noise), SEEN, EVERYWHERE * float(sizes.max()))
    return float(np.median(sizes)) > limit


def _standing_out(one: Scan, noise: Noise) -> list[int]:
    """Inner points at which slopes change more than elsewhere on the line, the largest of each group of neighbours."""
    sizes = one.deviations()
    limit = max(STANDS_OUT * float(np.median(sizes)), STANDS_OUT * _floor(one, noise), SEEN)
    above = np.flatnonzero(sizes > limit)
    groups = np.split(above, np.flatnonzero(np.diff(above) > 1) + 1) if len(above) else []
    return [int(group[np.argmax(sizes[group])]) for group in groups]


def _jumps(one: Scan) -> list[tuple[int, float, float]]:
    missing, allowed = one.energy_jumps()
    limit = np.maximum(allowed, 20 * np.median(np.abs(missing)))
    return [(one.number, float(one.t[k]), float(missing[k])) for k in np.flatnonzero(np.abs(missing) > limit)]
