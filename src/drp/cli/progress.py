"""Progress on the terminal: a live bar where there is one, a line now and then where there is not."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column
from rich.text import Text

LINE_EVERY_S = 15.0


class _Rate(ProgressColumn):
    """Tokens per second since the stage began in this process."""

    def render(self, task: Task) -> Text:
        tokens, elapsed = task.fields.get("tokens", 0), task.elapsed or 0
        return Text(f"{tokens / elapsed:,.0f} tokens/s" if tokens and elapsed else "", style="dim")


class _Time(ProgressColumn):
    """Time left at the mean pace of this process, as items end in bursts; time passed until the first one has ended."""

    def render(self, task: Task) -> Text:
        made, passed = task.completed - task.fields.get("before", 0), task.elapsed or 0
        if not made or not passed or not task.total:
            return Text(f"{_clock(passed)} so far", style="dim")
        return Text(f"ETA {_clock(passed / made * (task.total - task.completed))}", style="dim")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class _Remark(ProgressColumn):
    """What the stage has to say."""

    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get("remark", "")), style="dim")


class TerminalProgress:
    """Shows one stage at a time."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Bar | None = None
        self._stage, self._done, self._wanted, self._tokens = "", 0, 0, 0
        self._remark = ""
        self._began = self._spoke = time.monotonic()

    def begin(self, stage: str, done: int, wanted: int) -> None:
        """A stage starts with ``done`` of ``wanted`` items on file."""
        self._stage, self._done, self._wanted, self._tokens = stage, done, wanted, 0
        self._began = self._spoke = time.monotonic()
        self._remark = ""
        if not self.console.is_terminal or done >= wanted:
            return
        self._bar = Bar(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            _Time(),
            _Remark(table_column=Column(no_wrap=True)),
            console=self.console,
            transient=True,
        )
        self._bar.start()
        self._bar.add_task(stage, total=wanted, completed=done, tokens=0, before=done, remark="")

    def advance(self, items: int, tokens: int = 0) -> None:
        """Some items ended; ``tokens`` were generated for them."""
        self._done, self._tokens = self._done + items, self._tokens + tokens
        if self._bar:
            task = self._bar.tasks[0]
            self._bar.update(task.id, completed=self._done, tokens=self._tokens)
        elif time.monotonic() - self._spoke >= LINE_EVERY_S:
            self._spoke = time.monotonic()
            rate = self._tokens / (self._spoke - self._began)
            speed = f", {rate:,.0f} tokens/s" if rate else ""
            remark = f", {self._remark}" if self._remark else ""
            self.console.print(Text(f"{self._stage}: {self._done}/{self._wanted}{speed}{remark}"))

    def remark(self, text: str) -> None:
        """Something to show beside the count while the stage runs."""
        self._remark = text
        if self._bar:
            self._bar.update(self._bar.tasks[0].id, remark=text)

    def end(self, note: str) -> None:
        """The stage ended; ``note`` sums it up."""
        self.close()
        seconds = time.monotonic() - self._began
        speed = f", {self._tokens / seconds:,.0f} tokens/s" if self._tokens else ""
        speed += f", {self._remark}" if self._remark else ""
        took = f" ({seconds:.0f} s{speed})" if seconds >= 1 else ""
        self.console.print(Text.assemble((self._stage, "bold"), f": {note}{took}"))

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar:
            self._bar.stop()
            self._bar = None
