"""Forms of answers that can be compared without computer algebra: numbers with units, lists, choices."""

import re
from fractions import Fraction

from drp.text.answers import normalise
from drp.text.numbers import parse_number

LONGEST = 1_000
"""Characters beyond which no text is taken for a final answer; what follows reads at most so many."""

_SPACE = r"(?:\s|\\,|\\ |~)"
_MONEY = re.compile(
    r"^[-+]?\s*(?P<sign>\\?\$|USD|US\$|€|£|¥)\s*|(?P<word>dollars?|cents?|euros?|USD|€|£)$",
    re.IGNORECASE,
)
_DOLLARS = re.compile(r"\$\s*\d")
_PERCENT = re.compile(r"(?P<sign>\\?%|percent)$")
_DEGREES = re.compile(r"\^\s*\{?\\circ\}?|\\degree|°")
_NUMBER = re.compile(r"[-+]?[\d.,\s{}/]*\d|[-+]?\\d?frac\{-?\d+\}\{\d+\}")
_POWER = r"(?:\^?\{?-?[123]\}?|[²³])?"
# A letter that touches the number is a factor, not a unit: 2x, 3ab. Units that may touch it are words, or these.
_TOUCHING = rf"(?:[a-zA-Z]{{3,}}+|[kcm]m|[km]?g|m[lLs]|ft|in|lb|oz|hr|am|pm|°[CF]?){_POWER}"
_UNIT = rf"(?:(?!per\b)(?:[a-zA-Zµμ°]{{2,}}+|[mgshdLlJNWVAKCF°])\.?{_POWER})"
_PER = r"(?:[\s/·*-]|\\cdot|per\b)"
# What may follow a number: ` km/h`, `\text{ per hour}`, `clips`, `-inch`. Runs are taken whole: no word has two readings.
_WORDS = re.compile(
    rf"(?:{_TOUCHING}|{_SPACE}++(?:per\b\s*+)?{_UNIT}|-(?=[a-zA-Z]{{3}}){_UNIT})(?:{_PER}++{_UNIT})*+{_PER}*+"
)
_UNIT_TEXT = re.compile(
    r"[\w)}\]][\s~]*(?:\\[,; ])?\s*\\(?:text|mathrm|mbox)\s*\{(?P<unit>[^{}]*\}(?:\^\{?\d\}?)?)$"
)
_SPACED = re.compile(r"(?<=\d)(?:\s|\\,|\\!|\{,\}|\\ |\u202f|\u00a0|,)(?=\d{3}(?!\d))")
_ASSIGNED = re.compile(r"^(?P<name>\\[a-zA-Z]+|[a-zA-Z]\w{0,2}(?:_\{?\w+\}?)?)\s*=\s*(?P<value>[^=]+)$")
_FRACTION = re.compile(r"^([-+]?)\\[dt]?frac\{([-+]?\d+)\}\{([-+]?\d+)\}$")
_MIXED = re.compile(r"^([-+]?)(\d+)\s*\\[dt]?frac\{(\d+)\}\{(\d+)\}$")
_SCIENTIFIC = re.compile(
    r"^([-+]?[\d.]+)(?:(?:\\times|\\cdot|×|\*)10\^|[eE](?=[-+]?\d))\{?([-+]?\d{1,3})\}?$"
)
_BASED = re.compile(r"^(-?[\dA-F.]+)_\{?(?:\\text)?\{?(\d{1,2})\}{0,2}$")
_RECURRING = re.compile(r"^([-+]?)(\d*)\.(\d*)\\overline\{(\d+)\}$")
_VARIABLE = r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?"
_RELATION = re.compile(r"\\(?:leqslant|geqslant|leq|geq|le|ge|lt|gt)(?![a-zA-Z])|<=|>=|[<>≤≥]")
_THOUSANDS = re.compile(r"\d{3}(?!\d)")
_EITHER = re.compile(r"\bor\b|\\cup(?![a-zA-Z])|\\lor(?![a-zA-Z])")
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
    for index, sign in enumerate(inside):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(sign, 0)
        if depth < 0:
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
