"""A run folder with figures and weights, without a training: the golden run, and an adapter that was never trained."""

import json
import shutil
from pathlib import Path

from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from drp.engines.identity import model_identity, resolve_model
from drp.runs.folder import RunFolder

GOLDEN = Path(__file__).parents[1] / "runs" / "golden_run"


def make_run(path: Path) -> Path:
    """Return a run folder as training and evaluation leave it, with what other tools leave beside weights."""
    shutil.copytree(GOLDEN, path)
    with RunFolder(path):  # leaves its lock, as every command does
        student = resolve_model("mini")
        model, adapter = path / "train" / "model", path / "train" / "adapter"
        shutil.copytree(student, model)
        tuned = get_peft_model(
            AutoModelForCausalLM.from_pretrained(student),
            LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"]),
        )
        tuned.save_pretrained(str(adapter))
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(Path(student) / name, adapter)
        change(model / "config.json", _name_or_path=student)
        change(adapter / "tokenizer_config.json", local_files_only=True, is_local=True)
        for folder in (model, adapter):
            (folder / "training_args.bin").write_bytes(b"\x80\x02" + str(path).encode())
            (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": str(path)}))
        manifest = path / "evaluate" / "distilled" / "manifest.json"
        settings = json.loads(manifest.read_text())["settings"]
        change(manifest, settings=settings | {"model": model_identity(str(model))})
    return path


def change(file: Path, **fields: object) -> None:
    """Change fields of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
