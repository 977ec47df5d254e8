"""Reports of run folders. Needs no torch."""
