"""Registries of named extensions: potential families, observables, loss terms and evaluators.

A package registers an extension through an entry point in its ``pyproject.toml``, and this package registers its own
in the same way::

    [project.entry-points."lammps_implicit.observables"]
    "stacking fault energy" = "my_package.faults:StackingFault"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

from lammps_implicit.errors import LammpsImplicitError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named objects of one kind, each imported on first use.

    Parameters
    ----------
    group : str
        Entry point group, for example ``lammps_implicit.potentials``.
    what : str
        Name of the kind in error messages, for example ``potential family``.
    valid : callable
        Whether an imported object is of this kind.
    """

    def __init__(self, group: str, what: str, valid: Callable[[object], bool] = callable) -> None:
        self.group = group
        self.what = what
        self._valid = valid
        self._loaded: dict[str, T] = {}
        self._found: dict[str, EntryPoint] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All registered names, sorted."""
        return tuple(sorted({*self._entries(), *self._loaded}))

    def register(self, name: str, item: T) -> None:
        """Register an object in the running process only, for use in scripts; packages use entry points.

        Parameters
        ----------
        name : str
        item : object

        Raises
        ------
        LammpsImplicitError
            If the name is already registered.
        """
        if name in self.names:
            raise LammpsImplicitError(f"there is a {self.what} '{name}' already: choose another name")
        self._loaded[name] = item

    def unregister(self, name: str) -> None:
        """Undo `register`."""
        self._loaded.pop(name, None)

    def load(self, name: str) -> T:
        """Return the object registered under a name, importing it if necessary.

        Raises
        ------
        LammpsImplicitError
            If no object has this name, or it cannot be imported.
        """
        if name not in self._loaded:
            if name not in self._entries():
                raise LammpsImplicitError(f"there is no {self.what} '{name}': known are {', '.join(self.names)}")
            entry = self._entries()[name]
            try:
                self._loaded[name] = cast(T, entry.load())
            except LammpsImplicitError:  # its message already says what is missing
                raise
            except (Exception, SystemExit) as error:  # importing third-party code may raise anything
                raise LammpsImplicitError(
                    f"the {self.what} '{name}' of {_package(entry)} cannot be imported from {entry.value} "
                    f"({type(error).__name__}: {error}): fix or uninstall that package"
                ) from None
            if not self._valid(self._loaded[name]):
                found = self._loaded.pop(name)
                raise LammpsImplicitError(
                    f"the {self.what} '{name}' of {_package(entry)} is {found!r}, which is none: fix or uninstall that "
                    "package"
                )
        return self._loaded[name]

    def items(self) -> Iterator[tuple[str, T]]:
        """Iterate over (name, object) pairs sorted by name, importing all objects.

        Raises
        ------
        LammpsImplicitError
            If an object cannot be imported, or nothing is registered, as when the source was updated without
            reinstalling the package.
        """
        if not self.names:
            raise LammpsImplicitError(f"no {self.what} is registered: install lammps_implicit again")
        for name in self.names:
            yield name, self.load(name)

    def _entries(self) -> dict[str, EntryPoint]:
        if self._found is None:
            found: dict[str, EntryPoint] = {}
            for entry in entry_points(group=self.group):
                other = found.get(entry.name)
                if other is not None and other.value != entry.value:
                    raise LammpsImplicitError(
                        f"two packages have a {self.what} '{entry.name}': {_package(other)} and {_package(entry)}; "
                        "uninstall one"
                    )
                found[entry.name] = entry
            self._found = found
        return self._found


def _package(entry: EntryPoint) -> str:
    distribution: Any = entry.dist
    return f"package {distribution.name}" if distribution is not None else "an unnamed package"
