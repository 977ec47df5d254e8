"""The pipeline: which stage needs what, which records still stand, and in which order to run."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from drp.engines.base import Engine, Sampling
from drp.engines.identity import resolve_model
from drp.engines.local import TransformersSettings
from drp.engines.registry import Subject
from drp.errors import DrpError, TrainingError
from drp.grading.grader import Grader
from drp.methods.base import PromptOf
from drp.on_file import OnFile, pruning_settings, teacher_context, wanted_traces
from drp.preflight import check_before, preflight, refuse
from drp.recipe import Recipe, defining
from drp.records import Problem, PrunedTrace, Target, Trace, content_id
from drp.reporting.write import write_report
from drp.runs import layout
from drp.runs.concurrency import run_until_done
from drp.runs.folder import RunFolder, StageFolder
from drp.runs.manifest import Settings, changed_keys
from drp.runs.on_demand import ids_of, where
from drp.runs.stage import Progress, Say, silent
from drp.stages.checking import Checker
from drp.stages.prune import prune_traces
from drp.stages.reinforce import reinforce_student
from drp.stages.sampling import grade_again, sample_traces
from drp.stages.scoring import Scorer, StudentScorer
from drp.stages.train import train_student
from drp.stages.training_set import choose, training_fingerprint
from drp.text.tokens import FileTokenCounter


class Pipeline(OnFile):
    """Runs the stages of a recipe in a run folder that this process holds.

    Args:
        recipe: The recipe.
        run: The run folder, entered.
        progress: Where stages report how far they are.
        say: Prints one line for people.
        limit: At most this many problems per problem set.
        partial: Whether to go on where a stage has items pending, without them.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: RunFolder,
        progress: Progress,
        say: Say,
        limit: int | None = None,
        *,
        partial: bool = False,
    ) -> None:
        super().__init__(recipe, run, say, limit, partial=partial)
        self.progress = progress

    def run(self, *stages: str) -> None:
        """Run the given stages, or else all of the recipe's method, each with what it needs already on file.

        Raises:
            PreflightError: Something is missing that one of them would need; nothing was started.
            IncompleteError: A stage has items pending, and ``partial`` is off.
        """
        check_before(self, *stages)
        for stage in stages or (*self.method.stages, layout.EVALUATE, layout.REPORT):
            {
                layout.GENERATE: self.generate,
                layout.EXPLORE: self.explore,
                layout.PRUNE: self.prune,
                layout.TRAIN: self.train,
                layout.EVALUATE: self.evaluate,
                layout.REPORT: self.report,
            }[stage]()

    def generate(self) -> Sequence[Trace]:
        """Draw the student's own traces of the training problems."""
        settings, problems = self.recipe.generate, self.training_problems()
        draws = bool(self.owed(layout.GENERATE, wanted_traces(problems, settings.samples)))
        folder = self.open_stage(layout.GENERATE, self.generate_settings(draws=draws))
        return self._sample(folder, self._student_engine, problems, settings.samples, settings.seed)

    def prune(self) -> Sequence[PrunedTrace]:
        """Prune the traces on file."""
        traces = self.traces()
        folder = self.open_stage(layout.PRUNE, self.prune_settings())
        folder.try_again(self.recipe.prune.teacher.setup)
        counter = FileTokenCounter(resolve_model(self.recipe.prune.tokenizer or self.recipe.student.source))
        with Grader() as grader:
            tags = self.recipe.student.thinking_tags
            checker = Checker(self.recipe.prune, grader, counter, open_scorer(self.recipe), tags)
            pruned = run_until_done(
                prune_traces(
                    folder,
                    traces,
                    checker,
                    teacher_context(self.recipe, self.run_folder, self.say),
                    self.progress,
                )
            )
        self.finish(folder)
        return pruned

    def explore(self) -> None:
        """Draw what the method needs beyond the student's own traces."""
        self.method.explore(self)

    def train(self) -> Path:
        """Train the student as the method says, on what is on file."""
        if layout.TRAIN not in self.method.stages:
            raise DrpError(f"method {self.method.name} trains nothing: {self.method.summary}")
        if reinforcement := self.method.reinforcement:
            problems = self.training_problems()
            folder = self.open_stage(
                layout.TRAIN, self.train_settings(content_id("set", [[p.id] for p in problems]))
            )
            return reinforce_student(self.recipe, reinforcement, folder, problems, self.progress)
        chosen = self._chosen()
        if not chosen:
            raise TrainingError(f"there is nothing to train on: {self._why_nothing()}")
        folder = self.open_stage(layout.TRAIN, self.train_settings(training_fingerprint(chosen)))
        return train_student(self.recipe, folder, chosen, self.progress)

    def _why_nothing(self) -> str:
        """Return what became of the traces where none can be trained on."""
        if layout.PRUNE in self.method.stages:
            folder = self.run_folder.stage(layout.PRUNE)
            kinds = Counter(failure.kind for failure in folder.failures())
            for pruned in self.pruned():
                kinds[f"refused for {pruned.reason}"] += 1
            found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(3)) or "no trace at all"
            return (
                f"no pruned trace was accepted ({found}); see {folder.errors_path} and {folder.records_path}"
            )
        folder = self.run_folder.stage(layout.GENERATE)
        right = sum(bool(trace.correct) for trace in self.traces())
        return f"of the traces in {folder.records_path} {right} are right, and none of them is usable"

    def evaluate(self) -> None:
        """Run the student before and after on the same problems."""
        settings, problems = self.recipe.evaluate, self.evaluation_problems()
        student = self.recipe.student.source
        base = self.open_stage(layout.EVALUATE_BASE, self.evaluate_settings(layout.BASE, student, problems))
        self._sample(base, self._evaluator(), problems, settings.runs, settings.seed)
        if self.method.trains_on == "nothing":
            self._evaluate_prompted(problems)
            return
        trained = self.run_folder.stage(layout.TRAIN)
        manifest = trained.manifest()
        if manifest is None or not manifest.complete:
            self.say("evaluate: no trained model yet, so only the student itself was evaluated")
            return
        stale = changed_keys(cast(Settings, manifest.settings.get("train", {})), defining(self.recipe.train))
        if stale:
            self.say(
                f"evaluate: the trained model was made with other settings ({'; '.join(stale)}); "
                "run `drp train` to bring it up to date"
            )
        model = str(trained.path / layout.MODEL)
        make = self._evaluator(model)
        self._want_nothing(layout.EVALUATE_PROMPTED)
        distilled = self.open_stage(
            layout.EVALUATE_DISTILLED, self.evaluate_settings(layout.DISTILLED, model, problems)
        )
        self._sample(distilled, make, problems, settings.runs, settings.seed)

    def _evaluate_prompted(self, problems: list[Problem]) -> None:
        """Run the student as it is under the prompts of a method that trains nothing."""
        settings = self.recipe.evaluate
        prompts = self.method.prompts_for(self, problems)
        self._want_nothing(layout.EVALUATE_DISTILLED)
        why = self.evaluate_settings(layout.PROMPTED, self.recipe.student.source, problems)
        folder = self.open_stage(layout.EVALUATE_PROMPTED, {**why, **self.method.defining_prompts()})
        self._sample(folder, self._evaluator(), problems, settings.runs, settings.seed, prompt_of=prompts)

    def _want_nothing(self, stage: str) -> None:
        """Note that a recipe of another method evaluated what this one does not: reports leave it out."""
        folder = self.run_folder.stage(stage)
        if folder.manifest():
            folder.want([])

    def report(self) -> Path:
        """Write the report of what is on file."""
        return write_report(self.run_folder.path, self.recipe.name)

    def explore_with(
        self,
        name: str,
        problems: Sequence[Problem],
        why: dict[str, object],
        *,
        model: Callable[[Path], str] | None = None,
        prompt_of: PromptOf | None = None,
        sampling: Sampling | None = None,
    ) -> Sequence[Trace]:
        """Draw one trace of each problem; see :class:`drp.methods.base.MethodContext`."""
        settings = {**self.generate_settings(), "explore": why}
        if sampling:
            settings["sampling"] = defining(sampling)
        folder = self.open_stage(layout.exploration(name), settings)
        made = folder.path / layout.MODEL

        def make() -> Engine:
            if model is None:
                return self._student_engine()
            able = (self.recipe.evaluate.engine, self.recipe.generate.engine, TransformersSettings())
            engine = next(engine for engine in able if engine.in_process)
            return engine.open(self._subject(model(made)), self.say)

        drawn = self._sample(
            folder, make, list(problems), 1, self.recipe.generate.seed, prompt_of=prompt_of, sampling=sampling
        )
        shutil.rmtree(made, ignore_errors=True)
        wanted = {p.id for p in problems}
        return where(drawn, lambda trace: trace.problem_id in wanted)

    def _chosen(self) -> Sequence[Target]:
        return choose(self.method.targets(self), self.recipe.train.max_examples, self.recipe.train.seed)

    # Engines.

    def _sample(
        self,
        folder: StageFolder,
        make: Callable[[], Engine],
        problems: list[Problem],
        samples: int,
        seed: int,
        prompt_of: PromptOf | None = None,
        sampling: Sampling | None = None,
    ) -> Sequence[Trace]:
        evaluates = folder.stage.startswith(layout.EVALUATE)
        settings = self.recipe.evaluate if evaluates else self.recipe.generate
        folder.try_again(settings.engine.setup)
        with Grader() as grader:
            if changed := grade_again(folder, grader):
                self.say(f"{folder.stage}: graded again by this version's grader; {changed} verdicts changed")
            traces = run_until_done(
                sample_traces(
                    folder,
                    make,
                    problems,
                    samples=samples,
                    sampling=sampling or settings.sampling,
                    seed=seed,
                    prompt=self.recipe.prompt,
                    prompt_of=prompt_of,
                    grader=grader,
                    progress=self.progress,
                )
            )
        self.finish(folder)
        return traces

    def _subject(self, made: str | None = None, *, trained: bool = False) -> Subject:
        return Subject(self.recipe.student, self.recipe.prompt, made, trained)

    def _student_engine(self) -> Engine:
        """Return what draws the student's traces."""
        return self.recipe.generate.engine.open(self._subject(), self.say)

    def _evaluator(self, trained: str | None = None) -> Callable[[], Engine]:
        """Return what makes the engine that evaluates the student, or the trained model in a folder."""
        engine, subject = self.recipe.evaluate.engine, self._subject(trained, trained=trained is not None)
        return lambda: engine.open(subject, self.say)


def open_scorer(recipe: Recipe) -> Scorer | None:
    """Return what measures learnability while pruning, if the recipe asks for it."""
    if not recipe.prune.learnability:
        return None
    return StudentScorer(recipe.student, recipe.prompt, recipe.prune.student_server)


def prune_file(
    path: Path,
    run: RunFolder,
    recipe: Recipe,
    progress: Progress,
    limit: int | None = None,
    say: Say = silent,
) -> tuple[Sequence[PrunedTrace], Sequence[Trace]]:
    """Prune traces from a file into a run folder; returns the pruned traces and the traces.

    Raises:
        DrpError: The file is not in the documented format.
    """
    from drp.benchmarks.files import read_traces

    traces = read_traces(path, say)[:limit]
    if not traces:
        raise DrpError(f"{path} holds no traces")
    folder, _ = run.open_stage(layout.PRUNE, pruning_settings(recipe))
    folder.try_again(recipe.prune.teacher.setup)
    if set(ids_of(traces)) - folder.done():
        refuse(preflight(recipe, run.path, (layout.PRUNE,), problems=False))
    counter = FileTokenCounter(resolve_model(recipe.prune.tokenizer or "mini"))
    with Grader() as grader:
        checker = Checker(recipe.prune, grader, counter, open_scorer(recipe), recipe.student.thinking_tags)
        pruned = run_until_done(
            prune_traces(folder, traces, checker, teacher_context(recipe, run, say), progress)
        )
    return pruned, traces
