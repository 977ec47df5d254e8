"""Teachers: anything that turns a trace into an edit script."""
