"""The run folder: one folder a stage, a manifest in each, one process at a time."""

import fcntl
import json
import os
import shutil
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar, cast

from pydantic import BaseModel, Field, ValidationError

from drp.errors import RunFolderError
from drp.records import Failure, Keyed, Record, content_id
from drp.runs.journal import Journal, read_records, write_atomically, writing

R = TypeVar("R", bound=Record)
K = TypeVar("K", bound=Keyed)

Settings = Mapping[str, object]
"""Everything that defines a stage's records, as plain JSON values."""

_PACKAGES = ("drp-reasoning", "torch", "transformers", "trl", "peft", "openai", "math-verify")


class Manifest(Record):
    """What a stage folder says about itself."""

    stage: str
    fingerprint: str
    """Content hash of ``settings``: same fingerprint, same records."""
    settings: dict[str, object]
    versions: dict[str, str]
    complete: bool = False
    counts: dict[str, int] = Field(default_factory=dict)
    seconds: float = 0.0
    """Time spent in this stage, over all its processes."""
    graded_by: int | None = None
    """Version of the grader that all graded records are of."""


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that shape results, as far as installed."""
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class _Line(BaseModel):
    """The identity of a record of any kind."""

    id: str


class StageFolder:
    """The folder of one stage: records, errors and manifest."""

    def __init__(self, path: Path, stage: str) -> None:
        self.path, self.stage = path, stage

    @property
    def records_path(self) -> Path:
        """The records, one JSON object a line."""
        return self.path / "records.jsonl"

    @property
    def errors_path(self) -> Path:
        """What failed or was left out, with reasons."""
        return self.path / "errors.jsonl"

    @property
    def manifest_path(self) -> Path:
        """The manifest."""
        return self.path / "manifest.json"

    @property
    def wanted_path(self) -> Path:
        """The ids of the items that the last command wanted, one a line."""
        return self.path / "wanted.txt"

    def manifest(self) -> Manifest | None:
        """Return the manifest, or ``None`` where the stage was never begun.

        Raises:
            RunFolderError: It is damaged, or of a later version.
        """
        if not self.manifest_path.exists():
            return None
        try:
            return Manifest.model_validate_json(self.manifest_path.read_bytes())
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the file"
            raise RunFolderError(
                f"{self.manifest_path} cannot be read ({where}: {problem['msg']}): it is damaged, or a later version of this "
                f"tool wrote it. Restore it, or delete {self.path} to run the stage again"
            ) from error

    def records(self, kind: type[R]) -> list[R]:
        """Return all whole records."""
        return list(read_records(self.records_path, kind))

    def failures(self) -> list[Failure]:
        """Return all recorded failures, retried ones included."""
        return list(read_records(self.errors_path, Failure))

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
        return {line.id for line in read_records(self.records_path, _Line)}

    def want(self, ids: Sequence[str]) -> None:
        """Note which items this command is about; the folder may hold outcomes of others, from other commands."""
        if self.wanted() != list(ids):
            write_atomically(self.wanted_path, "".join(f"{identity}\n" for identity in ids))

    def wanted(self) -> list[str] | None:
        """Return the ids that the last command wanted; ``None`` where that is not on file, and all count."""
        if not self.wanted_path.exists():
            return None
        return self.wanted_path.read_text(encoding="utf-8").split()

    def wanted_records(self, kind: type[K]) -> list[K]:
        """Return the records of the items that the last command wanted, in its order, each once."""
        found = {record.id: record for record in self.records(kind)}
        wanted = self.wanted()
        return list(found.values()) if wanted is None else [found[i] for i in wanted if i in found]

    def wanted_failures(self) -> list[Failure]:
        """Return how the items that the last command wanted failed, each once: its last failure, if it has no record."""
        wanted = self.wanted()
        among = None if wanted is None else set(wanted)
        return [failure for i, failure in self._last_failures().items() if among is None or i in among]

    def _last_failures(self) -> dict[str, Failure]:
        done = self.done()
        return {failure.id: failure for failure in self.failures() if failure.id not in done}

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


def changed_keys(old: Settings, new: Settings, prefix: str = "") -> list[str]:
    """Return the dotted names of settings that differ, with both values where they are short."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        one, two = old.get(key), new.get(key)
        if one == two:
            continue
        if isinstance(one, dict) and isinstance(two, dict):
            found += changed_keys(cast(Settings, one), cast(Settings, two), f"{prefix}{key}.")
        elif len(f"{one}{two}") <= 60:
            found.append(f"{prefix}{key}: {one} → {two}")
        else:
            found.append(f"{prefix}{key}")
    return found


def _plain(settings: Settings) -> dict[str, object]:
    """Return settings as they come back from JSON, so that comparing with a manifest is exact."""
    return json.loads(json.dumps(settings))


def _fingerprint(settings: Settings) -> str:
    return content_id("fp", _plain(settings))


def _differences(manifest: Manifest, settings: Settings) -> list[str]:
    return changed_keys(manifest.settings, _plain(settings)) or ["settings"]


class RunFolder:
    """A folder that one process at a time may write to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"cannot make the run folder {self.path}: {error.strerror}; choose another with --out"
            ) from error
        with writing(self.path):
            lock = (self.path / ".lock").open("a+")
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
        return StageFolder(self.path / name, name)

    def changes(self, name: str, settings: Settings) -> list[str] | None:
        """Return which settings differ from those a stage stands with; ``None`` if it never began."""
        manifest = self.stage(name).manifest()
        if manifest is None:
            return None
        return [] if manifest.fingerprint == _fingerprint(settings) else _differences(manifest, settings)

    def open_stage(self, name: str, settings: Settings) -> tuple[StageFolder, list[str]]:
        """Return a stage's folder, ready to be written with these settings.

        Records made with other settings are moved to ``superseded/``; if that place holds records
        made with exactly these settings, they come back.

        Returns:
            The folder, and the settings that changed since what stood there (empty if none did).

        Raises:
            RunFolderError: Something else lies where the stage would go.
        """
        folder = self.stage(name)
        changes = self.changes(name, settings)
        if changes == []:
            return folder, []
        manifest = folder.manifest()
        if manifest:
            self._set_aside(folder, manifest)
        elif folder.path.exists() and {p.name for p in folder.path.iterdir()} - {"manifest.json.tmp"}:
            raise RunFolderError(
                f"{folder.path} holds files but no manifest. It was not written by this tool, or its manifest "
                "was removed; move the folder away or choose another with --out."
            )
        fingerprint = _fingerprint(settings)
        kept = self._aside(name, fingerprint)
        if kept.exists() and not folder.path.exists():
            folder.path.parent.mkdir(parents=True, exist_ok=True)
            kept.rename(folder.path)
            return folder, changes or []
        folder.path.mkdir(parents=True, exist_ok=True)
        fresh = Manifest(
            stage=name, fingerprint=fingerprint, settings=_plain(settings), versions=installed_versions()
        )
        write_atomically(folder.manifest_path, fresh.model_dump_json(indent=1) + "\n")
        return folder, changes or []

    def _aside(self, name: str, fingerprint: str) -> Path:
        return self.path / "superseded" / f"{name.replace('/', '-')}-{fingerprint}"

    def _set_aside(self, folder: StageFolder, manifest: Manifest) -> None:
        target = self._aside(folder.stage, manifest.fingerprint)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        folder.path.rename(target)
