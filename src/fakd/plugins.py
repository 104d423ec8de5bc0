"""What other installed packages bring: methods, data sets and heads, by the entry points of their distributions."""

from collections import UserDict
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Registry(UserDict[str, T], Generic[T]):
    """Things by name: what is built in, and what installed packages bring under an entry point group.

    A package brings one by two lines of its pyproject.toml:

        [project.entry-points."fakd.methods"]
        mine = "my_package.my_module:MyMethod"

    Entry points are read when a name is first asked for, and what they name is imported when it is. A name that is
    assigned, as in `METHODS["mine"] = MyMethod`, needs no package.

    Args:
        group: the entry point group, as "fakd.methods".
        kind: what everything here is an instance or a subclass of.
        built_in: by name.
        reserved: more names that no package may bring.
    """

    def __init__(self, group: str, kind: type, built_in: Mapping[str, T], *, reserved: tuple[str, ...] = ()) -> None:
        super().__init__(built_in)
        self._group, self._kind = group, kind
        self._reserved = {*built_in, *reserved}

    @cached_property
    def _brought(self) -> dict[str, list[EntryPoint]]:
        """The entry points of every name; one each, unless packages disagree."""
        brought: dict[str, list[EntryPoint]] = {}
        for entry in entry_points(group=self._group):
            brought.setdefault(entry.name, []).append(entry)
        return brought

    def __getitem__(self, name: str) -> T:
        """What has this name; imported now if a package brings it.

        Raises:
            KeyError: nothing has.
            ValueError: a package brings it that may not take this name, or whose module or object does not work.
        """
        entries = self._brought.get(name, [])
        if name in self._reserved and entries:
            raise ValueError(f"{_source(entries[0])} brings {self._group} {name!r}, a name of fakd's own: rename it.")
        if name not in self.data and entries:
            self.data[name] = self._load(entries)
        return self.data[name]

    def __contains__(self, name: object) -> bool:
        return name in self.data or name in self._brought

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.data, *self._brought]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _load(self, entries: list[EntryPoint]) -> T:
        entry, *others = entries
        if others:
            both = " and ".join(map(_source, entries))
            raise ValueError(f"{both} bring {self._group} {entry.name!r} each: uninstall one of them.")
        try:
            found: Any = entry.load()
        except Exception as error:  # whatever the code of others raises
            raise ValueError(
                f"{_source(entry)} brings {self._group} {entry.name!r} as {entry.value}, which cannot be loaded "
                f"({type(error).__name__}: {error}): repair or uninstall it."
            ) from error
        instance = isinstance(found, self._kind)
        if not instance and not (isinstance(found, type) and issubclass(found, self._kind)):
            raise ValueError(
                f"{_source(entry)} brings {self._group} {entry.name!r} as {entry.value}, which is no "
                f"{self._kind.__name__} but {found!r}: repair or uninstall it."
            )
        if instance and getattr(found, "name", entry.name) != entry.name:
            raise ValueError(
                f"{_source(entry)} brings {self._group} {entry.name!r}, which calls itself {found.name!r}: "
                "give both one name."
            )
        return cast(T, found)


def _source(entry: EntryPoint) -> str:
    return f"the installed package {entry.dist.name} {entry.dist.version}" if entry.dist else "an installed package"
