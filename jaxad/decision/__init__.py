"""From scores to decisions: what is an alarm, and where."""
