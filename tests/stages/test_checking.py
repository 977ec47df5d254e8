import asyncio
import os
import signal
from pathlib import Path

import pytest

from drp.engines.identity import resolve_model
from drp.errors import DrpError
from drp.grading.grader import Grader
from drp.recipe import PruneSettings
from drp.records import EditScript
from drp.stages.checking import Checker, open_pool
from drp.teachers.rules import RulesTeacher
from drp.text.thinking import THINK, Tags
from drp.text.tokens import FileTokenCounter
from tests.teachers.test_protocols import TRACE, UNITS


@pytest.fixture(scope="module")
def counter() -> FileTokenCounter:
    return FileTokenCounter(resolve_model("mini"))


async def test_a_pool_checks_as_this_process_does(counter: FileTokenCounter) -> None:
    script = RulesTeacher().script(TRACE.question, TRACE.answer, UNITS)
    wrong = EditScript(units=0, edits=())
    with Grader() as grader, open_pool(counter) as pool:
        alone = Checker(PruneSettings(), grader, counter)
        shared = Checker(PruneSettings(), grader, counter, pool=pool)
        here = await alone.check(TRACE, UNITS, script, TRACE.answer)
        jobs = [shared.check(TRACE, UNITS, s, TRACE.answer) for s in [script] * 20 + [wrong]]
        found = await asyncio.gather(*jobs, return_exceptions=True)
    assert found[:20] == [here] * 20
    assert isinstance(found[20], DrpError) and "covers 0 units" in str(found[20])


async def test_tokens_are_counted_with_the_students_own_tags(counter: FileTokenCounter) -> None:
    """The tags are part of what a student writes, and more tokens where its tokenizer spells them out."""
    script = RulesTeacher().script(TRACE.question, TRACE.answer, UNITS)
    spelt = Tags("[BEGIN THINKING]", "[END THINKING]")
    more = counter(spelt.close) - counter(THINK.close)
    with Grader() as grader, open_pool(counter) as pool:
        usual = await Checker(PruneSettings(), grader, counter).check(TRACE, UNITS, script, TRACE.answer)
        for where in (None, pool):
            checker = Checker(PruneSettings(), grader, counter, tags=spelt, pool=where)
            found = await checker.check(TRACE, UNITS, script, TRACE.answer)
            assert more > 0
            assert found.tokens_before == usual.tokens_before + more
            assert found.tokens_after == usual.tokens_after + more


async def test_a_killed_process_is_an_error_that_says_so(counter: FileTokenCounter) -> None:
    script = RulesTeacher().script(TRACE.question, TRACE.answer, UNITS)
    with Grader() as grader, open_pool(counter) as pool:
        checker = Checker(PruneSettings(), grader, counter, pool=pool)
        await checker.check(TRACE, UNITS, script, TRACE.answer)
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        spawned = [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]
        assert spawned
        for child in spawned:
            os.kill(child, signal.SIGKILL)
        with pytest.raises(DrpError, match="died"):
            await checker.check(TRACE, UNITS, script, TRACE.answer)


async def test_what_was_about_to_be_sent_when_it_stops_is_cancelled(counter: FileTokenCounter) -> None:
    """Ctrl-C within the moment in which jobs are gathered left a traceback of the event loop behind."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    script = RulesTeacher().script(TRACE.question, TRACE.answer, UNITS)
    with Grader() as grader, open_pool(counter) as pool:
        waiting = asyncio.create_task(
            Checker(PruneSettings(), grader, counter, pool=pool).check(TRACE, UNITS, script, TRACE.answer)
        )
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.05)
    assert not faults
