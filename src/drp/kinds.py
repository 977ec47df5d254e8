"""Settings told apart by ``kind``: a recipe names one of several engines, teachers, methods or tasks, with its settings.

Each kind's settings are a class beside its code, and say what the rest of the house must know of it. A registry finds
the class by its name, among those built in and among the entry points of other packages; nothing is imported before a
recipe names it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

from pydantic import BeforeValidator, ValidationError

from drp.errors import RecipeError
from drp.records import Record


class Kind(Record):
    """Settings of one kind; subclasses narrow ``kind`` to their own name."""

    kind: Any
    """Which one it is: text, which subclasses narrow to a literal, as type checkers allow for nothing narrower than this."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Refuse a setting that is called as a method is: the method would be its default."""
        if both := [name for name in cls.model_fields if any(name in vars(base) for base in cls.__mro__)]:
            raise TypeError(f"{cls.__name__}: {', '.join(both)} cannot be a setting and a method")


K = TypeVar("K", bound=Kind)


class KindError(ValueError):
    """The settings of a kind are malformed; ``errors`` are pydantic's, ``settings`` the class they were for."""

    def __init__(self, settings: type[Kind], error: ValidationError) -> None:
        super().__init__(str(error))
        self.settings, self.errors = settings, error.errors()


@dataclass(frozen=True)
class Registry(Generic[K]):
    """The kinds of one thing.

    Args:
        noun: What they are, for messages: ``engine``.
        group: The entry points by which other packages add to them: ``drp.engines``.
        base: What every kind's settings derive from.
        built_in: Where the settings of each kind are, ``module:Class``.
    """

    noun: str
    group: str
    base: type[K]
    built_in: Mapping[str, str]

    @cached_property
    def _others(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    def names(self) -> list[str]:
        """Return every kind's name, those built in first."""
        return [*self.built_in, *(name for name in sorted(self._others) if name not in self.built_in)]

    def settings(self, name: str) -> type[K]:
        """Return the settings class of a kind.

        Raises:
            ValueError: There is no such kind; the message names those that there are.
            RecipeError: Another package's kind cannot be loaded, or is none.
        """
        if name in self.built_in:
            module, _, attribute = self.built_in[name].partition(":")
            return cast("type[K]", getattr(import_module(module), attribute))
        if name not in self._others:
            raise ValueError(f"there is no {self.noun} {name!r}; choose one of {', '.join(self.names())}")
        point = self._others[name]
        try:
            found: object = point.load()
        except Exception as error:  # another package's code raises whatever it does
            raise RecipeError(
                f"{self.noun} {name!r} ({point.value}) cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise RecipeError(f"{self.noun} {name!r} ({point.value}) is no {self.base.__name__}")
        return found

    def read(self, value: object, default: str) -> K:
        """Return settings from what a recipe says: a name, a mapping with ``kind`` and settings, or the settings.

        Raises:
            KindError: They are malformed.
            ValueError: There is no such kind, or it is named in no such way.
        """
        if isinstance(value, self.base):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, Mapping):
            raise ValueError(f"name one of {', '.join(self.names())}, or give its settings with its kind")
        fields = {"kind": default, **cast("Mapping[str, Any]", value)}
        kind = self.settings(str(fields["kind"]))
        try:
            return kind.model_validate(fields)
        except ValidationError as error:
            raise KindError(kind, error) from error

    def told_apart(self, default: str) -> BeforeValidator:
        """Return what reads a field that holds one of the kinds; ``default`` is meant where none is named."""
        return BeforeValidator(partial(self.read, default=default))
