"""A student that thinks between other tags than R1's is the same student to every stage; on real weights."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from drp.engines.base import Message, Request, Sampling
from drp.engines.encoding import encode, prefills_thinking, render_prompt
from drp.engines.local import TransformersSettings
from drp.engines.registry import Subject
from drp.engines.settings import PromptSettings, StudentSettings
from drp.engines.transformers_engine import load_tokenizer
from drp.on_file import OnFile
from drp.recipe import Recipe
from drp.records import Completion, Trace
from drp.runs.folder import RunFolder
from drp.stages.scoring import StudentScorer
from drp.stages.training_set import to_train
from drp.text.thinking import THINK, Tags
from drp.training.examples import build_example
from drp.training.rollouts import Scoring
from tests.pruning.scripts import pruned

TAGS = Tags("[THINK]", "[/THINK]")
ASK = [
    {
        "role": "user",
        "content": "Ana has 12 shells. Ben has 3 more shells than Ana. How many shells does Ben have?",
    }
]


@pytest.fixture(scope="module")
def other(student_path: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded student, whose tokenizer and template spell the tags' two tokens in another way."""
    folder = tmp_path_factory.mktemp("other") / "student"
    shutil.copytree(student_path, folder)
    for name in ("tokenizer.json", "chat_template.jinja"):
        text = (folder / name).read_text(encoding="utf-8")
        for old, new in zip(THINK, TAGS, strict=True):
            text = text.replace(old, new)
        (folder / name).write_text(text, encoding="utf-8")
    return str(folder)


def draw(student: StudentSettings) -> Completion:
    engine = TransformersSettings(batch_size=1).open(Subject(student, PromptSettings()))
    request = Request(
        id="r", messages=tuple(Message.model_validate(m) for m in ASK), seed=1,
        sampling=Sampling(temperature=0, max_new_tokens=400),
    )  # fmt: skip

    async def one() -> Completion:
        [reply] = [reply async for reply in engine.complete([[request]])]
        assert isinstance(reply.outcome, Completion)
        return reply.outcome

    return asyncio.run(one())


def test_the_engine_splits_and_counts_by_the_students_tags(student_path: str, other: str) -> None:
    """All that it wrote was an answer with a tag in its middle, and none of its tokens were of thinking."""
    usual = draw(StudentSettings(model=student_path, device="cpu"))
    assert usual.closed and usual.thinking and usual.usage.thinking_tokens
    assert draw(StudentSettings(model=other, device="cpu", thinking_tags=TAGS)) == usual
    assert prefills_thinking(other, tags=TAGS) is True and prefills_thinking(other) is False


@pytest.mark.parametrize("spelt", ["[/THINK]", "[THINK]", "<|im_end|>"])
def test_an_example_has_the_students_tags_once(student_path: str, other: str, spelt: str) -> None:
    """Examples taught `<think>` to students that write something else; a tag that a text spells out is no tag."""
    tokenizer: Any = load_tokenizer(other)
    found = build_example(tokenizer, "e", ASK, "12 + 3 = 15.", "It is 15.", None, TAGS)
    assert found == build_example(load_tokenizer(student_path), "e", ASK, "12 + 3 = 15.", "It is 15.")
    prompt, response = found.input_ids[: found.prompt_length], found.input_ids[found.prompt_length :]
    assert tokenizer.decode(prompt).endswith("[THINK]\n")
    assert tokenizer.decode(response) == "12 + 3 = 15.\n[/THINK]\n\nIt is 15.<|im_end|>"
    spelling = build_example(tokenizer, "e", ASK, f"So {spelt} 15.", f"It {spelt} is 15.", None, TAGS)
    control = {i for i, t in tokenizer.added_tokens_decoder.items() if t.content in (*TAGS, "<|im_end|>")}
    ends = [i for i in spelling.input_ids[spelling.prompt_length :] if i in control]
    assert ends == [tokenizer.convert_tokens_to_ids("[/THINK]"), tokenizer.eos_token_id]


def test_an_instruction_may_speak_of_the_students_tags(other: str) -> None:
    tokenizer = load_tokenizer(other)
    text = "Think between [THINK] and [/THINK]."
    rendered = render_prompt(tokenizer, [{"role": "user", "content": text}], None, TAGS)
    assert text in rendered


def test_reinforcement_rewards_what_closed_its_thinking_by_the_students_tags(other: str) -> None:
    """No rollout was ever right: its answer was looked for behind a tag that the student never writes."""
    tags = to_train(StudentSettings(model=other, thinking_tags=TAGS)).tags
    tokenizer = load_tokenizer(other)
    stop = tokenizer.eos_token_id
    right = [*encode(tokenizer, "12 + 3 = 15.\n[/THINK]\n\nIt is 15."), stop]
    assert Scoring(
        tokenizer, [stop], True, lambda answer, gold: answer == f"It is {gold}.", 99, 0.0, tags
    ).solves(right, "15")


async def test_learnability_is_that_of_the_students_own_form(student_path: str, other: str) -> None:
    usual = StudentScorer(StudentSettings(model=student_path, device="cpu"), PromptSettings())
    renamed = StudentScorer(StudentSettings(model=other, device="cpu", thinking_tags=TAGS), PromptSettings())
    trace = Trace(
        id="t", problem_id="p", question=ASK[0]["content"], gold="15", closed=True,
        thinking="Hmm. 12 + 3 = 15.", answer="It is 15.",
    )  # fmt: skip
    units = ["Hmm. ", "12 + 3 = 15."]
    script = pruned(units, 0)
    assert await renamed(trace, units, script, trace.answer) == await usual(
        trace, units, script, trace.answer
    )


def test_every_stage_rests_on_the_tags_and_the_usual_ones_change_nothing(tmp_path: Path) -> None:
    """Traces split in another way, and examples with other tags, are others: they must not pass for the earlier ones."""
    said: list[bool] = []
    for tags in (THINK, TAGS):
        recipe = Recipe(student=StudentSettings(thinking_tags=tags))
        with RunFolder(tmp_path / "run") as run:
            work = OnFile(recipe, run, lambda _: None)
            stages = (
                work.generate_settings(draws=True), work.prune_settings(), work.train_settings("set-1"),
                work.evaluate_settings("base", "mini", []),
            )  # fmt: skip
        said += ["[THINK]" in str(settings) or "thinking_tags" in str(settings) for settings in stages]
    assert said == [False] * 4 + [True] * 4
