"""A shop with its catalogue, as a customer's browser and as a program meet it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from orders import live
from orders.catalogue import load_catalogue

DELIVERY = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "line1": "12 St James's Square",
    "postcode": "SW1Y 4JH",
    "city": "London",
    "country": "GB",
    "payment_token": "tok_visa",
}


@pytest.fixture
def catalogue(db: None) -> None:
    load_catalogue()


def hidden_fields(page: bytes) -> dict[str, str]:
    """The names and values of the checkout form's hidden fields."""
    inputs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.decode())
    return {name: value for name, value in inputs if name in ("checkout_key", "lines", "total")}


class Browser(Client):
    """A customer's browser without JavaScript."""

    def choose(self, sku: str, quantity: int = 1) -> None:
        assert self.post("/cart/add/", {"sku": sku, "quantity": quantity}).status_code == 302

    def open_checkout(self) -> dict[str, str]:
        """The form as it would be sent, filled in."""
        page = self.get("/checkout/")
        assert page.status_code == 200
        return {**DELIVERY, **hidden_fields(page.content)}

    def submit(self, form: dict[str, str]) -> Any:
        return self.post("/checkout/", form)


@pytest.fixture
def browser(catalogue: None) -> Browser:
    return Browser()


@pytest.fixture
def new_browser() -> type[Browser]:
    return Browser


@pytest.fixture
def delivery() -> dict[str, str]:
    """What the customer types."""
    return dict(DELIVERY)


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[live.Listener]:
    """The process's listener for this test alone; its connection is closed at the end."""
    listener = live.Listener(most_streams=5)
    monkeypatch.setattr(live, "listener", listener)
    yield listener
    listener.stop()
    listener.wait_until_stopped(10)
