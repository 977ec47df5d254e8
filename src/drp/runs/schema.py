"""In which version of the record formats a file was written, and what is made of a newer version's fields.

A *minor* version only adds fields that an older reader can do without: it leaves them out and says so. A *major* version
changes what is there already, and an older reader refuses it. Files that say nothing are of the first version.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator
from pydantic_core import from_json

from drp.errors import NewerSchemaWarning, RunFolderError
from drp.records import Record

R = TypeVar("R", bound=BaseModel)


class Schema(NamedTuple):
    """A version of the record formats; later ones compare greater."""

    major: int
    minor: int

    def __str__(self) -> str:
        """Write it as files do: ``1.0``."""
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> "Schema":
        """Return the version that ``1.0`` names."""
        major, _, minor = text.partition(".")
        return cls(int(major), int(minor))


FIRST = Schema(1, 0)
SPELT_BY_KIND = Schema(1, 1)
"""Before it, manifests spelt settings as version 0.1 did, and records said no task."""
SCHEMA = Schema(1, 2)
"""What this version writes. One more field in any record raises the minor version; anything else raises the major one."""
_FORM = r"^[0-9]{1,4}\.[0-9]{1,4}$"


class Versioned(Record):
    """A record that says which schema it was written in; the others are of the manifest's beside them."""

    model_config = ConfigDict(serialize_by_alias=True)

    written_in: str = Field(default=str(FIRST), alias="schema", pattern=_FORM)
    """As read; what is written is always of the present schema."""

    @field_validator("written_in")
    @classmethod
    def _readable(cls, text: str) -> str:
        if Schema.parse(text).major > SCHEMA.major:
            raise ValueError(f"schema {text} is of a later version")
        return text

    @field_serializer("written_in")
    def _present(self, _: str) -> str:
        return str(SCHEMA)


class _Says(BaseModel):
    """What a record of any kind and version says of its schema."""

    written_in: str = Field(default=str(FIRST), alias="schema", pattern=_FORM)


def schema_of(data: bytes) -> Schema:
    """Return the schema that a record's line says it is of; the first where it says nothing, or is no record."""
    try:
        return Schema.parse(_Says.model_validate_json(data).written_in)
    except ValidationError:
        return FIRST


def read_record(kind: type[R], data: bytes, schema: Schema, left_out: set[str]) -> R:
    """Return a record from its JSON: strictly, unless a newer version wrote it.

    Args:
        kind: The record's type.
        data: One JSON object.
        schema: What it was written in, as far as known from outside it.
        left_out: Gets the dotted names of the fields that this version does not know.

    Raises:
        ValidationError: It is no such record, or holds unknown fields that no newer minor version explains.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError:
        written = max(schema, schema_of(data))
        if written <= SCHEMA or written.major > SCHEMA.major:
            raise
        record = kind.model_validate_json(data, extra="ignore")
        left_out.update(_unknown(from_json(data), record.model_dump(mode="json")))
        return record


def _unknown(raw: Any, known: Any) -> Iterator[str]:
    """Yield the names that only ``raw`` has: ``{"a": 1, "b": [{"c": 2}]}`` beside ``{"b": [{}]}`` gives ``a``, ``b.c``."""
    if isinstance(raw, dict) and isinstance(known, dict):
        fields = cast("dict[str, Any]", known)
        for name, value in cast("dict[str, Any]", raw).items():
            if name not in fields:
                yield name
                continue
            yield from (f"{name}.{deeper}" for deeper in _unknown(value, fields[name]))
    elif isinstance(raw, list) and isinstance(known, list):
        for one, other in zip(cast("list[Any]", raw), cast("list[Any]", known), strict=False):
            yield from _unknown(one, other)


def too_new(where: object, written: Schema) -> RunFolderError:
    """Return the error for what only a later version of this tool can read."""
    return RunFolderError(
        f"{where}: a later version of this tool wrote it (schema {written}; this version reads {SCHEMA.major}.x as far as "
        f"{SCHEMA}). Use that version: pip install -U drp-reasoning"
    )


def left_out_note(path: Path, written: Schema, names: Iterable[str]) -> str:
    """Return what is to be said of fields that a newer version wrote."""
    return (
        f"{path} was written by a newer version ({written}): fields that this version ({SCHEMA}) does not know were left "
        f"out: {', '.join(sorted(names))}"
    )


class Once:
    """Passes on what is said, each sentence once.

    Args:
        say: Told each sentence.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._said = say, set[str]()

    def __call__(self, text: str) -> None:
        """Say something, unless it was said before."""
        if text not in self._said:
            self._said.add(text)
            self._say(text)


def warn(text: str) -> None:
    """Say something as a Python warning, for want of anybody else to tell."""
    warnings.warn(text, NewerSchemaWarning, stacklevel=2)
