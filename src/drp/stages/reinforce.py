"""Stage train without texts: the student is reinforced on problems alone."""

import random
import time
from collections.abc import Sequence
from pathlib import Path

from drp.engines.prompting import prompt_messages
from drp.errors import MissingExtraError
from drp.grading.grader import Grader
from drp.recipe import Recipe
from drp.records import Problem
from drp.runs import layout
from drp.runs.folder import StageFolder
from drp.runs.journal import writing
from drp.runs.stage import Progress
from drp.stages.train import TrainStep, forget_after
from drp.stages.training_set import to_train
from drp.training.settings import GrpoSettings


class RlStep(TrainStep):
    """One step of reinforcement as logged."""

    reward: float = 0.0
    tokens: float = 0.0
    """Mean tokens of the step's completions."""


def reinforce_student(
    recipe: Recipe,
    settings: GrpoSettings,
    folder: StageFolder,
    problems: Sequence[Problem],
    progress: Progress,
) -> Path:
    """Reinforce the student on problems alone and return the folder of the model."""
    manifest = folder.manifest()
    model_folder = folder.path / layout.MODEL
    if manifest and manifest.complete and model_folder.exists():
        progress.begin(layout.TRAIN, manifest.counts.get("steps", 0), manifest.counts.get("steps", 0))
        progress.end(f"already trained on {manifest.counts.get('problems', 0)} problems")
        return model_folder
    try:
        from drp.engines.encoding import render_prompt
        from drp.engines.transformers_engine import load_tokenizer
        from drp.training.credit import conclusion_end
        from drp.training.grpo import Reinforcement, resumed_step
        from drp.training.rollouts import Task
    except ImportError as error:
        raise MissingExtraError(str(error.name), "train") from error
    started = time.monotonic()
    by_id = {problem.id: problem for problem in problems}
    student = to_train(recipe.student)
    tokenizer = load_tokenizer(student.path)
    tasks = [
        Task(
            render_prompt(
                tokenizer,
                [m.model_dump() for m in prompt_messages(recipe.prompt, p.question, p.task)],
                recipe.prompt.template_arguments,
                student.tags,
            ),
            p.id,
        )
        for p in random.Random(recipe.train.seed).sample(list(problems), len(problems))
    ]
    done, steps = resumed_step(folder.path, settings), len(settings.limits) * settings.steps
    forget_after(folder, done, RlStep)
    with writing(folder.path), folder.journal() as journal, Grader() as grader:
        progress.begin(layout.TRAIN, done, steps)

        def listen(step: int, _: int, figures: dict[str, float]) -> None:
            journal.append(RlStep(id=f"step-{step}", step=step, **figures))
            progress.advance(1)

        reinforcement = Reinforcement(
            student,
            settings,
            recipe.train,
            lambda answer, problem: grader.solves(answer, by_id[problem]),
            listen,
            lambda problem, thinking, answer: conclusion_end(by_id[problem].question, thinking, answer),
        )
        sampled = reinforcement.run(tasks, folder.path)
    counts = {"problems": len(tasks), "steps": steps, "sampled_tokens": sampled}
    folder.update(complete=True, counts=counts, seconds=time.monotonic() - started)
    progress.end(f"{len(tasks)} problems, {counts['steps']} steps, {time.monotonic() - started:.0f} s")
    return model_folder
