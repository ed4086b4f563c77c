"""From when on a message's age counts."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from messaging.envelope import Envelope, new_message_id
from messaging.retention import dated

WRITTEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def an_envelope(*, replay_id: UUID | None = None) -> Envelope:
    return Envelope(
        message_id=uuid4(),
        type="orders.order_confirmed.v1",
        idempotency_key="key",
        correlation_id="order",
        occurred_at=WRITTEN,
        replay_id=replay_id,
    )


def test_a_message_is_as_old_as_its_writing():
    assert dated(an_envelope()) == WRITTEN


def test_a_replayed_letter_is_as_old_as_its_replay():
    age = datetime.now(UTC) - dated(an_envelope(replay_id=new_message_id()))

    assert abs(age) < timedelta(minutes=1)


def test_a_replay_id_without_a_time_is_never_too_old():
    assert dated(an_envelope(replay_id=uuid4())) is None
