"""The pruning core: skills, edit scripts, checks, statistics. Pure; no model, no I/O."""
