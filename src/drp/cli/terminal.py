"""What a command shows while it works."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drp.runs.stage import Progress, Say


@contextmanager
def terminal() -> "Generator[tuple[Progress, Say]]":
    """Provide a view of progress and what prints a line."""
    from rich.console import Console
    from rich.text import Text

    from drp.cli.progress import TerminalProgress

    console = Console()
    progress = TerminalProgress(console)
    progress.open()
    try:
        yield progress, lambda line: console.print(Text(line))
    finally:
        progress.close()
