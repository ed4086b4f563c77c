"""The admin's first page: what waits, what is left alone, who is needed, and that it opens whatever is away."""

from uuid import uuid4

import pytest
from django.conf import settings
from django.db import OperationalError
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from deadletters.tallies import open_by_service
from messaging import topology
from messaging.models import CircuitBreaker
from operations import admin_desk
from orders.models import Order
from sagas.models import StepRecord
from tests.integration.admin.pages import list_of
from tests.integration.admin.records import (
    an_open_breaker,
    record_letter,
    record_order,
)

pytestmark = pytest.mark.django_db(databases="__all__")


def test_the_first_page_says_what_waits_and_leads_to_shop_and_flower(
    superuser, settings, broker_url, monkeypatch
):
    settings.FLOWER_URL = "http://flower.example:5555/"
    depths = {"billing": (7, 1), "billing.dead": (3, 0), "orders.dead": (0, 0)}
    record_letter(service="shipping")
    monkeypatch.setattr(topology, "depths", lambda connection: depths)
    Order.objects.filter(id=record_order()).update(status="pending", finished_at=None)

    page = superuser.get(reverse("admin:index"))

    assertContains(page, "1 order pending")
    assertContains(page, f"{open_by_service()['shipping']} dead letter")
    assertContains(page, "in shipping")
    assertContains(page, "3 dead letters not collected yet")
    assertContains(page, 'href="http://flower.example:5555/"')
    assertContains(page, f'href="{reverse("orders:catalogue")}"')


def test_the_first_page_lists_gaps_in_streams_with_their_age(superuser, order_id):
    page = superuser.get(reverse("admin:index"))

    stream = f"order-{order_id}"
    assertContains(page, "waits for number 4 of")
    link = f"{list_of('messaging.heldbackmessage')}?service=billing&amp;stream={stream}"
    assertContains(page, link)
    assertContains(page, "1 message held back for")
    assert superuser.get(link.replace("&amp;", "&")).status_code in (200, 302)


def test_the_first_page_opens_while_the_broker_is_away(superuser, settings):
    settings.BROKER_URL = "amqp://guest:guest@127.0.0.1:1/"

    assertContains(superuser.get(reverse("admin:index")), "the broker does not answer")


def test_the_first_page_names_the_gateways_that_are_left_alone(superuser, broker_url):
    assertNotContains(superuser.get(reverse("admin:index")), "alone")
    an_open_breaker(settings.SERVICES["billing"])

    page = superuser.get(reverse("admin:index"))

    assertContains(page, "billing has left the payment gateway alone")
    assertContains(page, f"{list_of('messaging.circuitbreaker')}?service=billing")


def test_the_first_page_opens_while_a_service_s_database_is_away(superuser, broker_url, monkeypatch):
    def away(alias: str) -> None:
        raise OperationalError("could not connect")

    monkeypatch.setattr(CircuitBreaker.objects, "using", away)

    page = superuser.get(reverse("admin:index"))

    assertContains(page, "database billing does not say which gateways it leaves alone")


def test_the_first_page_opens_while_the_database_of_orders_is_away(superuser, broker_url, monkeypatch):
    def away(*_: object, **__: object) -> None:
        raise OperationalError("could not connect")

    monkeypatch.setattr(Order.objects, "filter", away)
    monkeypatch.setattr(admin_desk, "gaps", away)

    page = superuser.get(reverse("admin:index"))

    assertContains(page, "the database of orders does not answer")
    assertContains(page, "the database of orders does not say whether its streams have gaps")


def test_the_first_page_counts_sagas_that_need_a_person_also_where_the_letter_was_discarded(
    superuser, order_id, broker_url
):
    assertNotContains(superuser.get(reverse("admin:index")), "a person</a>")
    letter_id = uuid4()
    StepRecord.objects.filter(saga__correlation_id=order_id, name="authorize").update(
        status="held", deadline_at=None, letter_id=letter_id, discarded_letter_id=letter_id
    )

    page = superuser.get(reverse("admin:index"))

    assertContains(page, "1 saga needs a person")
    assertContains(page, f"{list_of('sagas.sagarecord')}?needs_a_person=yes")
