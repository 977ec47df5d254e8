"""Engine ``ray`` on a cluster of this machine with two workers: the same records, and nothing lost with a worker or the driver."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drp.benchmarks.registry import ProblemSet, load_problems
from drp.engines.base import Message, Request, Sampling, request_seed
from drp.engines.local import TransformersSettings
from drp.engines.ray_settings import RaySettings
from drp.engines.registry import EngineSettings, Subject
from drp.engines.settings import PromptSettings, StudentSettings
from drp.errors import EngineError, MissingExtraError, out_of_memory
from drp.forecasting.hardware import hardware_of
from drp.planning import forecast_run, plan
from drp.preflight import preflight
from drp.recipe import defining, load_recipe
from drp.recipe.shipped import shipped
from drp.records import Completion, Failure, Trace
from drp.runs.concurrency import run_until_done
from drp.runs.reader import RunReader
from drp.runs.stage import Watched
from tests.engines.tally import TallySettings
from tests.served import collect

SUBJECT = Subject(StudentSettings(device="cpu"), PromptSettings())
STUDENT = TransformersSettings(batch_size=2)
PROBLEMS = load_problems(ProblemSet(benchmark="mini-gsm", count=12))


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster in processes of its own, with room for two workers; ``auto`` finds it from here."""
    ray = pytest.importorskip("ray", reason="made with an older `make setup`")
    from drp.engines.ray_cluster import Cluster
    from drp.engines.ray_settings import ClusterSettings

    held = Cluster(ClusterSettings(address="local", workers=2), 0, print)
    yield str(ray.get_runtime_context().gcs_address)
    held.close([], [])


def asked(*contents: str, **sampling: float) -> list[Request]:
    how = Sampling.model_validate({"max_new_tokens": 64} | sampling)
    return [
        Request(
            id=f"r{n}", messages=(Message(role="user", content=text),), sampling=how, seed=request_seed(1, n)
        )
        for n, text in enumerate(contents)
    ]


def over_ray(engine: EngineSettings, say: Any = print, **settings: Any) -> Any:
    return RaySettings.model_validate({"engine": engine, "workers": 2, **settings}).open(SUBJECT, say)


def answers(engine: Any, requests: list[Request]) -> dict[str, Completion | Failure]:
    async def all_of_them() -> dict[str, Completion | Failure]:
        try:
            return await collect(engine, requests)
        finally:
            await engine.close()

    return run_until_done(all_of_them())


@pytest.mark.long
def test_completions_are_those_of_the_engine_in_process(cluster: str) -> None:
    """Greedy and sampled ones, all fields; and one worker of the two dies in the middle."""
    requests = asked(*(p.question for p in PROBLEMS))
    greedy = Sampling(temperature=0.0, max_new_tokens=64)
    requests[::2] = [request.model_copy(update={"sampling": greedy}) for request in requests[::2]]
    ours = answers(STUDENT.open(SUBJECT), requests)

    async def disturbed() -> dict[str, Completion | Failure]:
        engine, found = over_ray(STUDENT), dict[str, Completion | Failure]()
        assert isinstance(engine, Watched) and engine.name == "student"
        _, pid = engine.cluster.result(engine._places[0].actor.placed.remote())
        async for reply in engine.complete(engine.batches(requests)):
            assert reply.id not in found
            found[reply.id] = reply.outcome
            if len(found) == 1:
                os.kill(pid, signal.SIGKILL)
        assert engine.flying == 0
        _, after = engine.cluster.result(engine._places[0].actor.placed.remote())
        assert after != pid
        await engine.close()
        return found

    assert run_until_done(disturbed()) == ours and len(ours) == len(PROBLEMS)


def test_shares_leave_none_out_and_failures_stay_failures(cluster: str) -> None:
    said: list[str] = []
    requests = asked(*(str(n) for n in range(40)), "refuse")
    found = answers(over_ray(TallySettings(), said.append), requests)
    assert [found[f"r{n}"].answer for n in range(40)] == [str(n) for n in range(40)]  # type: ignore[union-attr]
    refused = found["r40"]
    assert isinstance(refused, Failure) and refused.kind == "odd" and not refused.retry
    assert said == ["note: tally counts"]  # once, not once a worker
    assert answers(over_ray(TallySettings()), []) == {}


def test_what_kills_its_worker_again_and_again_is_set_aside(cluster: str) -> None:
    """All else is answered, though each time another worker dies of it."""
    requests = asked(*(str(n) for n in range(10)), "die", "11", *(str(n) for n in range(12, 30)))
    found = answers(over_ray(TallySettings(), retries=1), requests)
    lost = {i: f for i, f in found.items() if isinstance(f, Failure)}
    assert len(found) == 30 and set(lost) == {"r10", "r11"}  # a batch is one piece
    assert all(f.kind == "worker" and f.retry and "died 2 times" in f.message for f in lost.values())


def test_where_every_worker_dies_one_sentence_says_so(cluster: str) -> None:
    with pytest.raises(
        EngineError, match=r"died 2 times before anything came of it.*the same command goes on"
    ):
        answers(over_ray(TallySettings(), retries=1), asked(*["die"] * 12))


def test_errors_are_those_of_the_engine_in_process(cluster: str) -> None:
    """Ray's wrapping would be no ``DrpError``, and exhausted memory would be answered by a traceback."""
    with pytest.raises(RuntimeError, match=r"^CUDA out of memory") as caught:
        answers(over_ray(TallySettings()), asked("fill", "1"))
    assert out_of_memory(caught.value)
    pytest.importorskip("ray")
    if not _has_vllm():
        with pytest.raises(MissingExtraError, match=r"drp-reasoning\[vllm\]"):
            answers(over_ray(RaySettings.model_validate({"engine": "vllm"}).engine), asked("1"))


def _has_vllm() -> bool:
    from importlib.util import find_spec

    return find_spec("vllm") is not None


def test_another_model_or_none_at_a_workers_path_is_refused(cluster: str) -> None:
    """A folder that only the first node sees, or one of the same name with other weights, must not mix in."""
    from drp.engines.ray_worker import Meant, Worker, meant_by

    meant = meant_by(SUBJECT)
    with pytest.raises(EngineError, match="is another model than here"):
        Worker(STUDENT, SUBJECT, Meant(meant.version, {"content": "of others"})).open()
    gone = Subject(StudentSettings(model="/nowhere/student"), PromptSettings())
    with pytest.raises(EngineError, match=r"has no folder /nowhere/student.*that all nodes see"):
        Worker(STUDENT, gone, meant).open()
    with pytest.raises(EngineError, match=r"has drp .* one version on all nodes"):
        Worker(STUDENT, SUBJECT, Meant("0.0.1", meant.model)).open()


def test_a_cluster_without_room_is_said(cluster: str) -> None:
    said: list[str] = []
    with pytest.raises(EngineError, match=r"no worker of 3 cores each has started .* of 2 CPUs free"):
        answers(over_ray(TallySettings(), said.append, cpus_per_worker=3, wait_s=1), asked("1"))
    assert "room for 0 of 2 workers" in said[0]


# The whole stage, and its driver.

RECIPE = """
name: over ray
problems: [{benchmark: mini-gsm, count: 16}]
student: {device: cpu}
generate: {samples: 1, sampling: {max_new_tokens: 64}, engine: {kind: transformers, batch_size: 2}}
"""


def drp(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "drp", *arguments], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )  # fmt: skip


def traces(run: Path) -> list[Trace]:
    return sorted(RunReader(run).records("generate", Trace), key=lambda t: t.id)


def workers() -> set[int]:
    """Return the processes of actors of this package on this machine's cluster."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::Worker"):
                found.add(int(entry.name))
    return found


@pytest.mark.long
def test_a_run_goes_on_over_ray_and_back_when_its_driver_is_killed(cluster: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    plainly = drp(tmp_path, "generate", "recipe.yaml", "--out", "plain")
    assert plainly.wait() == 0, plainly.communicate()[0]
    spread = json.dumps({"kind": "ray", "address": cluster, "workers": 2, "engine": {"batch_size": 2}})
    command = ("generate", "recipe.yaml", "--out", "run", f"generate.engine={spread}")
    before, killed, deadline = workers(), drp(tmp_path, *command), time.monotonic() + 240
    records = tmp_path / "run" / "generate" / "records.jsonl"
    while not (records.exists() and records.stat().st_size) and killed.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    theirs = workers() - before
    killed.kill()
    killed.wait()
    done = len(traces(tmp_path / "run"))
    assert 0 < done < 16 and theirs
    while workers() & theirs:  # they end with their driver
        assert time.monotonic() < deadline
        time.sleep(0.1)
    again = drp(tmp_path, *command)
    said = again.communicate()[0]
    assert again.returncode == 0 and "settings changed" not in said, said
    drawn = records.read_bytes()
    assert traces(tmp_path / "run") == traces(tmp_path / "plain") and len(traces(tmp_path / "run")) == 16
    # The same stage without Ray: it stands, and nothing is owed.
    back = drp(tmp_path, "generate", "recipe.yaml", "--out", "run")
    said = back.communicate()[0]
    assert back.returncode == 0 and records.read_bytes() == drawn, said
    assert not (tmp_path / "run" / "superseded").exists()


# Without a cluster.


@pytest.mark.parametrize("address", ["127.0.0.1:9", "head"])
def test_an_address_without_a_cluster_is_said_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself tries for a minute, and prints its own words meanwhile."""
    pytest.importorskip("ray", reason="made with an older `make setup`")
    from drp.engines.ray_cluster import _connect
    from drp.engines.ray_settings import ClusterSettings

    with pytest.raises(EngineError, match=rf"there is no Ray cluster at {address}.*ray start --head"):
        _connect(ClusterSettings(address=address))
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(EngineError, match=rf"there is no Ray cluster at {address}"):
        _connect(ClusterSettings())


def test_a_recipe_is_the_same_with_and_without_ray() -> None:
    plain, own = load_recipe(None, []), load_recipe(None, ["generate.engine.batch_size=8"])
    spread = load_recipe(
        None,
        ['generate.engine={"kind": "ray", "workers": 4, "engine": {"batch_size": 8}}', "evaluate.engine=ray"],
    )
    assert defining(plain.generate) == defining(own.generate) == defining(spread.generate)
    assert defining(plain.evaluate) == defining(spread.evaluate)
    other = load_recipe(None, ['generate.engine={"kind": "ray", "engine": "vllm"}'])
    assert defining(other.generate) == defining(load_recipe(None, ["generate.engine=vllm"]).generate)
    for gpus, number_format in ((1, "bfloat16"), (0, "float32")):
        assert RaySettings(gpus_per_worker=gpus).number_format(StudentSettings()) == number_format


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "openai"}, "asks an endpoint"),
        ({"engine": {"kind": "ray"}}, "a cluster of its own"),
        ({"address": "ray://head:10001"}, "run the command on a node"),
        ({"workers": 0}, "one worker or more"),
        ({"engine": {"batchsize": 3}}, "did you mean 'batch_size'"),
    ],
)
def test_settings_that_cannot_work_are_explained(settings: dict[str, Any], message: str) -> None:
    from drp.errors import RecipeError

    with pytest.raises(RecipeError, match=message):
        load_recipe(None, [f"generate.engine={json.dumps({'kind': 'ray', **settings})}"])


def test_ray_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = load_recipe(None, ["generate.engine=ray"])
    monkeypatch.setattr("drp.preflight.find_spec", lambda name: None if name == "ray" else object())
    found = [f.detail for f in preflight(recipe, tmp_path, ("generate",), hub=False) if f.state == "problem"]
    assert found == ["ray is not installed. Install it with: pip install 'drp-reasoning[ray]'"]
    monkeypatch.setattr("drp.engines.ray_settings.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"drp-reasoning\[ray\]"):
        recipe.generate.engine.open(SUBJECT)


def test_a_plan_counts_the_workers(tmp_path: Path) -> None:
    few = load_recipe(None, ["problems.0.count=4", "evaluate.benchmarks=[]", "generate.engine=ray"])
    assert any("by transformers over ray" in line for line in plan(few, tmp_path))
    source = shipped("r1_qwen_1.5b")
    plain, spread = load_recipe(source), load_recipe(source, ["generate.engine=ray"])
    one, four = (
        forecast_run(recipe, tmp_path, hardware_of("h100"), gpus=4).stages[0] for recipe in (plain, spread)
    )
    assert one.gpus == 1 and four.gpus == 4
    assert one.hours and four.hours and 0.25 < four.hours / one.hours < 0.5
