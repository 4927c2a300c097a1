"""Systems that measure nothing, and outcomes with figures that are easy to follow."""

from peers.measure import Outcome
from peers.system import KINDS, Description, PeerError
from peers.workload import Speed


def description(name):
    kind = KINDS[name]
    return Description(name, "s" if kind.level == "sentences" else "o", *kind)


def speeds(*output):
    """Rounds whose input is ten times as fast as their output."""
    return [Speed(10.0 * figure, float(figure)) for figure in output]


def outcome(name, *output, failure=None):
    return Outcome(description(name), {}, speeds(*output), failure)


class FakeSystem:
    """Writes what is done with it into a journal; its turns give 1, 2, 3 ... tokens/s.

    `fails` is the number of the turn that fails, 0 for the start.
    """

    def __init__(self, name, journal, fails=None):
        self.description = description(name)
        self.details = {}
        self.name = name
        self.journal = journal
        self.fails = fails
        self.turns = 0

    def start(self):
        self._note("start")
        self._fail_at(0)

    def turn(self):
        self.turns += 1
        self._note(f"turn {self.turns}")
        self._fail_at(self.turns)
        return speeds(self.turns)[0]

    def close(self):
        self._note("close")

    def _note(self, text):
        self.journal.append(f"{self.name} {text}")

    def _fail_at(self, moment):
        if self.fails == moment:
            raise PeerError("it broke")
