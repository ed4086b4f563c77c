"""What the notifications service reacts to: events only (choreography). The mail server is asked as any gateway is."""

from typing import Any

from contracts.message import Event
from contracts.orders import CancellationRefused, OrderCancelled, OrderConfirmed, OrderRefunded
from messaging.handling import handles_by_gateway
from messaging.policies import RetryPolicy
from notifications import services

PATIENT = RetryPolicy(attempts=12, first_pause=1, longest_pause=900)
"""Nobody waits for an e-mail within seconds, and mail servers are away, or ask to come back later, for minutes."""


def _prepare_confirmation(event: OrderConfirmed, action_key: str | None) -> dict[str, Any]:
    return services.confirmation(event.order_id, event.contact, event.total)


def _prepare_cancellation(event: OrderCancelled, action_key: str | None) -> dict[str, Any]:
    return services.cancellation(event.order_id, event.contact, event.reason)


def _send(request: dict[str, Any], key: str) -> None:
    services.send(request, key=key)


def _assume_taken(request: dict[str, Any]) -> None:
    """A mail server that takes an e-mail answers nothing that is kept."""


def _conclude_confirmation(event: OrderConfirmed, outcome: None) -> None:
    services.record_sent(event.order_id, kind="confirmed")


def _conclude_cancellation(event: OrderCancelled, outcome: None) -> None:
    services.record_sent(event.order_id, kind="cancelled")


def _prepare_refund(event: OrderRefunded, action_key: str | None) -> dict[str, Any]:
    return services.refund(event.order_id, event.contact, event.total)


def _prepare_refusal(event: CancellationRefused, action_key: str | None) -> dict[str, Any]:
    return services.refusal(event.order_id, event.contact, event.reason)


def _conclude_refund(event: OrderRefunded, outcome: None) -> None:
    services.record_sent(event.order_id, kind="refunded")


def _conclude_refusal(event: CancellationRefused, outcome: None) -> None:
    services.record_sent(event.order_id, kind="refused")


_MAILS: tuple[tuple[type[Event], Any, Any], ...] = (
    (OrderConfirmed, _prepare_confirmation, _conclude_confirmation),
    (OrderCancelled, _prepare_cancellation, _conclude_cancellation),
    (OrderRefunded, _prepare_refund, _conclude_refund),
    (CancellationRefused, _prepare_refusal, _conclude_refusal),
)
for _event, _prepare, _conclude in _MAILS:
    handles_by_gateway(
        _event,
        service="notifications",
        prepare=_prepare,
        call=_send,
        conclude=_conclude,
        gateway="mail server",
        rehearse=_assume_taken,
        retry=PATIENT,
    )
