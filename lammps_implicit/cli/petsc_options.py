"""Options for PETSc among the arguments of a command: ``-li_ksp_monitor -li_pc_type jacobi -li_ksp_rtol=1e-9``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

PREFIX = "-li_"

FLAGS = re.compile(r"monitor|view|converged_reason|error_if_not_converged|diagonal_scale|options_left")
"""Options that are complete without a value; one that they may take is written ``-li_x=y``."""

VALUE = re.compile(r"[\w.,:+-]+")
"""What a value looks like: a number, a name, a list of them; not a path."""


def petsc_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the arguments of a command into its own and PETSc's.

    A word after an option is its value, unless the option is a flag or the word is a path: a deck is never taken for
    the value of an option.

    Returns
    -------
    ours, petsc : lists of str
        PETSc's as it reads them: names and values as words of their own.
    """
    ours: list[str] = []
    petsc: list[str] = []
    expects_value = False
    for argument in arguments:
        if argument.startswith(PREFIX):
            name, equals, value = argument.partition("=")
            petsc += [name, value] if equals else [name]
            expects_value = not equals and not FLAGS.search(name)
        elif expects_value and _is_value(argument):
            petsc.append(argument)
            expects_value = False
        else:
            ours.append(argument)
            expects_value = False
    return ours, petsc


def hand_to_petsc(arguments: Sequence[str]) -> list[str]:
    """Put PETSc's options where it reads them, ``PETSC_OPTIONS``; return the other arguments."""
    ours, petsc = petsc_options(arguments)
    if petsc:
        os.environ["PETSC_OPTIONS"] = " ".join([os.environ.get("PETSC_OPTIONS", ""), *petsc]).strip()
    return ours


def _is_value(word: str) -> bool:
    if word.startswith("-"):
        return _is_number(word)
    looks_like_a_deck = word.startswith("in.") or word.endswith((".in", ".lmp", ".yaml", ".h5", ".data"))
    return bool(VALUE.fullmatch(word)) and not looks_like_a_deck and not os.path.exists(word)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
