"""What this package and others offer by name: potential families, observables, loss terms, evaluators.

A package announces what it adds as an entry point in its own ``pyproject.toml``; ours are announced in the same way::

    [project.entry-points."lammps_implicit.observables"]
    "stacking fault energy" = "my_package.faults:StackingFault"
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

from lammps_implicit.errors import LammpsImplicitError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named objects of one kind, imported when they are first asked for.

    Parameters
    ----------
    group : str
        Of entry points, such as ``lammps_implicit.potentials``.
    what : str
        What they are, for messages: ``potential family``.
    """

    def __init__(self, group: str, what: str) -> None:
        self.group = group
        self.what = what
        self._loaded: dict[str, T] = {}
        self._found: dict[str, EntryPoint] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted({*self._entries(), *self._loaded}))

    def register(self, name: str, item: T) -> None:
        """Add an object in this process alone, as a script does; entry points serve every process.

        Raises
        ------
        LammpsImplicitError
            If the name is taken.
        """
        if name in self.names:
            raise LammpsImplicitError(f"there is a {self.what} '{name}' already: choose another name")
        self._loaded[name] = item

    def unregister(self, name: str) -> None:
        """Take back `register`."""
        self._loaded.pop(name, None)

    def load(self, name: str) -> T:
        """Import and return the object of this name.

        Raises
        ------
        LammpsImplicitError
            If there is none, or it cannot be imported.
        """
        if name not in self._loaded:
            if name not in self._entries():
                raise LammpsImplicitError(f"there is no {self.what} '{name}': known are {', '.join(self.names)}")
            entry = self._entries()[name]
            try:
                self._loaded[name] = cast(T, entry.load())
            except LammpsImplicitError:  # it says itself what is missing
                raise
            except Exception as error:  # whatever the other package raises while it is imported
                raise LammpsImplicitError(
                    f"the {self.what} '{name}' of {_package(entry)} cannot be imported from {entry.value} "
                    f"({type(error).__name__}: {error}): mend or uninstall that package"
                ) from None
        return self._loaded[name]

    def items(self) -> Iterator[tuple[str, T]]:
        """Names and objects, sorted by name, all imported.

        Raises
        ------
        LammpsImplicitError
            If one cannot be imported, or there is none: ours are missing where only a newer source was put in place.
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
