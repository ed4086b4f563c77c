"""Which letters a filter means, and that nothing that anybody types is an error of the database."""

import json
from datetime import timedelta
from importlib import import_module
from uuid import uuid4

import msgspec
import pytest
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deadletters import searching, services, tallies
from deadletters.collecting.storing import fill_in
from deadletters.errors import WrongFilter
from deadletters.filtering import LetterFilter
from deadletters.models import DeadLetter
from messaging.envelope import utc_now
from tests.builders import reserve_stock
from tests.integration.deadletters.true_counts import Recorded, a_death, differences, stored

pytestmark = pytest.mark.usefixtures("committed")


def found(**query: str) -> list:
    chosen = LetterFilter.from_query(query)
    letters = list(chosen.apply(DeadLetter.objects.all()).order_by("-died_at", "-id"))
    assert tallies.count(chosen).number == len(letters)
    return [letter.id for letter in letters]


@pytest.fixture(params=["common", "rare"])
def both_ways(request, monkeypatch):
    """The same letters are found on both ways to them."""
    monkeypatch.setattr(searching, "COMMON", 0 if request.param == "common" else 10**9)


def test_each_part_of_a_filter_narrows_it(both_ways):
    word, order_id = f"w{uuid4().hex}", uuid4()
    first = a_death(message=reserve_stock(order_id))
    other = msgspec.structs.replace(a_death(service="billing"), died_at=utc_now() - timedelta(hours=5))
    stored(first, other, exception=f"ValueError: {word}")
    group = DeadLetter.objects.get(id=first.id).group_id
    services.discard([other.id], by="ada", reason="a test", at=utc_now())
    hour_ago = (utc_now() - timedelta(hours=1)).isoformat()

    assert found(q=word) == [first.id, other.id]
    for narrowed in (
        {"state": "open"},
        {"service": "inventory"},
        {"group": group},
        {"order": str(order_id)},
        {"message": str(first.message_id)},
        {"since": hour_ago},
        {"ids": str(first.id)},
    ):
        assert found(q=word, **narrowed) == [first.id], narrowed
    assert found(q=word, type=first.type) == [first.id, other.id]
    assert found(q=word, until=hour_ago) == [other.id]
    assert found(q=word, state="replaying") == []
    assert found(q=word, type="nobody.knows.v1") == []


def test_words_of_service_type_exception_and_body_are_found_and_a_beginning_where_asked(both_ways):
    sku = f"sku-{uuid4().hex}"
    (letter_id,) = stored(a_death(message=reserve_stock(uuid4(), sku=sku)), exception="TimeoutError: no")

    for text in (
        sku,
        f"{sku} inventory",
        f"reserve_stock {sku}",
        f"TIMEOUT {sku}",
        f"timeouterror {sku}",
        sku[:-5] + "*",
    ):
        assert found(q=text) == [letter_id], text
    for text in (sku[:-5], f"{sku} nobody", "'", "*"):
        assert found(q=text) == [], text


def test_an_identifier_typed_whole_finds_the_letter_by_any_of_its_identifiers(both_ways):
    saga_id, order_id = uuid4(), uuid4()
    death = a_death(message=reserve_stock(order_id), saga_id=saga_id, step="reserve")
    (letter_id,) = stored(death)
    inner = uuid4()
    (by_body,) = stored(a_death(body=json.dumps([[{"reservation": str(inner)}], {}, {}]).encode()))

    for identifier in (letter_id, death.message_id, death.correlation_id, saga_id, order_id):
        assert found(q=str(identifier)) == [letter_id]
    assert found(q=str(inner)) == found(q=str(inner)[:13]) == [by_body]


def test_what_is_personal_is_found_by_nobody(both_ways):
    mark = f"ada{uuid4().hex}"
    kept = [
        a_death(body=json.dumps([[{"ship_to": {"name": mark}, "payment_token": mark}], {}, {}]).encode()),
        a_death(body=mark.encode()),
        a_death(body=b"\xff " + mark.encode()),
    ]
    stored(*kept, exception=f"ValueError: {mark} is no name")

    assert found(q=mark) == []


def test_a_failure_that_is_filled_in_is_found_from_then_on(both_ways):
    sku, why = f"sku{uuid4().hex}", f"why{uuid4().hex}"
    (letter_id,) = stored(a_death(message=reserve_stock(uuid4(), sku=sku)), exception=None)
    assert (found(q=sku), found(q=why)) == ([letter_id], [])

    while not DeadLetter.objects.get(id=letter_id).is_failure_known:
        fill_in(failures=Recorded(f"ValueError: {why}"), limit=100)

    assert letter_id in found(q=why)
    assert found(q=f"{sku} {why}") == [letter_id]


ODD = st.text(
    st.characters() | st.sampled_from("'\\\"&|!()<->:*%_;\x00\u2028İß\ud7ff𝒳ﬁ١٢"), max_size=60
) | st.sampled_from(["'" * 500, "\\" * 500, "x" * 100_000, "a* " * 3_000, "%s %(x)s", "'; DROP TABLE x; --"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=ODD,
    name=st.sampled_from(["q", "service", "type", "group", "order"]),
    state=st.sampled_from(["", "open"]),
)
def test_nothing_that_is_typed_is_an_error_of_the_database(text, name, state):
    try:
        chosen = LetterFilter.from_query({name: text, "state": state})
    except WrongFilter:
        return
    list(chosen.apply(DeadLetter.objects.all()).order_by("-died_at", "-id")[:5])
    tallies.count(chosen, most=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=ODD, exception=ODD)
def test_nothing_that_a_letter_says_keeps_it_from_being_stored(text, exception):
    from deadletters.collecting.amqp_values import readable

    body = json.dumps([[{text: [text, {"sku": text}]}], {}, {}]).encode()

    (letter_id,) = stored(a_death(body=body), exception=readable(exception))

    assert DeadLetter.objects.filter(id=letter_id, words__isnull=False).exists()


def test_a_list_asks_three_statements_with_a_text_and_two_without(django_assert_num_queries):
    def listed(chosen: LetterFilter) -> None:
        letters = chosen.apply(DeadLetter.objects.all())
        letters.order_by()[:1_000].count()
        list(letters.order_by("-died_at", "-id")[:50])

    with django_assert_num_queries(2, using="default"):
        listed(LetterFilter(state="open", service="billing"))
    with django_assert_num_queries(3, using="default"):
        listed(LetterFilter(state="open", text="timeout"))


def test_letters_of_before_are_found_by_their_class_and_by_nothing_that_they_quote(both_ways):
    mark = f"ada{uuid4().hex}"
    (letter_id,) = stored(a_death(), exception=f"Lost{mark}: no address '{mark}'")
    migration = import_module("deadletters.migrations.0003_tally_letters_and_create_operator_groups")

    with connections["default"].cursor() as cursor:
        cursor.execute(f"{migration.WORDS} WHERE id = %s", [letter_id])

    assert found(q=f"lost{mark} inventory reserve_stock") == [letter_id]
    assert found(q=mark) == found(q="address", ids=str(letter_id)) == []
    assert differences() == []
