"""The pipeline: which stage needs what, which records still stand, and in which order to run."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from drp.engines.base import Engine, Sampling
from drp.engines.encoding import prefills_thinking
from drp.engines.identity import resolve_model
from drp.errors import DrpError, TrainingError
from drp.grading.grader import Grader
from drp.methods.base import PromptOf
from drp.methods.tale import estimated_budgets
from drp.on_file import OnFile, in_process, pruning_settings, wanted_traces
from drp.preflight import check_before, preflight, refuse
from drp.recipe import Recipe, defining
from drp.records import Problem, PrunedTrace, Target, Trace, content_id
from drp.reporting.write import write_report
from drp.runs.concurrency import run_until_done
from drp.runs.folder import RunFolder, Settings, StageFolder, changed_keys
from drp.runs.stage import Progress, Say, silent
from drp.stages.judge import Judge
from drp.stages.prune import prune_traces
from drp.stages.sampling import grade_again, sample_traces
from drp.stages.scoring import Scorer, StudentScorer
from drp.stages.teacher import open_endpoint
from drp.stages.train import choose, practise, train_student, training_fingerprint
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
        for stage in stages or (*self.method.stages, "evaluate", "report"):
            {
                "generate": self.generate,
                "explore": self.explore,
                "prune": self.prune,
                "train": self.train,
                "evaluate": self.evaluate,
                "report": self.report,
            }[stage]()

    def generate(self) -> list[Trace]:
        """Draw the student's own traces of the training problems."""
        settings, problems = self.recipe.generate, self.training_problems()
        draws = bool(self.owed("generate", wanted_traces(problems, settings.samples)))
        folder = self.open_stage("generate", self.generate_settings(draws=draws))
        if settings.engine == "openai":
            folder.try_again(settings.endpoint.setup(settings.endpoint.model or self.recipe.student.model))
        return self._sample(folder, self._student_engine, problems, settings.samples, settings.seed)

    def prune(self) -> list[PrunedTrace]:
        """Prune the traces on file."""
        traces = self.traces()
        folder = self.open_stage("prune", self.prune_settings())
        _try_refused(folder, self.recipe)
        counter = FileTokenCounter(resolve_model(self.recipe.prune.tokenizer or self.recipe.student.model))
        with Grader() as grader:
            judge = Judge(self.recipe.prune, grader, counter, open_scorer(self.recipe))
            pruned = run_until_done(prune_traces(folder, traces, judge, self.progress, self.say))
        self.finish(folder)
        return pruned

    def explore(self) -> None:
        """Draw what the method needs beyond the student's own traces."""
        if self.method.explore:
            self.method.explore(self)

    def train(self) -> Path:
        """Train the student as the method says, on what is on file."""
        if "train" not in self.method.stages:
            raise DrpError(
                f"method {self.method.name} trains nothing with these settings: {self.method.summary}"
            )
        if self.method.targets is None:
            problems = self.training_problems()
            folder = self.open_stage(
                "train", self.train_settings(content_id("set", [[p.id] for p in problems]))
            )
            return practise(self.recipe, folder, problems, self.progress)
        chosen = self._chosen()
        if not chosen:
            raise TrainingError(f"there is nothing to train on: {self._why_nothing()}")
        folder = self.open_stage("train", self.train_settings(training_fingerprint(chosen)))
        return train_student(self.recipe, folder, chosen, self.progress)

    def _why_nothing(self) -> str:
        """Return what became of the traces where none can be trained on."""
        if "prune" in self.method.stages:
            folder = self.run_folder.stage("prune")
            kinds = Counter(failure.kind for failure in folder.failures())
            for pruned in self.pruned():
                kinds[f"refused for {pruned.reason}"] += 1
            found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(3)) or "no trace at all"
            return (
                f"no pruned trace was accepted ({found}); see {folder.errors_path} and {folder.records_path}"
            )
        folder = self.run_folder.stage("generate")
        right = sum(bool(trace.correct) for trace in self.traces())
        return f"of the traces in {folder.records_path} {right} are right, and none of them is usable"

    def evaluate(self) -> None:
        """Run the student before and after on the same problems."""
        settings, problems = self.recipe.evaluate, self.evaluation_problems()
        student = self.recipe.student.model
        base = self.open_stage("evaluate/base", self.evaluate_settings("base", student, problems))
        self._sample(base, lambda: self._engine(student), problems, settings.runs, settings.seed)
        if "train" not in self.method.stages:
            self._evaluate_prompted(problems)
            return
        trained = self.run_folder.stage("train")
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
        model = str(trained.path / "model")
        distilled = self.open_stage(
            "evaluate/distilled", self.evaluate_settings("distilled", model, problems)
        )
        self._sample(distilled, lambda: self._engine(model), problems, settings.runs, settings.seed)

    def _evaluate_prompted(self, problems: list[Problem]) -> None:
        """Run the student as it is under the budgets it estimates."""
        student, settings = self.recipe.student.model, self.recipe.evaluate
        prompt_of = estimated_budgets(self, problems)
        why = self.evaluate_settings("distilled", student, problems)
        prompted = self.open_stage("evaluate/distilled", {**why, "tale": defining(self.recipe.tale)})
        self._sample(
            prompted,
            lambda: self._engine(student),
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
            settings["sampling"] = sampling.model_dump()
        folder = self.open_stage(f"explore/{name}", settings)
        made = folder.path / "model"

        def make() -> Engine:
            return self._student_engine() if model is None else self._engine(model(made))

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
        evaluates = folder.stage.startswith("evaluate")
        settings = self.recipe.evaluate if evaluates else self.recipe.generate
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
        if self.recipe.generate.engine == "transformers":
            return self._engine(self.recipe.student.model, self.recipe.generate.batch_size)
        endpoint, student = self.recipe.generate.endpoint, self.recipe.student.model
        prefilled = endpoint.prefilled
        if prefilled is None:
            prefilled = prefills_thinking(resolve_model(student))
        if prefilled is None:
            self.say(
                f"note: the chat template of {student} cannot be read here, so replies without tags are taken for thinking "
                "that never closed; set generate.endpoint.prefilled=false if the student opens its thinking itself"
            )
        model = endpoint.model or student
        return open_endpoint(model, endpoint, self.say, thinks=True, prefilled=prefilled is not False)

    def _engine(self, model: str, batch_size: int | None = None) -> Engine:
        student = self.recipe.student
        return in_process().TransformersEngine(
            resolve_model(model),
            device=student.device,
            dtype=student.dtype,
            batch_size=batch_size or self.recipe.evaluate.batch_size,
        )


def _try_refused(folder: StageFolder, recipe: Recipe) -> None:
    """Let a stage try again what the teacher's endpoint refused under other settings."""
    if recipe.prune.asks_a_model:
        folder.try_again(recipe.prune.endpoint.setup(recipe.prune.llm.model))


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
    folder, _ = run.open_stage("prune", pruning_settings(recipe))
    _try_refused(folder, recipe)
    if {trace.id for trace in traces} - folder.done():
        refuse(preflight(recipe, run.path, ("prune",), problems=False))
    counter = FileTokenCounter(resolve_model(recipe.prune.tokenizer or "mini"))
    with Grader() as grader:
        judge = Judge(recipe.prune, grader, counter, open_scorer(recipe))
        pruned = run_until_done(prune_traces(folder, traces, judge, progress, say))
    return pruned, traces
