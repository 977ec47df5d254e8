"""Which examples go through the model together: an optimizer step's examples in parts that fit the device."""

from collections.abc import Sequence


def parts_of(lengths: Sequence[int], most_tokens: int, *, packed: bool) -> list[list[int]]:
    """Group rows so that no part takes more than ``most_tokens`` tokens on the device.

    A packed part takes the sum of its rows, a padded one its longest row times their number; so padded parts are cut from
    the rows in order of length, and packed ones are filled as bins are, the longest row first. A row of more tokens is
    a part of its own.

    Args:
        lengths: Tokens of each row.
        most_tokens: Tokens of one forward pass, padding included.
        packed: Whether rows lie end to end, without padding.

    Returns:
        Indices of the rows of each part; every row is in one.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    parts: list[list[int]] = []
    if not packed:
        for row in order:
            if parts and lengths[parts[-1][0]] * (len(parts[-1]) + 1) <= most_tokens:
                parts[-1].append(row)
            else:
                parts.append([row])
        return parts
    room: list[int] = []
    for row in order:
        fits = next((n for n, left in enumerate(room) if lengths[row] <= left), None)
        if fits is None:
            parts.append([])
            room.append(most_tokens)
            fits = len(parts) - 1
        parts[fits].append(row)
        room[fits] -= lengths[row]
    return parts


def shared_out(lengths: Sequence[int], shares: int) -> list[list[int]]:
    """Deal rows to ``shares`` processes: as many to each, and about as many tokens.

    Args:
        lengths: Tokens of each row; their number is a multiple of ``shares``.
        shares: How many processes.

    Returns:
        Indices of the rows of each process. Dealt as cards are, longest first and every second round backwards.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    hands: list[list[int]] = [[] for _ in range(shares)]
    for number, row in enumerate(order):
        turn, seat = divmod(number, shares)
        hands[seat if turn % 2 == 0 else shares - 1 - seat].append(row)
    return hands
