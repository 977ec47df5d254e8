"""Engines: anything that turns requests into completions."""
