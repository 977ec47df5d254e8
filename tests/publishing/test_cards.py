"""What a dry run writes: cards that say what was measured and whose code runs, and nothing of this machine."""

import contextlib
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

import drp
from drp.errors import DataError, DrpError
from drp.publishing.cards import model_card
from drp.publishing.private import Private, public_name
from drp.publishing.push import Pushed
from drp.publishing.subject import read_subject
from drp.reporting.summary import BenchmarkSummary
from drp.runs.folder import RunFolder
from tests.publishing.runs import change, make_run

pytestmark = pytest.mark.filterwarnings("ignore::drp.errors.OldSpellingWarning")
FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("home-of-somebody") / "mine")


@pytest.fixture(scope="module")
def pushed(run: Path) -> Pushed:
    return drp.push(run, "me/mini-shorter", dry_run=True)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("push"))


def test_only_weights_and_what_loads_them_is_written_and_no_path(
    pushed: Pushed, run: Path, student_path: str
) -> None:
    """An adapter's configuration named the student's folder; training arguments are pickles that hold paths."""
    files = {str(p.relative_to(run / "push")) for p in (run / "push").rglob("*") if p.is_file()}
    usual = {"README.md", "chat_template.jinja", "tokenizer.json", "tokenizer_config.json"}
    assert files == {
        *(f"adapter/{name}" for name in {*usual, "adapter_config.json", "adapter_model.safetensors"}),
        *(f"model/{name}" for name in {*usual, "config.json", "generation_config.json", "model.safetensors"}),
        *("dataset/README.md", "dataset/data/train.jsonl"),
    }
    for path in (run / "push").rglob("*.*"):
        if path.suffix != ".safetensors":
            text = path.read_text()
            assert not any(
                here in text for here in (str(run), student_path, str(Path.cwd()), "local_files_only")
            ), path
    adapter = json.loads((run / "push/adapter/adapter_config.json").read_text())
    assert (
        adapter["base_model_name_or_path"] == "mini"
        and "_name_or_path" not in (run / "push/model/config.json").read_text()
    )
    weights = "train/model/model.safetensors"
    assert (run / weights).samefile(run / "push/model/model.safetensors")  # 15 GB need not lie there twice
    assert [part.part for part in pushed.parts] == ["adapter", "model", "dataset"] and {
        p.url for p in pushed.parts
    } == {None}


def test_front_matter_is_what_the_hub_reads(pushed: Pushed, run: Path) -> None:
    for part, library in (("adapter", "peft"), ("model", "transformers")):
        data = ModelCard.load(run / "push" / part / "README.md").data.to_dict()
        assert (data["library_name"], data["license"], data["datasets"]) == (
            library,
            "apache-2.0",
            ["me/mini-shorter-traces"],
        )
        assert "miniature" in data["tags"] and "base_model" not in data  # which is a hub id or nothing
    data = DatasetCard.load(run / "push/dataset/README.md").data.to_dict()
    assert data["configs"][0]["data_files"] == [{"split": "train", "path": "data/train.jsonl"}]
    assert data["size_categories"] == ["n<1K"] and "miniature" in data["tags"]


def test_a_card_has_protocol_n_intervals_and_limits(pushed: Pushed, run: Path) -> None:
    text = (run / "push/model/README.md").read_text()
    (result,) = pushed_figures(run)
    comparison = result.comparison
    assert comparison is not None and result.after is not None
    low, high = (
        100 * x
        for x in (comparison.accuracy_difference_interval.low, comparison.accuracy_difference_interval.high)
    )
    assert f"| mini-gsm | {comparison.problems} |" in text and f"[{low:.1f}, {high:.1f}]" in text
    assert f"{result.base.tokens_mean:.0f} → {result.after.tokens_mean:.0f}" in text
    said = (
        "**This is a miniature.**",
        "Protocol: 2 runs a problem, temperature 0.6",
        "| teacher | rules |",
        "learning_rate 0.0005",
    )
    assert not [words for words in said if words not in text]
    assert "| 0.079 → 0.196 nats (n = 3) |" in text and "3 examples, 2 steps" in text


def pushed_figures(run: Path) -> tuple[BenchmarkSummary, ...]:
    return read_subject(run, None, None, {}).summary.benchmarks


@pytest.mark.parametrize("part", ["adapter", "model"])
def test_the_code_of_a_card_runs(pushed: Pushed, run: Path, part: str) -> None:
    """A reader copies it as it stands."""
    (code,) = FENCE.findall((run / "push" / part / "README.md").read_text())
    (repo,) = {p.repo for p in pushed.parts if p.part == part}
    code = code.replace(f'"{repo}"', f'"{run / "push" / part}"').replace(
        "max_new_tokens=500", "max_new_tokens=4"
    )
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, {})
    assert "How many shells does Tom have?" in said.getvalue() and "<think>" in said.getvalue()


def test_rows_load_and_every_step_is_in_them(run: Path, pushed: Pushed, tmp_path: Path) -> None:
    from datasets import load_dataset

    rows = load_dataset(str(run / "push/dataset"), split="train", cache_dir=str(tmp_path))
    assert rows.num_rows == 3
    for row in rows:
        edits = row["edits"]
        assert "".join(edit["original"] for edit in edits) == row["original_thinking"]
        left = "".join(e["original"] if e["action"] == "keep" else e["text"] for e in edits)
        assert (
            "".join(left.split()) == "".join(row["thinking"].split())
            and row["tokens_after"] < row["tokens_before"]
        )
        assert all(json.loads(check["figures"]) is not None for check in row["checks"])


def test_a_student_of_the_hub_is_named_with_its_commit(run: Path) -> None:
    subject = read_subject(
        run, "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B@0123abc", None, {"adapter": "me/x"}
    )
    (result,) = subject.summary.benchmarks
    public = result.model_copy(update={"benchmark": "gsm8k"})
    subject = replace(subject, summary=subject.summary.model_copy(update={"benchmarks": (public,)}))
    text = model_card(subject, "adapter")
    data = ModelCard(text).data
    assert (data.base_model, data.base_model_relation) == (
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
        "adapter",
    )
    assert (
        data.license == "mit"
        and 'from_pretrained("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", revision="0123abc"' in text
    )
    assert data.eval_results is not None and result.after is not None
    found = {r.metric_type: r.metric_value for r in data.eval_results if r.dataset_type == "openai/gsm8k"}
    assert found == {
        "accuracy": round(100 * result.after.accuracy, 1),
        "tokens": round(result.after.tokens_mean, 1),
    }
    with pytest.raises(DataError, match="--base as ORG/NAME"):
        read_subject(run, "/models/r1", None, {})


def test_an_unknown_licence_is_left_to_the_publisher_and_said(copy: Path) -> None:
    pushed = drp.push(copy, what=["model", "dataset"], dry_run=True, base="somebody/thinker")
    assert "the licence of the model and the dataset is not known: name it with --license" in pushed.notes
    for part in pushed.parts:
        text = (part.folder / "README.md").read_text()
        assert "**To be filled in by the publisher**" in text and "license" not in yaml.safe_load(
            text.split("---")[1]
        )
    pushed = drp.push(copy, what="dataset", dry_run=True, base="somebody/thinker", licence="cc-by-4.0")
    assert (
        DatasetCard.load(pushed.parts[0].folder / "README.md").data.license == "cc-by-4.0"
        and not pushed.notes
    )


def test_traces_of_a_file_make_a_data_set_too(copy: Path) -> None:
    """`drp prune --traces` leaves no recipe, and nobody knows whose traces they are."""
    (copy / "recipe.json").unlink()
    for stage in ("generate", "train", "evaluate"):
        shutil.rmtree(copy / stage)
    change(
        copy / "prune/manifest.json",
        settings={"prune": {"teacher": {"kind": "edit_script", "model": "/models/big"}}},
    )
    pushed = drp.push(copy, dry_run=True)
    text = (copy / "push/dataset/README.md").read_text()
    assert [part.part for part in pushed.parts] == ["dataset"] and "of **an unnamed student**" in text
    assert "(`edit_script (big)`)" in text and any("name it with --base" in note for note in pushed.notes)
    drp.push(copy, dry_run=True, base="me/thinker")
    assert "# Pruned reasoning traces of me/thinker" in (copy / "push/dataset/README.md").read_text()


def test_a_trace_with_a_key_or_a_path_stays_here(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = copy / "prune/records.jsonl"
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    accepted = [row for row in rows if row["accepted"]]
    accepted[0]["question"] += f" See {copy.absolute()}/notes."
    accepted[1]["question"] += " hf_" + "aB3" * 10
    records.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (part,) = drp.push(copy, what="dataset", dry_run=True).parts
    assert len((part.folder / "data/train.jsonl").read_text().splitlines()) == len(accepted) - 2
    assert "2 accepted traces were left out" in (part.folder / "README.md").read_text()


def test_a_card_that_would_say_a_key_is_not_written(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stood there before stays."""
    drp.push(copy, what="model", dry_run=True)
    before = (copy / "push/model/README.md").read_text()
    monkeypatch.setenv("MY_API_KEY", "correct-horse")
    recipe = json.loads((copy / "recipe.json").read_text())
    change(
        copy / "recipe.json",
        problems=[recipe["problems"][0] | {"benchmark": "correct-horse", "path": "x.jsonl"}],
    )
    with pytest.raises(
        DataError, match=r"README\.md of what would be pushed holds something like a key"
    ) as error:
        drp.push(copy, what="model", dry_run=True)
    assert "correct-horse" not in str(error.value) and (copy / "push/model/README.md").read_text() == before


def test_what_is_not_there_is_said_with_what_makes_it(copy: Path, tmp_path: Path) -> None:
    def said(run: Path, what: str = "model", repo: str | None = "me/x", dry_run: bool = True) -> str:
        with pytest.raises(DrpError) as error:
            drp.push(run, repo, what, dry_run=dry_run)
        return str(error.value)

    assert "is not a run folder" in said(tmp_path / "absent")
    assert "choose of adapter, model, dataset" in said(copy, "weights")
    assert "--repo ORG/NAME, or --dry-run" in said(copy, repo=None, dry_run=False)
    (copy / "train/model/model.safetensors").rename(copy / "train/model/pytorch_model.bin")
    assert "no weights as safetensors" in said(copy)
    (copy / "train/adapter").rename(copy / "train/round-1")
    assert "push --what model" in said(copy, "adapter")
    (copy / "prune/records.jsonl").unlink()
    assert "no pruned traces to push: run `drp prune`" in said(copy, "dataset")
    change(copy / "train/manifest.json", complete=False)
    assert "`drp train` goes on with it" in said(copy)
    assert "HF_HUB_OFFLINE" not in said(
        copy, dry_run=False
    )  # nothing is asked of the hub before all is written
    with RunFolder(tmp_path / "new") as new:
        new.open_stage("generate", {"any": 1})
    with pytest.raises(DataError, match="nothing to push yet"):
        drp.push(tmp_path / "new", dry_run=True)


def test_names_that_are_paths_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "abcdefgh")
    assert public_name("Qwen/Qwen3-4B") == "Qwen/Qwen3-4B" and public_name("gpt-4o") == "gpt-4o"
    assert public_name("/home/ana/models/r1") == "r1" and public_name("../runs/self/train/model") == "self"
    private = Private([tmp_path])
    assert (
        private.found("12/4 = 3, not /root") is None
        and private.found(f"in {tmp_path}") == f"the path {tmp_path}"
    )
    assert private.found("my abcdefgh") == "something like a key" == private.found("sk-proj-" + "x1Y" * 9)
