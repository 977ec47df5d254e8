"""Records evolve: folders of every version of the tool lie side by side, and each reads what it can."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from drp.engines.base import Wasted
from drp.engines.batch_engine import BatchState
from drp.engines.budget import Spend
from drp.errors import NewerSchemaWarning, RunFolderError
from drp.records import Completion, Failure, PrunedTrace, Trace
from drp.reporting.summary import summarise
from drp.runs.folder import RunFolder, StageFolder
from drp.runs.manifest import Manifest
from drp.runs.reader import RunReader
from drp.runs.schema import SCHEMA, Schema
from drp.stages.learnability import Learnability
from drp.stages.reinforce import RlStep
from drp.teachers.replies import StoredReply, WastedReply, read_replies
from tests.reporting.folders import completions, evaluate

NEWER = str(Schema(SCHEMA.major, SCHEMA.minor + 3))
LATER = str(Schema(SCHEMA.major + 1, 0))
REPLY = {
    "id": "reply-1",
    "completion": {"thinking": "", "answer": "1 keep", "closed": True, "finish_reason": "stop"},
    "batch": False,
}


def changed(path: Path, **fields: object) -> None:
    """Give every record of a file more fields, as a newer version would."""
    if path.suffix == ".json":
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
        return
    rows = [{**json.loads(line), **fields} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def stage(tmp_path: Path) -> StageFolder:
    evaluate(tmp_path, "base", completions(6, 3))
    return RunReader(tmp_path).stage("evaluate/base")


def test_a_newer_minor_version_is_read_and_what_was_left_out_is_named(
    tmp_path: Path, stage: StageFolder
) -> None:
    """One more field of a later version made every folder unreadable, as if it were damaged."""
    before = summarise(tmp_path, "x")
    changed(stage.manifest_path, schema=NEWER, mood="good")
    changed(stage.records_path, colour="red", usage={"completion_tokens": 100, "watts": 3})
    said: list[str] = []
    run = RunReader(tmp_path, said.append)
    for _ in range(2):
        assert [t.id for t in run.records("evaluate/base", Trace)] == [t.id for t in completions(6, 3)]
    about = {Path(text.split()[0]).name: text.rpartition(": ")[2] for text in said}
    assert about == {"manifest.json": "mood", "records.jsonl": "colour, usage.watts"} and len(said) == 2
    assert all(f"written by a newer version ({NEWER})" in text for text in said)

    after = summarise(tmp_path, "x")  # a report says so before its figures
    assert after.benchmarks[0].base.accuracy == before.benchmarks[0].base.accuracy and not before.notes
    assert after.notes == tuple(said)
    with pytest.warns(NewerSchemaWarning, match=r"colour, usage\.watts"):  # nobody else to tell
        StageFolder(stage.path, stage.stage).records(Trace)


def test_unknown_fields_that_no_newer_version_explains_are_damage(stage: StageFolder) -> None:
    """Leaving them out under any schema would hide a misspelt field."""
    changed(stage.records_path, colour="red")
    with pytest.raises(RunFolderError, match=r"records\.jsonl, line 1: not a Trace record \(colour"):
        stage.records(Trace)
    changed(stage.manifest_path, mood="good")
    with pytest.raises(RunFolderError, match=r"manifest\.json cannot be read \(mood"):
        stage.manifest()


def test_a_newer_minor_version_that_cannot_be_read_after_all_is_not_called_damaged(
    stage: StageFolder,
) -> None:
    """The message told people to remove the line, which is a good record."""
    changed(stage.manifest_path, schema=NEWER)
    changed(stage.records_path, finish_reason="bored")
    with pytest.raises(RunFolderError, match=f"line 1: a later version .*{NEWER}.*pip install -U"):
        stage.records(Trace)


def test_a_newer_major_version_is_one_clear_error(tmp_path: Path, stage: StageFolder) -> None:
    """It was said to be damaged, with the advice to delete the folder."""
    changed(stage.manifest_path, schema=LATER, settings=[])
    for read in (stage.manifest, stage.failures, lambda: stage.records(Trace)):
        with pytest.raises(RunFolderError, match=rf"manifest\.json: a later version .*{LATER}.*pip install"):
            read()
    replies = tmp_path / "teacher_replies.jsonl"
    replies.write_text(json.dumps(REPLY) + "\n" + json.dumps({**REPLY, "schema": LATER}) + "\n")
    with pytest.raises(RunFolderError, match=f"line 2: a later version .*{LATER}"):
        list(read_replies(replies))


def test_what_a_newer_version_wrote_is_not_added_to(tmp_path: Path, stage: StageFolder) -> None:
    """Its manifest would be rewritten without what this version does not know, and stand for records of both."""
    changed(stage.manifest_path, schema=NEWER, mood="good")
    before = stage.manifest_path.read_bytes()
    with pytest.raises(RunFolderError, match=r"newer version .* can be read here but not added to"):
        evaluate(tmp_path, "base", completions(8, 3))
    assert stage.manifest_path.read_bytes() == before
    evaluate(tmp_path, "base", completions(8, 3), "another student")  # the whole folder moves aside, as it is
    (aside,) = (tmp_path / "superseded").iterdir()
    assert (aside / "manifest.json").read_bytes() == before
    with pytest.raises(RunFolderError, match="not added to"):
        evaluate(tmp_path, "base", completions(8, 3))
    assert aside.exists() and len(stage.done()) == 8


def test_what_an_earlier_version_wrote_is_of_the_first_schema_and_is_added_to(
    tmp_path: Path, stage: StageFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest speaks for the records that this version is about to add, before the first of them is written."""
    assert json.loads(stage.manifest_path.read_text())["schema"] == str(SCHEMA)
    earlier = json.loads(stage.manifest_path.read_text())
    del earlier["schema"]
    stage.manifest_path.write_text(json.dumps(earlier))
    assert stage.schema() == (1, 0)
    monkeypatch.setattr("drp.runs.schema.SCHEMA", Schema(1, 7))
    monkeypatch.setattr("drp.runs.folder.SCHEMA", Schema(1, 7))
    with RunFolder(tmp_path) as run:
        run.open_stage("evaluate/base", earlier["settings"])
    assert stage.schema() == (1, 7) and len(stage.records(Trace)) == 6


def test_replies_say_their_own_schema(tmp_path: Path) -> None:
    """They lie outside every stage folder and outlive all settings: one file holds lines of many versions."""
    path = tmp_path / "teacher_replies.jsonl"
    ours = StoredReply(id="reply-2", completion=Completion.model_validate(REPLY["completion"]))
    wasted = WastedReply.model_validate({"id": "reply-3", "wasted": {"raw": "?", "usage": {}}})
    lines = [json.dumps(REPLY), ours.model_dump_json(), wasted.model_dump_json()]
    newer = {
        **REPLY,
        "id": "reply-4",
        "schema": NEWER,
        "region": "eu",
        "completion": {**REPLY["completion"], "mood": 1},
    }  # type: ignore[dict-item]
    assert all(f'"schema":"{SCHEMA}"' in line for line in lines[1:])
    path.write_text("\n".join([*lines, json.dumps(newer)]) + "\n")
    with pytest.warns(NewerSchemaWarning, match=rf"\({NEWER}\).*: completion\.mood, region$"):
        replies = list(read_replies(path))
    assert [type(r) for r in replies] == [StoredReply, StoredReply, WastedReply, StoredReply]
    state = BatchState(id="file-1", state="uploaded", requests=())
    assert f'"schema":"{SCHEMA}"' in state.model_dump_json()


def test_a_stage_s_other_files_are_of_its_manifest_s_schema(tmp_path: Path, stage: StageFolder) -> None:
    spend = stage.path / "spend.json"
    assert stage.document("spend.json", Spend) is None
    spend.write_text('{"requests": 3, "joules": 4}')
    with pytest.raises(RunFolderError, match=r"spend\.json cannot be read \(joules"):
        stage.document("spend.json", Spend)
    changed(stage.manifest_path, schema=NEWER)
    said: list[str] = []
    assert RunReader(tmp_path, said.append).stage("evaluate/base").document("spend.json", Spend) == Spend(
        requests=3
    )
    assert [text.rpartition(": ")[2] for text in said] == ["joules"]


KINDS: tuple[type[BaseModel], ...] = (
    Manifest, Trace, PrunedTrace, Failure, RlStep, StoredReply, WastedReply, BatchState, Spend, Learnability, Wasted,
)  # fmt: skip
"""All that is written into a run folder, with what lies inside it."""


def fields_of(kinds: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    """Return the names of the fields of records and of the records inside them."""
    found: dict[str, Any] = {}
    for kind in kinds:
        described = kind.model_json_schema()
        for name, part in {kind.__name__: described, **described.get("$defs", {})}.items():
            if "properties" in part:
                found[name] = sorted(part["properties"])
    return dict(sorted(found.items()))


def test_whoever_changes_a_record_changes_the_schema() -> None:
    """A field more is a new minor version, in `drp/runs/schema.py`; a field less or another meaning a major one.

    Write it there, and what is printed here into `golden_fields.json`.
    """
    golden = Path(__file__).parent / "golden_fields.json"
    now = {"schema": str(SCHEMA), "fields": fields_of(KINDS)}
    assert now == json.loads(golden.read_text()), json.dumps(now, indent=1)
