"""PETSc options on our command line, such as ``-li_ksp_monitor -li_pc_type jacobi -li_ksp_rtol=1e-9``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

PREFIX = "-li_"

FLAGS = re.compile(r"monitor|view|converged_reason|error_if_not_converged|diagonal_scale|options_left")
"""Names of flags: options that need no value. A flag's optional value must be written as ``-li_x=y``."""

VALUE = re.compile(r"[\w.,:+-]+")
"""A value: a number, a name, or a list of these; not a path."""


def petsc_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate PETSc's options from our own arguments.

    The word after a PETSc option is its value, unless the option is a flag or the word is a path, so that a deck is
    never mistaken for the value of an option.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program's name.

    Returns
    -------
    ours : list of str
    petsc : list of str
        As PETSc reads them: names and values as separate words.
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
    """Append PETSc's options to the environment variable ``PETSC_OPTIONS``, and return the other arguments."""
    ours, petsc = petsc_options(arguments)
    if petsc:
        os.environ["PETSC_OPTIONS"] = " ".join([os.environ.get("PETSC_OPTIONS", ""), *petsc]).strip()
    return ours


def _is_value(word: str) -> bool:
    """Whether a word after an option is its value rather than the next argument."""
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
