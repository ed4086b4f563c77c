"""A payment gateway in this process, behind billing's own port: it keeps one outcome for each key."""

from collections.abc import Callable

from billing.gateway import Authorized, Captured, Declined, Refunded, Voided
from contracts.values import Money


class Killed(BaseException):
    """The process is killed at this very point: nothing after it runs, and no handler catches it."""


class GatewayDouble:
    """`calls` holds the keys in the order of the calls, `asked` those of the look-ups.

    What is put into `before_answer` happens once each, in place of an answer or before it; for look-ups `before_found`.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.asked: list[str] = []
        self.held: dict[str, str] = {}
        self.declined: set[str] = set()
        self.captured: set[str] = set()
        self.before_answer: list[Callable[[], object]] = []
        self.before_found: list[Callable[[], object]] = []

    @property
    def effects(self) -> int:
        """How many authorizations there have ever been."""
        return len(self.held)

    def authorize(self, *, token: str, amount: Money, reference: str, key: str) -> Authorized | Declined:
        self._called(key)
        if token == "tok_declined":
            self.declined.add(key)
            self._answer()
            return Declined(reason="card_declined")
        authorization = self.held.setdefault(key, f"auth_{len(self.held) + 1}")
        self._answer()
        return Authorized(authorization=authorization)

    def capture(self, *, authorization: str, amount: Money, key: str) -> Captured:
        self._called(key)
        self.captured.add(key)
        self._answer()
        return Captured()

    def find_authorization(self, *, key: str) -> Authorized | Declined | None:
        self._look_up(key)
        if key in self.declined:
            return Declined(reason="card_declined")
        return Authorized(authorization=self.held[key]) if key in self.held else None

    def find_capture(self, *, key: str) -> Captured | None:
        self._look_up(key)
        return Captured() if key in self.captured else None

    def void(self, *, authorization_key: str, key: str) -> Voided:
        self._called(key)
        self._answer()
        return Voided(is_amount_released=authorization_key in self.held)

    def refund(self, *, authorization: str, amount: Money, key: str) -> Refunded:
        self._called(key)
        self._answer()
        return Refunded()

    def _called(self, key: str) -> None:
        self.calls.append(key)

    def _look_up(self, key: str) -> None:
        self.asked.append(key)
        if self.before_found:
            self.before_found.pop(0)()

    def _answer(self) -> None:
        if self.before_answer:
            self.before_answer.pop(0)()


def killed() -> None:
    raise Killed
