"""Reading traces as text: units, numbers, equations, answers, loops. Pure."""

UNITS_VERSION = 3
"""Goes up whenever some text may fall into other units: edit scripts of an earlier version are made again."""
