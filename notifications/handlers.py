"""What the notifications service reacts to: events only (choreography). The mail server is asked as any gateway is."""

from typing import Any

from contracts.orders import OrderCancelled, OrderConfirmed
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


handles_by_gateway(
    OrderConfirmed,
    service="notifications",
    prepare=_prepare_confirmation,
    call=_send,
    conclude=_conclude_confirmation,
    gateway="mail server",
    rehearse=_assume_taken,
    retry=PATIENT,
)
handles_by_gateway(
    OrderCancelled,
    service="notifications",
    prepare=_prepare_cancellation,
    call=_send,
    conclude=_conclude_cancellation,
    gateway="mail server",
    rehearse=_assume_taken,
    retry=PATIENT,
)
