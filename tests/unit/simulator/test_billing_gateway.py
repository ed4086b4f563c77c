"""Billing's port, against a real gateway process: refusals are values, unknown outcomes are transient."""

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from billing.gateway import (
    Authorized,
    Captured,
    CaptureDeclined,
    Declined,
    Gateway,
    HttpGateway,
    Refunded,
    Voided,
    books,
)
from contracts.values import Money
from messaging.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from tests.unit.simulator.conftest import GatewayProcess

PRICE = Money(1250, "EUR")


@pytest.fixture
def port(gateway: "GatewayProcess") -> Gateway:
    return HttpGateway(gateway.url, 5)


@pytest.fixture
def answering() -> Iterator[Callable[..., HttpGateway]]:
    """A port to a server that gives every request the same answer."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int, body: bytes = b"{}") -> HttpGateway:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing on the tests' output."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        return HttpGateway(f"http://127.0.0.1:{server.server_port}", 5)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def authorize(port: Gateway, key: str, *, token: str = "tok_visa") -> Authorized | Declined:
    return port.authorize(token=token, amount=PRICE, reference=key, key=key)


def authorized(port: Gateway, key: str, *, token: str = "tok_visa") -> str:
    outcome = authorize(port, key, token=token)
    assert isinstance(outcome, Authorized)
    return outcome.authorization


def test_money_is_authorized_captured_and_refunded(
    port: Gateway, gateway: "GatewayProcess", key: str
) -> None:
    authorization = authorized(port, key)

    assert port.capture(authorization=authorization, amount=PRICE, key=key + ":c") == Captured()
    assert port.refund(authorization=authorization, amount=PRICE, key=key + ":r") == Refunded()
    (entry,) = (entry for entry in books(gateway.url) if entry.reference == key)
    assert (entry.id, entry.status, entry.captured, entry.refunded) == (authorization, "captured", 1250, 1250)


def test_refusals_are_values(port: Gateway, key: str) -> None:
    assert authorize(port, key, token="tok_declined") == Declined(reason="card_declined")
    authorization = authorized(port, key + ":2", token="tok_capture_refused")
    refused = port.capture(authorization=authorization, amount=PRICE, key=key + ":c")
    assert refused == CaptureDeclined(reason="card_refused")


def test_a_void_releases_or_closes(port: Gateway, key: str) -> None:
    authorized(port, key)

    assert port.void(authorization_key=key, key=key + ":v") == Voided(is_amount_released=True)
    late = key + ":late"
    assert port.void(authorization_key=late, key=late + ":v") == Voided(is_amount_released=False)
    assert authorize(port, late) == Declined(reason="cancelled")


def test_a_lost_answer_is_transient_and_the_repetition_gets_it(gateway: "GatewayProcess", key: str) -> None:
    port = HttpGateway(gateway.url, 0.2)

    with pytest.raises(TransientError, match="unknown"):
        authorize(port, key, token="tok_executes_then_times_out")

    assert isinstance(authorize(port, key, token="tok_executes_then_times_out"), Authorized)
    assert len([entry for entry in books(gateway.url) if entry.reference == key]) == 1


def test_what_was_carried_out_is_found_by_its_key(port: Gateway, key: str) -> None:
    authorization = authorized(port, key + ":a/ b?")
    port.capture(authorization=authorization, amount=PRICE, key=key + ":c")

    assert port.find_authorization(key=key + ":a/ b?") == Authorized(authorization=authorization)
    assert port.find_capture(key=key + ":c") == Captured()


def test_what_was_never_carried_out_is_not_found(port: Gateway, key: str) -> None:
    assert port.find_authorization(key=key) is None
    assert port.find_capture(key=key) is None


def test_refusals_are_found_as_they_were_said(port: Gateway, key: str) -> None:
    authorize(port, key, token="tok_declined")
    port.void(authorization_key=key + ":late", key=key + ":v")
    authorize(port, key + ":late")
    refusing = authorized(port, key + ":2", token="tok_capture_refused")
    port.capture(authorization=refusing, amount=PRICE, key=key + ":c")

    assert port.find_authorization(key=key) == Declined(reason="card_declined")
    assert port.find_authorization(key=key + ":late") == Declined(reason="cancelled")
    assert port.find_capture(key=key + ":c") == CaptureDeclined(reason="card_refused")


def test_what_was_carried_out_and_never_answered_is_found(gateway: "GatewayProcess", key: str) -> None:
    port = HttpGateway(gateway.url, 0.2)
    with pytest.raises(TransientError):
        authorize(port, key, token="tok_executes_then_times_out")

    assert isinstance(port.find_authorization(key=key), Authorized)


def test_a_key_of_another_operation_is_permanent(port: Gateway, key: str) -> None:
    authorized(port, key)

    with pytest.raises(PermanentError, match="one of the authorizations under the key"):
        port.find_capture(key=key)


def test_a_look_up_without_an_answer_is_transient(answering: Callable[..., HttpGateway], key: str) -> None:
    for port in (HttpGateway("http://127.0.0.1:9", 1), answering(503), answering(429, b"<html>")):
        with pytest.raises(TransientError):
            port.find_authorization(key=key)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((200, body) for body in (b"<html>", b"{}", b'{"status_code": 200}')),
        (200, b'{"operation": "authorizations", "status_code": 200, "response": {}}'),
        (404, b"<html>"),
        (404, b'{"error": {"code": "unknown_address", "message": "m"}}'),
    ],
)
def test_only_the_gateway_itself_can_say_that_nothing_was_carried_out(
    answering: Callable[..., HttpGateway], status: int, body: bytes, key: str
) -> None:
    """Believing a proxy's page, a saga would send again, or undo, what is done."""
    with pytest.raises((TransientError, PermanentError)):
        answering(status, body).find_authorization(key=key)


def test_captured_money_is_never_voided_and_repeating_is_in_vain(port: Gateway, key: str) -> None:
    port.capture(authorization=authorized(port, key), amount=PRICE, key=key + ":c")

    for _ in range(2):
        with pytest.raises(PermanentError, match=r"409 \(authorization_captured\)"):
            port.void(authorization_key=key, key=key + ":v")


def test_no_gateway_is_transient(key: str) -> None:
    nobody = HttpGateway("http://127.0.0.1:9", 1)

    with pytest.raises(TransientError, match=re.escape("http://127.0.0.1:9")):
        authorize(nobody, key)


@pytest.mark.parametrize("status", [409, 429, 500, 502, 503, 504])
def test_what_may_pass_is_transient(answering: Callable[..., HttpGateway], status: int, key: str) -> None:
    with pytest.raises(TransientError, match=str(status)):
        authorize(answering(status, b"<html>"), key)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 422])
def test_what_cannot_pass_is_permanent(answering: Callable[..., HttpGateway], status: int, key: str) -> None:
    body = json.dumps({"error": {"code": "invalid_field", "message": "m", "field": "amount"}}).encode()

    with pytest.raises(PermanentError, match=rf"{status} \(invalid_field, field amount\)"):
        authorize(answering(status, body), key)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"status": "authorized"}', b'{"status": 1}'])
def test_an_answer_that_is_not_the_gateways_is_transient(
    answering: Callable[..., HttpGateway], body: bytes, key: str
) -> None:
    port = answering(200, body)

    with pytest.raises(TransientError):
        authorize(port, key)
    with pytest.raises(TransientError):
        port.capture(authorization="a", amount=PRICE, key=key)
    with pytest.raises(TransientError):
        port.void(authorization_key="a", key=key)
    with pytest.raises(TransientError):
        port.refund(authorization="a", amount=PRICE, key=key)


def test_a_refund_above_the_captured_amount_is_permanent(port: Gateway, key: str) -> None:
    authorization = authorized(port, key)

    with pytest.raises(PermanentError, match="exceeds_captured"):
        port.refund(authorization=authorization, amount=PRICE, key=key + ":r")


def test_a_key_used_for_something_else_is_permanent(port: Gateway, key: str) -> None:
    authorized(port, key)

    with pytest.raises(PermanentError, match="idempotency_key_reused"):
        port.authorize(token="tok_visa", amount=Money(1, "EUR"), reference=key, key=key)


def test_tokens_are_never_logged_nor_in_errors(
    gateway: "GatewayProcess",
    answering: Callable[..., HttpGateway],
    key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    token = gateway.post("/v1/tokens", number="4242424242424242").json()["token"]

    authorized(HttpGateway(gateway.url, 5), key, token=token)
    with pytest.raises(TransientError) as transient:
        authorize(HttpGateway("http://127.0.0.1:9", 1), key, token=token)
    with pytest.raises(PermanentError) as permanent:
        authorize(answering(400), key, token=token)

    assert caplog.text
    for text in (caplog.text, str(transient.value), str(permanent.value)):
        assert token not in text


def test_connections_are_kept_open(
    gateway: "GatewayProcess", key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="urllib3")
    port = HttpGateway(gateway.url, 5)

    for number in range(5):
        authorized(port, f"{key}:{number}")

    assert caplog.text.count("Starting new HTTP connection") == 1


def test_all_pages_of_the_books_are_read(
    port: Gateway, gateway: "GatewayProcess", key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [authorized(port, f"{key}:{number}") for number in range(7)]
    monkeypatch.setattr("billing.gateway.PAGE_SIZE", 3)

    read = [entry.id for entry in books(gateway.url)]

    assert [one for one in read if one in made] == made
    assert len(read) == len(set(read))
