"""lm-eval with our tasks says the same about the embedded student as `drp evaluate`, problem by problem."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import drp.evaluation.lm_eval as package
from drp.benchmarks.completions import read_completions
from drp.benchmarks.mini_world import TIERS
from drp.benchmarks.public import PUBLIC
from drp.evaluation.lm_eval.tasks import grade, load
from drp.evaluation.verdicts import grade_traces
from drp.recipe import PROTOCOLS
from drp.records import Trace
from drp.runs.folder import StageFolder

FOLDER = Path(package.__file__).parent
COUNT, CUT = 16, 300


def call(*command: str) -> str:
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=quiet)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.long
def test_lm_eval_and_drp_agree_problem_by_problem(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    student = Path(package.__file__).parents[2] / "mini" / "student"
    folder = call(sys.executable, "-c", "from drp.cli.app import main; main()", "tasks").strip()
    call(
        sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--batch_size", "16",
        "--model_args", f"pretrained={student},dtype=float32", "--tasks", "drp_mini_gsm,drp_mini_math",
        "--include_path", folder, "--apply_chat_template", "--log_samples", "--output_path", str(tmp_path / "lm"),
        "--gen_kwargs", f"temperature=0,do_sample=False,max_gen_toks={CUT}", "--metadata", json.dumps({"count": COUNT}),
    )  # fmt: skip
    call(
        sys.executable, "-c", "from drp.cli.app import main; main()", "evaluate", "recipes/mini.yaml",
        f"evaluate.benchmarks=[{{benchmark: mini-gsm, count: {COUNT}}}, {{benchmark: mini-math, count: {COUNT}}}]",
        "evaluate.sampling.temperature=0", "evaluate.sampling.top_p=1.0",
        f"evaluate.sampling.max_new_tokens={CUT}", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    ours = {
        t.problem_id: t for t in StageFolder(tmp_path / "run" / "evaluate/base", "evaluate").records(Trace)
    }
    theirs: dict[str, bool] = {}
    read: dict[str, Trace] = {}
    for file in sorted(tmp_path.glob("lm/*/samples_*.jsonl")):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        theirs |= {row["doc"]["problem_id"]: row["accuracy"] == 1.0 for row in rows}
        read |= {t.problem_id: t for t in grade_traces(read_completions(file))}
    assert len(ours) == len(theirs) == 2 * COUNT
    assert {i: t.correct for i, t in ours.items()} == theirs
    assert 0 < sum(theirs.values()) < 2 * COUNT  # neither all nor none: the agreement says something
    # What `drp grade` reads from lm-eval's log is the same completion with the same verdict.
    assert {i: (t.thinking, t.answer, t.closed, t.correct) for i, t in read.items()} == {
        i: (t.thinking, t.answer, t.closed, t.correct) for i, t in ours.items()
    }
    assert {t.benchmark for t in read.values()} == {"mini-gsm", "mini-math"}


def test_every_benchmark_has_a_task_with_the_recommended_protocol() -> None:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: node.value)
    shared = yaml.load((FOLDER / "_shared_yaml").read_text(), Loader)
    sampling = PROTOCOLS["recommended"]["sampling"]
    assert shared["generation_kwargs"]["temperature"] == sampling["temperature"]
    assert shared["generation_kwargs"]["top_p"] == sampling["top_p"]
    assert shared["generation_kwargs"]["max_gen_toks"] == sampling["max_new_tokens"]
    found: dict[str, str] = {}
    for file in FOLDER.glob("*.yaml"):
        task = yaml.load(file.read_text(), Loader)
        assert task["task"] == file.stem and task["include"] == "_shared_yaml"
        found[task["dataset_kwargs"]["benchmark"]] = task["dataset_kwargs"]["directive"]
    tested = {name for name, public in PUBLIC.items() if "test" in public.splits}
    assert set(found) == tested | set(TIERS)
    assert {found[name] for name in tested} == {PROTOCOLS["recommended"]["template"]}


def test_the_task_functions_load_local_files_and_grade_every_run(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"problem": "Half of 1?", "answer": "\\\\frac{1}{2}"}\n')
    docs = load(benchmark="math500", directive="{question}!", path=str(file), version=1)["test"]
    assert docs[0]["prompt"] == "Half of 1?!" and docs[0]["gold"] == "\\frac{1}{2}"
    right, open_end = "so\n</think>\n\n\\boxed{0.5}", "so \\boxed{0.5}, but wait"
    assert grade(docs[0], [[right, open_end]]) == {"accuracy": 0.5, "closed": 0.5}
    plain = load(benchmark="math500", directive="{question}", path=str(file), thinking=False)["test"][0]
    assert grade(plain, [[open_end]]) == {"accuracy": 1.0, "closed": 1.0}
