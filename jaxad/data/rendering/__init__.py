"""A small renderer and what it draws for the embedded data set."""
