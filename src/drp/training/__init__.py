"""Fine-tuning the student on pruned traces."""
