"""The model that a training starts from: number format, attention, four-bit weights, adapter."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import os
from importlib.util import find_spec
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from drp.engines.identity import pretrained
from drp.engines.transformers_engine import pick_dtype
from drp.errors import MissingExtraError, TrainingError
from drp.training.lora import fuse
from drp.training.packing import PACKED, why_not_packed
from drp.training.settings import StudentModel, TrainSettings


def to_be_trained(student: StudentModel, settings: TrainSettings, device: torch.device) -> Any:
    """Load a student as its training takes it.

    All weights are trained in float32, since steps of 1e-6 would be lost to bfloat16's rounding; a GPU multiplies them in bfloat16.

    Raises:
        TrainingError: The device or the model does not allow what the settings ask for.
        MissingExtraError: A package for it is absent.
    """
    whole = not settings.lora and student.dtype == "auto"
    dtype = torch.float32 if whole else getattr(torch, pick_dtype(student.device, student.dtype))
    more: dict[str, Any] = {}
    if settings.quantise == "nf4":
        if device.type != "cuda":
            raise TrainingError("train.quantise=nf4 needs a GPU; set it to none, or student.device=cuda")
        if find_spec("bitsandbytes") is None:
            raise MissingExtraError("bitsandbytes", "qlora")
        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
        here = int(os.environ.get("LOCAL_RANK", "0")) if str(device) == "cuda" else device.index
        more["device_map"] = {"": here}
    if settings.attention != "auto":
        if settings.attention == "flash_attention_2" and find_spec("flash_attn") is None:
            raise TrainingError(
                "train.attention=flash_attention_2 needs the package flash-attn (pip install flash-attn "
                "--no-build-isolation). Or set train.attention=auto: torch's own kernel is as good on packed examples"
            )
        more["attn_implementation"] = settings.attention
    return AutoModelForCausalLM.from_pretrained(**pretrained(student.path), dtype=dtype, **more)


def packs(model: Any, settings: TrainSettings, device: torch.device) -> bool:
    """Return whether examples are packed, and give the model the attention for it.

    Raises:
        TrainingError: They should be, and the model does not allow it.
    """
    if settings.packing is False or settings.device_tokens is None or settings.attention == "eager":
        return False
    if settings.packing == "auto" and device.type != "cuda":
        return False
    if why := why_not_packed(model, device):
        if settings.packing is True:
            raise TrainingError(
                f"this model cannot be trained on packed examples: {why}. Set train.packing=false"
            )
        return False
    if settings.attention != "flash_attention_2":  # which reads where rows begin by itself
        model.set_attn_implementation(PACKED)
    return True


def made_quick(model: Any, device: torch.device, compiled: bool) -> None:
    """Spare a model on a GPU what its autocasting makes needless; compile its layers if asked to.

    An adapter casts what it is given to the float32 of its weights, and autocasting casts it back: two passes over every
    activation, and a copy that is kept for the way back, to the same number.
    """
    if device.type == "cuda":
        for module in model.modules():
            if isinstance(module, LoraLayer):
                module.cast_input_dtype_enabled = False
        if (
            not compiled
        ):  # which fuses by itself, and would compile every layer anew, each having a product of its own
            fuse(model)
    if compiled:
        for module in model.modules():
            if isinstance(module, GradientCheckpointingLayer):
                module.compile(dynamic=True)
