"""What defines a model: its files if local, its name otherwise. Needs no torch."""

import hashlib
from importlib.resources import files
from pathlib import Path

_WINDOW, _WINDOWS = 1 << 20, 64


def resolve_model(name: str) -> str:
    """Return the folder of the embedded student for ``mini``, any other name unchanged."""
    if name == "mini":
        return str(files("drp.mini") / "student")
    return str(Path(name).expanduser()) if name.startswith("~") else name


def _file_digest(path: Path) -> str:
    """Hash size and content; of a file beyond 64 MiB so many windows of 1 MiB, the first and the last among them.

    That tells checkpoints apart without reading 15 GB: fine-tuning leaves embeddings alone, but no layer.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _WINDOW * _WINDOWS:
            digest.update(file.read())
        else:
            for number in range(_WINDOWS):
                file.seek((size - _WINDOW) * number // (_WINDOWS - 1))
                digest.update(file.read(_WINDOW))
    return digest.hexdigest()


def model_identity(name: str) -> dict[str, str]:
    """Return what identifies a model's behaviour, for fingerprints.

    A local folder is identified by the content of its weights, configuration and tokenizer, not by
    where it lies; anything else by its name.
    """
    folder = Path(resolve_model(name))
    if not folder.is_dir():
        return {"model": name}
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".jinja") or path.name in (
            "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        ):  # fmt: skip
            digest.update(f"{path.name}:{_file_digest(path)}\n".encode())
    return {"content": digest.hexdigest()[:32]}
