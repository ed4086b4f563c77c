"""What the shipping service reacts to. The carrier is asked between two transactions, as any gateway is."""

from datetime import datetime
from typing import Any

import msgspec

from contracts.message import Event
from contracts.shipping import BookShipment, CancelShipment, RecallShipment
from contracts.values import Address
from messaging.handling import handles_by_gateway
from messaging.policies import RetryPolicy
from shipping import services
from shipping.carrier import Booked, Carrier, DemonstrationCarrier, Left, NotServed, Recalled

PATIENT = RetryPolicy(attempts=20, longest_pause=60)
"""For a parcel that nobody wants: it has to be stopped, or known to have left."""

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


def _prepare_recall(command: RecallShipment, action_key: str | None) -> dict[str, Any]:
    parcel = services.booked_parcel(command.order_id)
    return {"tracking": parcel.tracking, "booked_at": parcel.changed_at.isoformat()}


def _recall(request: dict[str, Any], key: str) -> Recalled | Left:
    return carrier.recall(
        tracking=request["tracking"], booked_at=datetime.fromisoformat(request["booked_at"]), key=key
    )


def _conclude_recall(command: RecallShipment, outcome: Recalled | Left) -> Event:
    return services.record_recall(command.order_id, outcome)


def _assume_recalled(request: dict[str, Any]) -> Recalled:
    return Recalled()


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
    retry=PATIENT,
)
handles_by_gateway(
    RecallShipment,
    service="shipping",
    prepare=_prepare_recall,
    call=_recall,
    conclude=_conclude_recall,
    gateway="carrier",
    rehearse=_assume_recalled,
    retry=PATIENT,
)
