"""DRP: distilled reasoning pruning (arXiv 2505.13975)."""

__version__ = "0.1.0"
