"""Run folders: journals, manifests, and the resuming stage runner."""
