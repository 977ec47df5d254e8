"""Grading answers against gold."""
