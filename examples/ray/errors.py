"""What ends a run with a message."""


class CorpusError(Exception):
    """A corpus that cannot be read, and why."""


class RunError(Exception):
    """A run that cannot start or go on, and what to do."""
