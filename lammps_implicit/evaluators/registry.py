"""Evaluators by name: ``lammps``, ``jax``, and what other packages register."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.registry import Registry

Start = Callable[..., tuple[Evaluator, Any]]
"""(deck, comm, parameters, variables, *, ftol, force_limit, saddle) to an evaluator that has been taken over from the
deck's end, and its potential (see `potentials.interface.Potential`). The deck is any file that the evaluator reads."""

EVALUATORS: Registry[Start] = Registry("lammps_implicit.evaluators", "evaluator")
