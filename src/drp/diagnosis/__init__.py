"""What a student's completions say before anything is trained: where the tokens go, and what might be saved."""
