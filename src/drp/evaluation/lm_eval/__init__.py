"""Tasks for lm-eval: the same problems, prompts and grader as `drp evaluate`."""
