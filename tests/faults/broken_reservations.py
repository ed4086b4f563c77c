"""A plugin of pytest that breaks inventory's handler of reservations, as long as `BROKEN_RESERVATIONS` is set."""

import os
from typing import NoReturn

import msgspec
import pytest

from contracts.inventory import ReserveStock
from messaging.errors import PermanentError
from messaging.handling import handlers_of


def reserve_nothing(command: ReserveStock) -> NoReturn:
    raise PermanentError("the shelf is gone")


@pytest.fixture(autouse=True)
def broken_reservations(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.environ.get("BROKEN_RESERVATIONS"):
        handlers = handlers_of("inventory")
        declared = handlers[ReserveStock.wire_type]
        broken = msgspec.structs.replace(declared, run=reserve_nothing)
        monkeypatch.setitem(handlers, ReserveStock.wire_type, broken)
