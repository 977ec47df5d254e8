"""Settings of fine-tuning; light, so that recipes load without torch."""

from typing import Literal

from pydantic import Field

from drp.records import Record


class TrainSettings(Record):
    """LoRA fine-tuning on pruned traces. The defaults are the paper's."""

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
    device_batch: int = Field(default=8, ge=1, json_schema_extra={"execution": True})
    """Examples per forward pass; the effective batch is reached by accumulation."""
    save_steps: int = Field(default=200, ge=1, json_schema_extra={"execution": True})
    """A crash loses at most this many steps."""
