"""Differences of thermal functions of two cells, and their standard errors where random probes estimate them.

The noise of a cell's estimate grows with the cell. Where both cells have the same probes it cancels far from the
defect, so a cell whose modes are all known is estimated too beside one that is not, if that makes the difference surer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.observables.observable import Observable
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.vibrations.free_energy import FreeEnergy

FREE_ENERGY, ENTROPY = 0, 2
"""Places of quantities in the samples of `Vibrations`."""

Measure = Callable[[StationaryPoint, int | None], FreeEnergy]
"""Measures a cell with a number of probes; None for whichever method costs less."""


def measured_alike(
    first: StationaryPoint, second: StationaryPoint, weight: float, measure: Measure, probes: int | None
) -> tuple[FreeEnergy, FreeEnergy]:
    """Thermal functions of two cells, by the methods that make their difference surest.

    Parameters
    ----------
    first, second : StationaryPoint
    weight : float
        The difference is that of the first and this many of the second.
    measure : callable
    probes : int or None
        Number of probes for both; None: whichever method costs less for each, and probes for both if one needs them
        and its noise is not that of the other one.
    """
    found = (measure(first, probes), measure(second, probes))
    counts = [len(each.vibrations.samples) for each in found]
    if all(counts) or not any(counts):
        return found
    sampled = max(counts)
    alike = (
        found[0] if counts[0] else measure(first, sampled),
        found[1] if counts[1] else measure(second, sampled),
    )
    errors = [error_of_difference(*pair, weight)[1].sum() for pair in (found, alike)]
    return alike if errors[1] < errors[0] else found


def error_of_difference(first: FreeEnergy, second: FreeEnergy, weight: float) -> FloatArray:
    """Standard errors of free energy and entropy of the first minus `weight` times the second, (2, T)."""
    samples = [first.vibrations.samples, second.vibrations.samples]
    count = max(len(each) for each in samples)
    if count < 2:
        return np.zeros((2, len(first.temperatures)))
    deviations = [each if len(each) == count else np.zeros((count, 4, 1)) for each in samples]
    differences = deviations[0] - weight * deviations[1]
    return np.asarray(differences.std(axis=0, ddof=1)[[FREE_ENERGY, ENTROPY]] / count**0.5)


def with_samples(value: float, gradient: FloatArray, samples: FloatArray, count: int, units: str) -> Observable:
    """An observable whose first entry is a value, and the others are its estimates by each probe.

    Linear combinations keep the probes apart, so that `told` knows the error of a difference.

    Parameters
    ----------
    value : float
    gradient : (P,) float array
    samples : (count,) or (0,) float array
        Empty if the value is exact.
    count : int
        Number of probes of any cell.
    units : str
    """
    values = np.concatenate([[value], samples if len(samples) else np.full(count, value)])
    slopes = np.zeros((len(gradient), 1 + count))
    slopes[:, 0] = gradient
    return Observable(values, slopes, units)


def told(found: Observable, units: str, scale: float = 1.0) -> Observable:
    """The first entry of an observable `with_samples`, multiplied by a number, with its error as a caution."""
    samples, caution = found.value[1:], ""
    error = abs(scale) * float(samples.std(ddof=1)) / len(samples) ** 0.5
    # Cells whose modes are all known have equal entries, up to rounding.
    if error > 1e-12 * abs(scale * float(found.value[0])):
        caution = f"estimated with random probes, to a standard error of {error:.1e} {units}"
    return Observable(np.asarray(scale * found.value[0]), scale * found.gradient[:, 0], units, caution=caution)
