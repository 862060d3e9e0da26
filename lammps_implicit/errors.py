"""Errors a user can act on: every message says what is wrong, where, and what to do about it."""


class LammpsImplicitError(Exception):
    """Base class of all errors this package raises deliberately; the command line prints them without a traceback."""


class DeckError(LammpsImplicitError):
    """The input deck is missing, fails in LAMMPS, or sets up something that cannot be differentiated."""


class PotentialError(LammpsImplicitError):
    """The potential is not supported, or a parameter file does not match it."""


class NotAMinimumError(LammpsImplicitError):
    """The state is not a minimum: forces do not vanish, or the energy has a direction of negative curvature."""


class UnheldError(NotAMinimumError):
    """Some displacement other than a rigid motion of the whole costs no energy."""


class ConvergenceError(LammpsImplicitError):
    """A linear solve or a relaxation stopped before it reached its tolerance."""


class AccuracyError(LammpsImplicitError):
    """A result misses the tolerance that was asked for by far: its own checks contradict it."""


class OutputError(LammpsImplicitError):
    """A result file already exists, or cannot be written or read."""
