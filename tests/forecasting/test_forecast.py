"""What a run will take: the tables give back what was measured, and what does not fit is told with what would."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from drp.cli.app import app
from drp.errors import DataError, RecipeError
from drp.forecasting.fine_tuning import parts, seconds_to_train
from drp.forecasting.forecast import Forecast, Speeds
from drp.forecasting.hardware import hardware_of
from drp.forecasting.lengths import draw, mean_under
from drp.forecasting.memory import decoding_memory, layers_kept, part_gib, scoring_memory, static_gib
from drp.forecasting.rates import decoding_limit, seconds_to_decode, seconds_to_walk, tokens_computed
from drp.forecasting.schedule import REFILLS, Steps, schedule
from drp.forecasting.shapes import named_shape, shape_of
from drp.forecasting.slurm import sbatch
from drp.forecasting.tables import table
from drp.planning import forecast_run
from drp.probing import Passed, _speeds
from drp.recipe import load_recipe
from drp.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[2]
R1, R1_7B = ROOT / "recipes/r1_qwen_1.5b.yaml", ROOT / "recipes/r1_qwen_7b.yaml"


def _forecast(recipe: Path, gpu: str, *changes: str, gpus: int = 1, limit: int | None = None) -> Forecast:
    return forecast_run(
        load_recipe(recipe, changes), Path("no/run"), hardware_of(gpu), gpus=gpus, limit=limit
    )


def test_the_fit_gives_back_every_measured_row() -> None:
    """A row that the roofline cannot explain would make every forecast from it wrong."""
    measured = table("measured")
    for row in measured["decode"]:
        shape, hardware = named_shape(row["shape"]), hardware_of(row["device"])
        step = Steps(1, row["rows"], row["rows"] * row["span"])
        assert seconds_to_decode(shape, step, hardware) * 1000 == pytest.approx(row["ms"], rel=0.15), row
        assert decoding_limit(shape, step, hardware) * 1000 < row["ms"]
    for row in measured["train"]:
        shape, hardware = named_shape(row["shape"]), hardware_of(row["device"])
        lengths = draw(row["mean"], row["most"], 400)
        took = seconds_to_train(shape, lengths, TrainSettings(**row["settings"]), hardware)
        assert sum(lengths) / took == pytest.approx(row["tokens_per_s"], rel=0.12), row
    for row in measured["walk"]:
        assert tokens_computed(row["tokens"]) == pytest.approx(row["computed"], rel=0.1)


def test_longer_contexts_cost_what_they_did_when_they_were_measured() -> None:
    for row in table("measured")["attend"]:
        shape, h100 = named_shape(row["shape"]), hardware_of(row["device"])
        short, long = (
            seconds_to_decode(shape, Steps(1, row["rows"], row["rows"] * n), h100) for n in row["spans"]
        )
        assert (long - short) * 1000 == pytest.approx(row["ms"][1] - row["ms"][0], rel=0.05)


def test_the_student_teacher_takes_the_seconds_a_trace_that_were_measured() -> None:
    taken = seconds_to_walk(named_shape("r1-1.5b"), [587], hardware_of("h100"))
    assert taken == pytest.approx(0.2125, rel=0.05)
    assert scoring_memory(named_shape("r1-1.5b"), hardware_of("h100"), 587).gib == pytest.approx(
        44.3, rel=0.05
    )


@pytest.mark.parametrize("row", [row for row in table("measured")["train"] if "gib" in row])
def test_training_memory_is_that_measured_on_an_h100(row: dict[str, Any]) -> None:
    """Of a whole step at once, 32,768 tokens, the formula says a fifth more than was measured: on the safe side."""
    shape, settings = named_shape(row["shape"]), TrainSettings(**row["settings"])
    kept = layers_kept(shape, hardware_of("h100"), settings, row["part"])
    peak = part_gib(shape, settings, row["part"], kept)
    assert 0.97 < peak / row["gib"] < (1.2 if settings.device_tokens == 32_768 else 1.15)
    assert (kept == 0) == (settings.checkpointing is True)


def test_a_budget_of_tokens_makes_the_parts_that_training_makes() -> None:
    rows = [4000, *[100] * 7] * 64
    padded = parts(rows, TrainSettings(device_tokens=4096, packing=False), gpu=True)
    assert max(padded) == 4000 and set(padded) <= {4000, *(100 * n for n in range(1, 9))}
    assert (
        max(parts(rows, TrainSettings(device_tokens=1000), gpu=True)) == 4000
    )  # a row of more is a part of its own
    # The trainer groups rows of like length: 8 long ones make a step of their own, padded to nothing.
    assert max(parts(rows, TrainSettings(device_batch=8), gpu=True)) == 32_000
    packed = parts(rows, TrainSettings(device_tokens=32_768), gpu=True)
    assert sum(packed) == sum(rows) and len(packed) == 64
    shared = parts(rows, TrainSettings(device_tokens=32_768), gpu=True, processes=4)
    assert sum(packed) / 4 <= sum(shared) < 0.5 * sum(packed)


def test_four_bits_and_all_weights_change_what_is_held() -> None:
    shape = named_shape("r1-7b")
    plain, four, whole = (
        static_gib(shape, TrainSettings(**more)) for more in ({}, {"quantise": "nf4"}, {"lora": False})
    )
    assert four < 0.45 * plain and whole == pytest.approx(7.62e9 * 18 / 2**30, rel=0.01)
    h100 = hardware_of("h100")
    kept = [layers_kept(shape, h100, TrainSettings(quantise=name), 14_869) for name in ("none", "nf4")]
    assert 0 < kept[0] < kept[1] <= 28


def test_rows_hold_the_pages_they_use_so_more_go_at_once() -> None:
    shape, card = named_shape("qwen3-4b"), hardware_of("h100")
    longest = decoding_memory(shape, card, 64, 128, 12_000, "generate", "generate")
    usual = decoding_memory(shape, card, 64, 128, 12_000, "generate", "generate", draw(1376, 12_000, 512))
    assert usual.slots == 64 and longest.slots and longest.slots < 64
    assert usual.gib < card.memory and not usual.advice and "about" in longest.advice


def test_shapes_have_their_published_sizes_and_a_folder_is_read() -> None:
    sizes = {"r1-1.5b": 1.78, "r1-7b": 7.62, "qwen3-1.7b": 1.72, "qwen3-4b": 4.02}
    for name, billions in sizes.items():
        assert named_shape(name).weights / 1e9 == pytest.approx(billions, abs=0.01)
    assert shape_of("mini").model_copy(update={"name": "mini"}) == named_shape("mini")


def test_a_config_that_says_too_little_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs its config\.json"):
        shape_of(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 64, "num_attention_heads": 4}))
    with pytest.raises(DataError, match="num_hidden_layers, intermediate_size, vocab_size"):
        shape_of(str(tmp_path))


def test_lengths_have_the_mean_they_were_measured_with() -> None:
    lengths = draw(6516, 12000, 4096)
    assert sum(lengths) / 4096 == pytest.approx(6516, rel=0.01) and max(lengths) == 12000
    assert sum(draw(6516, 4000, 4096, cut=12000)) / 4096 == pytest.approx(
        mean_under(6516, 4000, 12000), rel=0.01
    )


def test_slots_are_refilled_on_a_gpu_and_not_on_a_cpu() -> None:
    """Two slots, rows of 4, 2 and 3 tokens: refilled, the third starts at 2 and ends at 5; in batches of two it starts at 4."""
    engine = (
        ROOT / "src/drp/engines/transformers_engine.py"
    ).read_text()  # read, not imported: it loads torch
    paged = (ROOT / "src/drp/engines/pages.py").exists()
    assert f"\nREFILLS = {REFILLS}\n" in engine or not paged
    assert schedule([4, 2, 3], 2, 2, 0, gpu=True).steps == 5
    cpu = schedule([4, 2, 3], 2, 2, 0, gpu=False)
    assert (cpu.steps, cpu.rows) == (7, 9)
    assert schedule([], 2, 2, 0, gpu=True) == Steps()


def test_more_hardware_takes_less_time_and_never_less_than_the_limit() -> None:
    slow, fast = _forecast(R1, "rtx4090"), _forecast(R1, "h100")
    for one, other in zip(slow.stages, fast.stages, strict=True):
        assert one.hours and other.hours and one.hours > other.hours
        assert one.share is None or other.share is None or 0 < other.share < one.share < 1
    assert fast.usd == pytest.approx(2.5 * fast.gpu_hours)


def test_what_does_not_fit_is_told_with_what_would() -> None:
    small = "memory=20,bandwidth=0.9,flops=100"
    found = _forecast(R1_7B, small)
    train = next(stage for stage in found.stages if stage.stage == "train")
    assert not train.fits
    (advice,) = [line for line in found.advice if line.startswith("train:")]
    mended = _forecast(R1_7B, small, *advice.removeprefix("train: set ").split(" and "))
    assert next(stage for stage in mended.stages if stage.stage == "train").fits, advice
    tiny = _forecast(R1_7B, "memory=12,bandwidth=0.9,flops=100")
    assert any("the weights alone take 14.2 of 12 GiB" in line for line in tiny.advice)
    with pytest.raises(RecipeError, match="no Slurm script is written, since generate, prune, train"):
        sbatch(tiny, [str(R1_7B)], Path("runs/x"))


@pytest.mark.parametrize(
    ("gpu", "changes", "named"),
    [
        ("h100", ["train.checkpointing=false"], "train.checkpointing=auto"),
        ("h100", ["train.lora=false"], "train.lora=true"),
        ("rtx4090", [], "train.device_tokens="),
        ("rtx4090", ["train.device_tokens=null", "train.device_batch=8"], "train.device_batch="),
        ("memory=14,bandwidth=1,flops=100", [], "train.quantise=nf4"),
        ("memory=7.6,bandwidth=1,flops=100", [], "lower train.max_length to"),
    ],
)  # fmt: skip
def test_training_advice_names_a_setting_of_today_that_does(gpu: str, changes: list[str], named: str) -> None:
    found = _forecast(R1_7B, gpu, *changes)
    (advice,) = [line for line in found.advice if line.startswith("train: ")]
    assert named in advice and not next(stage for stage in found.stages if stage.stage == "train").fits
    said = re.findall(r"train\.\w+(?:=| to )\w+", advice)
    mended = _forecast(R1_7B, gpu, *changes, *[one.replace(" to ", "=") for one in said])
    assert next(stage for stage in mended.stages if stage.stage == "train").fits, advice


def test_settings_that_cost_time_for_nothing_are_named() -> None:
    rows = _forecast(R1, "h100", "train.device_tokens=null", "train.device_batch=2")
    assert any("train.device_tokens=16384 fits too" in line for line in rows.advice)
    again = _forecast(R1, "h100", "train.checkpointing=true")
    assert any("train.checkpointing=auto gives the same result" in line for line in again.advice)
    plain = _forecast(R1, "h100")
    (more,) = [line for line in plain.advice if line.startswith("generate: ")]
    wider = _forecast(R1, "h100", more.split()[1])
    assert (
        wider.stages[0].hours
        and plain.stages[0].hours
        and wider.stages[0].hours < 0.8 * plain.stages[0].hours
    )


@pytest.mark.parametrize("name", ["r1_qwen_1.5b/paper", "r1_qwen_7b", "qwen3_1.7b", "science"])
def test_the_head_of_a_recipe_says_what_is_forecast_of_it(name: str) -> None:
    """Whoever replaces a measured row is told to say so where people read it: `drp plan` has the new figures."""
    path = ROOT / f"recipes/{name}.yaml"
    said = re.search(r"# Forecast, not measured \(drp plan (\S+)\): ([\d.]+) hours", path.read_text())
    assert said and ROOT / said[1] == path
    assert _forecast(path, "h100").hours == pytest.approx(float(said[2]), abs=0.06)


def test_only_training_uses_several_gpus() -> None:
    found = _forecast(R1, "h100", "train.processes=auto", gpus=4)
    assert {stage.stage: stage.gpus for stage in found.stages}["train"] == 4
    assert sum(stage.gpus for stage in found.stages) == 4 + 4
    assert any("train.processes=auto" in line for line in _forecast(R1, "h100", gpus=4).advice)


def test_traces_on_file_are_believed_before_any_table() -> None:
    golden = ROOT / "tests/runs/golden_run"
    found = forecast_run(load_recipe(golden), golden, hardware_of("cpu"))
    assert any("traces on file" in line for line in found.sources)


def test_a_probe_is_a_line_through_two_sizes() -> None:
    few, more = (
        [Passed("train", 2.0, 9.0), Passed("prune", 1.0, 4.0)],
        [Passed("train", 6.0, 17.0), Passed("prune", 3.0, 3.9)],
    )
    speeds = _speeds([few, more])
    assert speeds == Speeds(
        {"train": 2.0, "prune": pytest.approx(1.3)}, {"train": 5.0, "prune": pytest.approx(0.0)}
    )
    assert speeds.seconds("train", 10.0, hardware_of("cpu")) == 25.0


@pytest.mark.parametrize(
    "text", ["gtx480", "memory=48", "memory=-1,bandwidth=1,flops=1", "memory=x,bandwidth=1,flops=1", "a=b"]
)
def test_hardware_that_is_not_known_is_explained(text: str) -> None:
    with pytest.raises(RecipeError, match="memory=GIB,bandwidth=TB_PER_S,flops=TFLOPS"):
        hardware_of(text)


def test_the_slurm_script_sends_each_stage_after_the_one_before(tmp_path: Path) -> None:
    """Run for real, with a `sbatch` that notes what it is asked for."""
    script, log, fake = tmp_path / "run.sh", tmp_path / "log", tmp_path / "sbatch"
    fake.write_text(f'#!/bin/bash\necho "$@" >> {log}\necho "$(wc -l < {log})7;cluster"\n')
    fake.chmod(0o755)
    out = tmp_path / "a run"
    arguments = [
        "plan",
        str(R1),
        "train.processes=auto",
        "--gpus",
        "4",
        "--slurm",
        str(script),
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", str(script)], env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    asked = log.read_text().splitlines()
    assert [line.split("--wrap=")[1].split()[1] for line in asked] == [
        "generate",
        "prune",
        "train",
        "evaluate",
    ]
    assert ["afterok:17" in asked[1], "afterok:27" in asked[2], "afterok" in asked[0]] == [True, True, False]
    assert "--gres=gpu:4" in asked[2] and "--gres=gpu:1" in asked[0] and f"--out '{out}'" in asked[3]


def test_the_command_loads_no_torch_and_names_its_sources() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom drp.cli.app import app\n"
        f"done = CliRunner().invoke(app, ['plan', {str(R1)!r}, '--gpu', 'a100-80'])\n"
        "print(done.exit_code, 'torch' in sys.modules)\nprint(done.output)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("0 False\n"), done.stdout + done.stderr
    assert "published: arXiv 2505.13975" in done.stdout and "A forecast from tables" in done.stdout


@pytest.mark.slow
def test_a_probe_runs_the_embedded_student_and_says_what_it_left_out() -> None:
    from drp.probing import probe_run
    from drp.runs.stage import NoProgress

    short = [
        "generate.sampling.max_new_tokens=40",
        "evaluate.sampling.max_new_tokens=40",
        "prune.teacher=rules",
    ]
    recipe = load_recipe(ROOT / "recipes/demo.yaml", [*short, "evaluate.benchmarks=[{benchmark: mini-gsm}]"])
    said: list[str] = []
    found, speeds = probe_run(recipe, hardware_of("cpu"), NoProgress(), said.append, sizes=(1, 3))
    assert len(said) == 2 and 0 < found.longer <= 1.2
    assert set(speeds.factor) == {"generate", "evaluate/base"}  # unfinished traces: nothing to train on
    probed = forecast_run(recipe, Path("no/run"), hardware_of("cpu"), limit=9, found=found, speeds=speeds)
    assert probed.probed and 0 < probed.hours < 1
