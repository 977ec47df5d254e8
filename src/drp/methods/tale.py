"""TALE: token budgets in the prompt. PT trains on what halving budgets brings out; EP only prompts."""

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from drp.engines.base import Sampling
from drp.engines.settings import PromptSettings
from drp.methods.base import MethodContext, MethodSettings, PromptOf, of_trace, tokens_of, usable
from drp.records import Problem, Target
from drp.runs.fingerprints import defining
from drp.runs.layout import EXPLORE, GENERATE, TRAIN

LEAST_BUDGET = 16
_GIVEN = re.compile(r"\[\[\s*(\d[\d,]*)\s*\]\]")
"""A reply's budget: takes ``[[1,200]]``, leaves ``[1200]`` and ``[[about 50]]``."""


class BudgetedSettings(MethodSettings):
    """What both ways of TALE share."""

    directive: str = "{question}\nLet's think step by step and use less than {budget} tokens."
    """The prompt with a budget."""

    def with_budgets(self, context: MethodContext, budgets: Mapping[str, int]) -> PromptOf:
        """Return the prompts that state each problem's budget, by the problem's id."""

        def prompt(problem: Problem) -> PromptSettings:
            text = self.directive.replace("{budget}", str(budgets[problem.id]))
            return PromptSettings(system=context.prompt.system, template=text)

        return prompt


class TaleSettings(BudgetedSettings):
    """TALE-PT: fine-tunes on the shortest right traces found under halved budgets."""

    kind: Literal["tale"] = "tale"
    halvings: int = Field(default=4, ge=1)
    """How often the budget is halved while answers stay right and tokens fall."""

    stages: ClassVar[tuple[str, ...]] = (GENERATE, EXPLORE, TRAIN)
    summary: ClassVar[str] = "fine-tune on the shortest right traces under halved budgets (TALE-PT)"
    has_pairs: ClassVar[bool] = True

    def explore(self, context: MethodContext) -> None:
        """Halve each problem's budget while its answer stays right and its tokens fall."""
        best = {t.problem_id: t for t in context.traces() if usable(t)}
        open_problems = [p for p in context.training_problems() if p.id in best]
        budgets = {p.id: tokens_of(best[p.id]) for p in open_problems}
        for number in range(self.halvings):
            budgets = {p.id: budgets[p.id] // 2 for p in open_problems if budgets[p.id] // 2 >= LEAST_BUDGET}
            open_problems = [p for p in open_problems if p.id in budgets]
            if not open_problems:
                return
            why: dict[str, object] = {"directive": self.directive, "halving": number}
            prompts = self.with_budgets(context, budgets)
            drawn = context.explore_with(f"budget-{number}", open_problems, why, prompt_of=prompts)
            better = {
                t.problem_id: t for t in drawn if usable(t) and tokens_of(t) < tokens_of(best[t.problem_id])
            }
            best |= better
            open_problems = [p for p in open_problems if p.id in better]

    def targets(self, context: MethodContext) -> list[Target]:
        """Return the shortest right trace found of each problem, to be written without being given a budget."""
        own = {t.problem_id: t for t in context.traces()}
        best = {t.problem_id: t for t in own.values() if usable(t)}
        for number in range(self.halvings):
            for trace in context.explored(f"budget-{number}"):
                known = best.get(trace.problem_id)
                if known and usable(trace) and tokens_of(trace) < tokens_of(known):
                    best[trace.problem_id] = trace
        return [of_trace(trace, own[problem]) for problem, trace in best.items()]

    def defining_training(self) -> object:
        """Return the directive: how often budgets are halved shows in the texts."""
        return self.directive


class TalePromptSettings(BudgetedSettings):
    """TALE-EP: trains nothing; the student estimates a budget, which its prompt then states."""

    kind: Literal["tale_ep"] = "tale_ep"
    estimate: str = (
        "Task: {question}\nEstimate the smallest number of tokens that a full and correct answer to this task needs, "
        "and give it as [[number]]."
    )
    """The prompt that asks for the budget."""

    trains_on: ClassVar[Literal["texts", "problems", "nothing"]] = "nothing"
    stages: ClassVar[tuple[str, ...]] = ()
    summary: ClassVar[str] = "no training: prompts state an estimated budget (TALE-EP)"

    def prompts_for(self, context: MethodContext, problems: Sequence[Problem]) -> PromptOf:
        """Ask the student for each problem's budget; return the prompts that state it.

        A problem whose reply names no number gets the mean of the others, or the cut-off if none does.
        """
        limit = context.evaluation_sampling.max_new_tokens
        ask = PromptSettings(system=context.prompt.system, template=self.estimate)
        sampling = Sampling(temperature=0.1, top_p=1.0, max_new_tokens=limit)
        replies = context.explore_with(
            "estimates", problems, {"estimate": self.estimate}, prompt_of=lambda _: ask, sampling=sampling
        )
        given = {
            t.problem_id: int(found[-1].replace(",", ""))
            for t in replies
            if (found := _GIVEN.findall(t.answer or t.thinking))
        }
        usual = round(sum(given.values()) / len(given)) if given else limit
        return self.with_budgets(context, {p.id: given.get(p.id, usual) for p in problems})

    def defining_prompts(self) -> dict[str, object]:
        """Return all of them."""
        return {self.kind: defining(self)}
