"""Settings of training; light, so that recipes load without torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from drp.records import Record
from drp.runs.fingerprints import EXECUTION, UNLESS_SET
from drp.text.thinking import THINK, Tags
from drp.training.tracking import Tracker


@dataclass(frozen=True)
class StudentModel:
    """The model to train."""

    path: str
    """Checkpoint folder or hub id."""
    device: str = "auto"
    """Where to train it."""
    dtype: str = "auto"
    """Number format of its weights; ``auto`` is what each kind of training takes."""
    tags: Tags = THINK
    """What it writes around its thinking."""


class TrainSettings(Record):
    """LoRA fine-tuning on pruned traces. The defaults are the paper's."""

    objective: Literal["sft", "preference", "lcpo"] = "sft"
    """The likelihood of the targets; or what prefers them to the student's own traces of the same problems: DPO (``preference``) or LCPO."""
    beta: float = Field(default=0.1, gt=0)
    """DPO: how dear it is to move away from the student; larger stays nearer."""
    sft_weight: float = Field(default=1.0, ge=0)
    """DPO: weight of the targets' likelihood beside the preference, which alone may lower it."""
    lora: bool = Field(default=True, json_schema_extra=UNLESS_SET)
    """Whether an adapter is trained instead of all weights; all weights are kept in float32 and need 16 bytes each."""
    quantise: Literal["none", "nf4"] = Field(default="none", json_schema_extra=UNLESS_SET)
    """QLoRA: the frozen weights in four bits while the adapter is trained, on a GPU; it is merged into the student's own."""
    rank: int = Field(default=8, ge=1)
    """LoRA rank."""
    alpha: int = Field(default=16, ge=1)
    """LoRA alpha."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """LoRA dropout."""
    learning_rate: float = Field(default=3e-5, gt=0)
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Learning-rate schedule after the warm-up."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps spent warming up."""
    epochs: float = Field(default=3.0, gt=0)
    """Passes over the examples."""
    effective_batch: int = Field(default=8, ge=1)
    """Examples per optimizer step."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW weight decay."""
    max_length: int = Field(default=4096, ge=8)
    """Longest example in tokens; see ``over_length``."""
    over_length: Literal["refuse", "drop"] = "drop"
    """What becomes of longer examples: refuse to train, or leave them out and report their number."""
    max_examples: int = Field(default=8000, ge=1)
    """At most this many examples are used, chosen by ``seed``."""
    seed: int = 0
    """Seed of the adapter's initialisation and the order of examples."""
    adapter_scale: float = Field(default=1.0, ge=0, json_schema_extra=EXECUTION)
    """Scale at which the adapter is merged into the model: below 1 nearer to the student, above beyond; a change merges again, no more."""
    device_batch: int = Field(default=8, ge=1, json_schema_extra=EXECUTION)
    """Examples per forward pass where ``device_tokens`` sets no other size; the effective batch is reached by accumulation."""
    device_tokens: int | None = Field(default=None, ge=8, json_schema_extra=EXECUTION)
    """Tokens per forward pass, padding included, instead of ``device_batch``: as many examples as fit, however long."""
    packing: bool | Literal["auto"] = Field(default="auto", json_schema_extra=EXECUTION)
    """Whether examples lie end to end, none seeing another, instead of padded (``auto``: with ``device_tokens``, on a GPU, where the model allows it)."""
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"] = Field(
        default="auto", json_schema_extra=EXECUTION
    )
    """Attention kernel; ``auto`` is torch's, packed or padded. FlashAttention is a package of its own (``flash-attn``)."""
    compile: bool = Field(default=False, json_schema_extra=EXECUTION)
    """Whether the layers are compiled by ``torch.compile``: the first steps take minutes, the others less."""
    processes: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(default=1, json_schema_extra=EXECUTION)
    """Processes that share each effective batch, one a GPU (``auto``: one for every visible GPU), by DDP."""
    checkpointing: bool | Literal["auto"] = Field(default="auto", json_schema_extra=EXECUTION)
    """Whether activations are computed again on the way back, on a GPU: less memory, half as much time again (``auto``: in as many layers as it takes)."""
    save_steps: int = Field(default=200, ge=1, json_schema_extra=EXECUTION)
    """A crash loses at most this many steps."""
    tracker: Tracker = Field(default="none", json_schema_extra=EXECUTION)
    """Where curves of loss (and reward) also go: none, tensorboard (RUN/train/tensorboard), wandb or trackio, each an extra."""

    @property
    def texts(self) -> int:
        """How many texts an example has: one, or the two of a pair."""
        return 1 if self.objective == "sft" else 2

    @model_validator(mode="after")
    def _kinds(self) -> "TrainSettings":
        if not self.lora and self.quantise != "none":
            raise ValueError("quantised weights cannot be trained, only an adapter on them: set lora: true")
        if not self.lora and self.objective == "preference":
            raise ValueError(
                "objective: preference trains an adapter, which the student without it is compared with: set lora: true"
            )
        if not self.lora and self.adapter_scale != 1.0:
            raise ValueError("adapter_scale needs an adapter: set lora: true")
        if self.attention == "eager" and self.packing is True:
            raise ValueError("attention: eager cannot keep packed examples apart: set packing: false")
        if self.packing is True and self.device_tokens is None:
            raise ValueError("packing needs device_tokens, the tokens of one forward pass")
        return self


class GrpoSettings(Record):
    """GRPO with a limit on length, the training of method ``think_prune``. The defaults are ThinkPrune's."""

    limits: tuple[int, ...] = Field(default=(4000, 3000, 2000), min_length=1)
    """Most new tokens, one round of training each; a completion that has not ended by then scores 0."""
    steps: int = Field(default=100, ge=1)
    """Optimizer steps a round."""
    prompts: int = Field(default=8, ge=1)
    """Problems a step."""
    generations: int = Field(default=16, ge=2)
    """Completions a problem; the advantage of each is against their mean."""
    learning_rate: float = Field(default=1e-6, gt=0)
    """Constant after ten steps of warm-up."""
    kl: float = Field(default=1e-3, ge=0)
    """Weight of the KL divergence from where the round began."""
    length_weight: float = Field(default=0.0, ge=0, lt=1)
    """A right completion scores 1 less this times its tokens over the limit; 0 is ThinkPrune."""
    length_by_pass_rate: bool = Field(default=False, json_schema_extra=UNLESS_SET)
    """Whether ``length_weight`` counts times the share of a problem's completions that are right: hard problems may take long."""
    length_credit: Literal["completion", "conclusion"] = Field(
        default="completion", json_schema_extra=UNLESS_SET
    )
    """Which tokens answer for a right completion's length: all, or those behind the first sentence that concludes, which alone are then counted."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature of the completions trained on."""
    lora: bool = True
    """Whether an adapter of ``train.rank`` is trained instead of all weights."""
    validation: int = Field(default=64, ge=1)
    """Training problems set aside; on them each round's checkpoints are compared."""
    most_loss: float = Field(default=0.1, ge=0, lt=1)
    """A round goes on from its shortest checkpoint that lost at most this share of the round's first accuracy."""
    checkpoints: int = Field(default=4, ge=1)
    """Checkpoints a round, each of which is evaluated."""
    device_batch: int = Field(default=16, ge=1, json_schema_extra=EXECUTION)
    """Completions per forward pass."""

    @model_validator(mode="after")
    def _has_length_term(self) -> "GrpoSettings":
        if not self.length_weight and (self.length_by_pass_rate or self.length_credit != "completion"):
            raise ValueError(
                "length_by_pass_rate and length_credit say how length_weight counts, and that is 0: set length_weight, 0.3 for example"
            )
        return self
