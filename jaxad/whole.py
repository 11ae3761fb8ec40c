"""Files that are there whole or not at all, and folders that files can be written to."""

import contextlib
import pathlib
import secrets
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def written(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives the name of a new file, which takes the place of `path` once all of it is written.

    Two processes that write the same file at the same time do not meet: the last one's is kept.
    Where something fails within it, `path` is as it was before, and the new file is removed.

    Args:
      path: of the file; its folder exists.

    Raises:
      OSError: it cannot be written; the error names `path`.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "limit.txt"
    ...     with written(file) as part:
    ...         count = part.write_text("0.5")
    ...     file.read_text()
    '0.5'
    """
    part = path.with_name(f".{secrets.token_hex(8)}.part")  # short, however long the other one is
    try:
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno is None or str(error.filename or part) != str(part):
            raise  # of another file
        # A full disk does not say which file it was.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def ready(folder: pathlib.Path, what: str = "folder") -> None:
    """Makes a folder, and looks whether files can be written there, before work is done for it.

    Raises:
      OSError: they cannot; the message names the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # of a name that no other process uses
    except OSError as error:
        raise type(error)(
            f"cannot write to the {what} {folder}: {error.strerror}; "
            "give another folder, free some space or change its permissions"
        ) from error
