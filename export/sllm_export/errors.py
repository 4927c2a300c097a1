"""Errors that end an export; each message is one line that says what, where and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN_CHARACTERS = 300
_SHOWN_PROBLEMS = 10


class ExportError(Exception):
    """Anything that stops an export and that the user can act on."""


class ConfigError(ExportError):
    """A model configuration that breaks the schema; `problems` holds every finding."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = list(problems)
        super().__init__(f"{source}: {_listed(self.problems)}")


class CheckpointError(ExportError):
    """A checkpoint that cannot be read, or whose tensors are not those of the configuration."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = [_shown(problem) for problem in problems]
        super().__init__(f"{source}: {_listed(self.problems)}")


def _listed(problems: Sequence[str]) -> str:
    """The first problems, and how many there are besides."""
    shown = "; ".join(problems[:_SHOWN_PROBLEMS])
    more = len(problems) - _SHOWN_PROBLEMS
    return f"{shown}; and {more} more" if more > 0 else shown


def _shown(problem: str) -> str:
    """Names in a checkpoint may be long or control a terminal: neither reaches the message."""
    if len(problem) > _SHOWN_CHARACTERS:
        problem = problem[:_SHOWN_CHARACTERS] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in problem)


class VerificationError(ExportError):
    """A written graph that does not compute what the checkpoint's weights say."""
