import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from drp.engines.encoding import render_prompt
from drp.errors import TrainingError
from drp.training.examples import Example, build_example, render_response, within_limit
from drp.training.learnability import mean_nll
from drp.training.settings import StudentModel, TrainSettings
from drp.training.sft import fine_tune

ASK = [
    {
        "role": "user",
        "content": "Ana has 12 shells. Ben has 3 more shells than Ana. How many shells does Ben have?",
    }
]
THINKING, ANSWER = "Ben has 3 more, so 12 + 3 = 15.", "The answer is \\boxed{15}."


@pytest.fixture(scope="module")
def tokenizer(student_path: str) -> Any:
    return AutoTokenizer.from_pretrained(student_path)


def test_the_template_alone_would_lose_the_thinking(tokenizer: Any) -> None:
    turn = {"role": "assistant", "content": f"{THINKING}\n</think>\n\n{ANSWER}"}
    assert THINKING not in tokenizer.apply_chat_template([*ASK, turn], tokenize=False)


def test_trained_tokens_are_the_response_and_the_stop_token_exactly(tokenizer: Any) -> None:
    example = build_example(tokenizer, "e", ASK, THINKING, ANSWER)
    prompt = tokenizer.apply_chat_template(ASK, add_generation_prompt=True, tokenize=False)
    trained = [t for t, label in zip(example.input_ids, example.labels, strict=True) if label != -100]
    masked = [t for t, label in zip(example.input_ids, example.labels, strict=True) if label == -100]
    assert tokenizer.decode(masked) == prompt
    assert prompt.endswith("<think>\n")
    assert tokenizer.decode(trained) == f"{THINKING}\n</think>\n\n{ANSWER}<|im_end|>"
    assert trained[-1] == tokenizer.eos_token_id
    # The prompt's ids are those the engine sends, so training and serving agree.
    assert masked == tokenizer(prompt, add_special_tokens=False)["input_ids"]


def test_a_template_that_does_not_open_the_tag_gets_it_once(tokenizer: Any) -> None:
    assert render_response("assistant\n", THINKING, ANSWER).startswith("<think>\n" + THINKING)
    assert not render_response(render_prompt(tokenizer, ASK), THINKING, ANSWER).startswith("<think>")


def test_no_stop_token_is_an_error(tokenizer: Any, student_path: str) -> None:
    bare = AutoTokenizer.from_pretrained(student_path)
    bare.eos_token = None
    with pytest.raises(TrainingError, match="eos_token"):
        build_example(bare, "e", ASK, THINKING, ANSWER)


def test_over_length_examples_are_told_apart() -> None:
    short, long = Example("a", [1] * 5, 2), Example("b", [1] * 9, 2)
    assert within_limit([short, long], 5) == ([short], [long])


def test_learnability_is_the_nll_of_the_response_alone(tokenizer: Any, student_path: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(student_path, dtype=torch.float32).eval()
    examples = [
        build_example(tokenizer, "a", ASK, THINKING, ANSWER),
        build_example(tokenizer, "b", ASK, "Zebra quantum.", "It is \\boxed{15}."),
    ]
    total, count = 0.0, 0
    for example in examples:
        with torch.no_grad():
            logits = model(torch.tensor([example.input_ids])).logits[0].log_softmax(-1)
        for i in range(example.prompt_length, len(example.input_ids)):
            total -= float(logits[i - 1, example.input_ids[i]])
            count += 1
    assert mean_nll(model, examples) == pytest.approx(total / count, rel=1e-4)
    assert mean_nll(model, examples[1:]) > 2 * mean_nll(model, examples[:1])


def test_fine_tuning_learns_and_saves_adapter_and_merged_model(
    tokenizer: Any, student_path: str, tmp_path: Path
) -> None:
    examples = [
        build_example(tokenizer, str(i), ASK, f"Ben: 12 + 3 = 15, case {i}.", ANSWER) for i in range(8)
    ]
    steps: list[dict[str, float]] = []
    settings = TrainSettings(
        rank=8, alpha=16, learning_rate=2e-3, epochs=4, effective_batch=4, device_batch=4
    )
    fine_tune(
        StudentModel(student_path, "cpu"),
        examples,
        settings,
        tmp_path,
        listen=lambda s, n, f: steps.append(f),
    )
    assert len(steps) == 8 and all(math.isfinite(f["loss"]) for f in steps)
    assert steps[-1]["loss"] < 0.7 * steps[0]["loss"]
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["r"] == 8
    assert not (tmp_path / "checkpoints").exists()
    base = AutoModelForCausalLM.from_pretrained(student_path, dtype=torch.float32).eval()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    assert mean_nll(merged, examples) < 0.6 * mean_nll(base, examples)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template == tokenizer.chat_template


def test_nothing_to_train_on_is_an_error(student_path: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no training example"):
        fine_tune(StudentModel(student_path, "cpu"), [], TrainSettings(), tmp_path)


def test_a_training_of_one_step_learns_something(student_path: str, tmp_path: Path) -> None:
    """The only step was the first of the warm-up, at a rate of 0: "trained", with the student as it was."""
    tokenizer = AutoTokenizer.from_pretrained(student_path)
    question = [{"role": "user", "content": "Ana has 2 cards."}]
    example = build_example(tokenizer, "a", question, "2 cards.", "\\boxed{2}")
    rates: list[float] = []

    def listen(step: int, total: int, figures: dict[str, float]) -> None:
        rates.append(figures["learning_rate"])

    fine_tune(
        StudentModel(student_path, "cpu"),
        [example],
        TrainSettings(epochs=1, schedule="constant"),
        tmp_path,
        listen=listen,
    )
    assert rates == [TrainSettings().learning_rate]
