"""Sequences of records that stay on disk: what is held is where each lies, and one is parsed when it is asked for.

A stage's records look like a list to whoever works with them, and 20,000 traces take a few MiB instead of gigabytes. What is
asked for twice is read twice, so code over them goes through them once, and keeps figures rather than records.
"""

import os
import tempfile
import weakref
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path
from typing import BinaryIO, Generic, Protocol, TypeVar, cast, overload

from pydantic import ValidationError

from drp.errors import RunFolderError
from drp.records import Keyed, Record
from drp.runs.journal import Place, writing
from drp.runs.schema import SCHEMA, Schema, read_record

S = TypeVar("S")
T = TypeVar("T", covariant=True)
R = TypeVar("R", bound=Record)
K = TypeVar("K", bound=Keyed)


class Identified(Protocol):
    """Anything with an id."""

    @property
    def id(self) -> str:
        """Content identity."""
        ...


X = TypeVar("X", bound=Identified)


class OnDemand(Sequence[T], ABC):
    """A sequence whose items are made when they are asked for; equal to any sequence of equal items."""

    @abstractmethod
    def at(self, index: int) -> T:
        """Return the item at an index from 0."""

    def ids(self) -> Sequence[str] | None:
        """Return the items' ids where they are known without making the items."""
        return None

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> "OnDemand[T]": ...
    def __getitem__(self, index: int | slice) -> "T | OnDemand[T]":
        places = range(len(self))[index]
        return self.at(places) if isinstance(places, int) else Picked(self, places)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        others = cast("Sequence[object]", other)
        return len(self) == len(others) and all(a == b for a, b in zip(self, others, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType]  equal to lists, which have none

    def __repr__(self) -> str:
        return f"<{len(self):,} records on disk>"


class Stored(OnDemand[R], Generic[R]):
    """Records in an open file; the file may be replaced or removed meanwhile, what was opened stays readable.

    Args:
        file: Open to read; closed when nobody holds the sequence any more.
        name: What errors call the file.
        kind: The records' type.
        places: Where each lies: its first byte and its length.
        ids: Their ids, in the same order.
        schema: What they were written in.
    """

    def __init__(
        self,
        file: BinaryIO | None,
        name: Path,
        kind: type[R],
        places: Iterable[Place],
        ids: Sequence[str],
        schema: Schema = SCHEMA,
    ) -> None:
        self._name, self._kind, self._schema, self._ids = name, kind, schema, ids
        self._starts, self._lengths = array("q"), array("q")
        for start, length in places:
            self._starts.append(start)
            self._lengths.append(length)
        self._descriptor = -1
        if file is not None:
            self._descriptor = file.fileno()
            weakref.finalize(self, file.close)

    def __len__(self) -> int:
        return len(self._starts)

    def ids(self) -> Sequence[str]:
        """Return their ids; nothing is read."""
        return self._ids

    def at(self, index: int) -> R:
        """Read and parse one record.

        Raises:
            RunFolderError: The file was changed since it was indexed.
        """
        # `pread` moves no position, so that threads and processes that share the file do not disturb each other.
        data = os.pread(self._descriptor, self._lengths[index], self._starts[index])
        try:
            return read_record(self._kind, data, self._schema, set())
        except ValidationError as error:
            raise RunFolderError(
                f"{self._name} was changed while it was read (at byte {self._starts[index]:,}); run the same command again"
            ) from error


class Picked(OnDemand[T]):
    """Some items of a sequence, in an order of their own."""

    def __init__(self, items: Sequence[T], indices: Sequence[int]) -> None:
        self._items, self._indices = items, indices

    def __len__(self) -> int:
        return len(self._indices)

    def at(self, index: int) -> T:
        """Return one of them."""
        return self._items[self._indices[index]]

    def ids(self) -> Sequence[str] | None:
        """Return their ids, where those of the whole sequence are known."""
        known = self._items.ids() if isinstance(self._items, OnDemand) else None
        return known and [known[index] for index in self._indices]


class Mapped(OnDemand[T], Generic[S, T]):
    """What a function makes of each item, each time it is asked for."""

    def __init__(self, items: Sequence[S], make: Callable[[S], T]) -> None:
        self._items, self._make = items, make

    def __len__(self) -> int:
        return len(self._items)

    def at(self, index: int) -> T:
        """Make one."""
        return self._make(self._items[index])


def where(items: Sequence[T], keep: Callable[[T], bool]) -> Picked[T]:
    """Return the items that a condition holds for; all are looked at, now and once."""
    return Picked(items, [index for index, item in enumerate(items) if keep(item)])


def with_ids(items: Sequence[X], ids: Set[str]) -> Picked[X]:
    """Return the items of these ids, in the order they lie in."""
    return Picked(items, [index for index, identity in enumerate(ids_of(items)) if identity in ids])


def ids_of(items: Sequence[Identified]) -> Sequence[str]:
    """Return the ids of records, without reading the records where that can be."""
    known = items.ids() if isinstance(items, OnDemand) else None
    return [item.id for item in items] if known is None else known


def spooled(records: Iterable[K], kind: type[K]) -> Stored[K]:
    """Return records that are made one by one as a sequence, put away in a temporary file as JSON lines.

    Raises:
        DiskError: The disk for temporary files is full.
    """
    ids: list[str] = []
    places: list[Place] = []
    name, start = Path(tempfile.gettempdir()), 0
    making = iter(records)
    record = next(making, None)  # what goes wrong while records are made is no fault of the disk
    with writing(name):
        file = tempfile.TemporaryFile("w+b")  # noqa: SIM115  the sequence closes it
    while record is not None:
        line = record.model_dump_json().encode() + b"\n"
        with writing(name):
            file.write(line)
        ids.append(record.id)
        places.append((start, len(line)))
        start += len(line)
        record = next(making, None)
    with writing(name):
        file.flush()
    return Stored(file, name, kind, places, ids)
