"""The mini world: multi-step word problems in four tiers, generated from a seed.

A problem is a small graph of quantities: every person owns a number of things that is either given
or follows from earlier ones by one operation. The tiers differ in how many operations lie between
the question and the answer. Splits are disjoint by construction: the hash of a question decides
which split it can appear in, so no seed can leak a test problem into training.
"""

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from drp.errors import DataError
from drp.records import Problem

TIERS: dict[str, tuple[int, int]] = {
    "mini-gsm": (2, 4),
    "mini-math": (5, 6),
    "mini-amc": (7, 8),
    "mini-aime": (9, 10),
}
"""Fewest and most operations per tier; they mirror GSM8K, MATH500, AMC23 and AIME24."""

Split = Literal["pretrain", "train", "test"]
SPLITS: tuple[Split, ...] = ("pretrain", "train", "test")

NAMES = [
    "Ana",
    "Ben",
    "Cleo",
    "Dan",
    "Ella",
    "Finn",
    "Gia",
    "Hugo",
    "Ivy",
    "Jack",
    "Kim",
    "Leo",
    "Mia",
    "Noah",
    "Olga",
    "Paul",
    "Quinn",
    "Rosa",
    "Sam",
    "Tara",
    "Uma",
    "Vera",
    "Will",
    "Zoe",
]
ITEMS = [
    "shells",
    "coins",
    "cards",
    "apples",
    "books",
    "stamps",
    "marbles",
    "pencils",
    "stickers",
    "beads",
    "cookies",
    "tickets",
    "buttons",
    "balloons",
    "stones",
    "flowers",
]
FRACTIONS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}

MAX_VALUE = 999
MIN_VALUE = 2
MAX_GIVEN = 60

Kind = Literal["given", "more", "fewer", "times", "share", "both", "finds", "loses", "total"]
COMPUTED: tuple[tuple[Kind, int], ...] = (
    ("more", 5), ("fewer", 5), ("times", 5), ("share", 3), ("both", 3), ("finds", 2), ("loses", 2),
)  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """One quantity of a problem: who owns it, how it is defined, and its true value."""

    kind: Kind
    owner: str
    sources: tuple[int, ...]
    """Indices of the quantities it follows from."""
    number: int | None
    """The number its sentence states, if any."""
    value: int
    sentence: str


@dataclass(frozen=True)
class WorldProblem:
    """A generated problem with its solution graph."""

    item: str
    quantities: tuple[Quantity, ...]
    ask: str
    """The question sentence."""

    @property
    def question(self) -> str:
        """All stated sentences followed by the question sentence."""
        return " ".join([q.sentence for q in self.quantities if q.sentence] + [self.ask])

    @property
    def gold(self) -> str:
        """The final answer as an integer string."""
        return str(self.quantities[-1].value)

    @property
    def operations(self) -> int:
        """Number of operations from the given numbers to the answer."""
        return sum(q.kind != "given" for q in self.quantities)


def apply_operation(kind: Kind, operands: tuple[int, ...], number: int | None) -> int:
    """Return the value of a quantity from its source values and its stated number."""
    first = operands[0] if operands else 0
    amount = number or 0
    match kind:
        case "given":
            return amount
        case "more" | "finds":
            return first + amount
        case "fewer" | "loses":
            return first - amount
        case "times":
            return amount * first
        case "share":
            return first // amount
        case "both" | "total":
            return first + operands[1]


def split_of(question: str) -> Split:
    """Return the split a question belongs to: 80 % pretrain, 10 % train, 10 % test, by its hash."""
    bucket = hashlib.sha256(question.encode()).digest()[0] % 10
    return "test" if bucket == 9 else "train" if bucket == 8 else "pretrain"


class _Builder:
    """Draws one problem; a dead end (no valid number) is answered by drawing again."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.item = rng.choice(ITEMS)
        self.names = rng.sample(NAMES, len(NAMES))
        self.quantities: list[Quantity] = []
        self.holder: dict[str, int] = {}  # owner -> index of the current quantity

    def build(self, operations: int) -> WorldProblem:
        self._given()
        ends_in_total = operations > 1 and self.rng.random() < 0.2
        while self._computed() < operations - ends_in_total:
            self._grow()
        last = self.quantities[-1]
        if ends_in_total:
            others = [i for owner, i in self.holder.items() if owner != last.owner]
            if others:
                return self._total(self.rng.choice(others), len(self.quantities) - 1)
            self._grow()
            last = self.quantities[-1]
        now = "now " if last.kind in ("finds", "loses") else ""
        ask = f"How many {self.item} does {last.owner} {now}have?"
        return WorldProblem(self.item, tuple(self.quantities), ask)

    def _computed(self) -> int:
        return sum(q.kind != "given" for q in self.quantities)

    def _grow(self) -> None:
        kinds, weights = zip(*COMPUTED, strict=True)
        while True:
            kind = self.rng.choices(kinds, weights)[0]
            # Mostly build on the newest quantity, so that every operation matters to the answer.
            source = len(self.quantities) - 1
            if self._try(kind, source):
                return

    def _try(self, kind: Kind, source: int) -> bool:
        rng, base = self.rng, self.quantities[source]
        value, number = base.value, None
        match kind:
            case "more" | "finds":
                number = rng.randint(3, 60)
            case "fewer" | "loses":
                if value < 8:
                    return False
                number = rng.randint(3, min(60, value - 3))
            case "times":
                number = rng.randint(2, 6)
            case "share":
                fits = [k for k in FRACTIONS if value % k == 0 and value // k >= MIN_VALUE]
                if not fits:
                    return False
                number = rng.choice(fits)
            case _:
                return self._both(source)
        operands = (value,)
        result = apply_operation(kind, operands, number)
        if not MIN_VALUE <= result <= MAX_VALUE:
            return False
        owner = base.owner if kind in ("finds", "loses") else self.names.pop()
        sentence = self._say(kind, owner, base.owner, number)
        self._add(Quantity(kind, owner, (source,), number, result, sentence))
        return True

    def _both(self, source: int) -> bool:
        base = self.quantities[source]
        others = [i for owner, i in self.holder.items() if owner != base.owner]
        reuse = bool(others) and self.rng.random() < 0.5
        if base.value + MAX_GIVEN > MAX_VALUE and not reuse:
            return False
        other = self.rng.choice(others) if reuse else self._given()
        partner = self.quantities[other]
        result = base.value + partner.value
        if result > MAX_VALUE:
            return False
        owner = self.names.pop()
        sentence = f"{owner} has as many {self.item} as {base.owner} and {partner.owner} together."
        self._add(Quantity("both", owner, (source, other), None, result, sentence))
        return True

    def _given(self) -> int:
        owner, value = self.names.pop(), self.rng.randint(4, MAX_GIVEN)
        sentence = f"{owner} has {value} {self.item}."
        self._add(Quantity("given", owner, (), value, value, sentence))
        return len(self.quantities) - 1

    def _total(self, first: int, second: int) -> WorldProblem:
        one, two = self.quantities[first], self.quantities[second]
        total = Quantity("total", "", (first, second), None, one.value + two.value, "")
        ask = f"How many {self.item} do {one.owner} and {two.owner} have together?"
        return WorldProblem(self.item, (*self.quantities, total), ask)

    def _add(self, quantity: Quantity) -> None:
        self.quantities.append(quantity)
        self.holder[quantity.owner] = len(self.quantities) - 1

    def _say(self, kind: Kind, owner: str, base: str, number: int | None) -> str:
        item, n = self.item, number
        match kind:
            case "more":
                return f"{owner} has {n} more {item} than {base}."
            case "fewer":
                return f"{owner} has {n} fewer {item} than {base}."
            case "times":
                return f"{owner} has {n} times as many {item} as {base}."
            case "share":
                return f"{owner} has {FRACTIONS[n or 0]} as many {item} as {base}."
            case "finds":
                return f"Then {owner} finds {n} more {item}."
            case _:
                return f"Then {owner} gives away {n} {item}."


def draw(rng: random.Random, operations: int) -> WorldProblem:
    """Draw one problem with the given number of operations."""
    while True:
        problem = _Builder(rng).build(operations)
        total = problem.quantities[-1].value
        if problem.operations == operations and total <= MAX_VALUE:
            return problem


def stream(tier: str, split: Split, seed: int) -> Iterator[WorldProblem]:
    """Yield distinct problems of a tier and split without end, the same ones for the same seed."""
    if tier not in TIERS:
        raise DataError(f"unknown mini tier {tier!r}; choose one of {', '.join(TIERS)}")
    rng = random.Random(f"{tier}/{split}/{seed}")
    low, high = TIERS[tier]
    seen: set[str] = set()
    while True:
        problem = draw(rng, rng.randint(low, high))
        question = problem.question
        if split_of(question) == split and question not in seen:
            seen.add(question)
            yield problem


def load(tier: str, split: Split, count: int, seed: int = 0) -> list[Problem]:
    """Return ``count`` problems of a tier and split as records."""
    problems: list[Problem] = []
    for world in stream(tier, split, seed):
        if len(problems) >= count:
            break
        problems.append(Problem(question=world.question, gold=world.gold, benchmark=tier, split=split))
    return problems


_SAYS: tuple[tuple[Kind, str], ...] = (
    ("both", r"(?P<owner>\w+) has as many \w+ as (?P<a>\w+) and (?P<b>\w+) together\."),
    ("share", r"(?P<owner>\w+) has (?P<part>half|a third|a quarter|a fifth) as many \w+ as (?P<a>\w+)\."),
    ("times", r"(?P<owner>\w+) has (?P<n>\d+) times as many \w+ as (?P<a>\w+)\."),
    ("more", r"(?P<owner>\w+) has (?P<n>\d+) more \w+ than (?P<a>\w+)\."),
    ("fewer", r"(?P<owner>\w+) has (?P<n>\d+) fewer \w+ than (?P<a>\w+)\."),
    ("finds", r"Then (?P<owner>\w+) finds (?P<n>\d+) more \w+\."),
    ("loses", r"Then (?P<owner>\w+) gives away (?P<n>\d+) \w+\."),
    ("given", r"(?P<owner>\w+) has (?P<n>\d+) \w+\."),
)
_ASKS = re.compile(r"How many (?P<item>\w+) (?:does|do) (?P<a>\w+)(?: and (?P<b>\w+))? .*\?")


def _read(sentence: str) -> tuple[Kind, re.Match[str]]:
    for kind, pattern in _SAYS:
        if match := re.fullmatch(pattern, sentence):
            return kind, match
    raise DataError(f"not a sentence of the mini world: {sentence[:80]!r}")


def parse(question: str) -> WorldProblem:
    """Return the problem behind a question of this world.

    Raises:
        DataError: The question is not of this world.
    """
    *stated, ask = re.findall(r"[^.?]+[.?]", question)
    quantities: list[Quantity] = []
    holder: dict[str, int] = {}
    asked = _ASKS.fullmatch(ask.strip())
    try:
        for sentence in (part.strip() for part in stated):
            kind, found = _read(sentence)
            groups, owner = found.groupdict(), found["owner"]
            number = int(groups["n"]) if groups.get("n") else None
            if kind == "share":
                number = next(n for n, words in FRACTIONS.items() if words == groups["part"])
            named = (
                [owner] if kind in ("finds", "loses") else [groups[k] for k in ("a", "b") if groups.get(k)]
            )
            sources = tuple(holder[name] for name in named)
            value = apply_operation(kind, tuple(quantities[i].value for i in sources), number)
            quantities.append(Quantity(kind, owner, sources, number, value, sentence))
            holder[owner] = len(quantities) - 1
        if asked is None:
            raise DataError(f"not a question of the mini world: {ask.strip()!r}")
        ends = tuple(holder[name] for name in (asked["a"], asked["b"]) if name)
        if len(ends) == 2:
            value = quantities[ends[0]].value + quantities[ends[1]].value
            quantities.append(Quantity("total", "", ends, None, value, ""))
        elif ends[0] != len(quantities) - 1:
            quantities.append(quantities[ends[0]])
    except (StopIteration, KeyError) as error:
        raise DataError(f"not a question of the mini world: {question[:80]!r}") from error
    return WorldProblem(asked["item"], tuple(quantities), ask.strip())


def expression(problem: WorldProblem) -> str:
    """Return the answer as one compound expression of the given numbers, as a strong solver would write it."""

    def write(index: int, inner: bool) -> str:
        q = problem.quantities[index]
        if q.kind == "given":
            return str(q.value)
        sign = {"more": "+", "finds": "+", "fewer": "-", "loses": "-", "times": "*", "share": "/"}.get(
            q.kind, "+"
        )
        right = str(q.number) if q.number is not None else write(q.sources[1], sign != "+")
        text = f"{write(q.sources[0], sign in '*/')} {sign} {right}"
        return f"({text})" if inner and sign in "+-" else text

    return write(len(problem.quantities) - 1, False)
