"""Registry of evaluators: ``lammps``, ``jax``, and those of other packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.registry import Registry

StartEvaluator = Callable[..., tuple[Evaluator, Any]]
"""Function (deck, comm, parameters, variables, *, ftol, force_limit, saddle) that runs a deck, or reads another kind of
input file in its place, and returns an evaluator at the state in which it ends and its potential (see
`potentials.interface.Potential`)."""

EVALUATORS: Registry[StartEvaluator] = Registry("lammps_implicit.evaluators", "evaluator")
"""Evaluators by name; entry point group ``lammps_implicit.evaluators``."""
