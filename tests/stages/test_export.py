"""What is exported reads back, and another trainer sees the tokens and the mask that ours sees; on the embedded student."""

import json
from pathlib import Path

import pytest
import yaml

import drp
from drp.benchmarks.files import read_traces
from drp.engines.identity import resolve_model
from drp.errors import DataError
from drp.recipe import load_recipe
from drp.stages.training_set import examples_of

THINKING = "So {a} * 24 = {b}. Let me verify that. {b} - {b} + {b} = {b}. Yes. So the answer is {b}."
SETTINGS = ["student.model=mini", "student.device=cpu", "train.epochs=1", "train.rank=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    rows = [
        {
            "id": f"row {a}", "question": f"What is {a} * 24?" + " <|im_end|>" * (a == 6), "gold": str(a * 24), "thinking": THINKING.format(a=a, b=a * 24),
            "answer": f"It is \\boxed{{{a * 24}}}.",
        }
        for a in range(3, 7)
    ]  # fmt: skip
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pruned = drp.prune(load_recipe(None, SETTINGS), traces=folder / "t.jsonl", out=folder / "run")
    assert [p.accepted for p in pruned] == [True] * 4
    return folder / "run"


@pytest.mark.slow
def test_trl_makes_our_ids_and_our_mask_of_what_was_exported(run: Path, tmp_path: Path) -> None:
    """Loss on the prompt, a doubled token at the start or a lost stop token would train something else."""
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from drp.methods.drp import of_pruned
    from drp.records import PrunedTrace
    from drp.runs.folder import StageFolder

    recipe = load_recipe(None, SETTINGS)
    found = drp.export(run, "trl", tmp_path, recipe=recipe)
    student = resolve_model("mini")
    rows = load_dataset("json", data_files=str(found.data), split="train", cache_dir=str(tmp_path / "cache"))
    config = SFTConfig(str(tmp_path / "out"), max_length=None, report_to=[], use_cpu=True, bf16=False)
    tokenizer = AutoTokenizer.from_pretrained(student)
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(student), config, train_dataset=rows, processing_class=tokenizer
    )
    accepted = {p.id: p for p in StageFolder(run / "prune", "prune").stream(PrunedTrace)}
    ours = examples_of(recipe, tokenizer, [of_pruned(accepted[i]) for i in rows["id"]])
    theirs = list(trainer.train_dataset)
    assert [row["input_ids"] for row in theirs] == [example.input_ids for example in ours]
    assert [row["labels"] for row in theirs] == [example.labels for example in ours]


def test_every_format_reads_back_as_the_traces_it_was_made_of(run: Path, tmp_path: Path) -> None:
    """What we write for others, we take from others."""
    pruned = [json.loads(line) for line in (run / "prune" / "records.jsonl").read_text().splitlines()]
    texts = {(p["question"], p["gold"], p["thinking"].strip(), p["answer"].strip()) for p in pruned}
    for form, kept in (("trl", 3), ("sharegpt", 3), ("llamafactory", 3)):
        found = drp.export(run, form, tmp_path / form, overrides=SETTINGS)
        assert found.rows == kept and [*found.left_out.values()] == [1], found  # one spells out <|im_end|>
        card = (tmp_path / form / "README.md").read_text()
        assert f"3 rows in `{found.data.name}`" in card and "control token" in card and str(run) not in card
        if form == "llamafactory":
            rows = [
                {**row, "prompt": row["instruction"], "completion": row["output"]}
                for row in json.loads(found.data.read_text())
            ]
        else:
            text = found.data.read_text()
            rows = (
                json.loads(text) if form == "sharegpt" else [json.loads(line) for line in text.splitlines()]
            )
        again = tmp_path / f"{form}.jsonl"
        again.write_text("".join(json.dumps(row) + "\n" for row in rows))
        read = {
            (t.question, t.gold, t.thinking, t.answer.removesuffix("<|im_end|>")) for t in read_traces(again)
        }
        assert {(q, g, th, a.strip()) for q, g, th, a in read} < texts, form
    info = json.loads((tmp_path / "llamafactory" / "dataset_info.json").read_text())
    assert info["drp"]["file_name"] == "drp.json"
    settings = yaml.safe_load((tmp_path / "llamafactory" / "train.yaml").read_text())
    assert (settings["lora_rank"], settings["learning_rate"], settings["cutoff_len"]) == (2, 3e-5, 4096)


def test_parquet_has_every_edit(run: Path, tmp_path: Path) -> None:
    """Whoever studies what was pruned needs the actions, refused traces included."""
    from pyarrow import parquet

    found = drp.export(run, "parquet", tmp_path)
    rows = parquet.read_table(found.data).to_pylist()
    lines = [json.loads(line) for line in (run / "prune" / "records.jsonl").read_text().splitlines()]
    assert found.rows == 4
    for row, line in zip(rows, lines, strict=True):
        assert row["edits"] == line["script"]["edits"] and row["source_id"] == line["source_id"]
        assert [check["name"] for check in row["checks"]] == [check["name"] for check in line["checks"]]


def test_what_cannot_be_exported_is_said(run: Path, tmp_path: Path) -> None:
    """An empty file would train nothing and say nothing."""
    with pytest.raises(DataError, match="no such format: csv; choose trl, sharegpt, llamafactory, parquet"):
        drp.export(run, "csv", tmp_path)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="no such file or run folder"):
        drp.export(tmp_path / "absent", "trl", tmp_path)
    with pytest.raises(DataError, match=r"none of the 4 texts can be exported: .*max_length=8 tokens"):
        drp.export(run, "trl", tmp_path, overrides=[*SETTINGS, "train.max_length=8"])


@pytest.mark.slow
def test_the_student_trains_on_pruned_traces_of_a_file(run: Path) -> None:
    """They are in the run folder, and nothing was generated there."""
    model = drp.train(load_recipe(None, SETTINGS), out=run)
    assert (model / "model.safetensors").exists()
    manifest = json.loads((run / "train" / "manifest.json").read_text())
    assert manifest["counts"]["examples"] == 4 and not (run / "generate").exists()


def test_chats_and_pairs_are_traces(tmp_path: Path) -> None:
    """Three formats that training sets have, one of them with the thinking kept apart."""
    said = "<think>\n1 + 1 = 2\n</think>\n\nIt is 2."
    asked = {"role": "user", "content": "1 + 1?"}
    rows = [
        {"gold": "2", "messages": [asked, {"role": "assistant", "content": "It is 2.", "reasoning_content": "1 + 1 = 2"}]},
        {"gold": "2", "messages": [{"role": "system", "content": "x"}, asked, {"role": "assistant", "content": said}], "n": 1},
        {"answer": "#### 2", "conversations": [{"from": "human", "value": "1 + 1?"}, {"from": "gpt", "value": said}]},
        {"gold": "2", "prompt": "1 + 1?", "completion": said},
        {"gold": "2", "prompt": [asked], "completion": [{"role": "assistant", "content": said}]},
    ]  # fmt: skip
    notes: list[str] = []
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (trace,) = read_traces(tmp_path / "x.jsonl", notes.append)
    assert (trace.question, trace.gold, trace.thinking, trace.answer, trace.closed) == (
        "1 + 1?",
        "2",
        "1 + 1 = 2",
        "It is 2.",
        True,
    )
    assert "4 of 5 traces repeat" in notes[0]
    (tmp_path / "x.jsonl").write_text(
        json.dumps({"gold": "2", "prompt": "User: 1 + 1?<think>\n", "completion": "1 + "})
    )
    assert not read_traces(tmp_path / "x.jsonl")[0].closed
    (tmp_path / "x.jsonl").write_text(json.dumps({"messages": rows[1]["messages"]}))
    with pytest.raises(DataError, match=r"line 1: .*gold"):
        read_traces(tmp_path / "x.jsonl")
