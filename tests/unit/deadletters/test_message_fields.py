"""The fields of a message type, as whoever edits one is told of them."""

import pytest

from contracts.billing import AuthorizePayment
from contracts.catalogue import MESSAGE_TYPES
from contracts.orders import OrderPlaced
from deadletters.editing.message_fields import fields_of


def test_nested_fields_come_after_what_they_are_in_with_their_whole_path():
    paths = [field.path for field in fields_of(OrderPlaced)]

    assert paths[:4] == ["order_id", "lines", "lines[].sku", "lines[].name"]
    assert "lines[].unit_price.currency" in paths
    assert "ship_to.city" in paths


def test_what_may_stand_there_is_told_in_words():
    told = {field.path: field.type for field in fields_of(OrderPlaced)}

    assert told["order_id"] == "identifier (UUID)"
    assert told["lines"] == "list, each of them: object"
    assert told["lines[].quantity"] == "whole number, 1 to 1000000"
    assert told["total.currency"] == "text, like ^[A-Z]{3}$"
    assert told["lines[].sku"] == "text, at most 64 characters, like ^[a-z0-9][a-z0-9-]*$"


def test_every_field_of_a_command_is_required_that_has_no_default():
    assert all(field.is_required for field in fields_of(AuthorizePayment))


@pytest.mark.parametrize("message_type", MESSAGE_TYPES.values(), ids=MESSAGE_TYPES.keys())
def test_every_message_type_can_be_told(message_type):
    assert {field.path for field in fields_of(message_type)} >= set(message_type.__struct_fields__)
