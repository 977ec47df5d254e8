"""The pipeline: which stage needs what, which records still stand, and in which order to run."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from drp.benchmarks.registry import load_problems
from drp.engines.base import Engine, Sampling
from drp.engines.identity import model_identity, resolve_model
from drp.errors import DrpError, IncompleteError, MissingExtraError, RunFolderError, TrainingError
from drp.grading import VERSION as GRADER_VERSION
from drp.grading.grader import Grader
from drp.methods.base import PromptOf
from drp.methods.registry import method_of
from drp.methods.tale import estimated_budgets
from drp.pruning import VERSION as CHECKS_VERSION
from drp.recipe import Recipe, defining, defining_pruning
from drp.records import Problem, PrunedTrace, Target, Trace, content_id
from drp.report.write import write_report
from drp.runs.concurrency import run_until_done
from drp.runs.folder import RunFolder, Settings, StageFolder, changed_keys
from drp.runs.journal import write_atomically
from drp.runs.stage import Progress
from drp.stages.judge import Judge
from drp.stages.prune import prune_traces
from drp.stages.sampling import grade_again, sample_traces, trace_id
from drp.stages.scoring import Scorer, StudentScorer
from drp.stages.teacher import open_endpoint
from drp.stages.train import choose, practise, train_student, training_fingerprint
from drp.teachers import VERSION as TEACHERS_VERSION
from drp.text import UNITS_VERSION
from drp.text.tokens import FileTokenCounter

Say = Callable[[str], None]
RECIPE = "recipe.json"
"""The resolved recipe in a run folder."""


class Pipeline:
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
        self.method = method_of(recipe)
        self.recipe, self.run_folder, self.progress, self.say, self.limit = recipe, run, progress, say, limit
        self.partial = partial

    def run(self, *stages: str) -> None:
        """Run the given stages, or else all of the recipe's method, each with what it needs already on file."""
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
        draws = self._owes("generate", problems, settings.samples)
        folder = self._open("generate", self._generate_settings(draws=draws))
        return self._sample(folder, self._student_engine, problems, settings.samples, settings.seed)

    def prune(self) -> list[PrunedTrace]:
        """Prune the traces on file."""
        traces = self._wanted_traces()
        folder = self._open("prune", self._prune_settings())
        counter = FileTokenCounter(resolve_model(self.recipe.prune.tokenizer or self.recipe.student.model))
        with Grader() as grader:
            judge = Judge(self.recipe.prune, grader, counter, open_scorer(self.recipe))
            pruned = run_until_done(prune_traces(folder, traces, judge, self.progress, self.say))
        self._ended(folder)
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
            folder = self._open("train", self._train_settings(content_id("set", [[p.id] for p in problems])))
            return practise(self.recipe, folder, problems, self.progress)
        chosen = self._chosen()
        if not chosen:
            raise TrainingError(f"there is nothing to train on: {self._why_nothing()}")
        folder = self._open("train", self._train_settings(training_fingerprint(chosen)))
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
        settings = self.recipe.evaluate
        problems = [p for s in settings.benchmarks for p in load_problems(s, self.limit)]
        student = self.recipe.student.model
        base = self._open("evaluate/base", self._evaluate_settings("base", student, problems))
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
        distilled = self._open("evaluate/distilled", self._evaluate_settings("distilled", model, problems))
        self._sample(distilled, lambda: self._engine(model), problems, settings.runs, settings.seed)

    def _evaluate_prompted(self, problems: list[Problem]) -> None:
        """Run the student as it is under the budgets it estimates."""
        student, settings = self.recipe.student.model, self.recipe.evaluate
        prompt_of = estimated_budgets(self, problems)
        why = self._evaluate_settings("distilled", student, problems)
        prompted = self._open("evaluate/distilled", {**why, "tale": defining(self.recipe.tale)})
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
        path = write_report(self.run_folder.path, self.recipe.name)
        self.say(f"report: {path}")
        return path

    # What each stage depends on.

    def _generate_settings(self, *, draws: bool = False) -> Settings:
        recipe = self.recipe
        student = {"model": None, "dtype": self._dtype("generate", recipe.generate.engine, draws)}
        return {
            "student": model_identity(recipe.student.model) | defining(recipe.student) | student,
            "prompt": defining(recipe.prompt),
            "generate": defining(recipe.generate),
        }

    def _dtype(self, stage: str, engine: str, draws: bool) -> str:
        """Return the number format that a stage's traces are drawn in, or were, if it has all it needs.

        ``auto`` is another format on another machine, and traces of both must not mix; but what is on file
        stands, wherever the stages after it run.
        """
        wanted = self.recipe.student.dtype
        if wanted != "auto" or engine != "transformers":
            return wanted
        manifest = self.run_folder.stage(stage).manifest()
        if manifest and not draws:
            student: Any = manifest.settings.get("student") or manifest.settings
            return str(student.get("dtype", wanted))
        return _in_process().pick_dtype(self.recipe.student.device, wanted)

    def _owes(self, stage: str, problems: Sequence[Problem], samples: int) -> bool:
        """Return whether a stage has traces yet to draw."""
        folder = self.run_folder.stage(stage)
        given_up = {failure.id for failure in folder.failures() if not failure.retry}
        wanted = {trace_id(problem, sample) for problem in problems for sample in range(samples)}
        return bool(wanted - folder.done() - given_up)

    def _prune_settings(self) -> Settings:
        return {"generate": self._generate_settings(), **pruning_settings(self.recipe)}

    def _train_settings(self, examples: str) -> Settings:
        own = self.method.defining(self.recipe)
        return {
            "student": model_identity(self.recipe.student.model),
            "prompt": defining(self.recipe.prompt),
            "train": defining(self.recipe.train),
            "examples": examples,
            **({self.method.name: own} if own is not None else {}),
        }

    def _evaluate_settings(self, which: str, model: str, problems: Sequence[Problem]) -> Settings:
        settings, stage = self.recipe.evaluate, f"evaluate/{which}"
        draws = self._owes(stage, problems, settings.runs)
        return {
            "model": model_identity(model),
            "dtype": self._dtype(stage, settings.engine, draws),
            "prompt": defining(self.recipe.prompt),
            "evaluate": defining(self.recipe.evaluate),
        }

    # What stages read.

    def training_problems(self) -> list[Problem]:
        """Return the training problems."""
        return [p for s in self.recipe.problems for p in load_problems(s, self.limit)]

    def _wanted_traces(self) -> list[Trace]:
        """Return the traces of the recipe's problems, which stage generate must have drawn."""
        folder = self._need("generate", self._generate_settings())
        samples = range(self.recipe.generate.samples)
        wanted = {trace_id(problem, sample) for problem in self.training_problems() for sample in samples}
        self._need_all(folder, wanted)
        return [trace for trace in folder.records(Trace) if trace.id in wanted]

    def traces(self) -> list[Trace]:
        """Return the student's own traces."""
        return self._wanted_traces()

    def pruned(self) -> list[PrunedTrace]:
        """Return the pruned traces, accepted or not."""
        folder = self._need("prune", self._prune_settings())
        wanted = {t.id for t in self._wanted_traces()}
        self._need_all(folder, wanted)
        return [p for p in folder.records(PrunedTrace) if p.id in wanted]

    def explored(self, name: str) -> list[Trace]:
        """Return what stage explore drew under ``name``."""
        wanted = {p.id for p in self.training_problems()}
        found = self.run_folder.stage(f"explore/{name}").records(Trace)
        return [t for t in found if t.problem_id in wanted]

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
        settings = {**self._generate_settings(), "explore": why}
        if sampling:
            settings["sampling"] = sampling.model_dump()
        folder = self._open(f"explore/{name}", settings)
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

    def _need(self, stage: str, settings: Settings) -> StageFolder:
        """Return the folder of an earlier stage, which must stand with the recipe's settings."""
        changes = self.run_folder.changes(stage, settings)
        if changes is None:
            raise RunFolderError(
                f"{self.run_folder.path} has no {stage} stage yet: run `drp {stage}` or `drp run` first"
            )
        if changes:
            raise RunFolderError(
                f"stage {stage} was made with other settings ({'; '.join(changes)}): "
                f"run `drp {stage}` or `drp run` first"
            )
        return self.run_folder.stage(stage)

    def _need_all(self, folder: StageFolder, wanted: set[str]) -> None:
        """See to it that an earlier stage has an outcome for every wanted item."""
        given_up = {failure.id for failure in folder.failures() if not failure.retry}
        owed = wanted - folder.done() - given_up
        if owed:
            again = f"Run `drp {folder.stage}` with this recipe"
            self._incomplete(folder, len(owed), len(wanted), again)

    def _ended(self, folder: StageFolder) -> None:
        """Stop after a stage that has items pending."""
        manifest = folder.manifest()
        if manifest and not manifest.complete:
            counts = manifest.counts
            again = "The same command tries them again"
            self._incomplete(folder, counts.get("pending", 0), counts.get("wanted", 0), again)

    def _incomplete(self, folder: StageFolder, owed: int, wanted: int, again: str) -> None:
        reason = folder.commonest_failure()
        said = f"{folder.stage} is incomplete: {owed} of {wanted} items have no outcome yet"
        said += f". Mostly {reason}" if reason else ""
        if not self.partial:
            raise IncompleteError(f"{said}. {again}; --partial goes on without them")
        self.say(f"note: {said}; going on without them")

    def _open(self, stage: str, settings: Settings) -> StageFolder:
        # Not before: a command that is refused leaves the recipe of what stands here.
        write_atomically(self.run_folder.path / RECIPE, self.recipe.model_dump_json(indent=1) + "\n")
        folder, changes = self.run_folder.open_stage(stage, settings)
        if changes:
            self.say(
                f"{stage}: settings changed ({'; '.join(changes)}), so it runs again; "
                "the earlier records are kept in superseded/"
            )
        return folder

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
        self._ended(folder)
        return traces

    def _student_engine(self) -> Engine:
        if self.recipe.generate.engine == "transformers":
            return self._engine(self.recipe.student.model, self.recipe.generate.batch_size)
        endpoint = self.recipe.generate.endpoint
        model = endpoint.model or self.recipe.student.model
        return open_endpoint(model, endpoint, prefilled_thinking=True)

    def _engine(self, model: str, batch_size: int | None = None) -> Engine:
        student = self.recipe.student
        return _in_process().TransformersEngine(
            resolve_model(model),
            device=student.device,
            dtype=student.dtype,
            batch_size=batch_size or self.recipe.evaluate.batch_size,
        )


def _in_process() -> ModuleType:
    """Return the engine in this process, which needs torch.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        from drp.engines import transformers_engine
    except ImportError as error:
        raise MissingExtraError(str(error.name), "train") from error
    return transformers_engine


def pruning_settings(recipe: Recipe) -> Settings:
    """Return what defines pruned traces, wherever the traces come from: settings, and the versions of what decides."""
    versions = {
        "units": UNITS_VERSION, "checks": CHECKS_VERSION, "teachers": TEACHERS_VERSION, "grader": GRADER_VERSION,
    }  # fmt: skip
    return {"prune": defining_pruning(recipe.prune), "versions": versions}


def open_scorer(recipe: Recipe) -> Scorer | None:
    """Return what measures learnability while pruning, if the recipe asks for it."""
    return StudentScorer(recipe.student, recipe.prompt) if recipe.prune.learnability else None


def prune_file(
    path: Path,
    run: RunFolder,
    recipe: Recipe,
    progress: Progress,
    limit: int | None = None,
    say: Say = lambda _: None,
) -> tuple[list[PrunedTrace], list[Trace]]:
    """Prune traces from a file into a run folder; returns the pruned traces and the traces.

    Raises:
        DrpError: The file is not in the documented format.
    """
    from drp.benchmarks.files import read_traces

    traces = read_traces(path)[:limit]
    if not traces:
        raise DrpError(f"{path} holds no traces")
    folder, _ = run.open_stage("prune", pruning_settings(recipe))
    counter = FileTokenCounter(resolve_model(recipe.prune.tokenizer or "mini"))
    with Grader() as grader:
        judge = Judge(recipe.prune, grader, counter, open_scorer(recipe))
        pruned = run_until_done(prune_traces(folder, traces, judge, progress, say))
    return pruned, traces
