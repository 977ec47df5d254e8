"""What defines a model: its files if local, its name and revision otherwise. Needs no torch."""

import hashlib
import json
import os
from fnmatch import fnmatch
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import cast

_DEFINING = (
    "*.safetensors", "pytorch_model*.bin", "adapter_model.bin", "*.gguf", "*.index.json", "config.json",
    "generation_config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "*.model", "*.tiktoken", "*.jinja", "chat_template.json",
)  # fmt: skip
"""Files that decide how a model answers: weights, configuration, tokenizer, template."""
_REMEMBERED_FROM = 64 << 20
"""Bytes from which a file's digest is kept in the cache folder: reading 15 GB takes ten seconds or more."""
_CACHE = "digests.json"


def resolve_model(name: str) -> str:
    """Return the folder of the embedded student for ``mini``, any other name unchanged."""
    if name == "mini":
        return str(files("drp.mini") / "student")
    return str(Path(name).expanduser()) if name.startswith("~") else name


def cache_folder() -> Path:
    """Return where what can be computed again is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drp"


def _remembered() -> dict[str, str]:
    try:
        found: object = json.loads((cache_folder() / _CACHE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, str]", found) if isinstance(found, dict) else {}


def _remember(key: str, digest: str) -> None:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{_CACHE}.{os.getpid()}"
        temporary.write_text(json.dumps({**_remembered(), key: digest}), encoding="utf-8")
        temporary.replace(folder / _CACHE)
    except OSError:
        return  # no cache, then: only time is lost


@lru_cache(maxsize=1024)
def _digest_of(path: str, size: int, modified_ns: int, inode: int) -> str:
    key = f"{path}:{size}:{modified_ns}:{inode}"
    large = size >= _REMEMBERED_FROM
    if large and (known := _remembered().get(key)):
        return known
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if large:
        _remember(key, digest)
    return digest


def _file_digest(path: Path) -> str:
    """Hash a whole file; a large one once for each time it was written."""
    path = path.resolve()  # the hub's cache is made of links
    stat = path.stat()
    return _digest_of(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)


def model_identity(name: str) -> dict[str, str]:
    """Return what identifies a model's behaviour, for fingerprints.

    A local folder is identified by the content of its weights, configuration and tokenizer, not by
    where it lies; anything else by its name and, as far as it can be found out, the commit that the name
    stands for today.
    """
    folder = Path(resolve_model(name))
    if not folder.is_dir():
        revision = _hub_revision(name)
        return {"model": name} | ({"revision": revision} if revision else {})
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if any(fnmatch(path.name, pattern) for pattern in _DEFINING) and path.is_file():
            digest.update(f"{path.name}:{_file_digest(path)}\n".encode())
    return {"content": digest.hexdigest()[:32]}


@lru_cache(maxsize=16)
def _hub_revision(name: str) -> str | None:
    """Return the commit of a hub model's main branch: the hub's word, else that of the copy on this machine."""
    try:
        from huggingface_hub import HfApi, constants
    except ImportError:
        return None
    try:
        if not constants.HF_HUB_OFFLINE:
            return HfApi().model_info(name, timeout=10).sha
    except Exception:  # noqa: BLE001 – no network, no such model, no name of the hub's: loading it will say so
        pass
    main = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "refs" / "main"
    return main.read_text().strip() if main.is_file() else None
