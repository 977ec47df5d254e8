"""The folders that go to the hub, written under ``RUN/push`` whole or not at all, with nothing of this machine in them."""

import json
import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from drp.errors import DataError
from drp.publishing.cards import model_card
from drp.publishing.data_card import ROWS, data_card, rows
from drp.publishing.private import Private, public_name
from drp.publishing.subject import Subject
from drp.records import Record
from drp.runs import layout
from drp.runs.journal import writing
from drp.runs.reader import RunReader

PARTS = (layout.ADAPTER, layout.MODEL, layout.DATASET)
"""What can be pushed of a run."""
CARD = "README.md"
_FILES = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "adapter_config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "*.model",
    "*.tiktoken", "*.jinja", "chat_template.json", "preprocessor_config.json",
)  # fmt: skip
"""What of an adapter's or a model's folder is pushed: no pickles, no arguments, states or logs of a training."""
_HERE = ("is_local", "local_files_only", "_name_or_path", "name_or_path")
"""Fields of configurations that say how it was loaded on this machine; elsewhere they would mislead."""
_VOCABULARY = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt")
"""Text that is no prose: what looks like a path there is a token."""


class Bundle(Record):
    """One folder for the hub."""

    part: str
    """``adapter``, ``model`` or ``dataset``."""
    folder: Path
    files: int
    size: int
    """Bytes."""


def parts_on_file(run: Path) -> list[str]:
    """Return what of a run can be pushed."""
    train = RunReader(run).stage(layout.TRAIN)
    manifest = train.manifest()
    trained = manifest is not None and manifest.complete
    found = [part for part in (layout.ADAPTER, layout.MODEL) if trained and (train.path / part).is_dir()]
    records = RunReader(run).stage(layout.PRUNE).records_path
    return [*found, layout.DATASET] if records.is_file() and records.stat().st_size else found


def demand(run: Path, part: str) -> None:
    """See to it that a part of a run is there.

    Raises:
        DataError: It is not; the message says what makes it.
    """
    if part in parts_on_file(run):
        return
    if part == layout.DATASET:
        raise DataError(f"{run} has no pruned traces to push: run `drp prune` there first")
    manifest = RunReader(run).manifest(layout.TRAIN)
    if manifest is not None and not manifest.complete:
        raise DataError(f"the training in {run} has not ended: `drp train` goes on with it")
    rounds = any(run.glob(f"{layout.TRAIN}/round-*"))
    if part == layout.ADAPTER and rounds:
        raise DataError(
            f"{run} was reinforced in rounds that build on each other, so no one adapter is the model: push --what model"
        )
    raise DataError(f"{run} has no {layout.TRAIN}/{part}: run `drp train` there first")


def write_bundle(subject: Subject, part: str) -> Bundle:
    """Write ``RUN/push/PART`` anew, card and all.

    Raises:
        DataError: The part is not there or holds weights that are no safetensors, or something private would go with it.
        DiskError: It cannot be written.
    """
    demand(subject.run, part)
    folder = subject.run / layout.PUSH / part
    half = folder.with_name(f"{part}.tmp")
    private = Private([subject.run, *([p] if (p := _student_folder(subject)) else [])])
    with writing(folder):
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        if part == layout.DATASET:
            _write_rows(subject, half, private)
        else:
            _copy(subject, part, half)
        _refuse_private(half, private)
        shutil.rmtree(folder, ignore_errors=True)
        half.rename(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return Bundle(part=part, folder=folder, files=len(files), size=sum(path.stat().st_size for path in files))


def _student_folder(subject: Subject) -> Path | None:
    path = Path(subject.recipe.student.model).expanduser() if subject.recipe else None
    return path if path and path.is_dir() else None


def _write_rows(subject: Subject, half: Path, private: Private) -> None:
    file = half / ROWS
    file.parent.mkdir(parents=True)
    count = left_out = 0
    with file.open("w", encoding="utf-8") as out:
        for row in rows(RunReader(subject.run)):
            line = json.dumps(row, ensure_ascii=False)
            if private.found(line):
                left_out += 1
                continue
            out.write(line + "\n")
            count += 1
    if not count:
        raise DataError(
            f"{subject.run} has no pruned trace that was accepted, so there is no data set to push"
        )
    (half / CARD).write_text(data_card(subject, count, left_out), encoding="utf-8")


def _copy(subject: Subject, part: str, half: Path) -> None:
    source = subject.run / layout.TRAIN / part
    for path in sorted(source.iterdir()):
        if not any(fnmatch(path.name, pattern) for pattern in _FILES):
            continue
        if path.name.endswith("config.json"):
            found: dict[str, Any] = json.loads(path.read_bytes())
            kept = _for_others(found, subject)
            (half / path.name).write_text(
                json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
        else:
            _link_or_copy(path.resolve(), half / path.name)
    if not list(half.glob("*.safetensors")):
        raise DataError(
            f"{source} holds no weights as safetensors, and nothing else is pushed: run `drp train` again"
        )
    (half / CARD).write_text(model_card(subject, part), encoding="utf-8")


def _for_others(config: dict[str, Any], subject: Subject) -> dict[str, Any]:
    """Return a configuration without what holds on this machine only."""
    kept = {name: value for name, value in config.items() if name not in _HERE}
    if "base_model_name_or_path" in kept:  # an adapter's: peft looks there for its student
        kept["base_model_name_or_path"] = subject.student.hub or public_name(subject.student.name)
        kept["revision"] = subject.student.revision
    return kept


def _link_or_copy(source: Path, target: Path) -> None:
    """Give a file of weights a second name, or copy it where the disk knows no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _texts(folder: Path) -> Iterator[Path]:
    """Yield what is read for private things; the rows of a data set were, one by one."""
    for path in sorted(folder.rglob("*")):
        text = path.suffix in (".json", ".md", ".jinja", ".txt")
        if path.is_file() and text and path.name not in _VOCABULARY:
            yield path


def _refuse_private(folder: Path, private: Private) -> None:
    for path in _texts(folder):
        if said := private.found(path.read_text(encoding="utf-8", errors="replace")):
            raise DataError(
                f"{path.name} of what would be pushed holds {said}, so nothing was written: look for it in recipe.json (prompt, "
                "names of problem sets) and in the files it was made of"
            )
