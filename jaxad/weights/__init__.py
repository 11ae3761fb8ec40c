"""Weight sets that come from outside a run: found, read, checked, written."""
