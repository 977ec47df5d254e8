"""The recipe: one strict description of a run, read from YAML, every field with a default."""

from typing import Annotated, Any, Literal, cast

from pydantic import Field, SerializeAsAny, model_validator

from drp.benchmarks.registry import ProblemSet
from drp.engines.base import Sampling
from drp.engines.local import TransformersSettings
from drp.engines.pricing import Price, price_of
from drp.engines.providers import provider_of
from drp.engines.registry import ENGINES, EngineSettings
from drp.engines.settings import PromptSettings, StudentServer, StudentSettings
from drp.methods.base import MethodSettings
from drp.methods.drp import DrpSettings
from drp.methods.registry import METHODS
from drp.pruning.checks import CheckLimits
from drp.records import Record
from drp.runs.fingerprints import EXECUTION, UNLESS_SET, defining
from drp.teachers.registry import TEACHERS, TeacherSettings
from drp.teachers.rules import RulesSettings
from drp.training.settings import TrainSettings

ChosenEngine = Annotated[SerializeAsAny[EngineSettings], ENGINES.told_apart("transformers")]
ChosenTeacher = Annotated[SerializeAsAny[TeacherSettings], TEACHERS.told_apart("rules")]
ChosenMethod = Annotated[SerializeAsAny[MethodSettings], METHODS.told_apart("drp")]


class GenerateSettings(Record):
    """Stage generate: the student's own traces."""

    engine: ChosenEngine = TransformersSettings()
    """What runs the student: transformers or vllm (this process), ray (either, on a cluster), openai (an endpoint), or another package's."""
    sampling: Sampling = Sampling()
    """How traces are drawn."""
    samples: int = Field(default=1, ge=1, json_schema_extra=EXECUTION)
    """Traces per problem; more of them extend what is on file."""
    seed: int = 0
    """Seed of all traces."""


class PruneSettings(Record):
    """Stage prune: edit scripts, applied and checked."""

    teacher: ChosenTeacher = RulesSettings()
    """Who edits the traces: rules, or a language model by protocol edit_script, two_stage or direct, or another package's."""
    price: Price | None = Field(default=None, json_schema_extra=EXECUTION)
    """Dollars per million tokens; left out: the built-in table's, if it knows the model."""
    budget_usd: float | None = Field(default=None, gt=0, json_schema_extra=EXECUTION)
    """Most dollars this run may spend on its teacher; at the limit it stops, and can be continued."""
    candidates: int = Field(default=1, ge=1)
    """How many candidates a language model writes per trace; the best accepted one is kept."""
    prefer: Literal["shortest", "natural"] = "shortest"
    """Which accepted candidate is best: fewest tokens, or lowest NLL under the student."""
    checks: CheckLimits = CheckLimits()
    """Limits of the checks a pruned trace must pass."""
    learnability: bool = False
    """Whether to measure each pruned trace's NLL under the student beside the original's, and every deletion's cost."""
    max_nll_rise: float | None = None
    """Most nats per token a pruned trace's NLL may lie above its original's; needs `learnability`."""
    max_seam_fall: float | None = Field(default=None, ge=0, json_schema_extra=UNLESS_SET)
    """Most nats by which a sentence that stays may fall since others went before it; needs `learnability`."""
    answer: Literal["keep", "short", "teacher"] = "keep"
    """The answer part: the student's own, one sentence with the boxed answer, or as the teacher shortens it."""
    include_wrong: bool = False
    """Whether traces with a wrong answer are pruned too."""
    tokenizer: str | None = None
    """Tokenizer that counts tokens (folder or hub id); left out: the student's."""
    student_server: StudentServer | None = Field(default=None, json_schema_extra=EXECUTION)
    """A server of the student (vLLM) that scores texts, for teachers that ask the student and for `learnability`; left out: it is loaded in this process."""

    @model_validator(mode="after")
    def _consistent(self) -> "PruneSettings":
        teacher = self.teacher
        if self.candidates > (teacher.most_candidates or self.candidates):
            raise ValueError(f"teacher {teacher.kind} writes one candidate: set candidates=1")
        if teacher.writes == "never" and self.answer == "teacher":
            raise ValueError(f"teacher {teacher.kind} writes no answer: use answer keep or short")
        if teacher.writes == "always" and self.answer == "keep":
            raise ValueError(
                f"teacher {teacher.kind} writes a solution of its own: set answer to teacher or short"
            )
        limited = self.max_nll_rise is not None or self.max_seam_fall is not None
        if (self.prefer == "natural" or limited) and not self.learnability:
            raise ValueError("prefer=natural, max_nll_rise and max_seam_fall need learnability=true")
        asked = teacher.asked()
        if self.budget_usd is not None and asked and self.known_price is None:
            raise ValueError(
                f"budget_usd needs the price of {asked[0]!r}, which the table does not know: "
                "set price={input: …, output: …}, in dollars per million tokens"
            )
        return self

    @property
    def known_price(self) -> Price | None:
        """The price that holds: the recipe's own or the table's; a local server has none in the table."""
        if not (asked := self.teacher.asked()):
            return self.price
        model, endpoint = asked
        served = provider_of(model, endpoint.provider, endpoint.base_url)
        return self.price or (None if served == "local" else price_of(model))


def defining_pruning(settings: PruneSettings) -> dict[str, Any]:
    """Return what defines pruned traces; how one of several candidates is chosen does so only where there are several."""
    plain = defining(settings)
    unused = ("candidates", "prefer") if settings.teacher.most_candidates == 1 else ()
    return {name: value for name, value in plain.items() if name not in unused}


PROTOCOLS: dict[str, dict[str, Any]] = {
    # What R1's makers recommend: sampling, a directive to box the answer, no system prompt, room to finish.
    "recommended": {
        "sampling": {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32_768},
        "runs": 5,
        "template": "{question}\nPlease reason step by step, and put your final answer within \\boxed{}.",
    },
    # The paper's: zero-shot, five runs, cut off at 12,000 tokens.
    "paper": {
        "sampling": {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 12_000},
        "runs": 5,
        "template": "{question}",
    },
    # One run without chance; R1-like models tend to loop under it.
    "greedy": {
        "sampling": {"temperature": 0.0, "top_p": 1.0, "max_new_tokens": 12_000},
        "runs": 1,
        "template": "{question}\nPlease reason step by step, and put your final answer within \\boxed{}.",
    },
}
"""Named evaluation protocols; whatever a recipe gives itself wins over them."""


class EvaluateSettings(Record):
    """Stage evaluate: the student before and after, on the same problems."""

    protocol: Literal["recommended", "paper", "greedy"] | None = Field(
        default=None, json_schema_extra=EXECUTION
    )
    """Fills `sampling`, `runs` and `prompt.template` where the recipe leaves them out."""
    engine: ChosenEngine = TransformersSettings()
    """What runs the models: this process, an endpoint that serves the student and, by another name, the trained model, …"""
    benchmarks: tuple[ProblemSet, ...] = Field(
        default=(ProblemSet(benchmark="mini-gsm"), ProblemSet(benchmark="mini-math")),
        json_schema_extra=EXECUTION,
    )
    """Problem sets to evaluate on; more of them extend what is on file."""
    runs: int = Field(default=1, ge=1, json_schema_extra=EXECUTION)
    """Seeded runs per problem; Pass@1 is their mean. The paper uses 5."""
    sampling: Sampling = Sampling()
    """How answers are drawn."""
    seed: int = 1
    """Seed of the first run."""


def _filled(data: object) -> object:
    """Return a recipe's data with what its protocol says where it says nothing itself."""
    if not isinstance(data, dict):
        return data
    fields = cast("dict[str, Any]", data)
    evaluate = fields.get("evaluate")
    name = cast("dict[str, Any]", evaluate).get("protocol") if isinstance(evaluate, dict) else None
    protocol = PROTOCOLS.get(name) if isinstance(name, str) else None
    if protocol is None:
        return fields
    given, sampling = cast("dict[str, Any]", evaluate), cast("dict[str, Any]", evaluate).get("sampling", {})
    if isinstance(sampling, dict):  # anything else is refused by its own type
        given = {**given, "sampling": {**protocol["sampling"], **cast("dict[str, Any]", sampling)}}
    prompt: object = fields.get("prompt", {})
    if isinstance(prompt, dict):
        prompt = {"template": protocol["template"], **cast("dict[str, Any]", prompt)}
    return {**fields, "evaluate": {"runs": protocol["runs"], **given}, "prompt": prompt}


class Recipe(Record):
    """A whole run."""

    name: str = "run"
    """Name shown in the report."""
    method: ChosenMethod = DrpSettings()
    """What the student is trained on, and how: drp (pruned traces), or one of the baselines, with its settings."""
    student: StudentSettings = StudentSettings()
    prompt: PromptSettings = PromptSettings()
    problems: tuple[ProblemSet, ...] = Field(
        default=(ProblemSet(benchmark="mini-gsm", split="train", count=320),), json_schema_extra=EXECUTION
    )
    """Training problems; more of them extend what is on file."""
    generate: GenerateSettings = GenerateSettings()
    prune: PruneSettings = PruneSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()

    @model_validator(mode="after")
    def _method(self) -> "Recipe":
        self.method.check(self.prune.teacher)
        self._pairs()
        if self.method.trains_on == "problems":
            if self.train.processes != 1:
                raise ValueError(
                    f"train.processes={self.train.processes}, and method {self.method.kind} reinforces in one process on one GPU: "
                    "leave it out"
                )
            if not self.train.lora:
                raise ValueError(
                    f"method {self.method.kind} has a field of its own for this: method.lora=false"
                )
        return self

    def _pairs(self) -> None:
        method, objective = self.method, self.train.objective
        if objective != "sft" and not method.has_pairs:
            raise ValueError(
                f"train.objective={objective} needs targets that differ from the student's own traces; method "
                f"{method.kind} has none: use method drp, lcpo, direct or tale, or objective sft"
            )
        if objective == "sft" and method.needs_pairs:
            raise ValueError(
                f"method {method.kind} prefers one trace to another, and train.objective=sft reads only one: set "
                "train.objective=lcpo, or preference (DPO)"
            )
        if self.generate.samples < method.least_samples:
            raise ValueError(
                f"method {method.kind} compares several traces of the same problem, and generate.samples={self.generate.samples}: "
                f"set generate.samples={method.least_samples} or more"
            )

    @model_validator(mode="before")
    @classmethod
    def _protocol(cls, data: object) -> object:
        return _filled(data)
