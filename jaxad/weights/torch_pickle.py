"""The language of pickles, followed as far as a state dict needs it.

A pickle can call any function of any module, and the module of that name takes as much memory as
a length in the file says. So here a few names are known, each answered with an inert description,
and values and collections are built. All else is refused.
"""

import io
import pickletools
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import Any

LITERALS = {  # the operations that state a plain value
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"),  # STRING: of Python 2
    *("BINBYTES", "SHORT_BINBYTES"),
}
ALONE = "save the network's state_dict() alone from PyTorch"
HARMFUL = f"it may be harmful; if you trust it, {ALONE}"

# A file names a part by two bytes as often as it likes, and what is made of it grows with the
# square of the file's size; so does the time for entries whose numbers are chosen to collide. No
# published weights come near these.
OPERATIONS = 2_000_000  # of a pickle: a tensor takes about 40
ENTRIES = 100_000  # of the dictionaries of a pickle, all together
NAME = 500  # characters


class Refused(Exception):
    """A sound file that holds something else; the message goes on after the file's name."""


def shown(value: Any, length: int = 100) -> str:
    """Text of a file as a message may have it: of printable characters, and not for ever."""
    start = str(value)[: length + 1]
    text = "".join(x if x.isascii() and x.isprintable() else ascii(x)[1:-1] for x in start)
    return text if len(text) <= length else f"{text[:length]}..."


def listed(names: Collection[Any]) -> str:
    """The first ten of a file's names, and how many more there are."""
    more = [f"and {len(names) - 10} more"] if len(names) > 10 else []
    return ", ".join([shown(name) for name in islice(names, 10)] + more)


class Dictionaries:
    """What a pickle does to its dictionaries, counted over all of them."""

    def __init__(self):
        self.entries = 0

    def set_entry(self, dictionary: Any, key: Any, value: Any) -> None:
        """Does `dictionary[key] = value`, where all three may be whatever a file says.

        Raises:
          ValueError: `dictionary` is none.
          Refused: the key is neither a short text nor a small whole number, or it is an entry too
            many.
        """
        if not isinstance(dictionary, dict):
            raise ValueError("an entry of something that is no dictionary")
        # Nested tuples and large numbers can be chosen such that to hash them takes for ever.
        whole = isinstance(key, int) and -(2**63) <= key < 2**63
        if not whole and not isinstance(key, str):
            raise Refused(
                f"has dictionaries with names neither text nor small whole numbers: {ALONE}"
            )
        if isinstance(key, str) and len(key) > NAME:
            raise Refused(f"has a name of more than {NAME} characters")
        self.entries += 1
        if self.entries > ENTRIES:
            raise Refused(f"has dictionaries of more than {ENTRIES} entries: {ALONE}")
        dictionary[key] = value


def unpickle(
    file: io.BytesIO,
    known: Mapping[tuple[str, str], Any],
    persistent_load: Callable[[Any], Any] | None = None,
    dictionaries: Dictionaries | None = None,
) -> Any:
    """The value of the pickle at the file's position, which then is behind it.

    Names other than `known` are refused, and nothing but their values is called. What the pickle
    says of objects outside it goes to `persistent_load`; without that it is refused. `dictionaries`
    is given where one of `known` sets entries too.

    Raises:
      Refused: the pickle needs something else.
      Exception: it is damaged.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    dictionaries = dictionaries or Dictionaries()

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for operation, argument in _operations(file):
        match operation:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _ if operation in LITERALS:
                stack.append(argument)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(operation == "NEWTRUE")
            case "BINPUT" | "LONG_BINPUT":
                if argument > len(memo) + 1:  # from 0 upward, or from 1 as Python 2 does
                    raise ValueError("its parts are not numbered in their order")
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple([stack.pop() for _ in range(int(operation[-1]))][::-1]))
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "EMPTY_LIST":
                stack.append([])
            case "APPEND":
                value = stack.pop()
                stack[-1].append(value)
            case "APPENDS":
                items = since_mark()
                stack[-1].extend(items)
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                dictionaries.set_entry(stack[-1], key, value)
            case "SETITEMS":
                items = since_mark()
                for key, value in zip(items[::2], items[1::2], strict=True):
                    dictionaries.set_entry(stack[-1], key, value)
            case "GLOBAL":
                stack.append(_known(known, *argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_known(known, module, name))
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(function(*arguments))  # one of `known`: no other value is callable
            case "BUILD":  # attributes of a dictionary, as a state dict's _metadata
                state, target = stack.pop(), stack[-1]
                if not isinstance(state, dict) or not isinstance(target, dict):
                    raise ValueError("attributes of something that is no dictionary")
            case "BINPERSID" if persistent_load is not None:
                stack.append(persistent_load(stack.pop()))
            case _:
                raise Refused(
                    f"asks for the pickle operation {operation}, which weights do not need, and "
                    f"was refused: {HARMFUL}"
                )
    return stack.pop()


def _operations(file: io.BytesIO) -> Iterator[tuple[str, Any]]:
    # A file in memory gives no more than it has, whatever length it states.
    for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
        if count == OPERATIONS:
            raise Refused(f"has a pickle of more than {OPERATIONS} operations: {ALONE}")
        yield operation.name, argument


def _known(known: Mapping[tuple[str, str], Any], module: Any, name: Any) -> Any:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("a name that is no text")
    if (module, name) in known:
        return known[module, name]
    full = shown(f"{module}.{name}")
    if module.startswith(("torch.nn.", "torchvision.", "__torch__")):
        raise Refused(
            f"holds a whole network ({full}), not its weights alone, and reading it "
            "would run code: in PyTorch, torch.save(network.state_dict(), path) and take that"
        )
    raise Refused(f"asks for {full}, which weights do not need, and was refused: {HARMFUL}")
