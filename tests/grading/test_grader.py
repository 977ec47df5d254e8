import threading
import time

import pytest

from drp.grading.grader import Grader


@pytest.fixture(scope="module")
def grader() -> "Grader":  # type: ignore[misc]
    with Grader(time_limit_s=3) as made:
        yield made


@pytest.mark.parametrize(
    ("text", "gold", "correct", "how"),
    [
        ("so \\boxed{57}", "57", True, "spelling"),
        ("so \\boxed{57.0}", "57", True, "number"),
        ("\\boxed{1,000}", "1000", True, "spelling"),
        ("\\boxed{58}", "57", False, "number"),
        ("\\boxed{0.5}", "\\frac{1}{2}", True, "number"),
        ("\\boxed{\\dfrac12}", "\\frac{1}{2}", True, "spelling"),
        ("\\boxed{x^2+2x+1}", "(x+1)^2", True, "math_verify"),
        ("\\boxed{x+1}", "x+2", False, "math_verify"),
        ("no number", "3", False, "missing"),
    ],
)
def test_verdicts(grader: Grader, text: str, gold: str, correct: bool, how: str) -> None:
    grade = grader.grade(text, gold)
    assert (grade.correct, grade.how) == (correct, how)


def test_hostile_input_costs_its_time_limit_and_no_more(grader: Grader) -> None:
    assert grader.is_correct("\\boxed{\\frac{3}{2}}", "1.5")  # the process is warm
    started = time.monotonic()
    grade = grader.compare("9^{9^{9^9}}", "x^{9^{9^9}}+1")
    assert not grade.correct
    assert time.monotonic() - started < 20
    assert grader.is_correct("\\boxed{\\frac{3}{2}}", "1.5")  # and works again


def test_many_threads_share_one_grader(grader: Grader) -> None:
    verdicts: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: verdicts.append(grader.is_correct("\\boxed{\\frac{6}{4}}", "\\frac{3}{2}"))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [True] * 8


HOSTILE = [
    "9^{9^{9^9}}", "10^{10^{10^{10}}}", "x^{9^{9^9}}+1", "\\sum_{k=1}^{10^{12}} k^{k}", "\\prod_{n=1}^{99999999} n",
    "\\frac{" * 400 + "1" + "}{1}" * 400, "(" * 5000, "{" * 3000 + "}" * 3000, "1+" * 20000 + "1", "\\sqrt{" * 300 + "2" + "}" * 300,
    "9" * 100_000, "x" * 100_000, "\\int_0^1 x^{x^{x^x}} dx", "100000000!", "\\binom{10^9}{5*10^8}", "\x00\x01\x02", "\u202e12",
    "__import__('os').system('true')", "exec('1')", "\\input{/etc/passwd}",
]  # fmt: skip


@pytest.mark.long
def test_hostile_inputs_stall_nobody() -> None:
    """Each costs at most its limit, and honest answers on another thread come through meanwhile."""
    with Grader(time_limit_s=1.5, processes=2) as grader:
        assert grader.is_correct("\\boxed{x+1}", "1+x")  # one process is warm
        verdicts: list[bool] = []

        def attack() -> None:
            for number, text in enumerate(HOSTILE):
                verdicts.append(grader.compare(text, f"y^{number}+z").correct)

        attacker = threading.Thread(target=attack)
        started = time.monotonic()
        attacker.start()
        honest: list[bool] = []
        while attacker.is_alive():
            honest.append(grader.is_correct("\\boxed{(x+1)^2}", "x^2+2x+1"))
        attacker.join()
        assert verdicts == [False] * len(HOSTILE)
        assert len(honest) > 20 and all(honest)
        assert time.monotonic() - started < 120


async def test_grading_leaves_the_event_loop_free() -> None:
    import asyncio

    with Grader(time_limit_s=1) as grader:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.02)
                ticks += 1

        ticking = asyncio.create_task(tick())
        found = await asyncio.gather(
            grader.grade_async("\\boxed{2x}", "x+x"), grader.grade_async("\\boxed{9^{9^{9^9}}}", "z^2+1")
        )
        ticking.cancel()
    assert [g.correct for g in found] == [True, False] and ticks > 10
