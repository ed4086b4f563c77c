"""The services that carry out the commands of one saga, as ours do.

A key has its effect once, and its reply is kept with it: a repeated command gets the reply that it had. A compensation
takes its action's key too. Where that had no effect yet there is nothing to undo, and it never has one. A service may
die after its gateway has acted and before it has stored the outcome: the gateway knows keys too. A question takes no
key: it is answered by what happened so far.
"""

from random import Random

from contracts.message import Event
from sagas.definition import Saga
from sagas.moves import Sending
from tests.simulation.tables import example

REFUSALS = 0.15
"""The share of refusable commands that are refused."""


class BrokenPromise(AssertionError):
    """Something happened that must never happen."""


class Services:
    """What was asked of them, and what came of it. `random` says what is refused."""

    def __init__(self, definition: Saga, random: Random) -> None:
        self._definition = definition
        self._random = random
        self._replies: dict[str, Event] = {}
        self._at_the_gateway: dict[str, Event] = {}
        self.effects = {step.name: "kept" for step in definition.steps if step.undo and not step.command}
        """Step to `kept` or `undone`: what there is in the world."""

    def handle(self, sending: Sending) -> Event:
        """The reply, which is stored together with the effect."""
        name = sending.step
        if sending.question:
            return self._find(name)
        key = _key(sending)
        if key not in self._replies:
            self._replies[key] = self._undo(name) if sending.is_compensation else self._call(name)
        return self._replies[key]

    def die(self, sending: Sending) -> None:
        """It has its effect, and nobody has stored that."""
        if sending.question or _key(sending) in self._replies:
            return
        if not sending.is_compensation:
            self._call(sending.step)
        elif self.effects.get(sending.step) == "kept":
            self.effects[sending.step] = "undone"

    def _call(self, name: str) -> Event:
        if name not in self._at_the_gateway:
            step = self._definition.step(name)
            assert step.done is not None
            if step.refused is not None and self._random.random() < REFUSALS:
                self._at_the_gateway[name] = example(step.refused)
            else:
                if name in self.effects:
                    raise BrokenPromise(f"{name} had its effect twice")
                self.effects[name] = "kept"
                self._at_the_gateway[name] = example(step.done)
        return self._at_the_gateway[name]

    def _undo(self, name: str) -> Event:
        step = self._definition.step(name)
        assert step.undone is not None
        undone = example(step.undone)
        if self.effects.get(name) == "kept":
            self.effects[name] = "undone"
        self._replies.setdefault(name, undone)
        return undone

    def _find(self, name: str) -> Event:
        step = self._definition.step(name)
        assert step.nothing is not None
        found = self._replies.get(name) or self._at_the_gateway.get(name)
        if found is None or type(found) not in (step.done, step.refused):
            return example(step.nothing)
        return self._replies.setdefault(name, found)


def _key(sending: Sending) -> str:
    return f"{sending.step}:undo" if sending.is_compensation else sending.step
