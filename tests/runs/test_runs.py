import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drp.errors import RunFolderError
from drp.records import Failure, Keyed, Problem
from drp.runs.folder import RunFolder
from drp.runs.journal import Journal, read_records
from drp.runs.manifest import changed_keys
from drp.runs.stage import run_stage


class Item(Keyed):
    value: int = 0


class Silent:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self, stage: str, done: int, wanted: int) -> None: ...

    def advance(self, items: int, tokens: int = 0) -> None: ...

    def end(self, note: str) -> None:
        self.notes.append(note)


def test_a_torn_last_line_is_cut_and_owed_again(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with Journal(path) as journal:
        journal.append(Item(id="a"), Item(id="b"))
    whole = path.read_bytes()
    for cut in range(1, len(whole)):  # wherever the crash falls
        path.write_bytes(whole[:cut])
        read = [item.id for item in read_records(path, Item)]
        assert read == ["a", "b"][: len(read)]
        with Journal(path) as journal:
            journal.append(Item(id="c"))
        assert [item.id for item in read_records(path, Item)] == [*read, "c"]


def test_a_whole_last_line_without_line_feed_is_a_record_to_reader_and_writer(tmp_path: Path) -> None:
    """The reader counted it as done and the writer then cut it off, so that a paid reply was lost and not owed."""
    path = tmp_path / "records.jsonl"
    path.write_text('{"id":"a","value":1}\n{"id":"b","value":1}')
    assert [item.id for item in read_records(path, Item)] == ["a", "b"]
    with Journal(path) as journal:
        journal.append(Item(id="c"))
    assert path.read_text().count("\n") == 3
    assert [item.id for item in read_records(path, Item)] == ["a", "b", "c"]


@pytest.mark.parametrize("tail", [b'{"id":"b","val', b'{"id":"b\xc3', b"\x00" * 40, b'{"id":"b","value":'])
def test_whatever_a_crash_leaves_behind_is_owed_again(tmp_path: Path, tail: bytes) -> None:
    """Half a record, half a character, the zeros of a disk that lost power: reader and writer pass over the same."""
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"id":"a","value":1}\n' + tail)
    assert [item.id for item in read_records(path, Item)] == ["a"]
    with Journal(path) as journal:
        journal.append(Item(id="b"))
    assert [item.id for item in read_records(path, Item)] == ["a", "b"]


def test_a_whole_last_line_of_another_kind_is_named(tmp_path: Path) -> None:
    """It is no crash's work: passed over by the reader and kept by the writer, it would break the next command."""
    path = tmp_path / "records.jsonl"
    path.write_text('{"id":"a","value":1}\n{"id":3}')
    with pytest.raises(RunFolderError, match="line 2"):
        list(read_records(path, Item))
    with pytest.raises(RunFolderError, match="is a folder"):
        list(read_records(tmp_path, Item))


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"id":"a","value":1}\n{"id":3}\n{"id":"c","value":1}\n')
    with pytest.raises(RunFolderError, match="line 2"):
        list(read_records(path, Item))


def test_identity_is_content() -> None:
    one = Problem(question="q", gold="1", benchmark="a")
    assert one.id == Problem(question="q", gold="1", benchmark="b").id
    assert one.id != Problem(question="q", gold="2").id


async def outcomes(
    owed: set[str], seen: list[set[str]], fail: str = "", retry: bool = False
) -> AsyncIterator[Item | Failure]:
    seen.append(owed)
    for identity in sorted(owed):
        if identity == fail:
            yield Failure(id=identity, stage="s", kind="k", message="m", retry=retry)
        else:
            yield Item(id=identity, value=len(seen))


def run(folder: RunFolder, wanted: list[Item], seen: list[set[str]], **options: object) -> list[Item]:
    stage, _ = folder.open_stage("s", {"x": 1})
    return asyncio.run(run_stage(stage, Item, wanted, lambda owed: outcomes(owed, seen, **options), Silent()))  # type: ignore[arg-type]


def test_owed_is_wanted_minus_done(tmp_path: Path) -> None:
    items = [Item(id=i) for i in "abcd"]
    seen: list[set[str]] = []
    with RunFolder(tmp_path) as folder:
        assert [r.id for r in run(folder, items[:2], seen)] == ["a", "b"]
        again = run(folder, items, seen)
        assert [r.id for r in again] == list("abcd")
        assert [r.value for r in again] == [1, 1, 2, 2]
        run(folder, items, seen)
        manifest = folder.stage("s").manifest()
    assert seen == [{"a", "b"}, {"c", "d"}]
    assert manifest and manifest.complete and manifest.counts["done"] == 4


@pytest.mark.parametrize("retry", [True, False])
def test_failures_are_records_and_only_some_are_tried_again(tmp_path: Path, retry: bool) -> None:
    items, seen = [Item(id=i) for i in "ab"], []
    with RunFolder(tmp_path) as folder:
        assert [r.id for r in run(folder, items, seen, fail="b", retry=retry)] == ["a"]
        (failure,) = folder.stage("s").failures()
        assert failure.kind == "k"
        manifest = folder.stage("s").manifest()
        assert manifest and manifest.complete is not retry
        records = run(folder, items, seen)
    assert seen[1:] == ([{"b"}] if retry else [])
    assert [r.id for r in records] == (["a", "b"] if retry else ["a"])


def test_other_settings_set_records_aside_and_the_old_ones_bring_them_back(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        stage, changes = folder.open_stage("s", {"t": 0.6, "deep": {"a": 1}})
        with stage.journal() as journal:
            journal.append(Item(id="a"))
        assert changes == []
        stage, changes = folder.open_stage("s", {"t": 0.8, "deep": {"a": 2}})
        assert changes == ["deep.a: 1 → 2", "t: 0.6 → 0.8"]
        assert stage.records(Item) == []
        stage, _ = folder.open_stage("s", {"t": 0.6, "deep": {"a": 1}})
        assert [r.id for r in stage.records(Item)] == ["a"]
    assert changed_keys({"a": "x" * 80}, {"a": "y"}) == ["a"]


def test_a_second_process_is_refused_and_a_dead_one_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom drp.runs.folder import RunFolder\n"
        f"with RunFolder(Path({str(tmp_path)!r})):\n    print('in', flush=True)\n    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout and child.stdout.readline() == "in\n"
    with pytest.raises(RunFolderError, match=f"in use by process {child.pid}"), RunFolder(tmp_path):
        pass
    child.kill()
    child.wait()
    with RunFolder(tmp_path):
        pass


@pytest.mark.parametrize("name", ["records.jsonl", "my_thesis.tex"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / name).write_text("{}\n")
    with RunFolder(tmp_path) as folder, pytest.raises(RunFolderError, match="no manifest"):
        folder.open_stage("s", {})
    assert (tmp_path / "s" / name).exists()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunFolderError, match="choose another with --out"), RunFolder(tmp_path / "run"):
        pass


def test_a_crash_before_the_first_manifest_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "manifest.json.tmp").write_text('{"sta')
    with RunFolder(tmp_path) as folder:
        assert folder.open_stage("s", {"a": 1})[1] == []
        assert folder.changes("s", {"a": 1}) == [] and folder.changes("t", {}) is None
        assert folder.changes("s", {"a": 2}) == ["a: 1 → 2"]
        assert folder.stage("s").manifest()  # looking does not move anything


def test_a_model_is_known_by_every_part_of_its_weights(tmp_path: Path) -> None:
    """A changed byte anywhere in a small file, a changed layer anywhere in a large one."""
    from drp.engines.identity import model_identity

    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(5 << 20))
    small = model_identity(str(tmp_path))
    with weights.open("r+b") as file:
        file.seek(3 << 20)
        file.write(b"x")
    assert model_identity(str(tmp_path)) != small
    size = 200 << 20  # sparse: takes no room
    with weights.open("r+b") as file:
        file.truncate(size)
    large = model_identity(str(tmp_path))
    with weights.open("r+b") as file:
        file.seek(90 << 20)
        file.write(b"y" * (8 << 20))
    assert model_identity(str(tmp_path)) != large
