"""Functions of arrays; nothing here compiles or knows of a method."""
