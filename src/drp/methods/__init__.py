"""Methods: what the student is trained on, and how."""
