"""The whole job on the real student: end to end, changed settings, and ten SIGKILLs."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drp.grading import VERSION as GRADER
from drp.records import Trace
from drp.runs.folder import StageFolder
from tests.reporting.page.reading import documents

ROOT = Path(__file__).resolve().parent.parent
DRP = [sys.executable, "-c", "from drp.cli.app import main; main()"]
RECIPE = str(ROOT / "recipes" / "mini.yaml")
QUICK = ["problems.0.count=24", "evaluate.benchmarks=[{benchmark: mini-gsm, count: 12}]", "train.epochs=1"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def drp(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [*DRP, *arguments], capture_output=True, text=True, env=ENVIRONMENT, timeout=400, check=False
    )
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


def records(path: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (path / "records.jsonl").read_text().splitlines()]
    return sorted(rows, key=lambda row: str(row["id"]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("job") / "run"
    result = drp("run", RECIPE, *QUICK, "--out", str(out))
    assert "Before and after" in result.stdout and result.stdout.count("report.html") == 1
    assert "FutureWarning" not in result.stderr and "Loading weights" not in result.stderr
    return out


def test_every_stage_leaves_its_folder(finished: Path) -> None:
    for stage in ("generate", "prune", "train", "evaluate/base", "evaluate/distilled"):
        manifest = json.loads((finished / stage / "manifest.json").read_text())
        assert manifest["complete"] and manifest["fingerprint"], stage
        assert manifest["versions"]["transformers"]
    assert len(records(finished / "generate")) == 24
    assert (finished / "train" / "model" / "model.safetensors").exists()
    assert (finished / "train" / "adapter" / "adapter_model.safetensors").exists()
    learnability = json.loads((finished / "train" / "learnability.json").read_text())
    assert 0 < learnability["own_trace"] < learnability["pruned"]
    pruned = records(finished / "prune")
    failed = (finished / "prune" / "errors.jsonl").read_text().splitlines()
    assert len(pruned) + len(failed) == 24
    page = (finished / "report" / "report.html").read_text()
    actions = {step["action"] for document in documents(page) for step in document.get("steps", ())}
    assert "delete" in actions and 'class="bars after"' in page and 'class="line loss"' in page
    assert "mini-gsm" in (finished / "report" / "report.md").read_text()


def test_the_same_command_again_does_nothing_twice(finished: Path) -> None:
    stages = ("generate", "prune", "train", "evaluate/base", "evaluate/distilled")
    before = {s: (finished / s / "records.jsonl").read_bytes() for s in stages}
    result = drp("run", RECIPE, *QUICK, "generate.engine.batch_size=5", "--out", str(finished))
    assert before == {s: (finished / s / "records.jsonl").read_bytes() for s in stages}
    assert "already trained" in result.stdout and "changed" not in result.stdout


@pytest.mark.long
def test_a_setting_that_matters_reruns_its_stage_and_what_follows(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    generated = (run / "generate" / "records.jsonl").read_bytes()
    result = drp("prune", RECIPE, *QUICK, "prune.answer=short", "--out", str(run))
    assert "prune: settings changed" in result.stdout and "answer: keep → short" in result.stdout
    assert (run / "generate" / "records.jsonl").read_bytes() == generated
    result = drp("train", RECIPE, *QUICK, "prune.answer=short", "--out", str(run))
    assert "train: settings changed" in result.stdout
    # Going back brings the earlier records back instead of making them again.
    result = drp("prune", RECIPE, *QUICK, "--out", str(run))
    assert "left out" in result.stdout
    assert any(p.name.startswith("prune-") for p in (run / "superseded").iterdir())
    # Training was begun anew, so what was evaluated is another model's.
    refused = drp("compare", str(finished), str(run), check=False)
    assert refused.returncode == 1 and "not the one that stands in train/" in refused.stderr


def test_stages_out_of_order_say_what_is_missing(tmp_path: Path) -> None:
    result = drp("train", RECIPE, "--out", str(tmp_path / "r"), check=False)
    assert result.returncode == 1
    assert "run `drp prune`" in result.stderr or "run `drp generate`" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_comparison_grades_by_one_version_and_says_when_protocols_differ(
    finished: Path, tmp_path: Path
) -> None:
    """Verdicts of two graders stood side by side, and a run on a GPU beside one on a CPU, with no word."""
    other = tmp_path / finished.name
    shutil.copytree(finished, other)
    same = drp("compare", str(finished), str(other))
    assert same.returncode == 0 and "NOT ONE PROTOCOL" not in same.stdout
    folder = StageFolder(other / "evaluate/distilled", "evaluate/distilled")
    wrong = [t.model_copy(update={"correct": not t.correct}) for t in folder.records(Trace)]
    folder.records_path.write_text("".join(t.model_dump_json() + "\n" for t in wrong))
    manifest = json.loads(folder.manifest_path.read_text())
    manifest["settings"]["dtype"], manifest["graded_by"] = "bfloat16", GRADER - 1
    folder.manifest_path.write_text(json.dumps(manifest))
    said = drp("compare", str(finished), str(other))
    assert "NOT ONE PROTOCOL" in said.stdout and "Graded here by" in " ".join(said.stdout.split())

    def figures(printed: str) -> list[list[str]]:
        return [row.split()[-4:] for row in printed.splitlines() if "mini-" in row]

    assert figures(said.stdout) == figures(same.stdout) != []


def test_compare_reads_two_runs(finished: Path) -> None:
    result = drp("compare", str(finished), str(finished))
    assert "mini-gsm" in result.stdout and "+0.0" in result.stdout and "+0 [+0, +0]" in result.stdout


@pytest.mark.long
def test_a_killed_training_goes_on_from_its_checkpoint(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "generate", tmp_path / "generate")
    shutil.copytree(finished / "prune", tmp_path / "prune")
    long = [*QUICK, "train.epochs=3", "train.save_steps=2"]
    arguments = ["train", RECIPE, *long, "--out", str(tmp_path)]
    process = subprocess.Popen([*DRP, *arguments], stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    log = tmp_path / "train" / "records.jsonl"
    while not (log.exists() and log.read_text().count("\n") >= 4):
        assert process.poll() is None, "training ended before it could be killed"
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert list((tmp_path / "train" / "checkpoints").glob("checkpoint-*"))
    drp(*arguments)
    killed = [json.loads(line) for line in log.read_text().splitlines()]
    assert [r["step"] for r in killed] == list(range(1, len(killed) + 1))
    shutil.rmtree(tmp_path / "train")
    drp(*arguments)
    calm = [json.loads(line) for line in log.read_text().splitlines()]
    assert [r["loss"] for r in killed] == pytest.approx([r["loss"] for r in calm], abs=2e-3)


def kill_at_random(arguments: list[str], log: Path, rng: random.Random, most: int, kills: int) -> int:
    """Start the command and SIGKILL it, so many times; return how many died before they ended.

    A third of the kills fall while it starts up, the others after up to ``most`` more records, so that the
    kills spread over the whole job however fast the machine is.
    """
    died = 0
    for _ in range(kills):
        before = log.read_bytes().count(b"\n") if log.exists() else 0
        process = subprocess.Popen(
            [*DRP, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
        )
        if rng.random() < 0.33:
            time.sleep(rng.uniform(0.3, 2.0))
        else:
            target = before + rng.randint(1, most)
            while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= target):
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        died += process.wait() == -signal.SIGKILL
    return died


@pytest.mark.long
def test_six_kills_of_generate_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    small = ["problems.0.count=60", "generate.engine.batch_size=4", "generate.sampling.max_new_tokens=190"]

    def generate(name: str) -> list[str]:
        return ["generate", RECIPE, *small, "--out", str(tmp_path / name)]

    drp(*generate("calm"))
    log = tmp_path / "killed" / "generate" / "records.jsonl"
    assert kill_at_random(generate("killed"), log, random.Random(11), most=12, kills=6) >= 5
    drp(*generate("killed"))
    assert records(tmp_path / "killed" / "generate") == records(tmp_path / "calm" / "generate")


@pytest.mark.long
def test_ten_kills_of_prune_lose_nothing_and_do_nothing_twice(finished: Path, tmp_path: Path) -> None:
    def prune(name: str) -> list[str]:
        return ["prune", "--traces", str(tmp_path / "traces.jsonl"), "--out", str(tmp_path / name)]

    rows = [r for r in records(finished / "generate") if r["closed"]]
    many = [{**r, "question": f"{r['question']} ({i})"} for i in range(1 + 1000 // len(rows)) for r in rows]
    keep = ("question", "gold", "thinking", "answer", "closed", "id")
    (tmp_path / "traces.jsonl").write_text("".join(json.dumps({k: r[k] for k in keep}) + "\n" for r in many))
    drp(*prune("calm-prune"))
    log = tmp_path / "killed-prune" / "prune" / "records.jsonl"
    assert kill_at_random(prune("killed-prune"), log, random.Random(12), most=80, kills=10) >= 8
    drp(*prune("killed-prune"))
    for name in ("records.jsonl", "errors.jsonl"):
        calm = sorted((tmp_path / "calm-prune" / "prune" / name).read_text().splitlines())
        killed = sorted((tmp_path / "killed-prune" / "prune" / name).read_text().splitlines())
        assert calm == killed and len(set(killed)) == len(killed)
    assert len(records(tmp_path / "calm-prune" / "prune")) > 500
