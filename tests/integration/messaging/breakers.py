"""A gateway's breaker as its tests talk about it: payments to authorize, and the row of the breaker itself."""

from datetime import datetime, timedelta
from uuid import uuid4

from django.conf import settings

from billing.handlers import VoidPayment
from billing.models import Payment
from messaging.consumer import consume
from messaging.delivery import Delivery
from messaging.envelope import utc_now
from messaging.errors import TransientError
from messaging.models import CircuitBreaker, FailedAttempt, IdempotencyKey, OutboxMessage
from tests.builders import a_delivery, a_step_key, an_envelope, authorize_payment

BILLING = settings.SERVICES["billing"]
MOST = settings.BREAKER_FAILURES


def no_answer() -> None:
    raise TransientError("no answer")


class Authorization:
    """The command to authorize one order's payment, and what has become of it."""

    def __init__(self, card: str = "tok_visa") -> None:
        self.order_id, self.saga_id = uuid4(), uuid4()
        self.command = authorize_payment(self.order_id, card=card)
        self.key = a_step_key("authorize", saga_id=self.saga_id)
        self.envelope = an_envelope(self.command, key=self.key)

    def deliver(self) -> None:
        """For the first time, or again by a broker that has had no acknowledgement."""
        consume("billing", a_delivery(self.command, self.envelope))

    def void(self) -> None:
        undo_key = a_step_key("authorize", saga_id=self.saga_id, is_compensation=True)
        void = VoidPayment(order_id=self.order_id)
        consume("billing", a_delivery(void, an_envelope(void, key=undo_key)))

    @property
    def rows(self) -> list[OutboxMessage]:
        """The command's own rows in the outbox: what waits to be delivered to billing again."""
        rows = OutboxMessage.objects.using(BILLING).filter(
            headers__correlation_id=str(self.order_id), exchange=""
        )
        return list(rows.order_by("id"))

    @property
    def row(self) -> OutboxMessage:
        (row,) = self.rows
        return row

    def relay(self) -> None:
        """Deliver the row that waits, as relay and broker would once it is due."""
        row = self.row
        row.delete(using=BILLING)
        consume(
            "billing", Delivery(headers=row.headers, payload=row.body, exchange="", routing_key="billing")
        )

    @property
    def burnt(self) -> int:
        return FailedAttempt.objects.using(BILLING).filter(message_id=self.envelope.message_id).count()

    @property
    def state(self) -> str | None:
        return Payment.objects.filter(order_id=self.order_id).values_list("state", flat=True).first()


class Breaker:
    """The breaker of a gateway that this test has for itself."""

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway

    @property
    def row(self) -> CircuitBreaker | None:
        return CircuitBreaker.objects.using(BILLING).filter(service="billing", gateway=self.gateway).first()

    @property
    def is_open(self) -> bool:
        return self.row is not None and self.row.state == "open"

    def change(self, **fields: object) -> None:
        rows = CircuitBreaker.objects.using(BILLING).filter(service="billing", gateway=self.gateway)
        assert rows.update(**fields) == 1

    def let_probe_time_come(self) -> datetime:
        now = utc_now()
        self.change(probe_at=now)
        return now

    def let_lease_end(self, authorization: Authorization) -> None:
        """Time goes by until the process that made the probe may be taken for dead."""
        past = utc_now() - timedelta(milliseconds=1)
        self.change(probing_until=past)
        keys = IdempotencyKey.objects.using(BILLING).filter(key=authorization.key, state="started")
        assert keys.update(lease_until=past) == 1


def deliver_all(authorizations: list[Authorization]) -> list[Authorization]:
    for authorization in authorizations:
        authorization.deliver()
    return authorizations
