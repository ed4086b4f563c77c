"""A relay that delivers everything twice, in reverse, and an hour late: `python -m tests.faults.twisted_relay`.

It publishes what has come together in `GATHERING` seconds from the last message to the first; then the batch before
once again, so that a copy comes after what followed from it. In every message the time is an hour ago.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

import django
import msgspec

GATHERING = 0.2
LATE = timedelta(hours=1)


def main() -> None:
    django.setup()
    # Only now, because messaging has models.
    from django.core.management import call_command

    from messaging import relay
    from messaging.publishing import Answers, Publisher, Wire

    class TwistedPublisher(Publisher):
        _before: Sequence[Wire] = ()

        def publish(self, messages: Sequence[Wire], *, wait: float) -> Answers:
            time.sleep(GATHERING)
            late = [_an_hour_ago(message) for message in reversed(messages)]
            answers = super().publish(late, wait=wait)
            if answers.failure is None:
                copies = super().publish([*self._before, *late[:1]], wait=wait)
                answers.failure = copies.failure
            self._before = late
            return answers

    def _an_hour_ago(message: Wire) -> Wire:
        occurred_at = datetime.fromisoformat(message.headers["occurred_at"]) - LATE
        return msgspec.structs.replace(
            message, headers={**message.headers, "occurred_at": occurred_at.isoformat()}
        )

    relay.Publisher = TwistedPublisher  # type: ignore[misc]  # the relay makes its publisher by this name
    call_command("relay")


if __name__ == "__main__":
    main()
