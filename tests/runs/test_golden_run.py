"""Run folders of earlier versions are read for good: those in ``golden_*`` are as their versions left them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from drp.engines.batch_engine import BatchState
from drp.errors import OldSpellingWarning
from drp.recipe import defining, load_recipe
from drp.records import PrunedTrace, Trace
from drp.reporting.pairing import evaluated_at
from drp.reporting.summary import summarise
from drp.reporting.write import write_report
from drp.runs.folder import RunFolder
from drp.runs.journal import read_records
from drp.runs.manifest import fingerprint_of
from drp.runs.reader import RunReader
from drp.runs.schema import SCHEMA
from drp.runs.upgrades import upgraded_settings
from drp.stages.train import TrainStep
from drp.teachers.replies import StoredReply, WastedReply, read_replies

GOLDEN = sorted(Path(__file__).parent.glob("golden_run*"))
pytestmark = pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)


def assert_among(said: Any, now: Any, where: str = "summary") -> None:
    """See to it that everything said then is said now; more may be said now."""
    if isinstance(said, dict):
        for name, value in said.items():  # type: ignore[misc]
            assert_among(value, now[name], f"{where}.{name}")
    elif isinstance(said, list):
        assert len(said) == len(now), where  # type: ignore[arg-type]
        for one, other in zip(said, now, strict=True):  # type: ignore[arg-type]
            assert_among(one, other, where)
    else:
        assert now == (pytest.approx(said) if isinstance(said, float) else said), where


def in_todays_words(said: dict[str, Any]) -> dict[str, Any]:
    """Version 0.1 called benchmarks tiers, and whatever came after the base distilled."""
    said["benchmarks"] = [{"after": tier.pop("distilled"), **tier} for tier in said.pop("tiers")]
    return said | {"protocol": upgraded_settings(said["protocol"])}


def test_its_figures_are_what_its_own_version_said(golden: Path) -> None:
    """Also the ones that come from what lies beside the records: learnability, seconds, what was wanted."""
    run = RunReader(golden)
    then = in_todays_words(json.loads((golden / "report" / "summary.json").read_text()))
    now = json.loads(summarise(golden, str(run.recipe_name)).model_dump_json())
    assert_among(then, now)
    assert now["prune"]["accepted"] == 3 and len(now["benchmarks"]) == 1


def test_every_file_is_read(golden: Path) -> None:
    """Each record is written again byte for byte as it lies there, apart from the schema and what was added since."""
    run = RunReader(golden)
    kinds = {
        "generate": Trace,
        "prune": PrunedTrace,
        "train": TrainStep,
        "evaluate/base": Trace,
        "evaluate/distilled": Trace,
    }
    for stage, kind in kinds.items():
        manifest, lines = run.manifest(stage), (golden / stage / "records.jsonl").read_text().splitlines()
        assert manifest and manifest.complete and manifest.schema_written == (1, 0)
        for line, record in zip(lines, run.records(stage, kind), strict=True):
            assert_among(json.loads(line), json.loads(record.model_dump_json()), stage)
    assert [failure.kind for failure in run.failures("prune")] == ["excluded_unclosed"]
    replies = list(read_replies(golden / "teacher_replies.jsonl"))
    assert [type(reply) for reply in replies] == [StoredReply, WastedReply]
    assert next(read_records(golden / "teacher_batches.jsonl", BatchState)).batch == "batch-1"


def test_it_is_reported_and_compared(golden: Path, tmp_path: Path) -> None:
    """A report is written into a copy; nothing else there changes."""
    copy = shutil.copytree(golden, tmp_path / "run")
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file() and p.parent.name != "report"}
    page = write_report(copy, "mini-drp").read_text()
    assert "mini-drp" in page and "Before and after" in page
    traces, protocol = evaluated_at(copy)
    assert len(traces) == 6 and protocol.startswith("distilled. Protocol: 2 runs a problem")
    assert {p: p.read_bytes() for p in before} == before


def test_its_recipe_defines_what_stands_there(golden: Path) -> None:
    """Version 0.1 spelt an engine's settings beside its name; with today's spelling its traces would not be drawn again."""
    with pytest.warns(OldSpellingWarning, match=r"generate.batch_size → generate.engine.batch_size"):
        recipe = load_recipe(golden)
    drawn, evaluated = (RunReader(golden).manifest(stage) for stage in ("generate", "evaluate/base"))
    assert drawn and drawn.settings["generate"] == defining(recipe.generate)
    assert evaluated and evaluated.settings["evaluate"] == defining(recipe.evaluate)
    assert drawn.fingerprint == fingerprint_of(drawn.settings)


def test_it_is_gone_on_with(golden: Path, tmp_path: Path) -> None:
    """The same settings continue its stages; from then on they say their schema."""
    copy = shutil.copytree(golden, tmp_path / "run")
    manifest = RunReader(copy).manifest("generate")
    assert manifest
    with RunFolder(copy) as run:
        folder, changes = run.open_stage("generate", manifest.settings)
        folder.update(complete=True, counts=manifest.counts)
    assert changes == [] and len(folder.records(Trace)) == 5
    assert json.loads(folder.manifest_path.read_text())["schema"] == str(SCHEMA)
