"""Errors a user can act on: each message says what is wrong, where, and what to do."""


class LammpsImplicitError(Exception):
    """Base of every error this package raises on purpose; the command line prints it without a traceback."""


class DeckError(LammpsImplicitError):
    """The input deck is missing, stops in LAMMPS, or leaves something that cannot be differentiated."""


class PotentialError(LammpsImplicitError):
    """The potential is not supported, or a parameter file does not fit it."""


class NotAMinimumError(LammpsImplicitError):
    """The state is not a minimum: forces do not vanish, or the energy curves downwards in some direction."""


class ConvergenceError(LammpsImplicitError):
    """A linear solve or a relaxation stopped short of its tolerance."""


class OutputError(LammpsImplicitError):
    """A result file exists already, or cannot be written or read."""
