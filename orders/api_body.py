"""Reading the JSON body of an order, and problems as answers (RFC 9457)."""

import re
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest

from contracts.values import Address, Contact, Sku
from orders import rules
from orders.cart import MOST_ARTICLES, MOST_PIECES
from orders.services import OrderRequest

MOST_BYTES = 64 * 1024

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=rules.LONGEST["name"])]


class Problem(Exception):
    """An answer that says what is wrong; `field` is the dotted name of what to change."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        field: str | None = None,
        fields: list[str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.field = field
        self.fields = fields
        self.headers = headers or {}

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "type": f"urn:makegood:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.field is not None:
            document["field"] = self.field
        if self.fields is not None:
            document["fields"] = self.fields
        return document


class _Customer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: _Name
    email: Annotated[str, msgspec.Meta(min_length=3, max_length=rules.LONGEST["email"])]


class _ShipTo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    line1: Annotated[str, msgspec.Meta(min_length=1, max_length=rules.LONGEST["line1"])]
    city: Annotated[str, msgspec.Meta(min_length=1, max_length=rules.LONGEST["city"])]
    postcode: Annotated[str, msgspec.Meta(min_length=2, max_length=rules.LONGEST["postcode"])]
    country: str


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sku: Sku
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MOST_PIECES)]


class _Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer: _Customer
    ship_to: _ShipTo
    payment_token: str
    lines: Annotated[list[_Line], msgspec.Meta(min_length=1, max_length=MOST_ARTICLES)]


def read_order(request: HttpRequest) -> OrderRequest:
    """The order that the body asks for; raises `Problem` naming the field. None repeats a card number."""
    if request.content_type != "application/json":
        raise Problem(415, "wrong-content-type", "Send the order as application/json.", field="Content-Type")
    if int(request.META.get("CONTENT_LENGTH") or 0) > MOST_BYTES:
        raise Problem(413, "body-too-large", f"The body is larger than {MOST_BYTES} bytes.")
    body = request.body
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed-json", f"The body is not JSON: {_plain(str(error))}.") from error
    _refuse_unusable_text(parsed, "")
    try:
        order = msgspec.convert(parsed, type=_Order)
    except msgspec.ValidationError as error:
        field, detail = _explained(str(error))
        raise Problem(400, "invalid-field", detail, field=field) from error
    _check(order)
    return OrderRequest(
        customer=Contact(name=order.customer.name.strip(), email=order.customer.email),
        ship_to=Address(
            name=order.customer.name.strip(),
            line1=order.ship_to.line1.strip(),
            city=order.ship_to.city.strip(),
            postcode=order.ship_to.postcode.strip(),
            country=order.ship_to.country,
        ),
        payment_token=order.payment_token,
        lines=tuple((line.sku, line.quantity) for line in order.lines),
    )


def _check(order: _Order) -> None:
    """What types cannot say."""
    try:
        validate_email(order.customer.email)
    except ValidationError as error:
        raise _invalid("customer.email", "This is not an e-mail address.") from error
    for field, text in (
        ("customer.name", order.customer.name),
        ("ship_to.line1", order.ship_to.line1),
        ("ship_to.city", order.ship_to.city),
    ):
        if not text.strip():
            raise _invalid(field, "This is empty.")
    if not rules.POSTCODE.fullmatch(order.ship_to.postcode.strip()):
        raise _invalid("ship_to.postcode", "A postcode has letters, digits, blanks and hyphens only.")
    if order.ship_to.country not in rules.COUNTRY_CODES:
        known = ", ".join(sorted(rules.COUNTRY_CODES))
        raise _invalid("ship_to.country", f"We do not ship there. The country must be one of {known}.")
    if not rules.TOKEN.fullmatch(order.payment_token):
        raise _invalid("payment_token", "This is not a token of the payment gateway, such as tok_visa.")
    seen: set[str] = set()
    for number, line in enumerate(order.lines):
        if line.sku in seen:
            raise _invalid(
                f"lines[{number}].sku", f"The article {line.sku!r} has a line already. Add them up."
            )
        seen.add(line.sku)


def _refuse_unusable_text(value: Any, field: str) -> None:
    """Raise for card numbers and control characters wherever they stand, unknown fields included."""
    match value:
        case dict():
            for name, inner in value.items():
                _refuse_text(name, field or "body")
                _refuse_unusable_text(inner, f"{field}.{name}" if field else name)
        case list():
            for number, inner in enumerate(value):
                _refuse_unusable_text(inner, f"{field}[{number}]")
        case str():
            _refuse_text(value, field)
        case int() if not isinstance(value, bool):
            _refuse_text(str(value), field)


def _refuse_text(text: str, field: str) -> None:
    is_secret = rules.is_token_of_card_number if field == "payment_token" else rules.contains_card_number
    if is_secret(text):
        raise _invalid(
            field,
            "This looks like a card number. Send the token that the payment gateway gives for it; "
            "card numbers never come here.",
        )
    if rules.has_control_characters(text):
        raise _invalid(field, "This contains control characters.")


def _invalid(field: str, detail: str) -> Problem:
    return Problem(400, "invalid-field", detail, field=field)


_AT = re.compile(r" - at `\$\.?(?P<path>.*)`$")
_NAMED = re.compile(r"^Object (?:missing required|contains unknown) field `(?P<name>.*)`")


def _explained(message: str) -> tuple[str, str]:
    """The dotted field and the sentence of one of msgspec's messages."""
    at = _AT.search(message)
    path = at["path"] if at else ""
    sentence = message[: at.start()] if at else message
    named = _NAMED.match(sentence)
    if named:
        path = f"{path}.{named['name']}" if path else named["name"]
    return path or "body", f"{_plain(sentence)}."


def _plain(text: str) -> str:
    return text.replace("`", "'").rstrip(".")
