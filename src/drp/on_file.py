"""What a run folder holds for a recipe, whether it still stands, and what each stage rests on."""

from collections.abc import Sequence
from typing import Any

from drp.benchmarks.registry import ProblemSet, load_problems
from drp.engines.base import Sampling
from drp.engines.identity import model_identity
from drp.engines.registry import EngineSettings
from drp.engines.settings import PromptSettings, StudentSettings
from drp.errors import IncompleteError, RunFolderError
from drp.grading import VERSION as GRADER_VERSION
from drp.pruning import VERSION as CHECKS_VERSION
from drp.recipe import Recipe, defining, defining_pruning
from drp.records import Problem, PrunedTrace, Trace
from drp.runs import layout
from drp.runs.folder import RunFolder, StageFolder
from drp.runs.journal import write_atomically
from drp.runs.manifest import Settings
from drp.runs.on_demand import ids_of, where, with_ids
from drp.runs.stage import Say
from drp.stages.sampling import trace_id
from drp.teachers import VERSION as TEACHERS_VERSION
from drp.teachers.registry import TeacherContext
from drp.text import UNITS_VERSION
from drp.text.thinking import THINK


def pruning_settings(recipe: Recipe) -> Settings:
    """Return what defines pruned traces, wherever the traces come from: settings, and the versions of what decides."""
    versions = {
        "units": UNITS_VERSION,
        "checks": CHECKS_VERSION,
        "teachers": TEACHERS_VERSION,
        "grader": GRADER_VERSION,
    }
    loads = recipe.prune.teacher.loads_student or recipe.prune.learnability
    student = {"scored_by": model_identity(recipe.student.source)} if loads else {}
    return {"prune": defining_pruning(recipe.prune), "versions": versions, **student, **_tags(recipe)}


def _tags(recipe: Recipe) -> Settings:
    """Return what the student writes around its thinking, which every stage rests on, unless it is what most write."""
    tags = recipe.student.thinking_tags
    return {} if tags == THINK else {"thinking_tags": list(tags)}


def teacher_context(recipe: Recipe, run: RunFolder, say: Say) -> TeacherContext:
    """Return what a recipe's teacher is opened with."""
    settings = recipe.prune
    return TeacherContext(
        folder=run.path,
        writes_answer=settings.answer == "teacher",
        price=settings.known_price,
        budget_usd=settings.budget_usd,
        student=recipe.student,
        prompt=recipe.prompt,
        student_server=settings.student_server,
        say=say,
    )


def wanted_traces(problems: Sequence[Problem], samples: int) -> set[str]:
    """Return the ids of so many traces of every problem."""
    return {trace_id(problem, sample) for problem in problems for sample in range(samples)}


class OnFile:
    """The stages of a recipe's run, as they stand.

    Args:
        recipe: The recipe.
        run: The run folder, entered.
        say: Prints one line for people.
        limit: At most this many problems per problem set.
        partial: Whether to go on where a stage has items pending, without them.
    """

    def __init__(
        self, recipe: Recipe, run: RunFolder, say: Say, limit: int | None = None, *, partial: bool = False
    ) -> None:
        self.method = recipe.method
        self.recipe, self.run_folder, self.say, self.limit, self.partial = recipe, run, say, limit, partial
        self._noted: set[str] = set()

    # What a method works with.

    @property
    def student(self) -> StudentSettings:
        """The model to shorten."""
        return self.recipe.student

    @property
    def prompt(self) -> PromptSettings:
        """How it is asked."""
        return self.recipe.prompt

    @property
    def evaluation_sampling(self) -> Sampling:
        """How it is evaluated."""
        return self.recipe.evaluate.sampling

    # What each stage depends on.

    def generate_settings(self, *, draws: bool = False) -> Settings:
        """Return what defines the student's own traces; ``draws``: whether some have yet to be drawn."""
        recipe = self.recipe
        student = {"model": None, "dtype": self._dtype(layout.GENERATE, recipe.generate.engine, draws)}
        return {
            "student": model_identity(recipe.student.source) | defining(recipe.student) | student,
            "prompt": defining(recipe.prompt),
            "generate": defining(recipe.generate),
        }

    def _dtype(self, stage: str, engine: EngineSettings, draws: bool) -> str:
        """Return the number format that a stage's traces are drawn in, or were, if it has all it needs.

        ``auto`` is another format on another machine, and traces of both must not mix; but what is on file
        stands, wherever the stages after it run.
        """
        wanted = self.recipe.student.dtype
        if wanted != "auto":
            return wanted
        manifest = self.run_folder.stage(stage).manifest()
        if manifest and not draws:
            student: Any = manifest.settings.get("student") or manifest.settings
            return str(student.get("dtype", wanted))
        return engine.number_format(self.recipe.student)

    def owed(self, stage: str, wanted: set[str]) -> set[str]:
        """Return which of the wanted items of a stage have no outcome yet."""
        folder = self.run_folder.stage(stage)
        given_up = {failure.id for failure in folder.failures() if not failure.retry}
        return wanted - folder.done() - given_up

    def evaluation_problems(self) -> list[Problem]:
        """Return the problems to evaluate on."""
        return self._problems(self.recipe.evaluate.benchmarks)

    def _problems(self, sets: Sequence[ProblemSet]) -> list[Problem]:
        return [problem for wanted in sets for problem in load_problems(wanted, self.limit, self._note)]

    def _note(self, line: str) -> None:
        """Say once what reading a file brought up, however often it is read."""
        if line not in self._noted:
            self._noted.add(line)
            self.say(f"note: {line}")

    def prune_settings(self) -> Settings:
        """Return what defines the pruned traces."""
        return {"generate": self.generate_settings(), **pruning_settings(self.recipe)}

    def train_settings(self, examples: str) -> Settings:
        """Return what defines the trained model; ``examples`` is the identity of what it is trained on."""
        own = self.method.defining_training()
        return {
            "student": model_identity(self.recipe.student.source),
            "prompt": defining(self.recipe.prompt),
            "train": defining(self.recipe.train),
            "examples": examples,
            **({self.method.kind: own} if own is not None else {}),
            **_tags(self.recipe),
        }

    def evaluate_settings(self, which: str, model: str, problems: Sequence[Problem]) -> Settings:
        """Return what defines the evaluation of a model: the ``base``, the ``distilled`` or the ``prompted`` one."""
        settings, stage = self.recipe.evaluate, layout.evaluation(which)
        draws = bool(self.owed(stage, wanted_traces(problems, settings.runs)))
        return {
            "model": model_identity(model),
            "dtype": self._dtype(stage, settings.engine, draws),
            "prompt": defining(self.recipe.prompt),
            "evaluate": defining(self.recipe.evaluate),
            **_tags(self.recipe),
        }

    @property
    def imported(self) -> bool:
        """Whether what was pruned here are traces of a file, and the run has none of its own."""
        generated, pruned = (self.run_folder.stage(s).manifest() for s in (layout.GENERATE, layout.PRUNE))
        return generated is None and pruned is not None and "generate" not in pruned.settings

    # What stages read.

    def training_problems(self) -> list[Problem]:
        """Return the training problems."""
        return self._problems(self.recipe.problems)

    def traces(self) -> Sequence[Trace]:
        """Return the traces of the recipe's problems, which stage generate must have drawn."""
        folder = self._need(layout.GENERATE, self.generate_settings())
        wanted = wanted_traces(self.training_problems(), self.recipe.generate.samples)
        self._need_all(folder, wanted)
        return with_ids(folder.on_demand(Trace), wanted)

    def pruned(self) -> Sequence[PrunedTrace]:
        """Return the pruned traces, accepted or not: those of the run's own traces, or of the file that was pruned here."""
        if self.imported:
            folder = self._need(layout.PRUNE, pruning_settings(self.recipe))
            return folder.on_demand(PrunedTrace, folder.wanted())
        folder = self._need(layout.PRUNE, self.prune_settings())
        wanted = set(ids_of(self.traces()))
        self._need_all(folder, wanted)
        return with_ids(folder.on_demand(PrunedTrace), wanted)

    def explored(self, name: str) -> Sequence[Trace]:
        """Return what stage explore drew under ``name``."""
        wanted = {p.id for p in self.training_problems()}
        found = self.run_folder.stage(layout.exploration(name)).on_demand(Trace)
        return where(found, lambda trace: trace.problem_id in wanted)

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
        if owed := self.owed(folder.stage, wanted):
            self._incomplete(
                folder.unfinished(owed, len(wanted)), f"Run `drp {folder.stage}` with this recipe"
            )

    def finish(self, folder: StageFolder) -> None:
        """Stop after a stage that has items pending."""
        if said := folder.pending():
            self._incomplete(said, "The same command tries them again")

    def _incomplete(self, said: str, again: str) -> None:
        if not self.partial:
            raise IncompleteError(f"{said}. {again}; --partial goes on without them")
        self.say(f"note: {said}; going on without them")

    def open_stage(self, stage: str, settings: Settings) -> StageFolder:
        """Return a stage's folder, ready to be written; records made with other settings are set aside."""
        # Not before: a command that is refused leaves the recipe of what stands here.
        write_atomically(self.run_folder.path / layout.RECIPE, self.recipe.model_dump_json(indent=1) + "\n")
        folder, changes = self.run_folder.open_stage(stage, settings)
        if changes:
            self.say(
                f"{stage}: settings changed ({'; '.join(changes)}), so it runs again; "
                "the earlier records are kept in superseded/"
            )
        return folder
