"""Records on disk look like a list, whatever becomes of the file."""

from pathlib import Path

import pytest

from drp.errors import RunFolderError
from drp.records import Keyed, content_id, listed_id
from drp.runs.folder import StageFolder
from drp.runs.journal import Journal, write_atomically
from drp.runs.on_demand import Mapped, Picked, ids_of, spooled, where, with_ids


class Item(Keyed):
    text: str


ITEMS = [Item(id=f"i{n}", text="ü" * n) for n in range(6)]


def test_a_stage_reads_as_a_list_by_ids_and_slices(tmp_path: Path) -> None:
    """Offsets are of bytes, and texts are not ASCII."""
    folder = StageFolder(tmp_path, "x")
    with folder.journal() as journal:
        places = [journal.append(item) for item in ITEMS]
    found = folder.on_demand(Item)
    assert found == ITEMS == list(found) and found[-1] == ITEMS[-1] and found[1:5:2] == ITEMS[1:5:2]
    assert [*folder.places(Item).values()] == places
    assert folder.on_demand(Item, ["i4", "absent", "i1"]) == [ITEMS[4], ITEMS[1]]
    with pytest.raises(IndexError):
        found[6]
    assert StageFolder(tmp_path / "none", "none").on_demand(Item) == []


def test_what_was_opened_stays_and_a_file_changed_underneath_is_said(tmp_path: Path) -> None:
    """A stage replaces its records while a caller may still hold those it returned."""
    folder = StageFolder(tmp_path, "x")
    with folder.journal() as journal:
        journal.append(*ITEMS)
    found = folder.on_demand(Item)
    write_atomically(folder.records_path, "")
    assert found == ITEMS and folder.on_demand(Item) == []
    with Journal(tmp_path / "y") as journal:
        journal.append(*ITEMS)
    broken = StageFolder(tmp_path, "x")
    (tmp_path / "y").rename(broken.records_path)
    found = broken.on_demand(Item)
    broken.records_path.write_bytes(b"x" * broken.records_path.stat().st_size)
    with pytest.raises(RunFolderError, match="was changed while it was read"):
        found[0]


def test_choices_and_what_is_made_of_items_are_lazy() -> None:
    """What a stage passes on is made one by one, and ids need no record."""
    asked: list[str] = []

    def made(item: Item) -> str:
        asked.append(item.id)
        return item.text

    stored = spooled(iter(ITEMS), Item)
    long = where(stored, lambda item: len(item.text) > 2)
    texts = Mapped(long, made)
    assert len(texts) == 3 and not asked and texts[1] == ITEMS[4].text and asked == ["i4"]
    assert ids_of(long[1:]) == ["i4", "i5"] == ids_of(ITEMS[4:])
    assert with_ids(long, {"i5", "i0"}) == [ITEMS[5]] and Picked(stored, [3, 3]) == [ITEMS[3]] * 2


def test_a_set_has_the_identity_it_always_had() -> None:
    """Models trained before stand by it."""
    parts = [["a", "ü\n", 1], ["b", "", 2]]
    assert listed_id("set", iter(parts)) == content_id("set", parts)
    assert listed_id("set", iter([])) == content_id("set", [])
