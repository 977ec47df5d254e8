"""Forms of answers that can be compared without computer algebra: numbers with units, lists, choices."""

import re
from fractions import Fraction

from drp.text.answers import normalise
from drp.text.numbers import parse_number

LONGEST = 1_000
"""Characters beyond which no text is taken for a final answer; what follows reads at most so many."""

# Each pattern with what it takes; after a semicolon what it leaves. `++` and `*+` match without going back, so that a long
# hostile text costs one reading and not one for every way to cut it into words.

_SPACE = r"(?:\s|\\,|\\ |~)"
# The sign before a number or the word behind it: `$` of `-$5`, `dollars` of `5 dollars`; nothing of `5 dollar bills`.
_MONEY = re.compile(
    r"^[-+]?\s*(?P<sign>\\?\$|USD|US\$|€|£|¥)\s*|(?P<word>dollars?|cents?|euros?|USD|€|£)$",
    re.IGNORECASE,
)
# A dollar sign that is money: `$ 12`; not the one that opens a formula, `$x = 5$`.
_DOLLARS = re.compile(r"\$\s*\d")
_PERCENT = re.compile(r"(?P<sign>\\?%|percent)$")
# `90^\circ`, `90^{\circ}`, `90°`.
_DEGREES = re.compile(r"\^\s*\{?\\circ\}?|\\degree|°")
# How an answer that is a number begins, with signs that group or divide: `1{,}234`, `3/4`, `\dfrac{3}{4}`; not `x = 3`.
_NUMBER = re.compile(r"[-+]?[\d.,\s{}/]*\d|[-+]?\\d?frac\{-?\d+\}\{\d+\}")
# `^2`, `^{-1}`, `²`: a unit may be squared or cubed, so `^{10}` is no part of one.
_POWER = r"(?:\^?\{?-?[123]\}?|[²³])?"
# What touches the number is a unit where it is a word or one of these: `72clips`, `5km`; in `2x` and `3ab` it is a factor.
_TOUCHING = rf"(?:[a-zA-Z]{{3,}}+|[kcm]m|[km]?g|m[lLs]|ft|in|lb|oz|hr|am|pm|°[CF]?){_POWER}"
# Behind a space two letters are enough, and one if it is a unit of physics: `3 m`, `3 ab`; not `3 x`.
_UNIT = rf"(?:(?!per\b)(?:[a-zA-Zµμ°]{{2,}}+|[mgshdLlJNWVAKCF°])\.?{_POWER})"
_PER = r"(?:[\s/·*-]|\\cdot|per\b)"
# What may follow a number, to the end of the answer: ` km/h`, ` per hour`, `clips`, `-inch`, ` m/s^2`; not ` + 3`, `-x`.
_WORDS = re.compile(
    rf"(?:{_TOUCHING}|{_SPACE}++(?:per\b\s*+)?{_UNIT}|-(?=[a-zA-Z]{{3}}){_UNIT})(?:{_PER}++{_UNIT})*+{_PER}*+"
)
# A unit set as text behind what is no plain number: `meters` of `3x \text{ meters}`; not the whole of `\text{Monday}`.
_UNIT_TEXT = re.compile(
    r"[\w)}\]][\s~]*(?:\\[,; ])?\s*\\(?:text|mathrm|mbox)\s*\{(?P<unit>[^{}]*\}(?:\^\{?\d\}?)?)$"
)
# What groups thousands: the space of `12 345`, the `\,` of `12\,345`; not the space of `12 34`.
_SPACED = re.compile(r"(?<=\d)(?:\s|\\,|\\!|\{,\}|\\ |\u202f|\u00a0|,)(?=\d{3}(?!\d))")
# `x = 5`, `\theta = 3`, `x_1 = 2`; not a word before the sign, `speed = 5`, nor a chain, `x = y = 2`.
_ASSIGNED = re.compile(r"^(?P<name>\\[a-zA-Z]+|[a-zA-Z]\w{0,2}(?:_\{?\w+\}?)?)\s*=\s*(?P<value>[^=]+)$")
# Whole numbers above and below: `-\frac{3}{4}`, `\dfrac{6}{3}`; not `\frac{x}{4}`. Mixed: `2\frac{1}{3}` is 7/3, no product.
_FRACTION = re.compile(r"^([-+]?)\\[dt]?frac\{([-+]?\d+)\}\{([-+]?\d+)\}$")
_MIXED = re.compile(r"^([-+]?)(\d+)\s*\\[dt]?frac\{(\d+)\}\{(\d+)\}$")
# `3.2\times10^{8}`, `2*10^3`, `1e5`; not `10^3`, which is a power like any other, nor exponents of four digits.
_SCIENTIFIC = re.compile(
    r"^([-+]?[\d.]+)(?:(?:\\times|\\cdot|×|\*)10\^|[eE](?=[-+]?\d))\{?([-+]?\d{1,3})\}?$"
)
# A numeral with its base: `2516_8`, `A3_{\text{16}}`; not `x_1`.
_BASED = re.compile(r"^(-?[\dA-F.]+)_\{?(?:\\text)?\{?(\d{1,2})\}{0,2}$")
# `0.1\overline{6}`: whole part 0, fixed digits 1, period 6.
_RECURRING = re.compile(r"^([-+]?)(\d*)\.(\d*)\\overline\{(\d+)\}$")
# `x`, `\theta`, `x_{12}`: what an inequality may be about.
_VARIABLE = r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?"
# `<=`, `\leq`, `\lt`; not the first letters of another command, `\left(`.
_RELATION = re.compile(r"\\(?:leqslant|geqslant|leq|geq|le|ge|lt|gt)(?![a-zA-Z])|<=|>=|[<>≤≥]")
# Behind a comma, three digits make it one of `1,234`; two or four make it one of a list, `1,2345`.
_THOUSANDS = re.compile(r"\d{3}(?!\d)")
_EITHER = re.compile(r"\bor\b|\\cup(?![a-zA-Z])|\\lor(?![a-zA-Z])")
# A letter alone, `(B)`, `B.`, `b`; with its option spelt out only where it stands in brackets, `(B) 12`, since `A cat` opens prose.
_CHOICE = re.compile(r"^\(?([A-Ja-j])\)?\.?$")
_CHOSEN = re.compile(r"^\(([A-J])\)[\s:.~]*\S")
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox|textit|operatorname)\s*\{([^{}]*)\}")
PAIRS = {"(": ")", "[": "]", "{": "}"}


def _unmarked(text: str) -> str:
    """Return an answer without mark-up or a closing full stop."""
    text = text.strip().strip("$").strip().rstrip(".").strip()
    text = re.sub(r"^\\[(\[]|\\[)\]]$", "", text).strip()
    text = re.sub(r"^\*\*|\*\*$", "", text).strip()
    text = re.sub(r"(?<!\s)\s+\^", "^", _TEXT.sub(r" \1 ", text)).strip()
    return re.sub(r"\\(?:left|right|displaystyle|!|;|:|quad)\b", "", text).replace("−", "-")


def bare(text: str) -> str:
    """Return an answer without mark-up, a variable it is assigned to, or a closing full stop."""
    text = _unmarked(text)
    match = _ASSIGNED.match(text)
    return match["value"].strip() if match else text


def variable(text: str) -> str | None:
    """Return the variable that an answer is assigned to, ``x`` of ``x = 5``, or ``None``."""
    match = _ASSIGNED.match(_unmarked(text))
    return re.sub(r"[\\{}]", "", match["name"]) if match else None


def unit(text: str) -> str:
    """Return the unit that an answer names, as written; empty where it names none."""
    text = text.strip()
    number, written = _measured(text)
    if _DOLLARS.match(text) and not text.endswith("$"):
        return f"$ {written}"  # which elsewhere opens a formula
    if not written and not number.lstrip("+-").isdigit():
        ending = _UNIT_TEXT.search(text.rstrip("$.").strip())
        written = ending["unit"].replace("}", "", 1) if ending else ""
    return written


def _without_space(text: str) -> str:
    """Return a text without white space around it, nor LaTeX's at its end."""
    text, longer = text.strip(), ""
    while text != longer:
        longer, text = text, text.rstrip(" ~\n").removesuffix("\\,").removesuffix("\\")
    return text


def _measured(text: str) -> tuple[str, str]:
    """Return the number of an answer and the unit beside it, both as written."""
    text, turns = _DEGREES.subn("", bare(text))
    units = ["°"] if turns else []
    for pattern in (_PERCENT, _MONEY):
        text = _without_space(text)
        units += [match[match.lastgroup or 0] for match in pattern.finditer(text)]
        text = pattern.sub(lambda m: "-" if m.group().startswith("-") else "", text)
    text = _without_space(text)
    number = _NUMBER.match(text)
    if number and (words := _WORDS.fullmatch(text, number.end())):
        return number.group().strip(), " ".join([*units, words.group()])
    return text, " ".join(units)


def number(text: str) -> Fraction | None:
    """Return the value of an answer that is one number: money, units, percent and separators are dropped.

    A percentage counts as the number before the sign: gold answers leave the sign away.
    """
    text, _ = _measured(text)
    text = _SPACED.sub("", text).strip().rstrip("/")
    value = parse_number(text)
    if value is not None:
        return value
    # LaTeX's short form: `\frac12` is `\frac{1}{2}`.
    tight = re.sub(r"frac(\d)(\d)$", r"frac{\1}{\2}", text.replace(" ", ""))
    if match := _FRACTION.match(tight):
        below = int(match[3])
        return None if below == 0 else (-1 if match[1] == "-" else 1) * Fraction(int(match[2]), below)
    if (match := _MIXED.match(text)) and int(match[4]):
        return (-1 if match[1] == "-" else 1) * (int(match[2]) + Fraction(int(match[3]), int(match[4])))
    if match := _SCIENTIFIC.match(tight):
        factor = parse_number(match[1])
        return None if factor is None else factor * Fraction(10) ** int(match[2])
    if match := _RECURRING.match(tight):
        # 0.1666… = (1·9 + 6) / (9·10): the digits before the period as often as nines go, plus the period.
        sign, whole, fixed, period = match.groups()
        nines = 10 ** len(period) - 1
        value = Fraction(int(whole + fixed or "0") * nines + int(period), nines * 10 ** len(fixed))
        return -value if sign == "-" else value
    return None


def interval(text: str) -> str | None:
    r"""Return an inequality in one variable as LaTeX of the interval it stands for, or ``None``.

    ``x \le 3`` is ``(-\infty,3]``, ``1 < x < 2`` is ``(1,2)``, and cases joined by "or" are a union.
    """
    found = [_one_interval(case) for case in _EITHER.split(bare(text))]
    return "\\cup".join(case for case in found if case) if all(found) else None


def _one_interval(text: str) -> str | None:
    relations = _RELATION.findall(text)
    sides = [side.strip() for side in _RELATION.split(text)]
    if not 1 <= len(relations) <= 2 or not all(sides):
        return None
    # Read so that values rise from left to right: `3 > x` becomes `x < 3`; `1 < x > 0` rises and falls, and is none.
    upward = [sign[0] in "<≤" or sign.startswith("\\l") for sign in relations]
    if len(set(upward)) > 1:
        return None
    if not upward[0]:
        sides, relations = sides[::-1], relations[::-1]
    closed = [sign not in ("<", ">", "\\lt", "\\gt") for sign in relations]
    if len(sides) == 3:
        low, variable, high = sides
        ends = closed
    elif re.fullmatch(_VARIABLE, sides[0]):
        low, (variable, high) = "-\\infty", sides
        ends = [False, *closed]
    else:
        (low, variable), high = sides, "\\infty"
        ends = [*closed, False]
    if not re.fullmatch(_VARIABLE, variable):
        return None
    return f"{'[' if ends[0] else '('}{low},{high}{']' if ends[1] else ')'}"


def choice(text: str, *, spelt_out: bool = False) -> str | None:
    """Return the letter of a multiple-choice answer, or ``None``; with ``spelt_out`` also that of ``(B) 12``."""
    match = _CHOICE.match(bare(text)) or (_CHOSEN.match(bare(text)) if spelt_out else None)
    return match[1].upper() if match else None


def numeral(text: str) -> tuple[str, str | None]:
    """Return a numeral and the base it names: ``2516_8`` is ``("2516", "8")``, and ``2516`` names none."""
    text = bare(text).replace(" ", "")
    match = _BASED.match(text)
    return (match[1], match[2]) if match else (text, None)


def parts(text: str) -> tuple[str, list[str], str] | None:
    """Return bracket, members and bracket of a tuple, an interval or a set, or ``None``.

    A bare list without brackets counts as a set.
    """
    text = bare(text).replace("\\{", "{").replace("\\}", "}")
    if len(text) > 2 and text[0] in PAIRS and text[-1] in ")]}":
        opening, inside, closing = text[0], text[1:-1], text[-1]
    else:
        opening, inside, closing = "{", text, "}"
    members: list[str] = []
    depth, start = 0, 0
    for index, sign in enumerate(inside):  # at commas outside inner brackets: `(1,2), (3,4)` has two members
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(sign, 0)
        if depth < 0:  # `(1,2)+(3,4)` opens and closes with brackets, but not with one pair
            return None
        if sign == "," and depth == 0 and not _THOUSANDS.match(inside, index + 1):
            members.append(inside[start:index])
            start = index + 1
    members.append(inside[start:])
    members = [re.sub(r"^\s*and\b", "", m).strip() for m in members]
    if len(members) < 2 or not all(members):
        return None
    return opening, members, closing


def same_spelling(one: str, two: str) -> bool:
    """Return whether two answers are the same but for mark-up, spacing and case of words."""
    left, right = normalise(bare(one)), normalise(bare(two))
    if left == right:
        return True
    return left.isalpha() and right.isalpha() and len(left) > 1 and left.lower() == right.lower()
