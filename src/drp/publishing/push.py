"""Pushing a run: which parts go where, the folders of all of them first, then the uploads."""

from collections.abc import Sequence
from pathlib import Path

from drp.errors import DataError
from drp.publishing.bundle import PARTS, demand, parts_on_file, write_bundle
from drp.publishing.hub import upload
from drp.publishing.subject import UNNAMED, Subject, read_subject
from drp.records import Record
from drp.reporting.write import name_of
from drp.runs import layout
from drp.runs.stage import Say

SUFFIX = {layout.MODEL: "", layout.ADAPTER: "-adapter", layout.DATASET: "-traces"}
"""What is added to a name where several parts are pushed under it."""


class PushedPart(Record):
    """One part of a run as a folder, and where it went."""

    part: str
    """``adapter``, ``model`` or ``dataset``."""
    folder: Path
    files: int
    size: int
    """Bytes."""
    repo: str | None
    """Its repository; ``None`` where none was named."""
    url: str | None
    """Its address; ``None`` where nothing was uploaded."""


class Pushed(Record):
    """What :func:`push_run` did."""

    parts: tuple[PushedPart, ...]
    notes: tuple[str, ...]
    """What the publisher should look at."""


def push_run(
    run: Path,
    repo: str | None,
    what: Sequence[str],
    *,
    private: bool = False,
    dry_run: bool = False,
    base: str | None = None,
    licence: str | None = None,
    say: Say,
) -> Pushed:
    """Write what is to be pushed under ``RUN/push``, and send it unless this is a dry run.

    Raises:
        RunFolderError: It is no run folder.
        DataError: A part is unknown or not there, or something private would go with it.
        HubError: The hub refuses or does not answer.
    """
    name_of(run)
    if unknown := [part for part in what if part not in PARTS]:
        raise DataError(f"{', '.join(unknown)}: nothing of a run is called so; choose of {', '.join(PARTS)}")
    if repo is None and not dry_run:
        raise DataError("say where to push: --repo ORG/NAME, or --dry-run to write the folders only")
    chosen = [part for part in PARTS if part in (what or parts_on_file(run))]
    if not chosen:
        raise DataError(f"{run} has nothing to push yet: no ended training and no pruned traces")
    for part in chosen:
        demand(run, part)
    repos = {part: repo + (SUFFIX[part] if len(chosen) > 1 else "") for part in chosen} if repo else {}
    subject = read_subject(run, base, licence, repos)
    bundles = [write_bundle(subject, part) for part in chosen]
    parts = [
        PushedPart(
            **bundle.model_dump(),
            repo=repos.get(bundle.part),
            url=None if dry_run else upload(bundle, repos[bundle.part], private, say),
        )
        for bundle in bundles
    ]
    return Pushed(parts=tuple(parts), notes=tuple(_notes(subject, chosen)))


def _notes(subject: Subject, chosen: Sequence[str]) -> list[str]:
    """Return what the publisher should look at."""
    found: list[str] = []
    unlicensed = [part for part in chosen if subject.licence_of(part) is None]
    if unlicensed:
        found.append(
            f"the licence of the {' and the '.join(unlicensed)} is not known: name it with --license"
        )
    student = subject.student
    if layout.ADAPTER in chosen and student.hub is None and not student.embedded:
        found.append(
            f"the adapter's student, {student.name}, is a folder here, and others cannot load the adapter without it: name the same "
            "model on the hub with --base ORG/NAME, or push the model"
        )
    if student.name == UNNAMED:
        found.append(
            "the run says of no student, since its traces came from a file: name it with --base ORG/NAME"
        )
    if not any(result.after for result in subject.summary.benchmarks) and chosen != [layout.DATASET]:
        found.append("the model was not evaluated, and its card says so")
    found += subject.summary.notes
    return found
