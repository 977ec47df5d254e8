"""How the embedded student learned to think: documents that over-think as R1-style models do.

A document answers one mini-world problem. It restates, double-checks, takes wrong turns and
corrects them, forgets carries (and sometimes does not notice), verifies everything again, and in an
anxious mood keeps verifying, at times without end. The rates below are those of the training
documents; sampling at a temperature under 1 makes the rare habits rarer still.
"""

import random
from dataclasses import dataclass

from drp.benchmarks.mini_world import FRACTIONS, Quantity, WorldProblem, apply_operation


@dataclass(frozen=True)
class Habits:
    """Rates of the habits, each a probability."""

    restate: float = 0.4
    filler: float = 0.3
    say_result: float = 0.4
    check_step: float = 0.4
    wrong_turn: float = 0.12
    slip: float = 0.28
    """A forgotten carry or borrow, where the operation has one."""
    check_catches: float = 0.85
    verify: float = 0.8
    verify_catches: float = 0.5
    second_look: float = 0.2
    """One more pass in a calm mood."""
    anxious: float = 0.16
    anxious_again: float = 0.74
    """Whether an anxious document goes through everything once more."""
    stuck: float = 0.25
    """Whether an anxious document ends in a loop that never closes."""
    working_in_answer: float = 0.4


@dataclass(frozen=True)
class Document:
    """Thinking and answer of one document; ``closed`` is false where the thinking never ends."""

    thinking: str
    answer: str
    closed: bool
    final: int


def _carries(kind: str, a: int, b: int) -> int:
    """Return how much is lost by forgetting the carry or borrow; 0 where there is none."""
    if kind in ("more", "finds", "both", "total"):
        return -10 if a % 10 + b % 10 >= 10 else 0
    if kind in ("fewer", "loses"):
        return 10 if a % 10 < b % 10 else 0
    if kind == "times":
        return -10 * ((a % 10) * b // 10)
    return 0


class _Writer:
    def __init__(self, problem: WorldProblem, rng: random.Random, habits: Habits) -> None:
        self.problem, self.rng, self.habits = problem, rng, habits
        self.quantities = problem.quantities
        self.out: list[str] = []
        self.believed: dict[int, int] = {}
        self.slipped: dict[int, int] = {}  # quantity -> offset that went unnoticed
        self.anxious = rng.random() < habits.anxious

    def chance(self, rate: float) -> bool:
        return self.rng.random() < rate

    def pick(self, *options: str) -> str:
        return self.rng.choice(options)

    def write(self) -> Document:
        self._open()
        self._solve()
        final = self.believed[len(self.quantities) - 1]
        self.out.append("\n\n" + self._conclude(final))
        if self.anxious:
            closed = self._worry()
        else:
            if self.chance(self.habits.verify):
                self._pass(self.pick(
                    "Wait, let me verify the whole thing.", "Let me double-check everything.",
                    "Let me go through it again to be sure.",
                ))  # fmt: skip
                if self.chance(self.habits.second_look):
                    self._pass(self.pick(
                        "Alternatively, let me do it once more from the start.",
                        "Hmm, let me check it another time.",
                    ))  # fmt: skip
            closed = True
        final = self.believed[len(self.quantities) - 1]
        self.out.append("\n\n" + self.pick(
            f"So the answer is {final}.", f"Therefore, the answer is {final}.",
            f"I'm confident the answer is {final}.",
        ))  # fmt: skip
        return Document("".join(self.out).strip(), self._answer(final), closed, final)

    def _open(self) -> None:
        ask = self.problem.ask
        subject = ask.removeprefix("How many ").rstrip("?")
        item, rest = subject.split(" ", 1)
        words = rest.split(" ")
        if words[0] == "do":
            goal = f"how many {item} {words[1]} and {words[3]} have together"
        else:
            goal = f"how many {item} {words[1]} {'now ' if 'now' in words else ''}has"
        self.out.append(self.pick("Okay, so I need to find ", "Alright, I have to figure out ",
                                  "Okay, let's see. I need to find ") + goal + ".")  # fmt: skip
        if self.anxious:
            self.out.append(self.pick(" Hmm, this looks tricky.", " Hmm, I have to be careful here."))
        elif self.chance(self.habits.filler):
            self.out.append(self.pick(" Let me think.", " Let me break it down step by step."))
        if self.chance(self.habits.restate):
            facts = " ".join(q.sentence for q in self.quantities if q.sentence)
            self.out.append(self.pick(" The problem says: ", " Let me read it again. ") + facts)

    def _values(self, q: Quantity) -> tuple[int, ...]:
        return tuple(self.believed[i] for i in q.sources)

    def _fact(self, q: Quantity) -> str:
        owners = [self.quantities[i].owner for i in q.sources]
        match q.kind:
            case "more":
                return f"{q.owner} has {q.number} more than {owners[0]}"
            case "fewer":
                return f"{q.owner} has {q.number} fewer than {owners[0]}"
            case "times":
                return f"{q.owner} has {q.number} times as many as {owners[0]}"
            case "share":
                return f"{q.owner} has {FRACTIONS[q.number or 0]} as many as {owners[0]}"
            case "both":
                return f"{q.owner} has as many as {owners[0]} and {owners[1]} together"
            case "finds":
                return f"{q.owner} finds {q.number} more"
            case "loses":
                return f"{q.owner} gives away {q.number}"
            case _:
                return f"{owners[0]} and {owners[1]} have to be added"

    def _equation(self, q: Quantity, result: int) -> str:
        values, n = self._values(q), q.number
        match q.kind:
            case "more" | "finds":
                return f"{values[0]} + {n} = {result}"
            case "fewer" | "loses":
                return f"{values[0]} - {n} = {result}"
            case "times":
                return f"{n} * {values[0]} = {result}"
            case "share":
                return f"{values[0]} / {n} = {result}"
            case _:
                return f"{values[0]} + {values[1]} = {result}"

    def _inverse(self, q: Quantity, result: int) -> tuple[str, int, int]:
        """Return a different calculation that tests ``result``: its text, value and target."""
        values, n = self._values(q), q.number or 0
        match q.kind:
            case "more" | "finds":
                return f"{result} - {n} = {result - n}", result - n, values[0]
            case "fewer" | "loses":
                return f"{result} + {n} = {result + n}", result + n, values[0]
            case "times":
                total = " + ".join([str(values[0])] * n)
                return f"{total} = {n * values[0]}", n * values[0], result
            case "share":
                return f"{n} * {result} = {n * result}", n * result, values[0]
            case _:
                return f"{result} - {values[1]} = {result - values[1]}", result - values[1], values[0]

    def _slip(self, q: Quantity) -> int:
        values = self._values(q)
        other = values[1] if len(values) > 1 else q.number or 0
        lost = _carries(q.kind, values[0], other)
        result = apply_operation(q.kind, values, q.number)
        return lost if lost and result + lost > 0 and self.chance(self.habits.slip) else 0

    def _solve(self) -> None:
        leads = iter(["First, ", *[None] * 20])
        for index, q in enumerate(self.quantities):
            if q.kind == "given":
                self.believed[index] = q.value
                continue
            lead = next(leads) or self.pick("Next, ", "Then, ", "Now, ", "So, ")
            self.out.append("\n\n" + lead)
            self._step(index, q)

    def _step(self, index: int, q: Quantity) -> None:
        result = apply_operation(q.kind, self._values(q), q.number)
        if q.kind in ("more", "fewer") and self.chance(self.habits.wrong_turn):
            self._wrong_turn(q)
        else:
            self.out.append(f"{self._fact(q)}, so ")
        offset = self._slip(q)
        self.out.append(f"{self._equation(q, result + offset)}.")
        said = result + offset
        if self.chance(self.habits.say_result) and q.owner:
            self.out.append(f" So {q.owner} has {said} {self.problem.item}.")
        exact = q.kind != "share" or self._values(q)[0] % (q.number or 1) == 0
        if (
            exact
            and self.chance(self.habits.check_step)
            and (not offset or self.chance(self.habits.check_catches))
        ):
            said = self._check(q, said, result)
        self.believed[index] = said
        if said != result:
            self.slipped[index] = said - result

    def _wrong_turn(self, q: Quantity) -> None:
        value, n = self._values(q)[0], q.number or 0
        wrong, right = ("fewer", "more") if q.kind == "more" else ("more", "fewer")
        result = value - n if wrong == "fewer" else value + n
        sign = "-" if wrong == "fewer" else "+"
        if result <= 0:
            self.out.append(f"{self._fact(q)}, so ")
            return
        base = self.quantities[q.sources[0]].owner
        self.out.append(
            f"{q.owner} has {n} {wrong} than {base}, so {value} {sign} {n} = {result}. "
            f"Wait, no, it says {right}, not {wrong}. So "
        )

    def _check(self, q: Quantity, said: int, result: int) -> int:
        text, value, target = self._inverse(q, said)
        self.out.append(self.pick(" Wait, let me double-check that. ", " Let me check: ",
                                  " Hmm, is that right? ") + text + ".")  # fmt: skip
        if value == target:
            self.out.append(self.pick(" Yes, that's right.", " Okay, that matches.", " Good."))
            return said
        self.out.append(f" That doesn't match, it should be {target}. Let me redo it: "
                        f"{self._equation(q, result)}.")  # fmt: skip
        return result

    def _conclude(self, final: int) -> str:
        last = self.quantities[-1]
        if last.owner:
            return f"So {last.owner} has {final} {self.problem.item}."
        return f"So together they have {final} {self.problem.item}."

    def _pass(self, lead: str) -> None:
        """Go through all equations again; an unnoticed slip may be caught here."""
        self.out.append("\n\n" + lead)
        before = self.believed[len(self.quantities) - 1]
        for index, q in enumerate(self.quantities):
            if q.kind == "given":
                continue
            right = apply_operation(q.kind, self._values(q), q.number)
            offset = self.slipped.get(index, 0)
            if offset and self.chance(self.habits.verify_catches):
                self.out.append(f" {self._equation(q, right)}. Oh, I made a mistake there.")
                offset = self.slipped.pop(index) * 0
            else:
                self.out.append(f" {self._equation(q, right + offset)}.")
            self.believed[index] = right + offset
        after = self.believed[len(self.quantities) - 1]
        if after == before:
            self.out.append(self.pick(" Yes, it all checks out.", " Okay, that all matches.",
                                      f" So it is still {after}."))  # fmt: skip
        else:
            self.out.append(f" So it is {after}, not {before}.")

    def _worry(self) -> bool:
        """Verify again and again; return whether the document ever ends."""
        while True:
            self._pass(self.pick(
                "Wait, but let me make sure I didn't make a mistake.",
                "Hmm, I'm not sure. Let me check it once more.",
                "Hold on, I should go through this again.",
            ))  # fmt: skip
            if self.chance(self.habits.stuck * (1 - self.habits.anxious_again)):
                q = self.quantities[-1]
                block = (f" Wait, let me check again. {self._equation(q, self.believed[len(self.quantities) - 1])}."
                         f" Yes. Hmm, but is that right?")  # fmt: skip
                self.out.append("\n\n" + block.strip() + block * 80)
                return False
            if not self.chance(self.habits.anxious_again):
                return True

    def _answer(self, final: int) -> str:
        lines: list[str] = []
        if self.chance(self.habits.working_in_answer):
            lines.append("To find the answer, we go step by step:\n")
            for index, q in enumerate(self.quantities):
                if q.kind != "given":
                    who = q.owner or "Together"
                    lines.append(f"- {who}: {self._equation(q, self.believed[index])}")
            lines.append("")
        lines.append(f"The answer is \\boxed{{{final}}}.")
        return "\n".join(lines)


def write(problem: WorldProblem, rng: random.Random, habits: Habits | None = None) -> Document:
    """Return one over-thinking document for ``problem``."""
    return _Writer(problem, rng, habits or Habits()).write()
