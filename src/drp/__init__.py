"""DRP: distilled reasoning pruning (arXiv 2505.13975).

What the package offers is described in :mod:`drp.api`, which is imported when the first name of it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drp.api import (
        compare,
        diagnose,
        doctor,
        estimate,
        evaluate,
        export,
        forecast,
        generate,
        grade,
        init,
        merge,
        plan,
        prune,
        push,
        recipes,
        report,
        rounds,
        run,
        train,
        view,
    )

__version__ = "0.2.0"
__all__ = [
    "compare",
    "diagnose",
    "doctor",
    "estimate",
    "evaluate",
    "export",
    "forecast",
    "generate",
    "grade",
    "init",
    "merge",
    "plan",
    "prune",
    "push",
    "recipes",
    "report",
    "rounds",
    "run",
    "train",
    "view",
]


def __getattr__(name: str) -> Any:
    """Return a name of :mod:`drp.api` (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("drp.api"), name)


def __dir__() -> list[str]:
    """Return what there is, whether it was used yet or not."""
    return sorted({*globals(), *__all__})
