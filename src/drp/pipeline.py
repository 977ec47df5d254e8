"""The pipeline: which stage needs what, which records still stand, and in which order to run."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from drp.engines.base import Engine, Sampling
from drp.engines.identity import resolve_model
from drp.errors import DrpError, IncompleteError, TrainingError
from drp.grading.grader import Grader
from drp.methods.base import PromptOf
from drp.methods.tale import estimated_budgets
from drp.on_file import OnFile, pruning_settings, wanted_traces
from drp.preflight import check_before, preflight, refuse
from drp.recipe import Recipe, defining
from drp.records import Problem, PrunedTrace, Target, Trace, content_id
from drp.reporting.write import write_report
from drp.runs import layout
from drp.runs.concurrency import run_until_done
from drp.runs.folder import RunFolder, StageFolder
from drp.runs.manifest import Settings, changed_keys
from drp.runs.stage import Progress, Say, silent
from drp.stages.checking import Checker
from drp.stages.prune import prune_traces
from drp.stages.reinforce import reinforce_student
from drp.stages.sampling import grade_again, sample_traces
from drp.stages.scoring import Scorer, StudentScorer
from drp.stages.student import local_engine, served_engine
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

    def generate(self) -> list[Trace]:
        """Draw the student's own traces of the training problems."""
        settings, problems = self.recipe.generate, self.training_problems()
        draws = bool(self.owed(layout.GENERATE, wanted_traces(problems, settings.samples)))
        folder = self.open_stage(layout.GENERATE, self.generate_settings(draws=draws))
        return self._sample(folder, self._student_engine, problems, settings.samples, settings.seed)

    def prune(self) -> list[PrunedTrace]:
        """Prune the traces on file."""
        traces = self.traces()
        folder = self.open_stage(layout.PRUNE, self.prune_settings())
        _try_refused(folder, self.recipe)
        counter = FileTokenCounter(resolve_model(self.recipe.prune.tokenizer or self.recipe.student.model))
        with Grader() as grader:
            checker = Checker(self.recipe.prune, grader, counter, open_scorer(self.recipe))
            pruned = run_until_done(prune_traces(folder, traces, checker, self.progress, self.say))
        self.finish(folder)
        return pruned

    def explore(self) -> None:
        """Draw what the method needs beyond the student's own traces."""
        if self.method.explore:
            self.method.explore(self)

    def train(self) -> Path:
        """Train the student as the method says, on what is on file."""
        if layout.TRAIN not in self.method.stages:
            raise DrpError(
                f"method {self.method.name} trains nothing with these settings: {self.method.summary}"
            )
        if self.method.targets is None:
            problems = self.training_problems()
            folder = self.open_stage(
                layout.TRAIN, self.train_settings(content_id("set", [[p.id] for p in problems]))
            )
            return reinforce_student(self.recipe, folder, problems, self.progress)
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
        student = self.recipe.student.model
        named = settings.endpoint.model or student
        base = self.open_stage(layout.EVALUATE_BASE, self.evaluate_settings(layout.BASE, student, problems))
        self._sample(base, self._evaluator(student, named), problems, settings.runs, settings.seed)
        if layout.TRAIN not in self.method.stages:
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
        make = self._evaluator(model, settings.trained_model)
        distilled = self.open_stage(
            layout.EVALUATE_DISTILLED, self.evaluate_settings(layout.DISTILLED, model, problems)
        )
        self._sample(distilled, make, problems, settings.runs, settings.seed)

    def _evaluate_prompted(self, problems: list[Problem]) -> None:
        """Run the student as it is under the budgets it estimates."""
        student, settings = self.recipe.student.model, self.recipe.evaluate
        prompt_of = estimated_budgets(self, problems)
        why = self.evaluate_settings(layout.DISTILLED, student, problems)
        prompted = self.open_stage(layout.EVALUATE_DISTILLED, {**why, "tale": defining(self.recipe.tale)})
        self._sample(
            prompted,
            self._evaluator(student, settings.endpoint.model or student),
            problems,
            settings.runs,
            settings.seed,
            prompt_of=prompt_of,
        )

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
    ) -> list[Trace]:
        """Draw one trace of each problem; see :class:`drp.methods.base.Workshop`."""
        settings = {**self.generate_settings(), "explore": why}
        if sampling:
            settings["sampling"] = defining(sampling)
        folder = self.open_stage(layout.exploration(name), settings)
        made = folder.path / layout.MODEL

        def make() -> Engine:
            if model is None:
                return self._student_engine()
            return local_engine(self.recipe.student, model(made), self.recipe.evaluate.batch_size)

        drawn = self._sample(
            folder, make, list(problems), 1, self.recipe.generate.seed, prompt_of=prompt_of, sampling=sampling
        )
        shutil.rmtree(made, ignore_errors=True)
        wanted = {p.id for p in problems}
        return [t for t in drawn if t.problem_id in wanted]

    def _chosen(self) -> list[Target]:
        targets = self.method.targets(self) if self.method.targets else []
        return choose(targets, self.recipe.train.max_examples, self.recipe.train.seed)

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
    ) -> list[Trace]:
        evaluates = folder.stage.startswith(layout.EVALUATE)
        settings = self.recipe.evaluate if evaluates else self.recipe.generate
        if settings.engine == "openai":
            folder.try_again(settings.endpoint.setup)
        with Grader() as grader:
            if changed := grade_again(folder, grader):
                self.say(f"{folder.stage}: graded again by this version's grader; {changed} verdicts changed")
            traces = run_until_done(
                sample_traces(
                    folder, make, problems,
                    samples=samples, sampling=sampling or settings.sampling, seed=seed, prompt=self.recipe.prompt,
                    prompt_of=prompt_of,
                    grader=grader, progress=self.progress,
                )
            )  # fmt: skip
        self.finish(folder)
        return traces

    def _student_engine(self) -> Engine:
        """Return what draws the student's traces."""
        student, settings = self.recipe.student, self.recipe.generate
        if settings.engine == "transformers":
            return local_engine(student, student.model, settings.batch_size)
        return served_engine(
            student, self.recipe.prompt, settings.endpoint, settings.endpoint.model or student.model, self.say
        )

    def _evaluator(self, model: str, served_as: str | None) -> Callable[[], Engine]:
        """Return what makes the engine that evaluates a model, a folder or hub id, served under a name or not."""
        student, settings = self.recipe.student, self.recipe.evaluate
        if settings.engine == "transformers":
            return lambda: local_engine(student, model, settings.batch_size)
        if served_as is None:
            raise IncompleteError(
                f"the trained model is in {model} and its adapter beside it, but evaluate.engine={settings.engine} and "
                "evaluate.trained_model does not say under which name an endpoint serves it. Serve it (vLLM: --enable-lora "
                "--lora-modules NAME=RUN/train/adapter) and run the same command with evaluate.trained_model=NAME, or set "
                "evaluate.engine=transformers"
            )
        return lambda: served_engine(student, self.recipe.prompt, settings.endpoint, served_as, self.say)


def _try_refused(folder: StageFolder, recipe: Recipe) -> None:
    """Let a stage try again what the teacher's endpoint refused under other settings."""
    if recipe.prune.asks_a_model:
        folder.try_again(recipe.prune.endpoint.setup)


def open_scorer(recipe: Recipe) -> Scorer | None:
    """Return what measures learnability while pruning, if the recipe asks for it."""
    return StudentScorer(recipe.student, recipe.prompt) if recipe.prune.learnability else None


def prune_file(
    path: Path,
    run: RunFolder,
    recipe: Recipe,
    progress: Progress,
    limit: int | None = None,
    say: Say = silent,
) -> tuple[list[PrunedTrace], list[Trace]]:
    """Prune traces from a file into a run folder; returns the pruned traces and the traces.

    Raises:
        DrpError: The file is not in the documented format.
    """
    from drp.benchmarks.files import read_traces

    traces = read_traces(path, say)[:limit]
    if not traces:
        raise DrpError(f"{path} holds no traces")
    folder, _ = run.open_stage(layout.PRUNE, pruning_settings(recipe))
    _try_refused(folder, recipe)
    if {trace.id for trace in traces} - folder.done():
        refuse(preflight(recipe, run.path, (layout.PRUNE,), problems=False))
    counter = FileTokenCounter(resolve_model(recipe.prune.tokenizer or "mini"))
    with Grader() as grader:
        checker = Checker(recipe.prune, grader, counter, open_scorer(recipe))
        pruned = run_until_done(prune_traces(folder, traces, checker, progress, say))
    return pruned, traces
