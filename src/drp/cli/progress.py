"""Progress on the terminal: a live panel where there is one, a line now and then where there is not."""

import threading
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from drp.runs.stage import Underway

FIRST_LINE_S = 2.0
"""A stage that takes longer says what it is at, without a terminal too …"""
LINE_EVERY_S = 15.0
"""… and again every so often, whether or not anything ended meanwhile."""


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class TerminalProgress:
    """Shows one stage at a time, and between stages that something is going on."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.underway = Underway()
        self._stage, self._done, self._wanted, self._before, self._tokens = "", 0, 0, 0, 0
        self._remark = ""
        self._began = self._paced = time.monotonic()
        self._live: Live | None = None
        self._ended = threading.Event()
        self._spinner = Spinner("dots")

    def open(self) -> None:
        """Show from now on that something is going on: imports and checks take seconds before the first stage."""
        self._began = time.monotonic()
        self._show()

    def begin(self, stage: str, done: int, wanted: int) -> None:
        """A stage starts with ``done`` of ``wanted`` items on file."""
        self._paced = time.monotonic()
        if stage != self._stage:  # training counts from its first step, and began before
            self._began = self._paced
        self._stage, self._done, self._before, self._wanted, self._tokens = stage, done, done, wanted, 0
        self._remark = ""
        self.underway = Underway()
        self._show()

    def advance(self, items: int, tokens: int = 0) -> None:
        """Some items ended; ``tokens`` were generated for them."""
        self._done, self._tokens = self._done + items, self._tokens + tokens

    def remark(self, text: str) -> None:
        """Something to show beside the count while the stage runs."""
        self._remark = text

    def end(self, note: str) -> None:
        """The stage ended; ``note`` sums it up."""
        self._quiet()
        seconds = time.monotonic() - self._began
        speed = f", {self._tokens / seconds:,.0f} tokens/s" if self._tokens else ""
        speed += f", {self._remark}" if self._remark else ""
        took = f" ({seconds:.0f} s{speed})" if seconds >= 1 else ""
        self.console.print(Text.assemble((self._stage, "bold"), f": {note}{took}"))
        self._stage, self._remark, self._began = "", "", time.monotonic()
        self._done = self._wanted = self._before = self._tokens = 0
        self.underway = Underway()

    def close(self) -> None:
        """Take the panel off the screen."""
        self._quiet()
        if self._live:
            self._live.stop()
            self._live = None

    def _show(self) -> None:
        if self.console.is_terminal:
            if self._live is None:
                self._live = Live(
                    get_renderable=self._panel, console=self.console, transient=True, refresh_per_second=5
                )
                self._live.start()
            return
        self._quiet()
        self._ended = threading.Event()
        threading.Thread(target=self._lines, args=(self._ended,), daemon=True).start()

    def _quiet(self) -> None:
        """End the lines of the stage before."""
        self._ended.set()

    def _lines(self, ended: threading.Event) -> None:
        wait = FIRST_LINE_S
        while not ended.wait(wait):
            wait = LINE_EVERY_S
            name = self._stage or "getting ready"
            count = f"{self._done:,}/{self._wanted:,}, " if self._wanted else ""
            self.console.print(Text(f"{name}: {count}{', '.join(self._figures())}"))

    def _figures(self) -> list[str]:
        """Return what there is to say of the stage, the most important first; what is not known is left out."""
        now = time.monotonic()
        passed, underway, flying = now - self._paced, self.underway, self.underway.flying()
        said: list[str] = []
        if flying:
            said.append(f"{flying:,} in flight")
        if passed >= 1 and (tokens := max(self._tokens, underway.tokens())):
            said.append(f"{tokens / passed:,.0f} tokens/s")
        said.append(f"{_clock(now - self._began)} elapsed")
        left = self._wanted - self._done
        # What is left out costs little and mostly ends first: it says nothing of the pace of the rest.
        ended = self._done - self._before - underway.left_out
        if ended > 0 and left > 0:
            # At the mean pace of this process, as items end in bursts; what is in flight counts half.
            half = min(flying, left) / 2
            said.append(f"ETA {_clock(passed / (ended + half) * (left - half))}")
        if underway.left_out:
            said.append(f"{underway.left_out:,} left out")
        if underway.failed:
            said.append(f"{underway.failed:,} failed")
        if self._remark:
            said.append(self._remark)
        return said

    def _panel(self) -> RenderableType:
        figures = Text("   ".join(self._figures()), style="dim", no_wrap=True, overflow="ellipsis")
        if not self._stage or not self._wanted:
            line = Table.grid(padding=(0, 1))
            line.add_row(self._spinner, Text(self._stage or "getting ready", style="bold"), figures)
            return line
        head = Table.grid(padding=(0, 1))
        bar = ProgressBar(
            total=self._wanted, completed=self._done, width=max(10, min(40, self.console.width - 45))
        )
        count = Text(f"{self._done:,}/{self._wanted:,}  {self._done / self._wanted:.0%}")
        head.add_row(Text(self._stage, style="bold"), bar, count)
        return Group(head, figures)
