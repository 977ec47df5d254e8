"""One math-verify process and its pipes: asked, waited for, killed when it takes too long."""

import contextlib
import json
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from drp.errors import GradingError

STARTING_S = 60.0
WORKER = Path(__file__).with_name("worker.py")
_MEND = f"Install it again with: {sys.executable} -m pip install --force-reinstall 'math-verify>=0.9,<0.10'"


class Process:
    """A math-verify process; used by one thread at a time.

    It runs by its file, the one next to this, and without the working directory on its path (``-P``): a file
    there that happens to be called ``random.py`` is nothing to it. ``PYTHONPATH`` and what the user has
    installed it has as its parent has.
    """

    def __init__(self, time_limit_s: float) -> None:
        self.time_limit_s = time_limit_s
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        """The number of the running process, or ``None``."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def ask(self, answer: str, gold: str) -> bool | None:
        """Return the verdict, or ``None`` where the process died over it or did not answer in time.

        Raises:
            GradingError: It had to be started first, and did not start.
        """
        if self.pid is None:
            self.start()
        assert self._process and self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([answer, gold]) + "\n")
            self._process.stdin.flush()
        line = self._line(self.time_limit_s)
        if not line:
            self.stop()
        return bool(json.loads(line)) if line else None

    def start(self) -> None:
        """Start a process and wait for its imports, which no item's time limit has to pay for.

        Raises:
            GradingError: It did not start. No verdict of such a run would mean anything.
        """
        self.stop()
        with tempfile.TemporaryFile() as errors:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", str(WORKER)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
            except OSError as error:
                raise GradingError(f"the grader's process does not start: {error}") from error
            if not self._line(STARTING_S):
                raise GradingError(f"math-verify's process does not start: {self._why(errors)}. {_MEND}")

    def _line(self, limit: float) -> str:
        """Return the next line of the process; empty where it has ended or none came in time."""
        assert self._process and self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], limit)
        return self._process.stdout.readline() if ready else ""

    def _why(self, errors: IO[bytes]) -> str:
        """Stop a process that has not started, and say what it wrote, or how it ended."""
        assert self._process
        try:
            how = f"it ended with status {self._process.wait(timeout=1)}"
        except subprocess.TimeoutExpired:
            how = f"no sign of it in {STARTING_S:g} s"
        self.stop()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip().splitlines()
        return said[-1].strip()[:500] if said else how

    def stop(self) -> None:
        """Kill the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
