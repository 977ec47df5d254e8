"""The recipe: one strict description of a run, read from YAML, every field with a default."""

from typing import Any, Literal, cast

from pydantic import Field, field_validator, model_validator

from drp.benchmarks.registry import ProblemSet
from drp.engines.base import Sampling
from drp.engines.pricing import Price, price_of
from drp.engines.providers import ProviderName, provider_of
from drp.pruning.checks import CheckLimits
from drp.records import Record, content_id
from drp.runs.fingerprints import EXECUTION, UNLESS_SET, defining
from drp.teachers.llm import LlmSettings
from drp.teachers.rules import RulesSettings
from drp.training.settings import GrpoSettings, TrainSettings


class StudentSettings(Record):
    """The model to shorten."""

    model: str = "mini"
    """`mini` for the embedded student, a checkpoint folder, or a hub id."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; auto is bfloat16 on GPU, float32 on CPU."""
    device: str = Field(default="auto", json_schema_extra=EXECUTION)
    """Where it runs: auto, cpu, cuda, cuda:1 …"""


class PromptSettings(Record):
    """How a question becomes a prompt, in training and evaluation alike."""

    system: str | None = None
    """System message; R1 students want none."""
    template: str = "{question}"
    """User message; `{question}` stands for the question."""
    template_arguments: dict[str, str | int | float | bool] = Field(
        default_factory=dict, json_schema_extra=UNLESS_SET
    )
    """Arguments of the student's chat template, such as `enable_thinking: true` (Qwen3)."""

    @field_validator("template")
    @classmethod
    def _asks(cls, template: str) -> str:
        if "{question}" not in template:
            raise ValueError("the template must hold {question}, which stands for the question")
        return template


Omittable = Literal["temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "response_format"]


class EndpointSettings(Record):
    """An OpenAI-compatible endpoint."""

    provider: ProviderName | None = Field(default=None, json_schema_extra=EXECUTION)
    """Whose parameters are sent: openai, gemini, deepseek, openrouter, local; left out: told from the rest."""
    base_url: str | None = Field(default=None, json_schema_extra=EXECUTION)
    """Its URL, such as http://localhost:8000/v1; left out: the provider's."""
    key_variable: str | None = Field(default=None, json_schema_extra=EXECUTION)
    """Environment variable that holds the key; left out: the provider's, such as OPENAI_API_KEY, or DRP_ENDPOINT_KEY."""
    concurrency: int = Field(default=32, ge=1, json_schema_extra=EXECUTION)
    """Most requests in flight; fewer while the endpoint is busy."""
    requests_per_minute: int | None = Field(default=None, ge=1, json_schema_extra=EXECUTION)
    """The endpoint's limit, if any."""
    tokens_per_minute: int | None = Field(default=None, ge=1, json_schema_extra=EXECUTION)
    """The endpoint's limit of tokens in and out together, if any."""
    timeout_s: float = Field(default=600.0, gt=0, json_schema_extra=EXECUTION)
    """Seconds after which a request is tried again."""
    max_retries: int = Field(default=6, ge=0, json_schema_extra=EXECUTION)
    """How often a request that may yet succeed is tried again."""
    restart_s: float = Field(default=300.0, ge=0, json_schema_extra=EXECUTION)
    """How long a server that has answered before may be away: vLLM takes a minute or more to start again."""
    omit: tuple[Omittable, ...] = Field(default=(), json_schema_extra=EXECUTION)
    """Parameters not to send, for models that refuse them."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Parameters to send as they are, such as reasoning_effort."""

    @property
    def setup(self) -> str:
        """Identity of all that may make the endpoint refuse a request, besides what the stage's fingerprint knows."""
        return content_id("setup", self.provider, self.base_url, self.key_variable, self.omit, self.extra)


class StudentEndpointSettings(EndpointSettings):
    """An endpoint that serves the student."""

    model: str | None = None
    """The student's name there; left out: `student.model`."""
    prefilled: bool | None = Field(default=None, json_schema_extra=EXECUTION)
    """Whether the student's template ends the prompt in `<think>`; left out: as its tokenizer's template does, else yes."""


class TeacherEndpointSettings(EndpointSettings):
    """An endpoint that serves the teacher; the model is `prune.llm.model`."""

    batch: bool = Field(default=False, json_schema_extra=EXECUTION)
    """Whether to use its batch API: about half the price, an answer within a day."""
    batch_requests: int = Field(default=50_000, ge=1, json_schema_extra=EXECUTION)
    """Most requests in one batch."""
    batch_poll_s: float = Field(default=30.0, gt=0, json_schema_extra=EXECUTION)
    """Seconds between looks at a running batch."""


class GenerateSettings(Record):
    """Stage generate: the student's own traces."""

    engine: Literal["transformers", "openai"] = "transformers"
    """What runs the student: this process, or an endpoint."""
    sampling: Sampling = Sampling()
    """How traces are drawn."""
    samples: int = Field(default=1, ge=1, json_schema_extra=EXECUTION)
    """Traces per problem; more of them extend what is on file."""
    seed: int = 0
    """Seed of all traces."""
    batch_size: int = Field(default=64, ge=1, json_schema_extra=EXECUTION)
    """Requests decoded together by the transformers engine."""
    endpoint: StudentEndpointSettings = StudentEndpointSettings()
    """The endpoint, for engine openai."""


class PruneSettings(Record):
    """Stage prune: edit scripts, applied and checked."""

    teacher: Literal["rules", "edit_script", "two_stage", "direct", "mini_direct"] = "rules"
    """Who edits the traces: rules, or a language model by the named protocol; mini_direct is the mini world's own."""
    llm: LlmSettings = LlmSettings()
    """Settings of the language-model teachers."""
    endpoint: TeacherEndpointSettings = TeacherEndpointSettings()
    """Where a language-model teacher is served."""
    price: Price | None = Field(default=None, json_schema_extra=EXECUTION)
    """Dollars per million tokens; left out: the built-in table's, if it knows the model."""
    budget_usd: float | None = Field(default=None, gt=0, json_schema_extra=EXECUTION)
    """Most dollars this run may spend on its teacher; at the limit it stops, and can be continued."""
    rules: RulesSettings = RulesSettings()
    """Settings of the rules teacher."""
    candidates: int = Field(default=1, ge=1)
    """How many candidates a language model writes per trace; the best accepted one is kept."""
    prefer: Literal["shortest", "natural"] = "shortest"
    """Which accepted candidate is best: fewest tokens, or lowest NLL under the student."""
    checks: CheckLimits = CheckLimits()
    """Limits of the checks a pruned trace must pass."""
    learnability: bool = False
    """Whether to measure each pruned trace's NLL under the student, beside the original's; loads the student."""
    max_nll_rise: float | None = None
    """Most nats per token a pruned trace's NLL may lie above its original's; needs `learnability`."""
    answer: Literal["keep", "short", "teacher"] = "keep"
    """The answer part: the student's own, one sentence with the boxed answer, or as the teacher shortens it."""
    include_wrong: bool = False
    """Whether traces with a wrong answer are pruned too."""
    tokenizer: str | None = None
    """Tokenizer that counts tokens (folder or hub id); left out: the student's."""

    @model_validator(mode="after")
    def _consistent(self) -> "PruneSettings":
        if self.teacher == "rules" and (self.answer == "teacher" or self.candidates > 1):
            raise ValueError("the rules teacher writes one candidate and no answer: use answer keep or short")
        if self.teacher == "mini_direct" and self.candidates > 1:
            raise ValueError("teacher mini_direct writes one candidate")
        if self.teacher.endswith("direct") and self.answer == "keep":
            raise ValueError(
                f"teacher {self.teacher} writes a solution of its own: set answer to teacher or short"
            )
        if (self.prefer == "natural" or self.max_nll_rise is not None) and not self.learnability:
            raise ValueError("prefer=natural and max_nll_rise need learnability=true")
        if self.budget_usd is not None and self.asks_a_model and self.known_price is None:
            raise ValueError(
                f"budget_usd needs the price of {self.llm.model!r}, which the table does not know: "
                "set price={input: …, output: …}, in dollars per million tokens"
            )
        return self

    @property
    def asks_a_model(self) -> bool:
        """Whether the teacher is a language model."""
        return self.teacher not in ("rules", "mini_direct")

    @property
    def known_price(self) -> Price | None:
        """The price that holds: the recipe's own or the table's; a local server has none in the table."""
        served = provider_of(self.llm.model, self.endpoint.provider, self.endpoint.base_url)
        return self.price or (None if served == "local" else price_of(self.llm.model))


def defining_pruning(settings: PruneSettings) -> dict[str, Any]:
    """Return what defines pruned traces; the settings of teachers that are not used do not."""
    plain = defining(settings)
    unused = ("rules",) if settings.asks_a_model else ("llm", "endpoint", "candidates", "prefer")
    return {name: value for name, value in plain.items() if name not in unused}


class ValveSettings(Record):
    """Method ``cot_valve``: chains of many lengths from models in between, trained on from long to short."""

    short_model: str | None = None
    """A sibling of the student that writes short chains: a checkpoint folder or hub id with the same weights' names."""
    shares: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    """How far from the student to the short model each model in between lies."""


class TaleSettings(Record):
    """Method ``tale``: a token budget in the prompt, or training on what budgets brought out."""

    tuned: bool = True
    """Train on the shortest right traces found (TALE-PT), or only prompt with an estimated budget (TALE-EP)."""
    halvings: int = Field(default=4, ge=1)
    """TALE-PT: how often the budget is halved while answers stay right and tokens fall."""
    directive: str = "{question}\nLet's think step by step and use less than {budget} tokens."
    """The prompt with a budget."""
    estimate: str = (
        "Task: {question}\nEstimate the smallest number of tokens that a full and correct answer to this task needs, "
        "and give it as [[number]]."
    )
    """TALE-EP: the prompt that asks for the budget."""


MethodName = Literal["drp", "self", "direct", "tale", "cot_valve", "think_prune"]

PROTOCOLS: dict[str, dict[str, Any]] = {
    # What R1's makers recommend: sampling, a directive to box the answer, no system prompt, room to finish.
    "recommended": {
        "sampling": {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32_768}, "runs": 5,
        "template": "{question}\nPlease reason step by step, and put your final answer within \\boxed{}.",
    },
    # The paper's: zero-shot, five runs, cut off at 12,000 tokens.
    "paper": {
        "sampling": {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 12_000}, "runs": 5,
        "template": "{question}",
    },
    # One run without chance; R1-like models tend to loop under it.
    "greedy": {
        "sampling": {"temperature": 0.0, "top_p": 1.0, "max_new_tokens": 12_000}, "runs": 1,
        "template": "{question}\nPlease reason step by step, and put your final answer within \\boxed{}.",
    },
}  # fmt: skip
"""Named evaluation protocols; whatever a recipe gives itself wins over them."""


class EvaluateSettings(Record):
    """Stage evaluate: the student before and after, on the same problems."""

    protocol: Literal["recommended", "paper", "greedy"] | None = Field(
        default=None, json_schema_extra=EXECUTION
    )
    """Fills `sampling`, `runs` and `prompt.template` where the recipe leaves them out."""
    engine: Literal["transformers", "openai"] = "transformers"
    """What runs the models: this process, or an endpoint that serves the student and, by another name, the trained model."""
    endpoint: StudentEndpointSettings = Field(default=StudentEndpointSettings(), json_schema_extra=UNLESS_SET)
    """The endpoint, for engine openai."""
    trained_model: str | None = Field(default=None, json_schema_extra=EXECUTION)
    """The trained model's name at the endpoint, such as that of a LoRA adapter (vLLM: `--lora-modules NAME=RUN/train/adapter`)."""
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
    batch_size: int = Field(default=64, ge=1, json_schema_extra=EXECUTION)
    """Requests decoded together."""


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
    method: MethodName = "drp"
    """What the student is trained on, and how: drp (pruned traces), or one of the baselines."""
    student: StudentSettings = StudentSettings()
    prompt: PromptSettings = PromptSettings()
    problems: tuple[ProblemSet, ...] = Field(
        default=(ProblemSet(benchmark="mini-gsm", split="train", count=320),), json_schema_extra=EXECUTION
    )
    """Training problems; more of them extend what is on file."""
    generate: GenerateSettings = GenerateSettings()
    prune: PruneSettings = PruneSettings()
    train: TrainSettings = TrainSettings()
    rl: GrpoSettings = GrpoSettings()
    """Settings of method think_prune."""
    valve: ValveSettings = ValveSettings()
    """Settings of method cot_valve."""
    tale: TaleSettings = TaleSettings()
    """Settings of method tale."""
    evaluate: EvaluateSettings = EvaluateSettings()

    @model_validator(mode="after")
    def _method(self) -> "Recipe":
        direct = self.prune.teacher.endswith("direct")
        if self.method == "direct" and not direct:
            raise ValueError("method direct needs prune.teacher=direct (a language model) or mini_direct")
        if self.method == "drp" and self.prune.teacher == "mini_direct":
            raise ValueError("teacher mini_direct prunes nothing: set method=direct")
        if self.method == "cot_valve" and self.valve.short_model is None:
            raise ValueError("method cot_valve needs valve.short_model: a sibling that writes short chains")
        if self.train.objective == "preference" and self.method not in ("drp", "direct", "tale"):
            raise ValueError(
                f"train.objective=preference needs targets that differ from the student's own traces; method "
                f"{self.method} has none: use method drp, direct or tale, or objective sft"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _protocol(cls, data: object) -> object:
        return _filled(data)
