"""A diagnosis, from graded completions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drp.diagnosis.advice import advice
from drp.diagnosis.completion import CHARACTERS, Taken, by_characters, take_apart
from drp.diagnosis.measure import accuracy, conclusion, groups, mean, share, skills
from drp.diagnosis.records import Diagnosis, Remedy
from drp.diagnosis.remedies import needing_a_model, read_off
from drp.diagnosis.saving import sampled, saving
from drp.diagnosis.sources import Source
from drp.engines.identity import resolve_model
from drp.engines.settings import PromptSettings, StudentSettings
from drp.errors import DataError
from drp.runs.stage import Say, silent
from drp.text.tokens import FileTokenCounter, TokenCounter


@dataclass(frozen=True)
class Depth:
    """How much is looked at closely."""

    pruned: int = 100
    """At most so many completions are pruned; 0: none."""
    tried: int = 40
    """At most so many are tried with the model."""


def diagnose(
    source: Source,
    *,
    tokenizer: str | None = None,
    student: StudentSettings | None = None,
    prompt: PromptSettings | None = None,
    depth: Depth | None = None,
    next_command: str = "",
    say: Say = silent,
) -> Diagnosis:
    """Diagnose graded completions.

    Args:
        source: The completions.
        tokenizer: Folder or hub id; left out: the student's, if one is named, else characters are counted.
        student: The model that wrote them, to be run for the remedies that need it.
        prompt: How it was asked.
        depth: How much is looked at closely.
        next_command: What to do next, if not the usual.
        say: Told what takes its time.

    Raises:
        DataError: There is no completion.
    """
    if not source.traces:
        raise DataError(f"{source.name} holds no completions")
    depth = depth or Depth()
    named = tokenizer or (student.source if student else None)
    count: TokenCounter = FileTokenCounter(resolve_model(named)) if named else by_characters
    taken = [take_apart(t, count, source.levels.get(t.question, "")) for t in source.traces]
    saved = saving(taken, count, depth.pruned) if depth.pruned else None
    remedies = [*read_off(taken), *_with_model(taken, student, prompt, depth, say)]
    found = _diagnosis(source, taken, remedies, _counted(taken, named))
    lines = advice(found.conclusion, saved, found.unclosed, found.looping, found.cut, found.remedies)
    update = {"saving": saved, "advice": lines, "next_command": next_command}
    return found.model_copy(update=update)


def _with_model(
    taken: Sequence[Taken],
    student: StudentSettings | None,
    prompt: PromptSettings | None,
    depth: Depth,
    say: Say,
) -> list[Remedy]:
    if student is None:
        return needing_a_model()
    from drp.diagnosis.trials import Student, tried

    fit = sampled([t for t in taken if t.trace.correct is not None and t.parts], depth.tried)
    if not fit:
        return needing_a_model()
    say(f"making {student.model} answer early on {len(fit)} completions")
    return tried(fit, Student(student, prompt or PromptSettings()))


def _counted(taken: Sequence[Taken], tokenizer: str | None) -> str:
    own = sum(bool(t.trace.usage and t.trace.usage.completion_tokens) for t in taken)
    by = (
        f"the tokenizer of {tokenizer}"
        if tokenizer
        else f"characters, {CHARACTERS} a token (name --tokenizer)"
    )
    if own == len(taken):
        return f"the file's own counts, shared out over the text by {by}"
    return f"{by}; {own} of {len(taken)} by the file's own counts" if own else by


def _diagnosis(source: Source, taken: Sequence[Taken], remedies: Sequence[Remedy], counted: str) -> Diagnosis:
    thought = [t for t in taken if t.parts]
    lengths = np.array([t.thinking for t in thought] or [0.0])
    ends_known = any(t.trace.finish_reason for t in taken)
    models = dict.fromkeys(t.trace.model for t in taken if t.trace.model)
    return Diagnosis(
        source=source.name,
        model=", ".join(models),
        completions=len(taken),
        problems=len({t.problem for t in taken}),
        thinking_completions=len(thought),
        counted=counted,
        accuracy=accuracy(taken),
        tokens=mean(taken, lambda t: t.tokens),
        thinking=mean(taken, lambda t: t.thinking),
        answer=mean(taken, lambda t: t.answer),
        thinking_share=share(taken, lambda t: t.thinking, lambda t: t.tokens),
        median=float(np.median(lengths)),
        p95=float(np.quantile(lengths, 0.95)),
        looping=mean(taken, lambda t: t.looping),
        unclosed=mean(taken, lambda t: not t.trace.closed),
        cut=mean(taken, lambda t: t.trace.finish_reason == "length") if ends_known else None,
        skills=skills(taken),
        conclusion=conclusion(taken),
        groups=groups(taken),
        saving=None,
        remedies=tuple(remedies),
        advice=(),
        next_command="",
        notes=source.notes,
    )
