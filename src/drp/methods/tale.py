"""TALE: token budgets in the prompt. PT trains on what halving budgets brings out; EP only prompts."""

import re
from collections.abc import Sequence

from drp.engines.base import Sampling
from drp.methods.base import Method, PromptOf, Workshop, of_trace, usable
from drp.recipe import PromptSettings, Recipe
from drp.records import Problem, Target, Trace
from drp.runs.layout import EXPLORE, GENERATE, TRAIN

LEAST_BUDGET = 16
_GIVEN = re.compile(r"\[\[\s*(\d[\d,]*)\s*\]\]")


def _tokens(trace: Trace) -> int:
    return trace.usage.completion_tokens if trace.usage else max(1, len(trace.thinking) // 4)


def _with_budgets(recipe: Recipe, budgets: dict[str, int]) -> PromptOf:
    def prompt(problem: Problem) -> PromptSettings:
        text = recipe.tale.directive.replace("{budget}", str(budgets[problem.id]))
        return PromptSettings(system=recipe.prompt.system, template=text)

    return prompt


def explore(work: Workshop) -> None:
    """Halve each problem's budget while its answer stays right and its tokens fall."""
    best = {t.problem_id: t for t in work.traces() if usable(t)}
    open_problems = [p for p in work.training_problems() if p.id in best]
    budgets = {p.id: _tokens(best[p.id]) for p in open_problems}
    for number in range(work.recipe.tale.halvings):
        budgets = {p.id: budgets[p.id] // 2 for p in open_problems if budgets[p.id] // 2 >= LEAST_BUDGET}
        open_problems = [p for p in open_problems if p.id in budgets]
        if not open_problems:
            return
        why: dict[str, object] = {"directive": work.recipe.tale.directive, "halving": number}
        drawn = work.explore_with(
            f"budget-{number}", open_problems, why, prompt_of=_with_budgets(work.recipe, budgets)
        )
        better = {t.problem_id: t for t in drawn if usable(t) and _tokens(t) < _tokens(best[t.problem_id])}
        best |= better
        open_problems = [p for p in open_problems if p.id in better]


def targets(work: Workshop) -> list[Target]:
    """Return the shortest right trace found of each problem, to be written without being given a budget."""
    own = {t.problem_id: t for t in work.traces()}
    best = {t.problem_id: t for t in own.values() if usable(t)}
    for number in range(work.recipe.tale.halvings):
        for trace in work.explored(f"budget-{number}"):
            known = best.get(trace.problem_id)
            if known and usable(trace) and _tokens(trace) < _tokens(known):
                best[trace.problem_id] = trace
    return [of_trace(trace, own[problem]) for problem, trace in best.items()]


def estimated_budgets(work: Workshop, problems: Sequence[Problem]) -> PromptOf:
    """Ask the student for each problem's budget (TALE-EP); return the prompts that state it.

    A problem whose reply names no number gets the mean of the others, or the cut-off if none does.
    """
    settings, limit = work.recipe.tale, work.recipe.evaluate.sampling.max_new_tokens
    ask = PromptSettings(system=work.recipe.prompt.system, template=settings.estimate)
    sampling = Sampling(temperature=0.1, top_p=1.0, max_new_tokens=limit)
    replies = work.explore_with(
        "estimates", problems, {"estimate": settings.estimate}, prompt_of=lambda _: ask, sampling=sampling
    )
    given = {
        t.problem_id: int(found[-1].replace(",", ""))
        for t in replies
        if (found := _GIVEN.findall(t.answer or t.thinking))
    }
    usual = round(sum(given.values()) / len(given)) if given else limit
    return _with_budgets(work.recipe, {p.id: given.get(p.id, usual) for p in problems})


def _defining(recipe: Recipe) -> object:
    return recipe.tale.directive


TUNED = Method(
    "tale", (GENERATE, EXPLORE, TRAIN),
    "fine-tune on the shortest right traces under halved budgets (TALE-PT)", targets, explore, _defining,
)  # fmt: skip
PROMPTED = Method("tale", (), "no training: prompts state an estimated budget (TALE-EP)")
