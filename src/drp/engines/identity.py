"""What defines a model: its files if local, its name otherwise. Needs no torch."""

import hashlib
from importlib.resources import files
from pathlib import Path

_EDGE = 1 << 20


def resolve_model(name: str) -> str:
    """Return the folder of the embedded student for ``mini``, any other name unchanged."""
    if name == "mini":
        return str(files("drp.mini") / "student")
    return str(Path(name).expanduser()) if name.startswith("~") else name


def _file_digest(path: Path) -> str:
    """Hash size, first and last MiB: enough to tell checkpoints apart without reading 15 GB."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(str(size).encode() + file.read(_EDGE))
        if size > _EDGE:
            file.seek(max(_EDGE, size - _EDGE))
            digest.update(file.read())
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
