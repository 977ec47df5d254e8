"""The resuming stage runner: owed = wanted − done, by id."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from drp.records import Failure, Keyed
from drp.runs.concurrency import rare_collections
from drp.runs.folder import StageFolder
from drp.runs.on_demand import Identified, Stored, ids_of

R = TypeVar("R", bound=Keyed)

Say = Callable[[str], None]
"""Takes one line for the user."""


def silent(_: str) -> None:
    """Say nothing."""


class Progress(Protocol):
    """Where a stage reports how far it is."""

    def begin(self, stage: str, done: int, wanted: int) -> None:
        """A stage starts with ``done`` of ``wanted`` items on file."""
        ...

    def advance(self, items: int, tokens: int = 0) -> None:
        """Some items ended; ``tokens`` were generated for them."""
        ...

    def remark(self, text: str) -> None:
        """Something to show beside the count while the stage runs, such as money spent."""
        ...

    def end(self, note: str) -> None:
        """The stage ended; ``note`` sums it up."""
        ...


def _none() -> int:
    return 0


@dataclass
class Underway:
    """What has begun and not ended; looked at a few times a second by whoever shows it, so looking must cost nothing."""

    flying: Callable[[], int] = _none
    """How many items are being worked on now."""
    tokens: Callable[[], int] = _none
    """Tokens generated so far by this process, those of items that have not ended included."""
    failed: int = 0
    """Items that failed since the stage began in this process, and are owed again …"""
    left_out: int = 0
    """… and those left out for good."""

    def count(self, failure: Failure) -> None:
        """Count an item that got no record."""
        self.failed += failure.retry
        self.left_out += not failure.retry


@runtime_checkable
class ShowsUnderway(Protocol):
    """Progress that shows what is under way, too."""

    underway: Underway
    """What the stage under way is to fill in; new for each stage."""


def under_way(progress: Progress) -> Underway:
    """Return where a stage says what is under way; what nobody looks at, if its progress does not show that."""
    return progress.underway if isinstance(progress, ShowsUnderway) else Underway()


@runtime_checkable
class Watched(Protocol):
    """An engine that can say what it is at."""

    @property
    def flying(self) -> int:
        """How many requests are being answered now."""
        ...

    @property
    def drawn(self) -> int:
        """Tokens drawn so far, those of unfinished completions included; 0 if that is not known."""
        ...


class NoProgress:
    """Progress that nobody watches."""

    def begin(self, stage: str, done: int, wanted: int) -> None:
        """Show nothing."""

    def advance(self, items: int, tokens: int = 0) -> None:
        """Show nothing."""

    def remark(self, text: str) -> None:
        """Show nothing."""

    def end(self, note: str) -> None:
        """Show nothing."""


async def run_stage(
    folder: StageFolder,
    kind: type[R],
    wanted: Sequence[Identified],
    work: Callable[[set[str]], AsyncIterator[R | Failure]],
    progress: Progress,
    tokens_of: Callable[[R], int] = lambda _: 0,
) -> Stored[R]:
    """Run what is owed of a stage, writing every outcome as it comes.

    Args:
        folder: The stage's folder, opened with its settings.
        kind: Record type of the stage; its ``id`` is that of the wanted item.
        wanted: The items to have outcomes for, each id once.
        work: Yields outcomes for the owed ids it is given. Outcomes of other ids are ignored, so
            that work which only makes sense in whole batches may redo some.
        progress: Told about every outcome.
        tokens_of: Tokens generated for a record, for the progress display.

    Returns:
        The records of the wanted items, in their order, on disk until one is asked for; failed items are missing.
    """
    ids = list(ids_of(wanted))
    folder.want(ids)
    done = folder.places(kind)
    given_up = {f.id for f in folder.failures() if not f.retry}
    owed = {i for i in ids if i not in done and i not in given_up}
    progress.begin(folder.stage, len(ids) - len(owed), len(ids))
    started = time.monotonic()
    if owed:
        folder.update(complete=False, counts={"wanted": len(ids), "done": len(ids) - len(owed)})
    with folder.journal() as journal, folder.errors() as errors, rare_collections():
        if owed:
            async for outcome in work(set(owed)):
                if outcome.id not in owed:
                    continue
                owed.discard(outcome.id)
                if isinstance(outcome, Failure):
                    errors.append(outcome)
                    under_way(progress).count(outcome)
                    given_up |= set() if outcome.retry else {outcome.id}
                    progress.advance(1)
                else:
                    done[outcome.id] = journal.append(outcome)
                    progress.advance(1, tokens_of(outcome))
    records = folder.on_demand(kind, ids, done)
    if (
        not records
    ):  # an endpoint that refused every single item is a set-up to mend, whatever it said of each
        given_up -= folder.try_again()
    left_out = sum(i in given_up and i not in done for i in ids)
    pending = len(ids) - len(records) - left_out
    counts = {"wanted": len(ids), "done": len(records), "left_out": left_out, "pending": pending}
    folder.update(complete=pending == 0, counts=counts, seconds=time.monotonic() - started)
    note = f"{len(records)} of {len(ids)} done"
    note += f", {left_out} left out (reasons in {folder.errors_path.name})" if left_out else ""
    note += f", {pending} failed and will be tried again by the same command" if pending else ""
    progress.end(note)
    return records
