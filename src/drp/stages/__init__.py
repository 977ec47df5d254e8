"""The stages of a run: what each reads, does and writes."""
