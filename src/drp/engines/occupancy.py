"""How well slots are used, and how much of a decoder's work is under way."""

from dataclasses import dataclass


@dataclass
class Occupancy:
    """What a decoder has done so far."""

    slot_steps: int = 0
    """Steps of slots, whether a row was in them or not."""
    tokens: int = 0
    """Tokens of finished rows."""
    set_back: int = 0
    """Rows that went back to the queue."""
    most_rows: int = 0
    flying: int = 0
    """Rows under way."""
    drawn: int = 0
    """Tokens drawn by all rows, about: one that ends between two looks counts up to the second."""
