"""Errors that say what was wrong, where, and what to do."""

import functools
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something the user can mend: a wrong name, value or combination."""


class DataError(RuntimeError):
    """A dataset that is missing, truncated, damaged or not what it says it is."""


class RecordError(RuntimeError):
    """A record or a checkpoint that cannot be read or written."""


class TrainingStopped(RuntimeError):
    """A run that cannot go on: its loss is no longer finite, or the device is out of memory."""


class Diverged(TrainingStopped):
    """The run itself is the reason, so that it would stop there again: its loss or its features are no longer finite."""


def nearest(name: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """The choices most like `name`, best first; all of them, in order, when none is close."""
    choices = sorted(map(str, choices))
    lowered = {choice.lower(): choice for choice in choices}
    close = get_close_matches(str(name).lower(), lowered, n=count, cutoff=0.5)
    return [lowered[match] for match in close] or choices


def unknown(kind: str, name: object, choices: Iterable[str]) -> UserError:
    """The error for a name that is not one of the choices; names the nearest valid ones."""
    choices = list(choices)
    close = nearest(str(name), choices)
    if len(close) < len(choices):
        hint = f"Did you mean {' or '.join(repr(c) for c in close)}? All: {', '.join(sorted(map(str, choices)))}."
    else:
        hint = f"Choose one of: {', '.join(close)}."
    return UserError(f"Unknown {kind} {name!r}. {hint}")


def pick(kind: str, name: str, table: dict):
    """table[name], or an error that names the nearest valid names."""
    if name not in table:
        raise unknown(kind, name, table)
    return table[name]


def answered(main: Callable[..., int | None]) -> Callable[..., int]:
    """A command whose exit code is what its work returns, 0 where that is nothing, and 2 for an error that says by itself what is wrong."""

    @functools.wraps(main)
    def answering(*words, **options) -> int:
        try:
            return main(*words, **options) or 0
        except (UserError, DataError, RecordError) as error:
            print(f"Error: {error}", file=sys.stderr)
            return 2

    return answering
