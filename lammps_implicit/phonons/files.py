"""Phonons in HDF5 files, and force constants in those of phonopy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.files import hdf5_opened, hdf5_written_whole, written_whole
from lammps_implicit.phonons.crystal import Path as QPath
from lammps_implicit.phonons.requirements import required
from lammps_implicit.phonons.samples import QUANTILES, Density, Sampled, Spread
from lammps_implicit.phonons.study import Phonons
from lammps_implicit.potentials.interface import Parameters
from lammps_implicit.results.format import PHONONS, PHONONS_KIND, __version__
from lammps_implicit.results.structure import write_dataset

LARGEST = 2**28
"""Bytes of derivatives of force constants up to which they are written."""

_WHAT = "a result of 'lammps-implicit phonons'"


@dataclass(frozen=True)
class StoredPhonons:
    """Phonons, as read from a file.

    Attributes
    ----------
    source : Path
        The file.
    parameters : Parameters
    path : crystal.Path
        Path through the Brillouin zone.
    frequencies : (Q, m) float array
        Along it; imaginary ones are negative.
    gradient : (Q, m, P) float array
        Their derivatives with respect to the parameters.
    grueneisen : (Q, m) float array
        Mode Grüneisen parameters.
    bands : Spread or None
        Distribution of the frequencies over an ensemble.
    density : Density
        Density of states.
    attributes : dict
        Attributes of the file; ``frequency_unit`` is one.
    """

    source: Path
    parameters: Parameters
    path: QPath
    frequencies: FloatArray
    gradient: FloatArray
    grueneisen: FloatArray
    bands: Spread | None
    density: Density
    attributes: dict[str, Any]

    @property
    def unit(self) -> str:
        """Unit of frequencies."""
        return str(self.attributes["frequency_unit"])


def write_phonons(
    path: str | os.PathLike[str],
    phonons: Phonons,
    parameters: Parameters,
    density: Density,
    sampled: Sampled | None,
    attributes: Mapping[str, Any],
    overwrite: bool = False,
) -> None:
    """Write phonons to an HDF5 file; on rank 0.

    Parameters
    ----------
    path : path-like
    phonons : Phonons
    parameters : Parameters
        Of the potential.
    density : Density
        Density of states, used where there is no ensemble.
    sampled : Sampled or None
        Distributions over an ensemble.
    attributes : mapping
        Of the file: those of `results.format.PHONONS`, and others.
    overwrite : bool

    Raises
    ------
    OutputError
        If the file exists or cannot be written; no partial file is left.

    Notes
    -----
    Force constants are in the deck's units. Frequencies are in ascending order at each q-point, which is in fractions
    of the reciprocal primitive cell; imaginary ones are negative. Derivatives include the answer of the structure.
    """
    import h5py

    text, unit = h5py.string_dtype(), str(attributes["frequency_unit"])
    primitive, path_ = phonons.crystal.phonopy.primitive, phonons.path
    with hdf5_written_whole(path, overwrite) as file:
        file.attrs.update({"kind": PHONONS_KIND, "package_version": __version__, **attributes})
        file["theta"] = parameters.theta
        file["parameter_names"] = np.array(parameters.names, dtype=text)
        file["potential"] = parameters.text
        file["symbols"] = np.array(list(primitive.symbols), dtype=text)
        file["masses"] = phonons.crystal.masses
        file["cell"] = np.array(primitive.cell)
        file["fractions"] = np.array(primitive.scaled_positions)
        file["supercell"] = phonons.counts
        file["force_constants"] = phonons.force_constants
        if phonons.gradient.nbytes <= LARGEST:
            file["force_constants_gradient"] = phonons.gradient
        file["qpoints"], file["breaks"] = path_.qpoints, path_.breaks
        file["labels"] = np.array([list(pair) for pair in path_.labels], dtype=text)
        write_dataset(file, "distances", path_.distances, f"1/{attributes.get('length_unit', '')}")
        write_dataset(file, "frequencies", phonons.bands.values, unit)
        write_dataset(file, "frequency_gradient", phonons.bands.derivatives[:, :, :-1], f"{unit} / theta")
        file["grueneisen"] = phonons.grueneisen
        file["mesh"], file["mesh_qpoints"] = phonons.mesh, phonons.mesh_qpoints
        file["mesh_weights"] = phonons.mesh_weights
        write_dataset(file, "mesh_frequencies", phonons.mesh_bands.values, unit)
        write_dataset(file, "mesh_frequency_gradient", phonons.mesh_bands.derivatives[:, :, :-1], f"{unit} / theta")
        states = density if sampled is None else sampled.density
        write_dataset(file, "dos_frequencies", states.frequencies, unit)
        write_dataset(file, "dos", states.values, f"1/{unit}" if unit == "THz" else "tau")
        if sampled is not None:
            assert sampled.density.spread is not None
            group = file.create_group("ensemble")
            group.attrs.update({"samples": sampled.count, "unstable": sampled.unstable, "levels": QUANTILES})
            _write_spread(group.create_group("bands"), sampled.bands)
            _write_spread(group.create_group("dos"), sampled.density.spread)


def _write_spread(group: Any, spread: Spread) -> None:
    group["mean"], group["deviation"], group["quantiles"] = spread.mean, spread.deviation, spread.quantiles


def read_phonons(path: str | os.PathLike[str]) -> StoredPhonons:
    """Read a file written by `write_phonons`.

    Raises
    ------
    OutputError
        If the file does not exist, is damaged, or is something else.
    """
    with hdf5_opened(path, [PHONONS], _WHAT) as file:
        bands, dos = (_read_spread(file, f"ensemble/{name}") for name in ("bands", "dos"))
        labels = tuple((str(first), str(last)) for first, last in file["labels"].asstr()[()])
        return StoredPhonons(
            Path(path),
            Parameters(tuple(file["parameter_names"].asstr()[()]), file["theta"][()], file["potential"].asstr()[()]),
            QPath(file["qpoints"][()], file["distances"][()], file["breaks"][()], labels),
            file["frequencies"][()],
            file["frequency_gradient"][()],
            file["grueneisen"][()],
            bands,
            Density(file["dos_frequencies"][()], file["dos"][()], dos),
            dict(file.attrs),
        )


def _read_spread(file: Any, name: str) -> Spread | None:
    if name not in file:
        return None
    return Spread(*(file[name][part][()] for part in ("mean", "deviation", "quantiles")))


def write_for_phonopy(yaml: Path, hdf5: Path, phonons: Phonons, deck: str, overwrite: bool = False) -> None:
    """Write cells and force constants as phonopy and phono3py read them; on rank 0.

    ``phonopy.load`` reads the first, which names the cells and has the force constants, too; phono3py reads the second
    as its ``fc2.hdf5``. In eV, Å and atomic units of mass, except for decks with units lj, whose numbers are as they
    are: the frequencies that phonopy prints of them have another factor.

    Raises
    ------
    OutputError
        If a file exists or cannot be written.
    """
    phonopy = phonons.crystal.phonopy
    phonopy.force_constants = phonons.force_constants * phonons.crystal.energy_factor
    for target, write in ((yaml, _write_yaml), (hdf5, _write_hdf5)):
        with written_whole(target, overwrite) as temporary:
            write(temporary, phonopy, deck)


def _write_yaml(path: Path, phonopy: Any, deck: str) -> None:
    # Saved under a name that phonopy does not add to.
    phonopy.save(path, settings={"force_sets": False, "displacements": False, "force_constants": True})
    text = path.read_text(encoding="utf-8")
    path.write_text(f"# Force constants of {deck}, by lammps-implicit phonons.\n{text}", encoding="utf-8")


def _write_hdf5(path: Path, phonopy: Any, deck: str) -> None:
    required("phonopy.file_IO").write_force_constants_to_hdf5(
        phonopy.force_constants, filename=str(path), p2s_map=phonopy.primitive.p2s_map, physical_unit="eV/angstrom^2"
    )


def named_segments(path: QPath) -> Iterator[tuple[slice, str, str]]:
    """Rows of each segment of a path, and the names of its ends."""
    for number, (first, last) in enumerate(path.labels):
        yield slice(int(path.breaks[number]), int(path.breaks[number + 1])), first, last
