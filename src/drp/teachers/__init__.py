"""Teachers: anything that turns a trace into an edit script."""

VERSION = 3
"""Goes up whenever a teacher may decide otherwise on the same trace and replies: its traces are pruned again."""
