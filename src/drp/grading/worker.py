"""The process that runs math-verify: one line when it is ready, then one JSON line in, one out. Started by :mod:`drp.grading.process`.

It lives in a process of its own because hostile input can keep sympy busy without end; whoever
waits for it kills it. It runs as a file, and imports nothing of this package.
"""

import json
import logging
import os
import resource
import sys
from typing import Any

_MEMORY = 2 << 30


def main() -> None:
    """Answer ``[answer, gold]`` lines with ``true`` or ``false`` until the input ends."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    logging.disable(logging.CRITICAL)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no verdict
    import math_verify  # heavy: sympy

    library: Any = math_verify
    # The first item builds parsers; no item's time limit has to pay for that.
    library.verify(
        *[library.parse("\\boxed{(x+1)^2}", parsing_timeout=None) for _ in range(2)], timeout_seconds=None
    )
    nowhere = os.open(os.devnull, os.O_WRONLY)  # once it runs, nobody reads what it says besides
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        answer, gold = json.loads(line)
        try:
            # Boxed on both sides: math-verify reads bare text in other ways than boxed text.
            sides = [library.parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (gold, answer)]
            equal = bool(library.verify(*sides, timeout_seconds=None))
        except Exception:  # noqa: BLE001 – sympy raises anything on odd input; none of it is an equal answer
            equal = False
        print(json.dumps(equal), file=answers, flush=True)


if __name__ == "__main__":
    main()
