"""Figures of models and their comparison."""
