"""What a model is called and what defines it: its files if local, its name and commit otherwise. Needs no torch.

A model is the folder of a checkpoint, an id on the hub, or such an id with one of its revisions: ``org/name@v1.0``.
"""

import hashlib
import json
import os
import re
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
HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
"""``gpt2``, ``Qwen/Qwen3-4B``; neither ``/data/model`` nor ``runs/a/train/model``, which can only be folders."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve_model(name: str) -> str:
    """Return the folder of the embedded student for ``mini``, any other name unchanged."""
    if name == "mini":
        return str(files("drp.mini") / "student")
    return str(Path(name).expanduser()) if name.startswith("~") else name


def split_revision(name: str) -> tuple[str, str | None]:
    """Return the hub id and the revision of ``org/name@revision``; ``None`` where there is none, or ``name`` is a folder."""
    id_, _, revision = name.partition("@")
    if not revision or not HUB_ID.fullmatch(id_) or Path(name).exists():
        return name, None
    return id_, revision


def pretrained(name: str) -> dict[str, str]:
    """Return the arguments of ``from_pretrained``, of models and tokenizers alike, that load a model by its full name."""
    id_, revision = split_revision(name)
    return {"pretrained_model_name_or_path": id_, "revision": revision or "main"}


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
    where it lies; anything else by its id on the hub and, as far as it can be found out without fetching it, the
    commit that its revision stands for today. So a branch, a tag and their commit are one and the same model.
    """
    folder = Path(resolve_model(name))
    if not folder.is_dir():
        id_, revision = split_revision(name)
        commit = _commit(id_, revision)
        return {"model": id_} | ({"revision": commit} if commit else {})
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if any(fnmatch(path.name, pattern) for pattern in _DEFINING) and path.is_file():
            digest.update(f"{path.name}:{_file_digest(path)}\n".encode())
    return {"content": digest.hexdigest()[:32]}


@lru_cache(maxsize=16)
def _commit(id_: str, revision: str | None) -> str | None:
    """Return the commit of a hub model's revision, left out that of its main branch.

    It is the hub's word, else that of the copy on this machine, else the revision as it was given.
    """
    if revision and _COMMIT.fullmatch(revision):
        return revision
    try:
        from huggingface_hub import HfApi, constants
    except ImportError:
        return revision
    try:
        if not constants.HF_HUB_OFFLINE:
            return HfApi().model_info(id_, revision=revision, timeout=10).sha
    except Exception:  # noqa: BLE001 – no network, no such model, no name of the hub's: loading it will say so
        pass
    refs = Path(constants.HF_HUB_CACHE) / f"models--{id_.replace('/', '--')}" / "refs"
    found = refs / (revision or "main")
    return found.read_text().strip() if found.is_file() else revision
