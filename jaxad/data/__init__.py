"""Data sets as random-access sources, and pipelines from them to batches."""
