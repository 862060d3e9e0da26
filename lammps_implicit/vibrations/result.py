"""What is known of the vibrations of one structure."""

from __future__ import annotations

from dataclasses import dataclass

from lammps_implicit.arrays import FloatArray


@dataclass(frozen=True)
class Vibrations:
    """Thermal functions of the vibrations of one structure; without the energy of the structure itself.

    Attributes
    ----------
    values : (4, T) float array
        In the order of `thermal.QUANTITIES`: energies, and energies per unit of temperature.
    gradients : (4, T, P) float array or None
        Their derivatives with respect to Θ, with positions, and the cell if it is not fixed, relaxed; None if they
        were not asked for.
    strains : (4, T, k) float array or None
        Their derivatives with respect to each strain of the cell at fixed Θ, with positions relaxed.
    modes : int
        Number of modes.
    zero_modes : int
        Number of rigid motions that were left out.
    samples : (n, 4, T) float array
        Estimates of `values` by each probe; n = 0 if they are exact.
    gradient_samples : (b, 4, T, P) float array
        The same of `gradients`, by batches of probes.
    method : str
    error : float
        Relative error of second differences of the forces, as their steps tell; NaN without gradients.
    """

    values: FloatArray
    gradients: FloatArray | None
    strains: FloatArray | None
    modes: int
    zero_modes: int
    samples: FloatArray
    gradient_samples: FloatArray
    method: str
    error: float
