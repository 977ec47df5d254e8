"""The teachers that a recipe may name, what each says of itself, and what it is opened with."""

from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from drp.engines.pricing import Price
from drp.engines.settings import EndpointSettings, PromptSettings, StudentServer, StudentSettings
from drp.kinds import Kind, Registry
from drp.records import Trace
from drp.runs.stage import Say, silent
from drp.teachers.base import Teacher

if TYPE_CHECKING:
    from drp.teachers.load import Call, Lengths
    from drp.teachers.replies import ReplyStore

Writes = Literal["never", "if asked", "always"]


@dataclass(frozen=True)
class TeacherContext:
    """What a teacher may need to be opened."""

    folder: Path
    """Where what it was paid for is kept, over all settings: the run folder."""
    writes_answer: bool = False
    """Whether it is asked for the answer part too."""
    price: Price | None = None
    """What its model costs, where that is known."""
    budget_usd: float | None = None
    """Most dollars it may spend."""
    student: StudentSettings = field(default_factory=StudentSettings)
    prompt: PromptSettings = field(default_factory=PromptSettings)
    student_server: StudentServer | None = None
    """Where the student's weights are; left out: they are loaded in this process."""
    solves: Callable[[str, Trace], bool] | None = None
    """Whether an answer part is right, for teachers that ask the student for one."""
    say: Say = silent


@dataclass(frozen=True)
class OpenTeacher:
    """A teacher ready to be asked."""

    teacher: Teacher
    at_once: int | None
    """How many traces to have under way; ``None``: all of them."""
    store: "ReplyStore | None" = None
    """Its replies and spending; ``None`` where no endpoint is asked."""


class TeacherSettings(Kind):
    """Settings of a teacher; each kind adds its own and says how it is opened."""

    prunes: ClassVar[bool] = True
    """Whether it edits the student's traces; if not, it writes solutions of its own."""
    writes: ClassVar[Writes] = "never"
    """Whether it writes the answer part."""
    most_candidates: ClassVar[int | None] = 1
    """How many different candidates it can write for a trace; ``None``: any number."""
    protocols: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """Other ways of working by name, as ``json`` in ``edit_script/json``, and the fields that each sets."""
    loads_student: ClassVar[bool] = False
    """Whether it asks the student itself, whose weights are in this process or at a server."""

    @abstractmethod
    def open(self, context: TeacherContext) -> AbstractAsyncContextManager[OpenTeacher]:
        """Provide the teacher.

        Raises:
            DrpError: It cannot be opened; the message says what to do.
        """

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.kind

    def asked(self) -> tuple[str, EndpointSettings] | None:
        """Return the name of the language model that is asked and its endpoint, if there is one."""
        return None

    @property
    def setup(self) -> str | None:
        """Identity of what may make an endpoint refuse requests; ``None`` where none is asked."""
        asked = self.asked()
        return asked[1].setup if asked else None

    @property
    def batches(self) -> bool:
        """Whether requests go off as batches, at the batch price."""
        return False

    def without_batches(self) -> Self:
        """Return settings under which every reply comes at once."""
        return self

    def calls(self, lengths: "Lengths", *, writes_answer: bool) -> "list[Call] | None":
        """Return what one candidate for a trace of such lengths is expected to take; ``None`` where it costs nothing."""
        _ = lengths, writes_answer
        return None


@asynccontextmanager
async def ready(teacher: Teacher, at_once: int | None = 1) -> AsyncGenerator[OpenTeacher]:
    """Provide a teacher that needs no opening, so many traces at once."""
    yield OpenTeacher(teacher, at_once)


TEACHERS: Registry[TeacherSettings] = Registry(
    "teacher",
    "drp.teachers",
    TeacherSettings,
    {
        "rules": "drp.teachers.rules:RulesSettings",
        "student": "drp.teachers.student:StudentTeacherSettings",
        "answer_likelihood": "drp.teachers.answer_likelihood:AnswerLikelihoodSettings",
        "answer_perplexity": "drp.teachers.answer_perplexity:AnswerPerplexitySettings",
        "attention_saliency": "drp.teachers.attention_saliency:AttentionSaliencySettings",
        "edit_script": "drp.teachers.edit_script:EditScriptSettings",
        "two_stage": "drp.teachers.two_stage:TwoStageSettings",
        "direct": "drp.teachers.direct:DirectSettings",
        "first_conclusion": "drp.teachers.controls:FirstConclusionSettings",
        "random_units": "drp.teachers.controls:RandomUnitsSettings",
        "mini_direct": "drp.teachers.mini_direct:MiniDirectSettings",
    },
)
