"""Control tokens spelt out in a text stay text, and ordinary texts give the ids they always gave."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer

from drp.engines.base import Message, Request, Sampling
from drp.engines.encoding import MARK, encode, prefills_thinking, render_prompt, shield
from drp.engines.transformers_engine import TransformersEngine
from drp.records import Completion
from drp.training.examples import build_example, render_response, show_example

QUESTION = "Ana has 12 shells. Ben has 3 more shells than Ana. How many shells does Ben have?"
SPELT = (
    "<|im_end|>", "<|endoftext|>", "<|im_start|>user\n", "</think>", "<think>", "<｜end▁of▁sentence｜>", "<｜User｜>",
    "<tool_call>", "<<|im_end|>", "<|im_<|im_end|>", "a</think></think>b",
)  # fmt: skip


def ask(question: str = QUESTION) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


@pytest.fixture(scope="module")
def tokenizer(student_path: str) -> Any:
    """The embedded student's, with added tokens as R1's and Qwen's tokenizers have them, one of them harmless."""
    found: Any = AutoTokenizer.from_pretrained(student_path)
    found.add_tokens(
        [AddedToken("<｜end▁of▁sentence｜>", special=True), AddedToken("<｜User｜>"), AddedToken("    ")]
    )
    found.add_tokens([AddedToken("<tool_call>"), AddedToken("<b>")])
    found.chat_template += "{#- <tool_call> -#}"
    return found


@pytest.mark.parametrize("spelt", SPELT)
def test_a_trace_that_spells_a_control_token_trains_none(tokenizer: Any, spelt: str) -> None:
    """They became real control tokens: an end of turn in the middle of a thinking, a second closing tag."""
    thinking, answer = f"First {spelt} then 12 + 3 = 15.", f"It is {spelt}15."
    example = build_example(tokenizer, "e", ask(), thinking, answer)
    response = example.input_ids[example.prompt_length :]
    control = {i for i, t in tokenizer.added_tokens_decoder.items() if t.content not in ("    ", "<b>")}
    close = tokenizer.convert_tokens_to_ids("</think>")
    # The only ones are those that end the thinking and the response; and nothing of the text is lost.
    assert [i for i in response if i in control] == [close, tokenizer.eos_token_id]
    assert tokenizer.decode(response[:-1]) == f"{thinking}\n</think>\n\n{answer}"


@pytest.mark.parametrize("spelt", [s for s in SPELT if "think>" not in s])
def test_a_question_cannot_end_its_own_turn(tokenizer: Any, spelt: str) -> None:
    prompt = render_prompt(tokenizer, ask(f"What is {spelt}?"))
    ids = encode(tokenizer, prompt)
    plain = encode(tokenizer, render_prompt(tokenizer, ask("What is 1?")))
    special = set(tokenizer.added_tokens_decoder)
    assert [i for i in ids if i in special] == [i for i in plain if i in special]
    assert tokenizer.decode(ids) == prompt.replace(MARK, "") and spelt in tokenizer.decode(ids)


def test_an_instruction_may_speak_of_the_tags_of_thinking(tokenizer: Any) -> None:
    text = "Think between <think> and </think>, then answer."
    rendered = tokenizer.apply_chat_template(ask(text), add_generation_prompt=True, tokenize=False)
    assert render_prompt(tokenizer, ask(text)) == rendered


def test_added_tokens_that_structure_nothing_keep_their_ids(tokenizer: Any) -> None:
    text = "x =    3 and <b>bold</b>\n\n12 + 3 = 15"
    assert shield(tokenizer, text) == text
    assert encode(tokenizer, text) == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_what_the_student_itself_writes_gives_the_same_ids_as_ever(student_path: str) -> None:
    engine = TransformersEngine(student_path, device="cpu", batch_size=16)
    drawing = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=160)
    questions = [QUESTION.replace("12", str(n)) for n in range(4, 20)]
    requests = [
        Request(id=str(n), messages=(Message(role="user", content=q),), sampling=drawing, seed=n)
        for n, q in enumerate(questions)
    ]

    async def draw() -> dict[str, Any]:
        return {r.id: r.outcome async for r in engine.complete(engine.batches(requests))}

    tokenizer = engine.tokenizer
    outcomes = asyncio.run(draw())
    assert len(outcomes) == 16
    for n, question in enumerate(questions):
        found = outcomes[str(n)]
        assert isinstance(found, Completion)
        prompt = tokenizer.apply_chat_template(ask(question), add_generation_prompt=True, tokenize=False)
        response = render_response(prompt, found.thinking, found.answer)
        before = [
            *tokenizer(prompt + response, add_special_tokens=False)["input_ids"],
            tokenizer.eos_token_id,
        ]
        assert build_example(tokenizer, "e", ask(question), found.thinking, found.answer).input_ids == before


def test_reinforcement_ends_a_completion_where_the_engine_does(student_path: str, tmp_path: Path) -> None:
    """It stopped on the tokenizer's end token alone, so a model with a list of them ran on to the limit and scored 0."""
    from drp.training.rollouts import Drawn, Rollouts, Scoring
    from drp.training.settings import GrpoSettings

    student = tmp_path / "student"
    shutil.copytree(student_path, student)
    config = json.loads((student / "generation_config.json").read_text())
    engine = TransformersEngine(str(student), device="cpu", batch_size=2)
    prompt = encode(engine.tokenizer, render_prompt(engine.tokenizer, ask()))
    settings = GrpoSettings(limits=(200,), prompts=1, generations=2)
    rollouts = Rollouts(engine.model, engine.tokenizer, settings, 200, 0, Drawn())
    whole = rollouts.complete([prompt], 0.01)[0]
    assert rollouts.stops == engine.stop_ids == [config["eos_token_id"]]
    another = whole[len(whole) // 2]
    (student / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": [2, another]}))
    engine = TransformersEngine(str(student), device="cpu", batch_size=2)
    rollouts = Rollouts(engine.model, engine.tokenizer, settings, 200, 0, Drawn())
    short = rollouts.complete([prompt], 0.01)[0]
    assert rollouts.stops == engine.stop_ids == sorted([2, another])
    assert short == whole[: whole.index(another) + 1]
    scoring = Scoring(engine.tokenizer, rollouts.stops, False, lambda *_: True, 200)
    assert scoring.solves(short, "15")


def test_a_template_says_whether_it_opens_the_thinking(student_path: str, tmp_path: Path) -> None:
    """A reply without tags is thinking that never closed only where the prompt ended in the opening tag."""
    assert prefills_thinking(student_path) is True
    other = tmp_path / "plain"
    shutil.copytree(student_path, other)
    (other / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert prefills_thinking(str(other)) is False
    assert prefills_thinking(str(tmp_path / "absent")) is None


def test_template_arguments_reach_the_template_wherever_it_is_rendered(
    student_path: str, tmp_path: Path
) -> None:
    """Qwen3 thinks or not by an argument of its template, which there was no way to give."""
    other = tmp_path / "hybrid"
    shutil.copytree(student_path, other)
    template = other / "chat_template.jinja"
    template.write_text(template.read_text() + "{% if enable_thinking is false %}\n</think>\n\n{% endif %}")
    engine = TransformersEngine(str(other), device="cpu", batch_size=2)
    assert prefills_thinking(str(other)) is True
    assert prefills_thinking(str(other), {"enable_thinking": False}) is False
    ids = [
        build_example(engine.tokenizer, "e", ask(), "t", "a", arguments).prompt_length
        for arguments in (None, {"enable_thinking": True}, {"enable_thinking": False}, {"unknown": 1})
    ]
    assert ids[0] == ids[1] == ids[3] < ids[2]

    async def draw(arguments: dict[str, Any]) -> Completion:
        request = Request(
            id="r", messages=(Message(role="user", content=QUESTION),), seed=1, template_arguments=arguments,
            sampling=Sampling(temperature=0, max_new_tokens=60),
        )  # fmt: skip
        (reply,) = [r async for r in engine.complete([[request]])]
        assert isinstance(reply.outcome, Completion)
        return reply.outcome

    thinking, not_thinking = asyncio.run(draw({})), asyncio.run(draw({"enable_thinking": False}))
    assert thinking.usage.prompt_tokens < not_thinking.usage.prompt_tokens


def test_an_example_can_be_looked_at_token_by_token(tokenizer: Any) -> None:
    example = build_example(tokenizer, "trace-1", ask("Ana has 2 cards."), "2 cards.", "\\boxed{2}")
    said = show_example(tokenizer, example)
    assert f"trace-1: {len(example.input_ids)} tokens" in said and "stop token '<|im_end|>'" in said
    rows = said.partition("text =====\n")[2].splitlines()
    assert len(rows) == len(example.input_ids)
    assert [row.split()[2] for row in rows] == ["-"] * example.prompt_length + ["loss"] * (
        len(rows) - example.prompt_length
    )
