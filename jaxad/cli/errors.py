"""How the command ends: one sentence as the last line, and an exit status that tells why."""

import contextlib
import errno
import os
import pathlib
import sys
import traceback
from collections.abc import Callable, Sequence

from jaxad import signals
from jaxad.progress import printable

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
# Raised where something that the user gave is not what it should be.
THEIRS = (
    ValueError,
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
    BlockingIOError,  # a run folder that is in use
)
# Of the disk, or of a user's share of it: what the system says where nobody has said more.
FULL = {n: os.strerror(n) for n in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))}
HERE = pathlib.Path(__file__).resolve().parents[1]


class Usage(ValueError):
    """The command was written wrongly; the message says how to write it."""


def told(function: Callable[[Sequence[str]], None], words: Sequence[str]) -> int:
    """Calls a command's function; what goes wrong becomes a sentence and an exit status.

    Args:
      function: takes the words.
      words: of the command line; "--debug" among them lets errors end in a traceback.

    Returns:
      0, `WRONG_USE`, `FAILED` or `INTERRUPTED`.
    """
    debug = "--debug" in words
    try:
        with signals.interrupting():
            function([word for word in words if word != "--debug"])
            sys.stdout.flush()
    except SystemExit as end:  # help was printed
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt as interruption:
        _say("interrupted; the command of a run goes on, given again, from what was saved last")
        return _for_all_hosts(INTERRUPTED, interruption)
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        status = WRONG_USE if isinstance(error, THEIRS) else FAILED
        if debug or not _is_ours(error):
            traceback.print_exc()
        _say(_sentence(error))
        return _for_all_hosts(status, error)
    return 0


def _for_all_hosts(status: int, error: BaseException) -> int:
    """The exit status; where other hosts wait for this one, it ends now, and they see it."""
    hosts = sys.modules.get("jaxad.mesh.hosts")  # there are none where nothing has asked for them
    if hosts is not None and hosts.count() > 1:
        if isinstance(error, hosts.AllInterrupted):
            hosts.leave()
        else:
            hosts.end(status)
    return status


def _sentence(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if bytecode := _damaged_bytecode(error):
        return (
            f"{bytecode}: what Python keeps of a module is damaged ({text}), as where the disk was "
            "full when it was written; remove this file and start the same command again"
        )
    hosts = sys.modules.get("jaxad.mesh.hosts")
    if hosts is not None and hosts.is_of_another_host(error):
        return (
            "another host of this job has ended, so this one does; what that one said last tells "
            "why. The same command on all hosts, or on fewer, goes on from the last checkpoint "
            f"({text.partition(chr(10))[0]})"
        )
    if "RESOURCE_EXHAUSTED" in text and not isinstance(error, OSError):
        first = text.partition("\n")[0]
        return f"out of memory: give a smaller --batch-size or --size ({first})"
    if isinstance(error, OSError) and error.errno in FULL and error.strerror == FULL[error.errno]:
        place = f" to {error.filename}" if error.filename else ""  # unknown while it is written
        return (
            f"cannot save{place} ({error.strerror}); free some space and start the same command "
            "again: a run continues from what it saved before"
        )
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, KeyError | AssertionError | TypeError | AttributeError):
        return f"{type(error).__name__}: {text}; this is a fault of jaxad, please report it"
    return text


def _damaged_bytecode(error: BaseException) -> str | None:
    """The file that an import read compiled Python from, where that is what went wrong."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "_compile_bytecode":  # of importlib
            return frame.f_locals.get("bytecode_path")
    return None


def _is_ours(error: BaseException) -> bool:
    """Whether an error was raised by this package, a script of it, or the system about a file.

    A message written here needs no traceback; one from deep inside another library does.
    """
    if isinstance(error, OSError) or "RESOURCE_EXHAUSTED" in str(error):
        return True
    if _damaged_bytecode(error):
        return True
    hosts = sys.modules.get("jaxad.mesh.hosts")
    if hosts is not None and hosts.is_of_another_host(error):
        return True
    last = pathlib.Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
    return last.is_relative_to(HERE) or last == pathlib.Path(sys.argv[0]).resolve()


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):  # the terminal was closed: there is nobody to tell
        sys.stdout.flush()
        print(f"jaxad: {printable(sentence, lines=True)}", file=sys.stderr, flush=True)
