"""The port to the payment gateway, and the adapter that speaks to it over HTTP.

Every call carries an idempotency key: repeating it with the same key is always safe and gives the same
outcome. Whoever gets a `TransientError` does not know whether the call was carried out, and repeats it.
"""

import json
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import msgspec
import urllib3

from contracts.values import Money
from messaging.errors import PermanentError, TransientError

POOL_SIZE = 32
PAGE_SIZE = 1000
REPEATABLE = frozenset({409, 429})
"""Refusals that pass: the key is in use at the moment, or too many calls at once."""
LASTING = frozenset({"authorization_captured"})
"""Codes of refusals that do not pass, whatever their status: what is captured is refunded and never voided."""
NOTHING_THERE = "unknown_key"
"""The code of the answer that nothing was carried out under a key. Any other 404 is not the gateway's word on it."""

T = TypeVar("T")


class Authorized(msgspec.Struct, frozen=True, kw_only=True):
    """The amount is held. `authorization` is the gateway's id of it."""

    authorization: str


class Declined(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is held; `reason` is the gateway's code."""

    reason: str


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """The held amount is taken."""


class CaptureDeclined(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was taken by this call; `reason` is the gateway's code."""

    reason: str


class Voided(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is held under the authorization's key, and nothing can be any more."""

    is_amount_released: bool
    """Whether an amount had been held; false where the authorization never came."""


class Refunded(msgspec.Struct, frozen=True, kw_only=True):
    """The amount is given back."""


class BookEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One authorization in the gateway's own books; amounts in minor units."""

    id: str
    reference: str
    status: str
    """`authorized`, `captured` or `voided`."""
    authorized: int
    captured: int
    refunded: int
    currency: str


class Gateway(Protocol):
    """What billing needs of a provider.

    Every method may raise `TransientError` (the outcome is unknown: repeat with the same key) and
    `PermanentError` (the gateway refuses the request itself: repeating it is in vain).
    """

    def authorize(self, *, token: str, amount: Money, reference: str, key: str) -> Authorized | Declined:
        """Hold the amount on the card that the token stands for. An unknown token is declined."""

    def capture(self, *, authorization: str, amount: Money, key: str) -> Captured | CaptureDeclined:
        """Take what is held. The amount must be the one that was authorized."""

    def void(self, *, authorization_key: str, key: str) -> Voided:
        """Release what is held under the authorization's key, and close the key.

        An authorization that arrives with it later is declined as `cancelled`.
        """

    def refund(self, *, authorization: str, amount: Money, key: str) -> Refunded:
        """Give back captured money, never more than was captured."""

    def find_authorization(self, *, key: str) -> Authorized | Declined | None:
        """What an authorization with this key was answered; None where none was carried out."""

    def find_capture(self, *, key: str) -> Captured | CaptureDeclined | None:
        """What a capture with this key was answered; None where none was carried out."""


class _Answer(msgspec.Struct, frozen=True):
    id: str = ""
    status: str = ""
    reason: str = ""


class _Stored(msgspec.Struct, frozen=True):
    """What `GET /v1/operations/<key>` tells. Every field is required: another server's page has none of them."""

    operation: str
    status_code: int
    response: _Answer


def _authorization(answer: _Answer) -> Authorized | Declined:
    if answer.status == "declined":
        return Declined(reason=answer.reason)
    if answer.status == "authorized" and answer.id:
        return Authorized(authorization=answer.id)
    raise _unexpected_answer("an authorization", f"its status is {answer.status!r}, its id {answer.id!r}")


def _capture(answer: _Answer) -> Captured | CaptureDeclined:
    if answer.status == "refused":
        return CaptureDeclined(reason=answer.reason)
    if answer.status == "captured":
        return Captured()
    raise _unexpected_answer("a capture", f"its status is {answer.status!r}")


class _NothingThere(PermanentError):
    """Nothing was carried out under the key that was looked up."""


class _Page(msgspec.Struct, frozen=True):
    entries: list[BookEntry]
    next: str | None


class HttpGateway:
    """The gateway over HTTP. Safe for threads; its connections stay open between calls."""

    def __init__(self, base_url: str, timeout: float) -> None:
        """`timeout` is in seconds, for connecting and again for waiting on the answer."""
        self._connection = _Connection(base_url, timeout=timeout)

    def authorize(self, *, token: str, amount: Money, reference: str, key: str) -> Authorized | Declined:
        body = {"token": token, "amount": amount.amount, "currency": amount.currency, "reference": reference}
        return _authorization(self._operate("authorizations", body, key=key))

    def find_authorization(self, *, key: str) -> Authorized | Declined | None:
        found = self._find("authorizations", key)
        return None if found is None else _authorization(found)

    def capture(self, *, authorization: str, amount: Money, key: str) -> Captured | CaptureDeclined:
        body = {"authorization": authorization, "amount": amount.amount, "currency": amount.currency}
        return _capture(self._operate("captures", body, key=key))

    def find_capture(self, *, key: str) -> Captured | CaptureDeclined | None:
        found = self._find("captures", key)
        return None if found is None else _capture(found)

    def void(self, *, authorization_key: str, key: str) -> Voided:
        answer = self._operate("voids", {"authorization_key": authorization_key}, key=key)
        if answer.status not in ("voided", "nothing_to_void"):
            raise _unexpected_answer("POST /v1/voids", f"its status is {answer.status!r}")
        return Voided(is_amount_released=answer.status == "voided")

    def refund(self, *, authorization: str, amount: Money, key: str) -> Refunded:
        body = {"authorization": authorization, "amount": amount.amount, "currency": amount.currency}
        answer = self._operate("refunds", body, key=key)
        if answer.status == "refused":
            raise PermanentError(
                f"The gateway refuses to refund {amount} of {authorization}: {answer.reason}. "
                "Compare the payment with the gateway's books."
            )
        if answer.status != "refunded":
            raise _unexpected_answer("POST /v1/refunds", f"its status is {answer.status!r}")
        return Refunded()

    def _find(self, kind: str, key: str) -> _Answer | None:
        """The stored answer to the operation of this kind that was carried out under the key; None where none was."""
        address = f"/v1/operations/{quote(key, safe='')}"
        try:
            found = self._connection.call("GET", address, answer=_Stored)
        except _NothingThere:
            return None
        if found.operation != kind:
            raise PermanentError(
                f"The gateway has carried out one of the {found.operation} under the key {key!r}, not one of the "
                f"{kind}. Compare what was asked with the gateway's books."
            )
        return found.response

    def _operate(self, kind: str, body: dict[str, Any], *, key: str) -> _Answer:
        return self._connection.call(
            "POST", f"/v1/{kind}", answer=_Answer, body=body, headers={"Idempotency-Key": key}
        )


def books(base_url: str, *, timeout: float = 10) -> Iterator[BookEntry]:
    """Every authorization that the gateway ever made, oldest first, read page by page.

    `timeout` is in seconds for each page. Raises `TransientError` and `PermanentError` as the port does.
    """
    connection = _Connection(base_url, timeout=timeout)
    address: str | None = f"/v1/books?limit={PAGE_SIZE}"
    while address is not None:
        page = connection.call("GET", address, answer=_Page)
        yield from page.entries
        address = f"/v1/books?limit={PAGE_SIZE}&after={quote(page.next)}" if page.next else None


class _Connection:
    """A pool of connections to one gateway, and the translation of HTTP's failures."""

    def __init__(self, base_url: str, *, timeout: float) -> None:
        self._base_url = base_url.rstrip("/")
        # A retry inside the library would hide an attempt from the records, so there is none.
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=POOL_SIZE,
            retries=False,
            timeout=urllib3.Timeout(connect=timeout, read=timeout),
        )

    def call(
        self,
        method: str,
        address: str,
        *,
        answer: type[T],
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> T:
        """The decoded answer of 200, or of 402, a business refusal. No error shows the body and its token."""
        what = f"{method} {address}"
        try:
            response = self._pool.request(
                method,
                self._base_url + address,
                body=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json", **(headers or {})},
            )
        except urllib3.exceptions.HTTPError as error:
            raise TransientError(
                f"{what} at the payment gateway {self._base_url} got no answer; whether it was done is "
                f"unknown ({type(error).__name__}: {error}). Repeat it with the same key."
            ) from error
        if response.status in (200, 402):
            try:
                return msgspec.json.decode(response.data, type=answer)
            except msgspec.MsgspecError as error:
                raise _unexpected_answer(what, str(error)) from error
        refusal = _refusal(response.data)
        failure = (
            f"{what} at the payment gateway {self._base_url} answered {response.status}{_words(refusal)}"
        )
        if response.status >= 500 or (response.status in REPEATABLE and refusal.code not in LASTING):
            raise TransientError(f"{failure}. Repeat it with the same key.")
        if response.status == 404 and refusal.code == NOTHING_THERE:
            raise _NothingThere(f"{failure}.")
        raise PermanentError(
            f"{failure}. Repeating is in vain: compare the request with the gateway's interface."
        )


class _Error(msgspec.Struct, frozen=True):
    code: str = ""
    field: str = ""


class _Refusal(msgspec.Struct, frozen=True):
    error: _Error


def _refusal(data: bytes) -> _Error:
    """The gateway's own words, where the body has the gateway's form: a proxy's page has not."""
    try:
        return msgspec.json.decode(data, type=_Refusal).error
    except msgspec.MsgspecError:
        return _Error()


def _words(refusal: _Error) -> str:
    if not refusal.code:
        return ""
    return f" ({refusal.code}, field {refusal.field})" if refusal.field else f" ({refusal.code})"


def _unexpected_answer(what: str, found: str) -> TransientError:
    return TransientError(
        f"{what} at the payment gateway was answered by something else than the gateway: {found}. "
        "Repeat it with the same key; if it persists, check GATEWAY_URL."
    )
