"""Grading answers against gold."""

VERSION = 3
"""Goes up whenever some answer may get another verdict: what an earlier version graded is graded again."""
