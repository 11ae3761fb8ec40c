"""The `jaxad` command: a verb is a file, `main` has their list."""
