"""The figures of a diagnosis, from completions taken apart."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from drp.diagnosis.completion import Taken
from drp.diagnosis.figures import Figure, mean_of, share_of
from drp.diagnosis.records import Conclusion, Group, SkillShare

FEWEST = 5
"""A group of fewer completions says nothing worth a line."""


def mean(taken: Sequence[Taken], value: Callable[[Taken], float]) -> Figure | None:
    """Return the mean of something over problems."""
    return mean_of([t.problem for t in taken], [float(value(t)) for t in taken])


def share(
    taken: Sequence[Taken], part: Callable[[Taken], float], whole: Callable[[Taken], float]
) -> Figure | None:
    """Return the share that something has of something else, over all tokens."""
    return share_of([t.problem for t in taken], [part(t) for t in taken], [whole(t) for t in taken])


def accuracy(taken: Sequence[Taken]) -> Figure | None:
    """Return how many are right, of those with a verdict."""
    return mean([t for t in taken if t.trace.correct is not None], lambda t: bool(t.trace.correct))


def skills(taken: Sequence[Taken]) -> tuple[SkillShare, ...]:
    """Return what each skill takes of the thinking, the largest first; before and after the answer is reached, too."""
    names = {part.skill for t in taken for part in t.parts}
    arrived = [t for t in taken if t.arrival.reached is not None]
    found: list[SkillShare] = []
    all_tokens = sum(t.thinking for t in taken) or 1.0
    for name in names:
        whole = share(taken, lambda t, name=name: _of(t, name), lambda t: t.thinking)
        if whole is None:
            continue
        before = share(
            arrived, lambda t, name=name: _of(t, name, until=True), lambda t: t.until(t.arrival.reached)
        )
        after = share(
            arrived,
            lambda t, name=name: _of(t, name) - _of(t, name, until=True),
            lambda t: t.thinking - t.until(t.arrival.reached),
        )
        first = sum(_of(t, name, until=True) for t in arrived) / all_tokens
        rest = sum(_of(t, name) for t in arrived) / all_tokens - first
        found.append(
            SkillShare(
                skill=name,
                share=whole,
                before=before,
                after=after,
                until_part=first,
                after_part=max(0.0, rest),
            )
        )
    return tuple(sorted(found, key=lambda s: -s.share.value))


def _of(taken: Taken, skill: str, *, until: bool = False) -> float:
    reached = taken.arrival.reached
    parts = taken.parts[: reached + 1] if until and reached is not None else taken.parts
    return sum(part.tokens for part in parts if part.skill == skill)


def after(taken: Sequence[Taken], *, settled: bool = False) -> Figure | None:
    """Return the share of thinking that comes after the answer is reached, of completions that reach it.

    With ``settled``, of the same completions what comes after it is settled: nothing where it never is.
    """

    def unit(t: Taken) -> int | None:
        return t.arrival.settled if settled else t.arrival.reached

    arrived = [t for t in taken if t.arrival.reached is not None]
    return share(arrived, lambda t: t.thinking - t.until(unit(t)), lambda t: t.thinking)


def conclusion(taken: Sequence[Taken]) -> Conclusion:
    """Return when the thinking reaches its answer."""
    thought = [t for t in taken if t.parts]
    arrived = [t for t in thought if t.arrival.reached is not None]
    wrong = [t for t in thought if t.found_gold is not None]
    return Conclusion(
        found=mean(thought, lambda t: t.arrival.reached is not None),
        after=after(thought),
        after_settled=after(thought, settled=True),
        mean=mean(arrived, lambda t: 1 - t.until(t.arrival.reached) / (t.thinking or 1)),
        lost=mean(wrong, lambda t: bool(t.found_gold)),
    )


def groups(taken: Sequence[Taken]) -> tuple[Group, ...]:
    """Return the completions by correctness, by difficulty, and by benchmark where there are several."""
    thought = [t for t in taken if t.parts]
    verdicts = {True: "right", False: "wrong", None: "not graded"}
    found = [
        _group("correctness", name, [t for t in thought if t.trace.correct is verdict])
        for verdict, name in verdicts.items()
    ]
    levels = _split(thought, lambda t: t.level)
    if len(levels) > 1:
        found += [_group("level", name, part) for name, part in sorted(levels.items()) if name]
    else:
        found += _terciles(thought)
    benchmarks = _split(thought, lambda t: t.trace.benchmark)
    if len(benchmarks) > 1:
        found += [_group("benchmark", name, part) for name, part in benchmarks.items()]
    return tuple(group for group in found if group.completions >= FEWEST)


def _split(taken: Sequence[Taken], key: Callable[[Taken], str]) -> dict[str, list[Taken]]:
    found: defaultdict[str, list[Taken]] = defaultdict(list)
    for t in taken:
        found[key(t)].append(t)
    return dict(found)


def _terciles(taken: Sequence[Taken]) -> list[Group]:
    """Return thirds by how long a problem takes up to its answer: what comes after it does not make a problem hard."""
    if len(taken) < 3 * FEWEST:
        return []
    work = [t.until(t.arrival.reached) for t in taken]
    low, high = (float(q) for q in np.quantile(work, [1 / 3, 2 / 3]))
    names = (
        f"shortest third (≤ {low:,.0f})",
        "middle third",
        f"longest third (> {high:,.0f})",
    )
    thirds: list[list[Taken]] = [[], [], []]
    for t, tokens in zip(taken, work, strict=True):
        thirds[(tokens > low) + (tokens > high)].append(t)
    return [_group("length", name, part) for name, part in zip(names, thirds, strict=True)]


def _group(by: str, name: str, taken: Sequence[Taken]) -> Group:
    return Group.model_validate(
        {
            "by": by,
            "name": name,
            "completions": len(taken),
            "accuracy": accuracy(taken),
            "thinking": mean(taken, lambda t: t.thinking),
            "after": after(taken),
            "unclosed": mean(taken, lambda t: not t.trace.closed),
            "looping": mean(taken, lambda t: t.looping),
        }
    )
