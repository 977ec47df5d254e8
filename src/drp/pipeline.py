"""The pipeline: which stage needs what, which records still stand, and in which order to run."""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from drp.benchmarks.registry import load_problems
from drp.engines.base import Engine, Sampling
from drp.engines.identity import model_identity, resolve_model
from drp.errors import DrpError, MissingExtraError, RunFolderError
from drp.grading.grader import Grader
from drp.methods.base import PromptOf
from drp.methods.registry import method_of
from drp.methods.tale import estimated_budgets
from drp.recipe import Recipe, defining, defining_pruning
from drp.records import Problem, PrunedTrace, Target, Trace, content_id
from drp.report.write import write_report
from drp.runs.folder import RunFolder, Settings, StageFolder, changed_keys
from drp.runs.journal import write_atomically
from drp.runs.stage import Progress
from drp.stages.judge import Judge
from drp.stages.prune import prune_traces
from drp.stages.sampling import sample_traces
from drp.stages.scoring import Scorer, StudentScorer
from drp.stages.teacher import open_endpoint
from drp.stages.train import choose, practise, train_student, training_fingerprint
from drp.text.tokens import FileTokenCounter

Say = Callable[[str], None]


class Pipeline:
    """Runs the stages of a recipe in a run folder that this process holds.

    Args:
        recipe: The recipe.
        run: The run folder, entered.
        progress: Where stages report how far they are.
        say: Prints one line for people.
        limit: At most this many problems per problem set.
    """

    def __init__(
        self, recipe: Recipe, run: RunFolder, progress: Progress, say: Say, limit: int | None = None
    ) -> None:
        self.method = method_of(recipe)
        self.recipe, self.run_folder, self.progress, self.say, self.limit = recipe, run, progress, say, limit
        write_atomically(run.path / "recipe.json", recipe.model_dump_json(indent=1) + "\n")

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
        settings = self.recipe.generate
        folder = self._open("generate", self._generate_settings())
        return self._sample(
            folder, self._student_engine, self.training_problems(), settings.samples, settings.seed,
        )  # fmt: skip

    def prune(self) -> list[PrunedTrace]:
        """Prune the traces on file."""
        traces = self._wanted_traces()
        folder = self._open("prune", self._prune_settings())
        counter = FileTokenCounter(resolve_model(self.recipe.prune.tokenizer or self.recipe.student.model))
        with Grader() as grader:
            judge = Judge(self.recipe.prune, grader, counter, open_scorer(self.recipe))
            return asyncio.run(prune_traces(folder, traces, judge, self.progress, self.say))

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
        folder = self._open("train", self._train_settings())
        if self.method.targets is None:
            return practise(self.recipe, folder, self.training_problems(), self.progress)
        return train_student(self.recipe, folder, self._chosen(), self.progress)

    def evaluate(self) -> None:
        """Run the student before and after on the same problems."""
        settings = self.recipe.evaluate
        problems = [p for s in settings.benchmarks for p in load_problems(s, self.limit)]
        student = self.recipe.student.model
        base = self._open("evaluate/base", self._evaluate_settings(model_identity(student)))
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
        distilled = self._open("evaluate/distilled", self._evaluate_settings(model_identity(model)))
        self._sample(distilled, lambda: self._engine(model), problems, settings.runs, settings.seed)

    def _evaluate_prompted(self, problems: list[Problem]) -> None:
        """Run the student as it is under the budgets it estimates."""
        student, settings = self.recipe.student.model, self.recipe.evaluate
        prompt_of = estimated_budgets(self, problems)
        why = self._evaluate_settings(model_identity(student))
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

    def _generate_settings(self) -> Settings:
        recipe = self.recipe
        return {
            "student": model_identity(recipe.student.model) | defining(recipe.student) | {"model": None},
            "prompt": defining(recipe.prompt),
            "generate": defining(recipe.generate),
        }

    def _prune_settings(self) -> Settings:
        return {"generate": self._generate_settings(), "prune": defining_pruning(self.recipe.prune)}

    def _train_settings(self) -> Settings:
        own = self.method.defining(self.recipe)
        if self.method.targets is None:
            examples = content_id("set", [[p.id] for p in self.training_problems()])
        else:
            examples = training_fingerprint(self._chosen())
        return {
            "student": model_identity(self.recipe.student.model),
            "prompt": defining(self.recipe.prompt),
            "train": defining(self.recipe.train),
            "examples": examples,
            **({self.method.name: own} if own is not None else {}),
        }

    def _evaluate_settings(self, model: dict[str, str]) -> Settings:
        return {
            "model": model,
            "dtype": self.recipe.student.dtype,
            "prompt": defining(self.recipe.prompt),
            "evaluate": defining(self.recipe.evaluate),
        }

    # What stages read.

    def training_problems(self) -> list[Problem]:
        """Return the training problems."""
        return [p for s in self.recipe.problems for p in load_problems(s, self.limit)]

    def _wanted_traces(self) -> list[Trace]:
        """Return the traces of the recipe's problems that stage generate has on file."""
        folder = self._need("generate", self._generate_settings())
        wanted = {p.id for p in self.training_problems()}
        samples = self.recipe.generate.samples
        return [t for t in folder.records(Trace) if t.problem_id in wanted and t.sample < samples]

    def traces(self) -> list[Trace]:
        """Return the student's own traces."""
        return self._wanted_traces()

    def pruned(self) -> list[PrunedTrace]:
        """Return the pruned traces, accepted or not."""
        folder = self._need("prune", self._prune_settings())
        wanted = {t.id for t in self._wanted_traces()}
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

    def _open(self, stage: str, settings: Settings) -> StageFolder:
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
            return asyncio.run(
                sample_traces(
                    folder, make, problems,
                    samples=samples, sampling=sampling or settings.sampling, seed=seed, prompt=self.recipe.prompt,
                    prompt_of=prompt_of,
                    grader=grader, progress=self.progress,
                )
            )  # fmt: skip

    def _student_engine(self) -> Engine:
        if self.recipe.generate.engine == "transformers":
            return self._engine(self.recipe.student.model, self.recipe.generate.batch_size)
        endpoint = self.recipe.generate.endpoint
        model = endpoint.model or self.recipe.student.model
        return open_endpoint(model, endpoint, prefilled_thinking=True)

    def _engine(self, model: str, batch_size: int | None = None) -> Engine:
        try:
            from drp.engines.transformers_engine import TransformersEngine
        except ImportError as error:
            raise MissingExtraError(str(error.name), "train") from error
        student = self.recipe.student
        return TransformersEngine(
            resolve_model(model),
            device=student.device,
            dtype=student.dtype,
            batch_size=batch_size or self.recipe.evaluate.batch_size,
        )


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
    folder, _ = run.open_stage("prune", {"prune": defining_pruning(recipe.prune)})
    counter = FileTokenCounter(resolve_model(recipe.prune.tokenizer or "mini"))
    with Grader() as grader:
        judge = Judge(recipe.prune, grader, counter, open_scorer(recipe))
        pruned = asyncio.run(prune_traces(folder, traces, judge, progress, say))
    return pruned, traces
