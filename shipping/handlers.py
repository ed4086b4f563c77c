"""What the shipping service reacts to. The carrier is asked between two transactions, as any gateway is."""

from typing import Any

import msgspec

from contracts.message import Event
from contracts.shipping import BookShipment, CancelShipment
from contracts.values import Address
from messaging.handling import handles_by_gateway
from messaging.policies import RetryPolicy
from shipping import services
from shipping.carrier import Booked, Carrier, DemonstrationCarrier, NotServed

carrier: Carrier = DemonstrationCarrier()


def _prepare_booking(command: BookShipment, action_key: str | None) -> dict[str, Any]:
    return {"ship_to": msgspec.to_builtins(command.ship_to)}


def _book(request: dict[str, Any], key: str) -> Booked | NotServed:
    return carrier.book(msgspec.convert(request["ship_to"], type=Address), key=key)


def _conclude_booking(command: BookShipment, outcome: Booked | NotServed) -> Event:
    return services.record_booking(command.order_id, outcome)


def _prepare_cancellation(command: CancelShipment, action_key: str | None) -> dict[str, Any]:
    return {"booking_key": action_key}


def _cancel(request: dict[str, Any], key: str) -> None:
    carrier.cancel(booking_key=request["booking_key"])


def _conclude_cancellation(command: CancelShipment, outcome: None) -> Event:
    return services.record_cancellation(command.order_id)


def _assume_booked(request: dict[str, Any]) -> Booked:
    return Booked("rehearsed")


def _assume_cancelled(request: dict[str, Any]) -> None:
    """The carrier answers nothing to a cancellation."""


handles_by_gateway(
    BookShipment,
    service="shipping",
    prepare=_prepare_booking,
    call=_book,
    conclude=_conclude_booking,
    gateway="carrier",
    rehearse=_assume_booked,
)
handles_by_gateway(
    CancelShipment,
    service="shipping",
    prepare=_prepare_cancellation,
    call=_cancel,
    conclude=_conclude_cancellation,
    gateway="carrier",
    rehearse=_assume_cancelled,
    retry=RetryPolicy(attempts=20, longest_pause=60),  # a parcel that nobody wants has to be stopped
)
