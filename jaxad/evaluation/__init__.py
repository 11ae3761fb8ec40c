"""From a detector's predictions over a test set to metrics."""
