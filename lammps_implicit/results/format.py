"""Kinds of result files and what they hold, and the version that wrote them."""

from lammps_implicit.files import Field, Schema, flags, integers, labels, numbers, texts

__version__ = "0.1.0"

BARRIER_KIND = "lammps-implicit barrier"
"""Attribute ``kind`` of files of `observables.barrier_file`."""

OBSERVABLES_KIND = "lammps-implicit observables"
"""Attribute ``kind`` of files of `observables`."""

PHONONS_KIND = "lammps-implicit phonons"
"""Attribute ``kind`` of files of `phonons`."""

SADDLES_KIND = "lammps-implicit saddles"
"""Attribute ``kind`` of files of `SaddlesAround`."""

SENSITIVITY_KIND = "lammps-implicit sensitivity"
"""Attribute ``kind`` of files of `Sensitivity`."""


def structure_fields(atoms: str = "N", types: str = "E", needed: bool = True) -> dict[str, Field]:
    """Return the datasets of a structure, with names for the number of its atoms and of their types: see `Field`."""
    return {
        "elements": texts(types, needed=needed),
        "ids": integers(atoms, needed=needed),
        "types": integers(atoms, needed=needed),
        "positions": numbers(atoms, 3, needed=needed),
        "cell": numbers(3, 3, needed=needed),
        "origin": numbers(3, needed=needed),
        "periodic": flags(3, needed=needed),
        "masses": numbers(types, needed=needed),
    }


_PARAMETERS = {"theta": numbers("P"), "parameter_names": labels("P")}

_DIRECTIONS = {"response": numbers("P", "K", needed=False), "metric": numbers("P", "P", needed=False)}
"""The K directions along which third derivatives were taken."""

_THIRD = {
    "duals": numbers("P", "K", needed=False),
    "third": numbers("K", "K", "P", needed=False),
    "third_inner": numbers("K", "K", "K", needed=False),
}

_COSTS = dict.fromkeys(("force_evaluations", "descriptor_evaluations"), "number")
"""Attributes of all results that took evaluations."""

SENSITIVITY = Schema(
    SENSITIVITY_KIND,
    {
        **structure_fields(),
        **_PARAMETERS,
        **_DIRECTIONS,
        **_THIRD,
        "potential": texts(needed=False),
        "energy": numbers(),
        "energy_gradient": numbers("P"),
        "energy_hessian": numbers("P", "P", needed=False),
        "jacobian": numbers("P", "N", 3, needed=False),
        "jacobian_left": numbers("R", "N", 3, needed=False),
        "jacobian_right": numbers("P", "R", needed=False),
        "strain_jacobian": numbers("P", "C", needed=False),
        "strain_basis": numbers(6, "C", needed=False),
        "volume": numbers(needed=False),
        "volume_gradient": numbers("P", needed=False),
        "volume_hessian": numbers("P", "P", needed=False),
        "volume_error": numbers(needed=False),
        "pressure": numbers(3, 3, needed=False),
        "enthalpy": numbers(needed=False),
        "softening": numbers(..., needed=False),
        "softening_errors": numbers("S", needed=False),
        "data_file": integers("B", needed=False),
    },
    attributes={**dict.fromkeys(("units", "length_unit", "energy_unit", "deck"), "text"), **_COSTS},
)
"""Files of `Sensitivity`: P parameters, N atoms, R factors of the Jacobian, C strains of the
cell, B bytes of a data file."""

_OBSERVABLE = {
    **_THIRD,
    "value": numbers(...),
    "gradient": numbers("P", ...),
    "hessian": numbers("P", "P", needed=False),
}

OBSERVABLES = Schema(
    OBSERVABLES_KIND,
    {**_PARAMETERS, **_DIRECTIONS, "potential": texts(needed=False)},
    {"observables/*": _OBSERVABLE},
    attributes=_COSTS,
)
"""Files of `observables`."""

SADDLES = Schema(
    SADDLES_KIND,
    {
        **structure_fields(),
        **_PARAMETERS,
        "energy": numbers(),
        "barriers": numbers("S"),
        "gradients": numbers("S", "P"),
        "curvatures": numbers("S"),
        "displacements": numbers("S", "N", 3),
        "modes": numbers("S", "N", 3),
        "behind": numbers("S", "N", 3),
        "behind_energies": numbers("S"),
        "movers": integers("S", "M"),
        "moved": numbers("S", "M"),
        "found": integers("S"),
        "places": integers("S"),
        "evaluations": integers("S"),
    },
    attributes={
        **dict.fromkeys(("units", "length_unit", "energy_unit", "deck", "failures"), "text"),
        **dict.fromkeys(("searches", "force_evaluations"), "number"),
    },
)
"""Files of `SaddlesAround`: S saddles around a minimum of N atoms, P parameters."""

_STATE = {**structure_fields(), "energy": numbers(), "enthalpy": numbers(), "energy_gradient": numbers("P")}
"""A minimum or a saddle."""

BARRIER = Schema(
    BARRIER_KIND,
    {
        **_PARAMETERS,
        "potential": texts(),
        "saddle_energies": numbers("S"),
        "between_energies": numbers("B"),
    },
    {
        "initial": _STATE,
        "saddle": {**_STATE, "mode": numbers("N", 3)},
        "final": _STATE,
        "path": {
            "positions": numbers("M", "N", 3),
            "energies": numbers("M"),
            "distances": numbers("M"),
            "stations": integers("K"),
            "energy_gradients": numbers("M", "P", needed=False),
        },
        "observables/*": {**_OBSERVABLE, "gradient_error": numbers("P", needed=False)},
    },
    attributes={
        **dict.fromkeys(("units", "length_unit", "energy_unit", "recipes", "spent"), "text"),
        **dict.fromkeys(("dimension", "curvature"), "number"),
        **_COSTS,
    },
)
"""Files of `observables.barrier_file`: P parameters, N atoms, S saddles with B minima between them, and M images on the
path, K of which are minima and saddles."""

_SPREAD = {"mean": numbers(...), "deviation": numbers(...), "quantiles": numbers("K", ...)}
"""A distribution, with K quantiles."""

PHONONS = Schema(
    PHONONS_KIND,
    {
        **_PARAMETERS,
        "potential": texts(needed=False),
        "symbols": texts("N"),
        "masses": numbers("N"),
        "cell": numbers(3, 3),
        "fractions": numbers("N", 3),
        "supercell": integers(3),
        "force_constants": numbers("N", "M", 3, 3),
        "force_constants_gradient": numbers("P", "N", "M", 3, 3, needed=False),
        "qpoints": numbers("Q", 3),
        "distances": numbers("Q"),
        "breaks": integers("L"),
        "labels": texts("S", 2),
        "frequencies": numbers("Q", "B"),
        "frequency_gradient": numbers("Q", "B", "P"),
        "grueneisen": numbers("Q", "B"),
        "mesh": integers(3),
        "mesh_qpoints": numbers("I", 3),
        "mesh_weights": integers("I"),
        "mesh_frequencies": numbers("I", "B"),
        "mesh_frequency_gradient": numbers("I", "B", "P"),
        "dos_frequencies": numbers("G"),
        "dos": numbers("G"),
    },
    {"ensemble/bands": _SPREAD, "ensemble/dos": _SPREAD},
    attributes={
        **dict.fromkeys(("units", "deck", "frequency_unit", "spacegroup", "cell_freedom", "verdict"), "text"),
        **_COSTS,
    },
)
"""Files of `phonons`: P parameters, N atoms of the primitive cell and M of the supercell, Q q-points on a path of S
segments, I irreducible ones of a mesh, B branches, and G frequencies of a density of states."""
