"""The pruning core: skills, edit scripts, checks, statistics. Pure; no model, no I/O."""

VERSION = 4
"""Goes up whenever some script may give another text or another check may fail: pruned traces are made again."""
