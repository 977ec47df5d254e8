"""The cases of robustness.py."""
