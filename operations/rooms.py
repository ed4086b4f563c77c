"""The admin's navigation: its lists, grouped by what an operator is after."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """One list."""

    name: str
    url: str
    is_current: bool


class Wing(msgspec.Struct, frozen=True, kw_only=True):
    """Lists that belong together; the first of them is where the wing's name leads."""

    name: str
    rooms: list[Room]
    is_current: bool

    @property
    def url(self) -> str:
        return self.rooms[0].url


DEAD_LETTERS = "Dead letters"
_WINGS: dict[str, dict[str, str]] = {
    "Orders": {"orders.order": "Orders", "orders.product": "Articles"},
    "Sagas": {"sagas.sagarecord": "Sagas", "sagas.pauseswitch": "Pause switches"},
    DEAD_LETTERS: {
        "deadletters.deadletter": "Letters",
        "deadletters.lettergroup": "Groups",
        "deadletters.letterjob": "Bulk jobs",
        "deadletters.letteredit": "Edits",
        "deadletters.deskentry": "Log",
    },
    "Messages": {
        "messaging.outboxmessage": "Outbox",
        "messaging.failedattempt": "Failed attempts",
        "messaging.idempotencykey": "Keys",
        "messaging.heldbackmessage": "Held back",
        "messaging.streamposition": "Stream positions",
        "messaging.skippedevents": "Skipped events",
        "messaging.circuitbreaker": "Circuit breakers",
        "eventstore.storedevent": "Events",
    },
    "Services": {
        "inventory.stockitem": "Stock",
        "inventory.reservation": "Reservations",
        "billing.payment": "Payments",
        "shipping.shipment": "Shipments",
        "notifications.notification": "E-mails",
    },
    "Administration": {
        "auth.user": "Users",
        "auth.group": "Groups of users",
        "django_celery_results.taskresult": "Job results",
        "django_celery_results.groupresult": "Results of groups",
    },
}
_OTHERS = "Others"
"""Where a list goes that nobody has given a place."""


def wings(apps: Sequence[Mapping[str, Any]], path: str) -> list[Wing]:
    """The lists among Django's `available_apps`, in our order; current is the one that the address is in."""
    names = {model["model"]._meta.label_lower: str(model["name"]) for app in apps for model in app["models"]}
    addresses = lists(apps)
    places = {label for lists in _WINGS.values() for label in lists}
    grouped = {
        **_WINGS,
        _OTHERS: {label: names[label].capitalize() for label in addresses if label not in places},
    }
    found = []
    for name, titles in grouped.items():
        rooms = [
            Room(name=title, url=addresses[label], is_current=path.startswith(addresses[label]))
            for label, title in titles.items()
            if label in addresses
        ]
        if rooms:
            found.append(Wing(name=name, rooms=rooms, is_current=any(room.is_current for room in rooms)))
    return found


def lists(apps: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The address of each list that whoever asks may look at, by the model's label (`orders.order`)."""
    return {
        model["model"]._meta.label_lower: model["admin_url"]
        for app in apps
        for model in app["models"]
        if model.get("admin_url")
    }
