"""What this machine has: Python, packages, GPUs, memory, keys. Nothing here loads torch, and no key is ever returned."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from drp.records import Record

DISTRIBUTION = "drp-reasoning"
OLDEST_PYTHON = (3, 11)
ASK_S = 10.0
"""Seconds that the driver has to answer."""


class Gpu(Record):
    """A GPU, as its driver describes it."""

    name: str
    total_gb: float
    """Memory in GB (10^9 bytes)."""
    free_gb: float
    driver: str


class Package(Record):
    """A package that this one asks for."""

    name: str
    wanted: str
    """Versions that it is known to work with, such as ``>=2.11``."""
    found: str | None = None
    """The version that is installed; ``None`` for none."""
    fits: bool = False


def gpus() -> list[Gpu]:
    """Return the NVIDIA GPUs that the driver's own tool lists; none where it is absent or refuses."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    asked = [
        tool,
        "--query-gpu=name,memory.total,memory.free,driver_version",
        "--format=csv,noheader,nounits",
    ]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=ASK_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return list(_gpus(said))


def _gpus(said: str) -> Iterator[Gpu]:
    """Yield what lines such as ``NVIDIA H100 80GB HBM3, 81559, 81079, 550.54.15`` describe; memory there is in MiB."""
    for line in said.splitlines():
        name, *figures, driver = (part.strip() for part in line.split(","))
        try:
            total, free = (float(figure) * 2**20 / 1e9 for figure in figures)
        except ValueError:  # "[N/A]", as of a GPU that is partitioned
            continue
        yield Gpu(name=name, total_gb=total, free_gb=free, driver=driver)


def memory_gb() -> float | None:
    """Return the memory that this process may use, in GB: the machine's, or less in a container; ``None`` if unknown."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        limit = "max"
    return (min(found, int(limit)) if limit.isdecimal() else found) / 1e9


def packages(extra: str = "") -> list[Package] | None:
    """Return what the package needs, or one of its extras adds; ``None`` where it runs without being installed."""
    try:
        asked = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return None
    found: list[Package] = []
    for line in asked:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        with_extra = marker is None or marker.evaluate({"extra": extra})
        without = marker is None or marker.evaluate({"extra": ""})
        if with_extra and (without == (extra == "")):
            found.append(_installed(requirement))
    return found


def _installed(requirement: Requirement) -> Package:
    version = version_of(requirement.name)
    fits = version is not None and requirement.specifier.contains(version, prereleases=True)
    return Package(name=requirement.name, wanted=str(requirement.specifier), found=version, fits=fits)


def version_of(package: str) -> str | None:
    """Return the installed version of a package, without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def torch_sees() -> str | None:
    """Return what torch says of its CUDA devices, asked in a process of its own; ``None`` if it sees none."""
    code = (
        "import torch\nif torch.cuda.is_available():\n"
        "    print(torch.version.cuda, ', '.join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())))"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def python() -> str:
    """Return which Python this is, and on what."""
    return (
        f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    )


def keys(variables: Sequence[str]) -> dict[str, str]:
    """Return the state of keys in the environment, never the keys: ``set``, ``not set``, or what is odd about one."""
    found: dict[str, str] = {}
    for name in variables:
        value = os.environ.get(name)
        if not value:
            found[name] = "not set"
        elif value != value.strip() or value[0] in "\"'":
            found[name] = "odd"
        else:
            found[name] = "set"
    return found
