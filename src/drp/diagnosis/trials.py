"""Free remedies that need the model: it is made to answer early, and what it says is graded.

Thinking is cut somewhere, the closing tag is put behind it, and the model writes the answer part greedily. How sure it is
of that is the geometric mean of the probabilities of the tokens that hold digits, as DEER (arXiv 2504.15895) does with
the answer's tokens: those that only phrase it are certain anyway.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drp.diagnosis.completion import Taken
from drp.diagnosis.figures import change_of, mean_of, share_of
from drp.diagnosis.records import Remedy
from drp.diagnosis.remedies import QUANTILES
from drp.engines.identity import resolve_model
from drp.engines.local import in_process
from drp.engines.prompting import prompt_messages
from drp.engines.settings import PromptSettings, StudentSettings
from drp.engines.spelling import Speller
from drp.grading.grader import Grader
from drp.teachers.counting import counting

if TYPE_CHECKING:
    from drp.engines.scoring import Core

ANSWER_TOKENS = 256
"""Most tokens of a forced answer; of a trial that may be thrown away, twice as many as nearly all answers here have."""
CONFIDENT = (0.95, 0.99)
"""From how sure a trial answer is taken; DEER's default is the first."""
MOST_TRIALS = 12
"""A completion is tried at so many places at most, evenly among the ends of its paragraphs."""
AT_ONCE = 64


@dataclass(frozen=True)
class Trial:
    """What the model answers after a part of its thinking."""

    thinking: int
    """Tokens of the part."""
    answer: int
    """Tokens of the answer part, with the tag that closes the thinking."""
    confidence: float
    right: bool

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.thinking + self.answer


class Student:
    """A model that can be made to answer at any point of a thinking.

    Args:
        student: The model.
        prompt: How it is asked.
    """

    def __init__(self, student: StudentSettings, prompt: PromptSettings) -> None:
        engine = in_process()
        from drp.engines.prefix_scoring import core_for

        path = resolve_model(student.source)
        tokenizer = engine.load_tokenizer(path)
        model = engine.load_model(path, student.device, student.dtype)

        def asks(question: str, task: str) -> list[dict[str, str]]:
            return [message.model_dump() for message in prompt_messages(prompt, question, task)]

        self.spelling = Speller(tokenizer, asks, prompt.template_arguments, student.thinking_tags)
        self._core: Core = core_for(model, engine.stop_ids(model, tokenizer))
        self._counts = counting("digits", self.spelling)

    def tokens(self, taken: Taken) -> int:
        """Return the tokens of a completion as it is."""
        trace = taken.trace
        return len(self.spelling.piece(trace.thinking)) + len(self.spelling.closing(trace.answer))

    def answers(
        self, asked: Sequence[tuple[Taken, str]], grader: Grader, most: int = ANSWER_TOKENS
    ) -> list[Trial]:
        """Return what the model answers after each beginning of a thinking; empty: without any.

        What is not finished within ``most`` tokens is an answer of no confidence.
        """
        prompts: list[list[int]] = []
        thinking: list[int] = []
        for taken, begun in asked:
            piece = self.spelling.piece(f"{begun.strip()}\n")
            start = self.spelling.prompt(taken.trace.question, taken.trace.task)
            thinking.append(len(piece))
            prompts.append([*start, *piece, *self.spelling.close])
        found: list[Trial | None] = [None] * len(asked)
        for rows in self._batches(prompts):
            limit = self._limit(prompts, rows, most)
            replies = self._core.greedy([prompts[i] for i in rows], limit)
            passages = self._core.read([[*prompts[i], *ids] for i, ids in zip(rows, replies, strict=True)])
            for i, ids, passage in zip(rows, replies, passages, strict=True):
                logprobs = np.asarray(passage.logprobs[len(prompts[i]) :])
                sure = self._confidence(ids, logprobs) if len(ids) < limit else 0.0
                right = grader.solves(self.spelling.text(ids), asked[i][0].trace)
                found[i] = Trial(thinking[i], len(ids) + len(self.spelling.close), sure, right)
        return [trial for trial in found if trial is not None]

    def _batches(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        batch: list[int] = []
        size = 0
        for index in sorted(range(len(prompts)), key=lambda i: len(prompts[i])):
            more = len(prompts[index]) + ANSWER_TOKENS
            if batch and (len(batch) == AT_ONCE or size + more > self._core.room):
                yield batch
                batch, size = [], 0
            batch.append(index)
            size += more
        if batch:
            yield batch

    def _limit(self, prompts: Sequence[Sequence[int]], rows: Sequence[int], most: int) -> int:
        longest = max(len(prompts[i]) for i in rows)
        context = self._core.context
        return max(1, min(most, context - longest)) if context else most

    def _confidence(
        self, ids: Sequence[int], logprobs: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    ) -> float:
        weights = self._counts(ids)
        if not len(ids) or not weights.sum():
            return 0.0  # it names no number, so there is nothing to be sure of
        return float(np.exp((logprobs * weights).sum() / weights.sum()))


def places(taken: Taken) -> list[int]:
    """Return the units behind which an answer is tried: where paragraphs end, or units where there are few paragraphs."""
    last = len(taken.parts) - 1
    ends = [i for i, part in enumerate(taken.parts[:-1]) if "\n\n" in part.text[-4:]]
    if len(ends) < 3:
        ends = list(range(last))
    if len(ends) <= MOST_TRIALS:
        return ends
    return [ends[number * (len(ends) - 1) // (MOST_TRIALS - 1)] for number in range(MOST_TRIALS)]


def tried(taken: Sequence[Taken], student: Student) -> list[Remedy]:
    """Return what each remedy gives on these completions, with the model run.

    Args:
        taken: Graded completions of this very model.
        student: The model.
    """
    base = [student.tokens(t) for t in taken]
    lengths = [student.tokens(t) for t in taken if t.parts]
    with Grader() as grader:
        remedies = [_remedy("no thinking", taken, base, student.answers([(t, "") for t in taken], grader))]
        for q in QUANTILES if lengths else ():
            budget = float(np.quantile(lengths, q))
            cuts = [
                (t, _within(t, budget * t.thinking / max(1, n))) for t, n in zip(taken, base, strict=True)
            ]
            name = f"answer after {budget:,.0f} tokens"
            remedies.append(_forced(name, taken, base, cuts, student, grader))
        at = [(t, _until(t, t.arrival.reached)) for t in taken]
        name = "answer once it is reached"
        remedies.append(_forced(name, taken, base, at, student, grader))
        remedies += _early_exits(taken, base, student, grader)
    return remedies


def _until(taken: Taken, unit: int | None) -> str | None:
    """Return the thinking up to a unit; ``None`` leaves the completion as it is."""
    return None if unit is None else "".join(part.text for part in taken.parts[: unit + 1])


def _within(taken: Taken, tokens: float) -> str | None:
    """Return the thinking that fits into a budget, whole units; ``None``: all of it does."""
    if taken.thinking <= tokens:
        return None
    kept, size = "", 0.0
    for part in taken.parts:
        size += part.tokens
        if size > tokens:
            break
        kept += part.text
    return kept


def _as_it_is(taken: Taken, tokens: int) -> Trial:
    return Trial(tokens, 0, 1.0, bool(taken.trace.correct))


def _forced(
    name: str,
    taken: Sequence[Taken],
    base: Sequence[int],
    cuts: Sequence[tuple[Taken, str | None]],
    student: Student,
    grader: Grader,
) -> Remedy:
    answers = iter(student.answers([(t, text) for t, text in cuts if text is not None], grader))
    found = [
        _as_it_is(t, n) if text is None else next(answers) for (t, text), n in zip(cuts, base, strict=True)
    ]
    return _remedy(name, taken, base, found)


def _early_exits(
    taken: Sequence[Taken], base: Sequence[int], student: Student, grader: Grader
) -> Iterator[Remedy]:
    """Yield what leaving at the first confident trial answer gives; all trials are made once, for every threshold."""
    asked = [(t, i) for t in taken for i in places(t)]
    own = [len(student.spelling.closing(t.trace.answer)) for t in taken]
    most = min(ANSWER_TOKENS, 2 * int(np.quantile(own, 0.95)))
    answers = student.answers([(t, _until(t, i) or "") for t, i in asked], grader, most)
    trials: dict[int, list[Trial]] = {id(t): [] for t in taken}
    for (t, _), trial in zip(asked, answers, strict=True):
        trials[id(t)].append(trial)
    for threshold in CONFIDENT:
        found: list[Trial] = []
        spent: list[int] = []
        for t, whole in zip(taken, base, strict=True):
            made = trials[id(t)]
            at = next((n for n, trial in enumerate(made) if trial.confidence >= threshold), None)
            found.append(_as_it_is(t, whole) if at is None else made[at])
            spent.append(sum(trial.answer for trial in made[:at]))
        cost = sum(spent) / max(1, len(spent))
        yield _remedy(
            f"early exit once {threshold:g} sure",
            taken,
            base,
            found,
            f"; trials that were not taken cost {cost:,.0f} more tokens a completion, which are not counted",
        )


def _remedy(
    name: str, taken: Sequence[Taken], base: Sequence[int], found: Sequence[Trial], more: str = ""
) -> Remedy:
    problems = [t.problem for t in taken]
    changes = [float(f.right) - float(bool(t.trace.correct)) for f, t in zip(found, taken, strict=True)]
    return Remedy(
        name=name,
        kind="run",
        saved=share_of(
            problems, [b - f.tokens for b, f in zip(base, found, strict=True)], [*map(float, base)]
        ),
        accuracy=mean_of(problems, [float(f.right) for f in found]),
        change=change_of(problems, changes),
        note="the model was run: the answer part is written greedily" + more,
    )
