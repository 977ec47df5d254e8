"""Speed of fine-tuning: the trainer of `drp train` on random weights of real shapes and rows of real lengths.

    python perf/training.py [--config toy|1.5b|7b] [--steps 12] [--seconds 60] [--only REGEX] [--json FILE]

Every variant takes the same optimizer steps on the same rows, after a few to warm up: 400 lengths are drawn from a
log-normal of mean 1,029, at most 4,000, sorted into steps of 8 as the trainer's grouping by length does, and every so-manieth step is
taken. A fifth of each row is prompt. *useful* counts tokens of rows, without padding, of whole steps by the clock; *peak* is the share of the
card's bfloat16 peak (``--peak``, 989 TFLOP/s) that these tokens need at least: forward, and back to the adapter, without what is
computed twice. *before* is how training was: two passes over each activation for the adapter's casts, TRL's own loss with its
figures, and a fixed number of rows. A variant that takes longer than ``--seconds`` is cut short and says so.
"""

import argparse
import gc
import json
import os
import random
import re
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, Qwen2Config, TrainerCallback
from trl import SFTTrainer

from drp.engines.identity import resolve_model
from drp.engines.transformers_engine import load_tokenizer, pick_device
from drp.training.likelihood import Supervised
from drp.training.settings import TrainSettings
from drp.training.sft import trainer_for
from real_shapes import SHAPES

BATCH, DRAWN, WARM = 8, 400, 3


@dataclass(frozen=True)
class Variant:
    """One way to train."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    before: bool = False
    """With what was mended since."""


def rows(batch: int, **more: Any) -> dict[str, Any]:
    """Return settings of a fixed number of rows."""
    return {"device_batch": batch, "packing": False, **more}


def tokens(budget: int, **more: Any) -> dict[str, Any]:
    """Return settings of a budget of tokens."""
    return {"device_tokens": budget, **more}


VARIANTS = [
    Variant("before, rows 2, recompute", rows(2, checkpointing=True), before=True),
    Variant("before, rows 8, recompute", rows(8, checkpointing=True), before=True),
    Variant("rows 2, recompute", rows(2, checkpointing=True)),
    Variant("rows 8, recompute", rows(8, checkpointing=True)),
    Variant("tokens 16k, padded, recompute", tokens(16384, packing=False, checkpointing=True)),
    Variant("tokens 16k, packed, recompute", tokens(16384, packing=True, checkpointing=True)),
    Variant("tokens 16k, padded, auto", tokens(16384, packing=False)),
    Variant("tokens 16k, packed, auto", tokens(16384, packing=True)),
    Variant("tokens 8k, packed, auto", tokens(8192, packing=True)),
    Variant("tokens 32k, packed, auto", tokens(32768, packing=True)),
    Variant("tokens 16k, packed, auto, all weights", tokens(16384, packing=True, lora=False)),
    Variant("tokens 16k, packed, auto, nf4", tokens(16384, packing=True, quantise="nf4")),
    Variant(
        "tokens 16k, packed, auto, flash 2", tokens(16384, packing=True, attention="flash_attention_2")
    ),
    Variant("tokens 16k, packed, recompute, compile", tokens(16384, packing=True, checkpointing=True, compile=True)),
    Variant("tokens 16k, packed, auto, compile", tokens(16384, packing=True, compile=True)),
    Variant("tokens 32k, packed, auto, compile", tokens(32768, packing=True, compile=True)),
]  # fmt: skip


def steps_of_rows(count: int, mean: float, vocabulary: int) -> list[list[dict[str, list[int]]]]:
    """Return the rows of so many optimizer steps, each of rows of about one length, in a mixed order."""
    draw = np.random.default_rng(0)
    drawn = draw.lognormal(np.log(mean) - 0.7**2 / 2, 0.7, DRAWN)
    lengths = sorted(int(min(4 * mean, 4000, max(16, n))) for n in drawn)
    groups = [lengths[n : n + BATCH] for n in range(0, DRAWN, BATCH)]
    chosen = [groups[int((n + 0.5) * len(groups) / count)] for n in range(count)]
    mixed = random.Random(0)
    mixed.shuffle(chosen)

    def row(length: int) -> dict[str, list[int]]:
        ids = [mixed.randrange(5, min(vocabulary, 600)) for _ in range(length)]
        prompt = length // 5
        return {"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]}

    return [[row(n) for n in group] for group in chosen]


class Clock(TrainerCallback):
    """Times whole steps after those that warm up; stops a training that takes too long."""

    def __init__(self, seconds: float, device: torch.device) -> None:
        self.seconds, self.device = seconds, device
        self.began = self.ended = 0.0
        self.first = self.last = 0

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def on_step_end(self, *positional: Any, **_: Any) -> None:
        """Look at the clock."""
        state, control = positional[1], positional[2]
        step = int(state.global_step)
        if step < WARM:
            return
        self.last, self.ended = step, self._now()
        if step == WARM:
            self.first, self.began = step, self.ended
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)
        elif self.ended - self.began > self.seconds:
            control.should_training_stop = True


def needed(config: Any, whole: bool, length: float, labelled: float) -> float:
    """Return the floating-point operations that a token needs at least."""
    width, kv = (
        config.hidden_size,
        config.num_key_value_heads * (config.hidden_size // config.num_attention_heads),
    )
    layer = 2 * width * (width + kv) + 3 * width * config.intermediate_size
    weights = config.num_hidden_layers * layer + labelled * width * config.vocab_size
    times = 6 if whole else 4  # forward, back to what came in, and to the weights where they are trained
    return times * weights + 6 * config.num_hidden_layers * width * length


def build(shape: str, device: torch.device, dtype: torch.dtype) -> Any:
    """Return a model of random weights."""
    torch.manual_seed(0)
    config = Qwen2Config(
        **SHAPES[shape], max_position_embeddings=131_072, tie_word_embeddings=False, use_cache=False,
        bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    with device:
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def quantised(shape: str, device: torch.device, folder: Path) -> Any:
    """Return a model of random weights in four bits."""
    import bitsandbytes  # noqa: F401 – before anything is written
    from transformers import BitsAndBytesConfig

    build(shape, device, torch.bfloat16).save_pretrained(folder / "model")
    how = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
    return AutoModelForCausalLM.from_pretrained(
        folder / "model", dtype=torch.bfloat16, quantization_config=how, device_map={"": device.index or 0}
    )


class Before(Supervised):
    """The loss as it was."""

    def compute_loss(self, *positional: Any, **named: Any) -> Any:
        """Return TRL's."""
        return SFTTrainer.compute_loss(self, *positional, **named)


def measure(
    variant: Variant, options: argparse.Namespace, device: torch.device, work: Path
) -> dict[str, Any]:
    """Return the figures of one variant."""
    gpu = device.type == "cuda"
    settings = TrainSettings(
        effective_batch=BATCH, epochs=1, schedule="constant", warmup=0.0, learning_rate=1e-5,
        save_steps=100_000, **variant.settings,
    )  # fmt: skip
    dtype = torch.bfloat16 if gpu and settings.lora else torch.float32
    began = time.perf_counter()
    if settings.quantise == "none":
        model = build(options.config, device, dtype)
    else:
        model = quantised(options.config, device, work)
    if settings.attention != "auto":
        model.set_attn_implementation(settings.attention)
    config, vocabulary = model.config, int(model.config.vocab_size)
    measured = steps_of_rows(options.steps, options.mean, vocabulary)
    by_size = sorted(measured, key=lambda step: -len(step[0]["input_ids"]))
    warm = [by_size[0], by_size[len(by_size) // 2], by_size[-1]]
    chosen = [*warm, *measured]
    data = Dataset.from_list(
        [*(row for step in chosen for row in step), {"input_ids": [5], "labels": [-100]}]
    )
    trainer = trainer_for(model, load_tokenizer(resolve_model("mini")), data, settings, work, device)
    trainer._get_train_sampler = lambda *_: range(BATCH * len(chosen))
    if variant.before:
        trainer.__class__ = Before
        for module in trainer.model.modules():
            if isinstance(module, LoraLayer):
                module.cast_input_dtype_enabled = True
                module.__dict__.pop("forward", None)
    clock = Clock(options.seconds, device)
    trainer.add_callback(clock)
    result = trainer.train()
    done = chosen[clock.first : clock.last]
    lengths = [len(row["input_ids"]) for step in done for row in step]
    counts, recompute = trainer.data_collator.counts, trainer.recompute
    seconds = clock.ended - clock.began
    useful = sum(lengths) / seconds
    weighed = sum(n * n for n in lengths) / sum(lengths) / 2  # how far a token looks back, on average
    work_done = needed(config, not settings.lora, weighed, 0.8) * useful
    return {
        "variant": variant.name,
        "settings": variant.settings,
        "useful tokens a second": round(useful),
        "share of the peak": round(work_done / options.peak / 1e12, 4) if gpu else None,
        "padding": round(counts.padding, 4),
        "parts a step": round(counts.parts / max(1, len(chosen)), 2),
        "peak GiB": round(torch.cuda.max_memory_allocated(device) / 2**30, 2) if gpu else None,
        "layers kept in the last part": recompute.keeping if recompute else None,
        "bytes a layer keeps for a token": round(recompute.kept.layer) if recompute and recompute.kept else None,
        "steps": len(done),
        "cut short": len(done) < options.steps,
        "tokens": sum(lengths),
        "seconds": round(seconds, 2),
        "seconds before": round(clock.began - began, 1),
        "loss": result.training_loss,
        "counted": asdict(counts),
    }  # fmt: skip


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", choices=list(SHAPES), default="toy")
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps that are timed")
    parser.add_argument("--seconds", type=float, default=60, help="most seconds of a variant")
    parser.add_argument("--mean", type=float, default=1029)
    parser.add_argument("--only", default="", help="regular expression on the variants' names")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--peak", type=float, default=989, help="the card's bfloat16 peak, TFLOP/s")
    parser.add_argument("--json", help="default $OUT/training.CONFIG.json where $OUT is set")
    options = parser.parse_args()
    disable_progress_bars()
    device = pick_device(options.device)
    if str(device) == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    out = options.json or (
        f"{os.environ['OUT']}/training.{options.config}.json" if os.environ.get("OUT") else None
    )
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    figures: dict[str, Any] = {
        "device": name, "config": options.config, "torch": torch.__version__, "mean length": options.mean, "variants": []
    }  # fmt: skip
    for variant in (v for v in VARIANTS if re.search(options.only, v.name)):
        work = Path(tempfile.mkdtemp())
        try:
            found = measure(variant, options, device, work)
        except Exception as error:  # noqa: BLE001 – one variant's package or memory may be lacking
            found = {"variant": variant.name, "error": f"{type(error).__name__}: {str(error)[:300]}"}
        shutil.rmtree(work, ignore_errors=True)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        torch._dynamo.reset()
        figures["variants"].append(found)
        if out:
            Path(out).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(f"{name}, {options.config}, torch {torch.__version__}")
    print(
        f"{'':<40}{'useful/s':>9}{'peak':>7}{'padding':>9}{'parts':>7}{'GiB':>7}{'kept':>6}{'steps':>7}{'loss':>9}"
    )
    for v in figures["variants"]:
        if "error" in v:
            print(f"{v['variant']:<40}{v['error'][:150]}")
            continue
        share, memory, kept = v["share of the peak"], v["peak GiB"], v["layers kept in the last part"]
        print(
            f"{v['variant']:<40}{v['useful tokens a second']:>9,}{'-' if share is None else f'{share:.1%}':>7}"
            f"{v['padding']:>9.1%}{v['parts a step']:>7}{'-' if memory is None else memory:>7}"
            f"{'-' if kept is None else kept:>6}{v['steps']:>7}{v['loss']:>9.5f}"
        )


if __name__ == "__main__":
    main()
