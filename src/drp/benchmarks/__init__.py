"""Problem sets: the mini world and files."""
