"""The gateway's HTTP interface: which address does what."""

import dataclasses
import datetime as dt
import errno
import functools
import logging
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from simulator import cards, fields
from simulator.books import Books, add_card, page
from simulator.errors import RequestRefused, invalid
from simulator.faults import Faults
from simulator.http_messages import Request, Response
from simulator.idempotency import Outcome, carry_out, look_up
from simulator.operations import OPERATIONS
from simulator.settings import Settings

log = logging.getLogger("simulator")

MOST_HANGING = 16
"""Answers held back at once; a further one is dropped without the wait and leaves threads for others."""
MOST_ENTRIES = 1000
OPERATIONS_PATH = "/v1/operations/"
BROWSER_PATHS = {"/v1/tokens": "POST", "/v1/test-cards": "GET"}
"""What a shop's page may call from the browser. Everything else is for servers."""


class AnswerLost(ConnectionResetError):
    """Ends the request without an answer: gunicorn closes the connection, as for a client that has gone."""

    def __init__(self) -> None:
        # Without the number gunicorn would report a fault of its own.
        super().__init__(errno.ECONNRESET, "the answer is held back on purpose")


class Application:
    """The WSGI application. One instance a process; safe to call from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._books = Books(settings.books)
        self._faults = settings.faults
        self._hanging = threading.BoundedSemaphore(MOST_HANGING)
        self._routes: dict[str, dict[str, Callable[[Request], Response]]] = {
            "/healthz": {"GET": self._health},
            "/v1/tokens": {"POST": self._tokenize},
            "/v1/test-cards": {"GET": self._test_cards},
            "/v1/books": {"GET": self._page_of_books},
            "/v1/faults": {"GET": self._show_faults, "PUT": self._set_faults},
        }

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            request = Request.read(environ)
            response = self._answer(request, environ)
        except AnswerLost:
            raise
        except RequestRefused as error:
            response = Response.refusal(error)
        except Exception:
            # The traceback goes to the log; neither it nor the answer shows what the request contained.
            log.exception("%s %s failed", environ["REQUEST_METHOD"], environ.get("PATH_INFO"))
            response = Response.refusal(
                RequestRefused(500, "internal", "The gateway failed. Repeat with the same key.")
            )
        body = response.encoded()
        headers = response.header_list(len(body)) + self._cross_origin_headers(environ)
        start_response(response.status_line(), headers)
        return [body]

    def _answer(self, request: Request, environ: Mapping[str, Any]) -> Response:
        if request.method == "OPTIONS" and request.path in BROWSER_PATHS:
            return Response(status_code=204)
        if request.path.startswith(OPERATIONS_PATH):
            by_key = functools.partial(self._look_up, client=environ["gunicorn.socket"])
            return _by_method(request, {"GET": by_key})(request)
        kind = request.path.removeprefix("/v1/")
        if kind in OPERATIONS and kind != request.path:
            operate = functools.partial(self._operate, kind=kind, client=environ["gunicorn.socket"])
            return _by_method(request, {"POST": operate})(request)
        methods = self._routes.get(request.path)
        if methods is None:
            raise RequestRefused(404, "unknown_address", f"There is nothing at {request.path}.")
        return _by_method(request, methods)(request)

    def _operate(self, request: Request, *, kind: str, client: socket.socket) -> Response:
        key = request.required_key()
        faults = self._faults
        _delay(faults)
        body = fields.read_object(request.body)
        outcome = carry_out(self._books, kind=kind, key=key, body=body, faults=faults)
        return self._response(outcome, client=client)

    def _look_up(self, request: Request, *, client: socket.socket) -> Response:
        faults = self._faults
        _delay(faults)
        outcome = look_up(self._books, request.path.removeprefix(OPERATIONS_PATH), faults=faults)
        return self._response(outcome, client=client)

    def _response(self, outcome: Outcome, *, client: socket.socket) -> Response:
        if outcome.is_answer_lost:
            self._hang(client)
            raise AnswerLost
        headers = {"Idempotent-Replayed": "true"} if outcome.is_replayed else {}
        if outcome.status_code == 503:
            headers["Retry-After"] = "1"
        return Response(status_code=outcome.status_code, document=outcome.body, headers=headers)

    def _hang(self, client: socket.socket) -> None:
        """Waits until the client hangs up, at most for the set time."""
        if not self._hanging.acquire(blocking=False):
            return
        try:
            poll = select.poll()
            # A client that waits sends nothing: its connection becomes readable when it is closed.
            poll.register(client, select.POLLIN)
            poll.poll(self._settings.hang_seconds * 1000)
        finally:
            self._hanging.release()

    def _tokenize(self, request: Request) -> Response:
        body = fields.read_object(request.body)
        number = fields.text(body, "number", longest=40)
        expiry, cvc = fields.optional_text(body, "exp"), fields.optional_text(body, "cvc")
        card = cards.read_number(number)
        if expiry is not None:
            cards.check_expiry(expiry, today=dt.datetime.now(dt.UTC).date())
        if cvc is not None:
            cards.check_cvc(cvc)
        token = f"tok_{secrets.token_hex(16)}"
        with self._books.transaction() as connection:
            add_card(connection, token, card)
        return Response(status_code=201, document={"token": token, "brand": card.brand, "last4": card.last4})

    def _test_cards(self, request: Request) -> Response:
        offered = [
            {"number": card.number, "token": card.token, "label": card.label, "outcome": card.outcome}
            for card in cards.TEST_CARDS
        ]
        return Response(status_code=200, document={"cards": offered})

    def _page_of_books(self, request: Request) -> Response:
        limit = request.query.get("limit", str(MOST_ENTRIES))
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MOST_ENTRIES):
            raise invalid("limit", f"limit must be a whole number from 1 to {MOST_ENTRIES}.")
        after = request.query.get("after") or None
        with self._books.transaction() as connection:
            entries = page(connection, after=after, limit=int(limit))
        if entries is None:
            raise invalid("after", f"There is no entry {after!r}. Send the `next` of the page before.")
        return Response(status_code=200, document=entries)

    def _show_faults(self, request: Request) -> Response:
        return Response(status_code=200, document=dataclasses.asdict(self._faults))

    def _set_faults(self, request: Request) -> Response:
        self._faults = Faults.parse(fields.read_object(request.body))
        return self._show_faults(request)

    def _health(self, request: Request) -> Response:
        with self._books.transaction() as connection:
            connection.execute("SELECT 1 FROM cards LIMIT 1").fetchone()
        return Response(status_code=200, document={"status": "ok"})

    def _cross_origin_headers(self, environ: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Also on errors, so that a page can read why a number was refused."""
        method = BROWSER_PATHS.get(environ.get("PATH_INFO", ""))
        if method is None:
            return []
        origin = environ.get("HTTP_ORIGIN")
        if origin not in self._settings.allowed_origins:
            return [("Vary", "Origin")]
        return [
            ("Vary", "Origin"),
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Methods", method),
            ("Access-Control-Allow-Headers", "Content-Type"),
            ("Access-Control-Max-Age", "600"),
        ]


def _delay(faults: Faults) -> None:
    if faults.latency_ms:
        time.sleep(faults.latency_ms / 1000)


def _by_method(
    request: Request, methods: dict[str, Callable[[Request], Response]]
) -> Callable[[Request], Response]:
    endpoint = methods.get(request.method)
    if endpoint is None:
        allowed = ", ".join(methods)
        raise RequestRefused(405, "wrong_method", f"{request.path} takes {allowed}, not {request.method}.")
    return endpoint
