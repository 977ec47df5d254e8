"""The embedded student: weights, tokenizer and model card."""
