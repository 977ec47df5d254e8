"""The run folder: one folder a stage, a manifest in each, one process at a time."""

import fcntl
import os
import shutil
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

from pydantic import BaseModel, ValidationError

from drp.errors import RunFolderError
from drp.records import Failure, Keyed, Record
from drp.runs import layout
from drp.runs.journal import Journal, Place, read_placed, read_records, write_atomically, writing
from drp.runs.manifest import Manifest, Settings, differences, fingerprint_of, installed_versions, plain
from drp.runs.on_demand import Stored
from drp.runs.schema import FIRST, SCHEMA, Once, Schema, left_out_note, read_record, schema_of, too_new, warn

R = TypeVar("R", bound=Record)
M = TypeVar("M", bound=BaseModel)
K = TypeVar("K", bound=Keyed)


class _Line(BaseModel):
    """The identity of a record of any kind."""

    id: str


class StageFolder:
    """The folder of one stage: records, errors and manifest.

    Args:
        path: The folder.
        stage: The stage's name.
        say: Told which fields of a newer version's records were left out.
    """

    def __init__(self, path: Path, stage: str, say: Callable[[str], None] = warn) -> None:
        self.path, self.stage, self._say = path, stage, say

    @property
    def records_path(self) -> Path:
        """The records, one JSON object a line."""
        return self.path / layout.RECORDS

    @property
    def errors_path(self) -> Path:
        """What failed or was left out, with reasons."""
        return self.path / layout.ERRORS

    @property
    def manifest_path(self) -> Path:
        """The manifest."""
        return self.path / layout.MANIFEST

    @property
    def wanted_path(self) -> Path:
        """The ids of the items that the last command wanted, one a line."""
        return self.path / layout.WANTED

    def manifest(self) -> Manifest | None:
        """Return the manifest, its settings in today's spelling, or ``None`` where the stage was never begun.

        Raises:
            RunFolderError: It is damaged, or of a later version.
        """
        if not self.manifest_path.exists():
            return None
        return self._document(self.manifest_path, Manifest, FIRST).in_todays_spelling()

    def schema(self) -> Schema:
        """Return what the folder's records were written in.

        Raises:
            RunFolderError: The manifest is damaged, or of a later major version.
        """
        manifest = self.manifest()
        return manifest.schema_written if manifest else FIRST

    def document(self, name: str, kind: type[M]) -> M | None:
        """Return what one of the stage's other files holds, or ``None`` where it was not written.

        Raises:
            RunFolderError: It is damaged, or of a later version.
        """
        path = self.path / name
        return self._document(path, kind, self.schema()) if path.exists() else None

    def _document(self, path: Path, kind: type[M], schema: Schema) -> M:
        data, left_out = path.read_bytes(), set[str]()
        written = max(schema, schema_of(data))
        try:
            found = read_record(kind, data, written, left_out)
        except ValidationError as error:
            if written > SCHEMA:
                raise too_new(path, written) from error
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the file"
            raise RunFolderError(
                f"{path} cannot be read ({where}: {problem['msg']}): it is damaged, or a later version of this "
                f"tool wrote it. Restore it, or delete {self.path} to run the stage again"
            ) from error
        if left_out:
            self._say(left_out_note(path, written, left_out))
        return found

    def stream(self, kind: type[R]) -> Iterator[R]:
        """Yield all whole records, one in memory at a time."""
        return self._read(self.records_path, kind)

    def records(self, kind: type[R]) -> list[R]:
        """Return all whole records."""
        return list(self.stream(kind))

    def places(self, kind: type[K] | None = None) -> dict[str, Place]:
        """Return where each record lies, by its id; with ``kind``, each is looked at whether it is such a record."""
        found = read_placed(self.records_path, kind or _Line, self.schema(), self._say)
        return {record.id: place for place, record in found}

    def on_demand(
        self, kind: type[K], ids: Sequence[str] | None = None, places: Mapping[str, Place] | None = None
    ) -> Stored[K]:
        """Return the records as a sequence that reads one when it is asked for, each id once.

        Args:
            kind: The records' type.
            ids: Those to return, in this order, as far as they are on record; left out: all, as they lie.
            places: What :meth:`places` found, where that is known.
        """
        places = self.places() if places is None else places
        among = list(places) if ids is None else [i for i in ids if i in places]
        file = self.records_path.open("rb") if among else None
        return Stored(file, self.records_path, kind, (places[i] for i in among), among, self.schema())

    def failures(self) -> list[Failure]:
        """Return all recorded failures, retried ones included."""
        return list(self._read(self.errors_path, Failure))

    def _read(self, path: Path, kind: type[M]) -> Iterator[M]:
        return read_records(path, kind, self.schema(), self._say)

    def try_again(self, setup: str | None = None) -> set[str]:
        """Let what an endpoint refused for good be tried again, unless under these settings; return the ids."""
        failures = self.failures()
        refused = [f for f in failures if f.setup not in (None, setup) and not f.retry]
        if refused:
            again = [f.model_copy(update={"retry": True}) if f in refused else f for f in failures]
            write_atomically(self.errors_path, "".join(f.model_dump_json() + "\n" for f in again))
        return {f.id for f in refused}

    def done(self) -> set[str]:
        """Return the ids on record."""
        return {line.id for line in self._read(self.records_path, _Line)}

    def want(self, ids: Sequence[str]) -> None:
        """Note which items this command is about; the folder may hold outcomes of others, from other commands."""
        if self.wanted() != list(ids):
            write_atomically(self.wanted_path, "".join(f"{identity}\n" for identity in ids))

    def wanted(self) -> list[str] | None:
        """Return the ids that the last command wanted; ``None`` where that is not on file, and all count."""
        if not self.wanted_path.exists():
            return None
        return self.wanted_path.read_text(encoding="utf-8").split()

    def wanted_records(self, kind: type[K], keep: Callable[[K], K] = lambda record: record) -> list[K]:
        """Return the records of the items that the last command wanted, in its order, each once.

        Args:
            kind: The records' type.
            keep: Returns the part of a record that is needed, so that the rest of it never adds up in memory.
        """
        wanted = self.wanted()
        among = None if wanted is None else set(wanted)
        found = {r.id: keep(r) for r in self.stream(kind) if among is None or r.id in among}
        return list(found.values()) if wanted is None else [found[i] for i in wanted if i in found]

    def wanted_failures(self) -> list[Failure]:
        """Return how the items that the last command wanted failed, each once: its last failure, if it has no record."""
        wanted = self.wanted()
        among = None if wanted is None else set(wanted)
        return [failure for i, failure in self._last_failures().items() if among is None or i in among]

    def _last_failures(self) -> dict[str, Failure]:
        failures = self.failures()
        done = self.done() if failures else set[str]()
        return {failure.id: failure for failure in failures if failure.id not in done}

    def unfinished(self, owed: Set[str], wanted: int) -> str:
        """Return in one sentence how much is owed, what most of it failed on, and where that is written."""
        said = f"{self.stage} is incomplete: {len(owed)} of {wanted} items have no outcome yet"
        pending = [failure for i, failure in self._last_failures().items() if i in owed]
        if not pending:
            return said
        kind, count = Counter(failure.kind for failure in pending).most_common(1)[0]
        example = next(failure.message for failure in pending if failure.kind == kind)
        first, _, _ = example.strip().partition("\n")
        reason = f"{kind} ({count} of {len(pending)}): {first[:300]}"
        return f"{said}. Mostly {reason}; see {self.errors_path}"

    def pending(self) -> str | None:
        """Return what is to be said of the items that the last command wanted and that are still owed, if any."""
        manifest, wanted = self.manifest(), self.wanted()
        if manifest is None or manifest.complete:
            return None
        failures = self.wanted_failures()
        if wanted is None:
            owed = {failure.id for failure in failures if failure.retry}
            return self.unfinished(owed, manifest.counts.get("wanted", 0))
        given_up = {failure.id for failure in failures if not failure.retry}
        return self.unfinished(set(wanted) - self.done() - given_up, len(wanted))

    def journal(self) -> Journal:
        """Open the records for appending."""
        return Journal(self.records_path)

    def errors(self) -> Journal:
        """Open the errors for appending."""
        return Journal(self.errors_path)

    def graded(self, version: int) -> None:
        """Note which version of the grader all graded records are of."""
        manifest = self.manifest()
        if manifest and manifest.graded_by != version:
            changed = manifest.model_copy(update={"graded_by": version})
            write_atomically(self.manifest_path, changed.model_dump_json(indent=1) + "\n")

    def update(self, *, complete: bool, counts: Mapping[str, int], seconds: float = 0.0) -> None:
        """Rewrite the manifest with new counts, adding ``seconds`` to the time spent."""
        manifest = self.manifest()
        if manifest is None:
            raise RunFolderError(f"{self.path} has no manifest; run the stage again from the start")
        changed = manifest.model_copy(
            update={
                "complete": complete,
                "counts": dict(counts),
                "seconds": round(manifest.seconds + seconds, 3),
                "versions": installed_versions(),
            }
        )
        write_atomically(self.manifest_path, changed.model_dump_json(indent=1) + "\n")


def _claim(folder: StageFolder) -> None:
    """See to it that a stage's folder may be added to: its manifest speaks for records of the present schema.

    Raises:
        RunFolderError: A newer version wrote it; what this one does not know of it would be lost.
    """
    manifest = folder.manifest()
    if manifest is None or (written := manifest.schema_written) == SCHEMA:
        return
    if written > SCHEMA:
        raise RunFolderError(
            f"{folder.path} was written by a newer version of this tool (schema {written}; this version writes {SCHEMA}): it can "
            "be read here but not added to. Use that version (pip install -U drp-reasoning), or another folder with --out"
        )
    write_atomically(folder.manifest_path, manifest.model_dump_json(indent=1) + "\n")


class RunFolder:
    """A folder that one process at a time may write to.

    Args:
        path: The folder; it need not exist.
        say: Told, each thing once, which fields of a newer version's files were left out.
    """

    def __init__(self, path: Path, say: Callable[[str], None] = warn) -> None:
        self.path, self._say = path, Once(say)
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"cannot make the run folder {self.path}: {error.strerror}; choose another with --out"
            ) from error
        with writing(self.path):
            lock = (self.path / layout.LOCK).open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            lock.close()
            raise RunFolderError(
                f"{self.path} is in use by {holder}. Wait for it to end, or choose another folder with --out."
            ) from error
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%F %T')}")
        lock.flush()
        self._lock = lock
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock:
            self._lock.truncate(0)
            self._lock.close()  # closing releases the lock; so does dying
            self._lock = None

    def stage(self, name: str) -> StageFolder:
        """Return the folder of a stage, to read from; it may not exist yet."""
        return StageFolder(self.path / name, name, self._say)

    def changes(self, name: str, settings: Settings) -> list[str] | None:
        """Return which settings differ from those a stage stands with; ``None`` if it never began."""
        manifest = self.stage(name).manifest()
        if manifest is None:
            return None
        return [] if manifest.fingerprint == fingerprint_of(settings) else differences(manifest, settings)

    def open_stage(self, name: str, settings: Settings) -> tuple[StageFolder, list[str]]:
        """Return a stage's folder, ready to be written with these settings.

        Records made with other settings are moved to ``superseded/``; if that place holds records
        made with exactly these settings, they come back.

        Returns:
            The folder, and the settings that changed since what stood there (empty if none did).

        Raises:
            RunFolderError: Something else lies where the stage would go, or what a newer version wrote.
        """
        folder = self.stage(name)
        changes = self.changes(name, settings)
        if changes == []:
            _claim(folder)
            return folder, []
        fingerprint = fingerprint_of(settings)
        kept = self._aside(name, fingerprint)
        _claim(StageFolder(kept, name, self._say))
        manifest = folder.manifest()
        if manifest:
            self._set_aside(folder, manifest)
        elif folder.path.exists() and {p.name for p in folder.path.iterdir()} - {f"{layout.MANIFEST}.tmp"}:
            raise RunFolderError(
                f"{folder.path} holds files but no manifest. It was not written by this tool, or its manifest "
                "was removed; move the folder away or choose another with --out."
            )
        if kept.exists() and not folder.path.exists():
            folder.path.parent.mkdir(parents=True, exist_ok=True)
            kept.rename(folder.path)
            return folder, changes or []
        folder.path.mkdir(parents=True, exist_ok=True)
        fresh = Manifest(
            stage=name, fingerprint=fingerprint, settings=plain(settings), versions=installed_versions()
        )
        write_atomically(folder.manifest_path, fresh.model_dump_json(indent=1) + "\n")
        return folder, changes or []

    def _aside(self, name: str, fingerprint: str) -> Path:
        return self.path / layout.SUPERSEDED / f"{name.replace('/', '-')}-{fingerprint}"

    def _set_aside(self, folder: StageFolder, manifest: Manifest) -> None:
        target = self._aside(folder.stage, manifest.fingerprint)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        folder.path.rename(target)
