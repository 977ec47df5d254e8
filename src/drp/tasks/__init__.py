"""Tasks: how a kind of problem is asked, and how its answer is read, graded and stated."""
