"""What the billing service can do. What the gateway answered becomes an event and the row that shows it."""

from uuid import UUID

from billing.aggregate import PaymentState, evolve, stream_of
from billing.errors import PaymentNotInState
from billing.gateway import Authorized, Captured, CaptureDeclined, Declined
from billing.models import Payment
from contracts import reasons
from contracts.billing import (
    CaptureRefused,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentVoided,
)
from contracts.message import Event
from contracts.values import Money
from messaging import outbox
from messaging.unit_of_work import current

SERVICE = "billing"


def held_payment(order_id: UUID, *, state: Payment.State) -> tuple[str, Money]:
    """The gateway's reference and the amount of a payment in this state; raises `PaymentNotInState`."""
    payment = Payment.objects.filter(order_id=order_id).first()
    if payment is None or payment.state not in (state, *_LATER.get(state, ())):
        found = payment.state if payment else "not known here"
        raise PaymentNotInState(f"The payment of order {order_id} is {found}, and must be {state}.")
    return payment.authorization, Money(payment.amount, payment.currency)


_LATER = {
    Payment.State.AUTHORIZED: (Payment.State.CAPTURED,),
    Payment.State.CAPTURED: (Payment.State.REFUNDED,),
}


def record_authorization(order_id: UUID, total: Money, outcome: Authorized | Declined) -> Event:
    """Store what the gateway answered to the authorization."""
    if isinstance(outcome, Authorized):
        authorized = PaymentAuthorized(order_id=order_id, total=total, authorization=outcome.authorization)
        return _apply(order_id, authorized)
    declined = PaymentDeclined(order_id=order_id, reason=reasons.CARD_DECLINED, detail=outcome.reason)
    return _apply(order_id, declined)


def record_capture(order_id: UUID, outcome: Captured | CaptureDeclined) -> Event:
    """Store what the gateway answered to the capture."""
    if isinstance(outcome, CaptureDeclined):
        refused = CaptureRefused(order_id=order_id, reason=reasons.CAPTURE_REFUSED, detail=outcome.reason)
        return _apply(order_id, refused)
    _, total = held_payment(order_id, state=Payment.State.AUTHORIZED)
    return _apply(order_id, PaymentCaptured(order_id=order_id, total=total))


def record_void(order_id: UUID) -> Event:
    """The gateway holds no money of the order any more."""
    return _apply(order_id, PaymentVoided(order_id=order_id))


def record_refund(order_id: UUID) -> Event:
    """The gateway has given the money back."""
    _, total = held_payment(order_id, state=Payment.State.CAPTURED)
    return _apply(order_id, PaymentRefunded(order_id=order_id, total=total))


def say_not_found(event: Event) -> Event:
    """Say that nothing happened. It is no part of the payment's own story: each answer is a stream of its own."""
    outbox.publish(event, stream=f"payment_answer-{current().cause_id()}", version=1)
    return event


def _apply(order_id: UUID, event: Event) -> Event:
    payment = Payment.objects.select_for_update().filter(order_id=order_id).first()
    after = evolve(_state_of(payment), event)
    outbox.publish(event, stream=stream_of(order_id), version=after.version)
    Payment(
        order_id=order_id,
        version=after.version,
        state=after.state,
        amount=after.amount,
        currency=after.currency,
        authorization=after.authorization,
        detail=after.detail,
        changed_at=current().now,
    ).save(force_insert=payment is None, force_update=payment is not None)
    return event


def _state_of(payment: Payment | None) -> PaymentState | None:
    if payment is None:
        return None
    return PaymentState(
        order_id=payment.order_id,
        version=payment.version,
        state=payment.state,
        amount=payment.amount,
        currency=payment.currency,
        authorization=payment.authorization,
        detail=payment.detail,
    )
