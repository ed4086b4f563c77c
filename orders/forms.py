"""The checkout form and what it accepts."""

import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from contracts.values import Address, Contact
from orders import rules
from orders.cart import MOST_ARTICLES, MOST_PIECES
from orders.services import OrderRequest

_KEY = re.compile(r"[A-Za-z0-9_-]{20,64}", re.ASCII)
_LINE = re.compile(r"([a-z0-9][a-z0-9-]{0,63}):([1-9][0-9]?)", re.ASCII)
_STALE = "This form is no longer complete. Please go back to your cart and begin the checkout again."

Lines = tuple[tuple[str, int], ...]


class CheckoutForm(forms.Form):
    """Who orders, where it goes, and the token that stands for the card.

    The goods are part of the form, not of the cookie: what the customer saw is what is ordered, also when the
    form is sent again after the cart was emptied. What looks like a card number is refused wherever it stands
    and is not kept, so that no answer repeats it.
    """

    name = forms.CharField(
        label="Full name",
        max_length=rules.LONGEST["name"],
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
        error_messages={"required": "Please tell us your name."},
    )
    email = forms.EmailField(
        label="E-mail",
        max_length=rules.LONGEST["email"],
        help_text="For the confirmation. Nothing else.",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
        error_messages={
            "required": "Please give an e-mail address.",
            "invalid": "This is not an e-mail address. It should look like name@example.com.",
        },
    )
    line1 = forms.CharField(
        label="Street and number",
        max_length=rules.LONGEST["line1"],
        widget=forms.TextInput(attrs={"autocomplete": "address-line1"}),
        error_messages={"required": "Please give a street and number."},
    )
    postcode = forms.CharField(
        label="Postcode",
        max_length=rules.LONGEST["postcode"],
        widget=forms.TextInput(attrs={"autocomplete": "postal-code"}),
        error_messages={"required": "Please give a postcode."},
    )
    city = forms.CharField(
        label="Town or city",
        max_length=rules.LONGEST["city"],
        widget=forms.TextInput(attrs={"autocomplete": "address-level2"}),
        error_messages={"required": "Please give a town or city."},
    )
    country = forms.ChoiceField(
        label="Country",
        choices=[("", "Choose a country"), *rules.COUNTRIES],
        widget=forms.Select(attrs={"autocomplete": "country"}),
        error_messages={
            "required": "Please choose a country.",
            "invalid_choice": "We do not ship to this country. Please choose one from the list.",
        },
    )
    payment_token = forms.CharField(
        label="Payment",
        max_length=rules.MOST_TOKEN,
        widget=forms.HiddenInput,
        error_messages={"required": "Please give a card to pay with."},
    )
    checkout_key = forms.CharField(widget=forms.HiddenInput, error_messages={"required": _STALE})
    lines = forms.CharField(widget=forms.HiddenInput, error_messages={"required": _STALE})
    total = forms.CharField(widget=forms.HiddenInput, required=False)
    """What the page showed, in cents and currency: an order is not placed at another price than was seen."""

    def __init__(self, data: QueryDict | None = None, **arguments: Any) -> None:
        self._card_numbers: list[str] = []
        if data is not None:
            data = self._without_card_numbers(data)
        super().__init__(data, **arguments)

    def _without_card_numbers(self, data: QueryDict) -> QueryDict:
        kept = data.copy()
        for name, values in data.lists():
            if name == "csrfmiddlewaretoken":
                continue
            is_secret: Callable[[str], bool] = (
                rules.is_token_of_card_number if name == "payment_token" else rules.contains_card_number
            )
            if any(is_secret(value) for value in values) or rules.contains_card_number(name):
                self._card_numbers.append(name)
                kept.setlist(name, [""])
        return kept

    def clean_postcode(self) -> str:
        postcode: str = self.cleaned_data["postcode"]
        if not rules.POSTCODE.fullmatch(postcode):
            raise ValidationError("This is not a postcode. Use letters, digits, blanks and hyphens.")
        return postcode

    def clean_payment_token(self) -> str:
        token: str = self.cleaned_data["payment_token"]
        if not rules.TOKEN.fullmatch(token):
            raise ValidationError("The card could not be read. Please enter it again.")
        return token

    def clean_checkout_key(self) -> str:
        key: str = self.cleaned_data["checkout_key"]
        if not _KEY.fullmatch(key):
            raise ValidationError(_STALE)
        return key

    def clean_lines(self) -> Lines:
        return parse_lines(self.cleaned_data["lines"])

    def clean(self) -> None:
        for name, value in list(self.cleaned_data.items()):
            if isinstance(value, str) and rules.has_control_characters(value):
                self.add_error(name, "This contains characters that cannot be typed. Please write it again.")
        for name in self._card_numbers:
            field = name if name in self.fields and not self.fields[name].widget.is_hidden else None
            if name == "payment_token":
                field = name
            if field is not None:
                self.errors.pop(field, None)
            self.add_error(
                field,
                "This looked like a card number, so we did not keep it. Card numbers belong into the card "
                "fields only, from where they go to the payment provider and never to us.",
            )

    def show_total(self, total: str) -> None:
        """Have the form, shown again, carry this total."""
        self.data = {**{name: self.data[name] for name in self.data}, "total": total}

    def order_request(self) -> OrderRequest:
        """What to place; the form must be valid."""
        given = self.cleaned_data
        return OrderRequest(
            customer=Contact(name=given["name"], email=given["email"]),
            ship_to=Address(
                name=given["name"],
                line1=given["line1"],
                city=given["city"],
                postcode=given["postcode"],
                country=given["country"],
            ),
            payment_token=given["payment_token"],
            lines=given["lines"],
        )


def format_lines(lines: Lines) -> str:
    """The goods as a hidden field holds them: `mug:2,teapot:1`."""
    return ",".join(f"{sku}:{quantity}" for sku, quantity in lines)


def parse_lines(text: str) -> Lines:
    """The goods of a hidden field; raises `ValidationError` for what `format_lines` has not written."""
    parts = [_LINE.fullmatch(part) for part in text.split(",")]
    lines = tuple((part[1], int(part[2])) for part in parts if part is not None)
    if len(lines) != len(parts) or len(dict(lines)) != len(lines) or len(lines) > MOST_ARTICLES:
        raise ValidationError(_STALE)
    return lines


class QuantityForm(forms.Form):
    """How many pieces of one article."""

    sku = forms.RegexField(r"^[a-z0-9][a-z0-9-]{0,63}$", widget=forms.HiddenInput)
    quantity = forms.IntegerField(
        label="Quantity",
        min_value=1,
        max_value=MOST_PIECES,
        initial=1,
        widget=forms.NumberInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
        error_messages={
            "required": f"Please give a quantity from 1 to {MOST_PIECES}.",
            "invalid": f"Please give a whole number from 1 to {MOST_PIECES}.",
            "min_value": f"Please give a quantity from 1 to {MOST_PIECES}.",
            "max_value": f"We sell at most {MOST_PIECES} of one article in one order.",
        },
    )
