"""Engine ``vllm``. What needs vLLM itself runs in an environment that has it: `make test-vllm`."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from drp.benchmarks.registry import ProblemSet, load_problems
from drp.engines.base import Message, Request, Sampling, request_seed
from drp.engines.registry import ENGINES, Subject
from drp.engines.settings import PromptSettings, StudentSettings
from drp.engines.transformers_engine import TransformersEngine
from drp.engines.vllm_settings import VllmSettings
from drp.errors import EngineError, MissingExtraError
from drp.evaluation.statistics import difference_interval
from drp.evaluation.verdicts import is_right
from drp.grading.grader import Grader
from drp.records import Completion, Problem
from drp.runs.concurrency import run_until_done
from tests.served import collect

SETTINGS = VllmSettings(batch_size=64, eager=True)
PROBLEMS = load_problems(ProblemSet(benchmark="mini-gsm", count=50))


def asked(problem: Problem, **sampling: float) -> Request:
    message = Message(role="user", content=problem.question)
    how = Sampling.model_validate({"max_new_tokens": 800} | sampling)
    return Request(id=problem.id, messages=(message,), sampling=how, seed=request_seed(1, problem.id))


def answers(engine: Any, problems: list[Problem], **sampling: float) -> dict[str, Completion]:
    found = run_until_done(collect(engine, [asked(p, **sampling) for p in problems]))
    assert all(isinstance(outcome, Completion) for outcome in found.values())
    return found  # type: ignore[return-value]


def opened(model: str, *, settings: VllmSettings = SETTINGS, trained: str | None = None) -> Any:
    subject = Subject(
        StudentSettings(model=model, dtype="float32"), PromptSettings(), trained, trained is not None
    )
    return settings.open(subject)


@pytest.fixture(scope="module")
def student(student_path: str) -> TransformersEngine:
    return TransformersEngine(student_path, device="cpu", batch_size=50)


@pytest.fixture(scope="module")
def altered(student_path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student with a generation config that would change everything it writes, greedy completions included."""
    folder = tmp_path_factory.mktemp("altered") / "student"
    shutil.copytree(student_path, folder)
    path = folder / "generation_config.json"
    config = json.loads(path.read_text()) if path.exists() else {}
    config |= {"do_sample": True, "temperature": 0.1, "top_k": 5, "top_p": 0.5, "repetition_penalty": 1.3}
    path.write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def built() -> None:
    """There is a vLLM here, which on a CPU takes 1 GiB for its cache and not most of the machine's memory."""
    pytest.importorskip(
        "vllm", reason="vLLM is not installed here; make test-vllm has an environment with it"
    )
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")


@pytest.fixture(scope="module")
def vllm(built: None, altered: Path) -> Iterator[Any]:
    engine = opened(str(altered))
    yield engine
    run_until_done(engine.close())


def test_greedy_completions_are_those_of_transformers(vllm: Any, student: TransformersEngine) -> None:
    """All fields, so ids, counts and where the thinking ends; under a generation config that would change them."""
    ours = answers(student, PROBLEMS, temperature=0.0)
    theirs = answers(vllm, PROBLEMS, temperature=0.0)
    different = [i for i in ours if ours[i] != theirs[i]]
    assert len(ours) == 50 and not different


def test_sampled_accuracy_and_length_are_those_of_transformers(
    vllm: Any, student: TransformersEngine
) -> None:
    """Both draw from the same distribution by generators of their own, so intervals of paired differences hold 0."""
    ours, theirs = answers(student, PROBLEMS), answers(vllm, PROBLEMS)
    with Grader() as grader:
        gain = [
            float(is_right(theirs[p.id], p, grader)) - float(is_right(ours[p.id], p, grader))
            for p in PROBLEMS
        ]
    right = difference_interval(torch.tensor(gain).double().numpy())
    longer = torch.tensor([
        math.log(theirs[p.id].usage.completion_tokens / ours[p.id].usage.completion_tokens) for p in PROBLEMS
    ])  # fmt: skip
    error = float(longer.std()) / math.sqrt(len(longer))
    print(f"accuracy {right}; log length {float(longer.mean()):+.3f} ± {error:.3f}")
    assert right.low <= 0 <= right.high
    assert abs(float(longer.mean())) < 3 * error
    assert theirs != answers(vllm, PROBLEMS, temperature=0.0)


def test_a_seed_is_a_completion_in_any_company(vllm: Any) -> None:
    together, alone = answers(vllm, PROBLEMS[:8]), answers(vllm, PROBLEMS[:1])
    first = PROBLEMS[0]
    assert alone[first.id] == together[first.id]
    other = asked(first).model_copy(update={"seed": 2**63 - 1})
    assert run_until_done(collect(vllm, [other]))[first.id] != alone[first.id]
    assert run_until_done(collect(vllm, [])) == {}


def test_thinking_that_is_cut_stays_open(vllm: Any) -> None:
    for outcome in answers(vllm, PROBLEMS[:8], max_new_tokens=12).values():
        assert outcome.finish_reason == "length" and outcome.usage.completion_tokens == 12
        assert not outcome.closed and outcome.thinking and outcome.answer == ""
        assert outcome.usage.thinking_tokens == 12


def test_a_prompt_beyond_the_context_is_refused(vllm: Any) -> None:
    long = asked(Problem(question="Ana has 1 card. " * 900, gold="1"))
    with pytest.raises(EngineError, match="2048-token context"):
        run_until_done(collect(vllm, [long]))


def trained(student_path: str, out: Path) -> tuple[str, str]:
    """Save a student, an adapter that changes what it writes, and the model merged from both, as training does.

    The student is kept in float32: a merged model is rounded to the format of the student's file, an adapter is not.
    """
    from peft import LoraConfig, get_peft_model

    from drp.engines.transformers_engine import load_tokenizer
    from drp.training.saving import save_student

    torch.manual_seed(0)
    exact, tokenizer = str(out / "student"), load_tokenizer(student_path)
    model = AutoModelForCausalLM.from_pretrained(student_path, dtype=torch.float32)
    model.save_pretrained(exact)
    tokenizer.save_pretrained(exact)
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.03)
    save_student(tuned, tokenizer, exact, out, "a test")
    return exact, str(out / "model")


def lead_where_they_part(student: TransformersEngine, request: Request, other: Completion) -> float:
    """Return by how many nats a model's next token leads the second, where its greedy text and another part."""
    ids, _ = student._render(request)
    theirs = f"{other.thinking}{student.tags.close}{other.answer}"
    made = student.model.generate(
        torch.tensor([ids]),
        max_new_tokens=300,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    written = made.sequences[0, len(ids) :].tolist()
    for step, logits in enumerate(made.logits):
        text = student.tokenizer.decode(written[: step + 1])
        if not theirs.startswith(text.lstrip()) and student.tags.close not in text:
            best = logits[0].topk(2).values
            return float(best[0] - best[1])
    return math.inf


def test_an_adapter_is_its_merged_model(
    built: None, student_path: str, student: TransformersEngine, tmp_path: Path
) -> None:
    """Added to each layer's output or to its weights: not the same rounding, so a dead heat may fall the other way."""
    exact, model = trained(student_path, tmp_path)
    few, greedy = PROBLEMS[:25], {"temperature": 0.0, "max_new_tokens": 300}
    alone = TransformersEngine(model, device="cpu", batch_size=25)
    merged, base = answers(alone, few, **greedy), answers(student, few, **greedy)
    assert sum(base[i] != merged[i] for i in base) > 10, "an adapter that changes nothing proves nothing"
    engine = opened(exact, settings=SETTINGS.model_copy(update={"lora": True}), trained=model)
    assert engine.adapter == tmp_path / "adapter" and engine.path == exact
    over = answers(engine, few, **greedy)
    run_until_done(engine.close())
    parted = [p for p in few if merged[p.id] != over[p.id]]
    leads = [lead_where_they_part(alone, asked(p, **greedy), over[p.id]) for p in parted]
    print(f"{len(parted)} of {len(few)} differ, where the next token led by {leads} nats")
    assert len(parted) <= 2 and all(lead < 2e-4 for lead in leads)


# Without vLLM.


def test_vllm_is_named_where_it_is_missing(student_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drp.engines.vllm_settings.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"vllm is not installed.*drp-reasoning\[vllm\]"):
        opened(student_path)


def test_settings_are_told_apart_from_arguments_of_vllm() -> None:
    made = ENGINES.read({"kind": "vllm", "extra": {"quantization": "fp8"}}, "transformers")
    assert isinstance(made, VllmSettings) and made.in_process and made.packages == ("vllm",)
    with pytest.raises(ValueError, match="generation_config, max_model_len cannot be set here"):
        VllmSettings(extra={"max_model_len": 100, "generation_config": "auto"})
