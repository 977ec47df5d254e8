"""Saving what was trained: an adapter with its card, models merged from it or lying between two others."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from drp.engines.identity import pretrained, resolve_model, split_revision
from drp.engines.transformers_engine import load_tokenizer
from drp.errors import TrainingError
from drp.runs import layout
from drp.training.guard import demand_finite


def save_student(
    tuned: Any, tokenizer: Any, model_path: str, out: Path, how: str, adapter_scale: float = 1.0
) -> None:
    """Save the adapter of a tuned model and the merged model, each complete or not at all.

    Args:
        tuned: The model with its adapter.
        tokenizer: The student's.
        model_path: The student.
        out: Gets ``adapter/`` and ``model/``.
        how: The training, for the card.
        adapter_scale: Scale of the adapter in the merged model.

    Raises:
        TrainingError: A weight of either is not a finite number.
    """
    demand_finite(tuned, "the adapter")
    for name in (layout.ADAPTER, layout.MODEL):
        shutil.rmtree(out / f"{name}.tmp", ignore_errors=True)
    adapter = out / f"{layout.ADAPTER}.tmp"
    tuned.save_pretrained(adapter)
    tokenizer.save_pretrained(adapter)
    config = json.loads((adapter / "adapter_config.json").read_text())
    # A path where the student is a folder: `drp merge` reads it.
    config["base_model_name_or_path"], config["revision"] = split_revision(model_path)
    (adapter / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
    (adapter / "README.md").write_text(_card(model_path, how, config["r"], config["lora_alpha"]))
    _usual_permissions(adapter)
    try:
        merge(model_path, adapter, adapter_scale, tokenizer, out / f"{layout.MODEL}.tmp")
    except TrainingError:
        shutil.rmtree(adapter)
        raise
    for name in (layout.ADAPTER, layout.MODEL):
        shutil.rmtree(out / name, ignore_errors=True)
        (out / f"{name}.tmp").rename(out / name)


def save_whole(tuned: Any, tokenizer: Any, model_path: str, out: Path, *_: object) -> None:
    """Save a model all of whose weights were trained, complete or not at all, in the number format of the student on file.

    Args:
        tuned: The model.
        tokenizer: The student's.
        model_path: The student.
        out: Gets ``model/``.
        *_: What `save_student` is told besides: there is no adapter to describe or to scale.

    Raises:
        TrainingError: A weight is not a finite number.
    """
    half = out / f"{layout.MODEL}.tmp"
    shutil.rmtree(half, ignore_errors=True)
    save_model(tuned.to(stored_dtype(model_path)), tokenizer, half)
    shutil.rmtree(out / layout.MODEL, ignore_errors=True)
    half.rename(out / layout.MODEL)


def save_model(model: Any, tokenizer: Any, out: Path) -> None:
    """Save a whole model with its tokenizer.

    Raises:
        TrainingError: A weight is not a finite number.
    """
    demand_finite(model, "the model")
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    _usual_permissions(out)


def _usual_permissions(folder: Path) -> None:
    """Give every file the permissions of a file that is simply opened; weights are written for their owner alone."""
    sample = folder / ".permissions"
    sample.touch()
    mode = sample.stat().st_mode & 0o777
    sample.unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _card(model_path: str, how: str, rank: int, alpha: int) -> str:
    """Return the model card of an adapter; it goes where the adapter goes, so it names no folder of this machine."""
    local = Path(model_path).is_dir()
    embedded = model_path == resolve_model("mini")
    id_, revision = split_revision(model_path)
    name = "mini, the embedded student of DRP" if embedded else Path(model_path).name if local else id_
    base = "" if local else f"base_model: {id_}\n"
    of = f"**{name}**" + (f" at revision {revision}" if revision else "")
    folder = (
        "" if not local else " Its path is in `adapter_config.json`; mend it there if the model has moved."
    )
    return (
        f"---\nlibrary_name: peft\n{base}pipeline_tag: text-generation\ntags:\n- lora\n- reasoning\n---\n\n"
        f"# A shorter-thinking {name}\n\n"
        f"A LoRA adapter (rank {rank}, alpha {alpha}) for {of}, trained with DRP (Distilled Reasoning Pruning, "
        f"arXiv 2505.13975): {how}.{folder}\n\nLoad it with `peft.PeftModel.from_pretrained`, or merge it at any "
        "scale with `drp merge`. What it was trained on and how it was evaluated is in the run folder it came "
        f"from: `{layout.RECIPE}`, `{layout.REPORT}/`.\n"
    )


def stored_dtype(model_path: str) -> torch.dtype:
    """Return the number format of a model's weights on file."""
    return AutoModelForCausalLM.from_pretrained(**pretrained(model_path), dtype="auto").dtype


def merge(model_path: str, adapter: Path, adapter_scale: float, tokenizer: Any, out: Path) -> None:
    """Save a model with an adapter merged into it at ``adapter_scale`` times the scale it was trained at.

    Merged in float32, from the adapter as saved, so that both say the same; kept in the dtype of the model on file.

    Raises:
        TrainingError: A weight is not a finite number.
    """
    logging.disable_progress_bar()
    base = AutoModelForCausalLM.from_pretrained(**pretrained(model_path), dtype=torch.float32)
    tuned: Any = PeftModel.from_pretrained(base, str(adapter))
    for module in tuned.modules():
        if isinstance(module, LoraLayer) and adapter_scale != 1.0:
            module.scaling = {name: adapter_scale * scale for name, scale in module.scaling.items()}
    save_model(tuned.merge_and_unload().to(stored_dtype(model_path)), tokenizer, out)


def interpolate(first: str, second: str, share: float, out: Path) -> None:
    """Save the model that lies ``share`` of the way from one model to a sibling with the same weights.

    Raises:
        TrainingError: The two do not have the same weights.
    """
    logging.disable_progress_bar()
    one: Any = AutoModelForCausalLM.from_pretrained(**pretrained(first), dtype=torch.float32)
    weights = dict(one.named_parameters())
    two: Any = AutoModelForCausalLM.from_pretrained(**pretrained(second), dtype=torch.float32)
    other = dict(two.named_parameters())
    if {n: w.shape for n, w in weights.items()} != {n: w.shape for n, w in other.items()}:
        raise TrainingError(
            f"{first} and {second} do not have the same weights, so nothing lies between them"
        )
    with torch.no_grad():
        for name, weight in weights.items():
            weight.lerp_(other[name], share)
    save_model(one.to(stored_dtype(first)), load_tokenizer(first), out)
