"""History and projections cannot be written in the admin, whoever asks; the catalogue can be edited."""

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from orders.models import Product
from tests.integration.admin.records import IN_EVERY_DATABASE, RECORDS

pytestmark = pytest.mark.django_db(databases="__all__")


def address(label: str, page: str, *args: object) -> str:
    return reverse(f"admin:{label.replace('.', '_')}_{page}", args=args)


def a_row(label: str):
    database = settings.SERVICES["orders"] if label in IN_EVERY_DATABASE else None
    rows = apps.get_model(label).objects
    return (rows.using(database) if database else rows).first()


@pytest.mark.parametrize("label", RECORDS)
def test_nobody_adds_a_record(superuser, order_id, label):
    assert superuser.get(address(label, "add")).status_code == 403
    assert superuser.post(address(label, "add"), {"version": 1}).status_code == 403


@pytest.mark.parametrize("label", RECORDS)
def test_nobody_changes_a_record(superuser, order_id, label):
    row = a_row(label)
    before = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}

    answer = superuser.post(
        address(label, "change", row.pk), {"state": "refunded", "on_hand": 999, "_save": "Save"}
    )

    assert answer.status_code == 403
    row.refresh_from_db()
    assert {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields} == before


@pytest.mark.parametrize("label", RECORDS)
def test_nobody_deletes_a_record(superuser, order_id, label):
    row = a_row(label)
    selected = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}

    assert superuser.post(address(label, "delete", row.pk), {"post": "yes"}).status_code == 403
    superuser.post(address(label, "changelist"), selected)

    row.refresh_from_db()


@pytest.mark.parametrize("label", RECORDS)
def test_a_record_offers_nothing_to_type_or_save(superuser, order_id, label):
    page = superuser.get(address(label, "change", a_row(label).pk)).content.decode()

    assert 'name="_save"' not in page
    assert "deletelink" not in page
    assert "<textarea" not in page


@pytest.mark.parametrize("label", RECORDS)
def test_staff_without_the_permission_sees_nothing(order_id, django_user_model, label):
    client = Client()
    client.force_login(django_user_model.objects.create_user("nobody", is_staff=True))

    assert client.get(address(label, "changelist")).status_code == 403
    assert client.get(address(label, "change", a_row(label).pk)).status_code == 403


def test_an_article_is_described_and_priced_anew(superuser):
    page = superuser.get(address("orders.product", "change", "mug"))
    assert 'value="12.50"' in page.content.decode()

    answer = superuser.post(
        address("orders.product", "change", "mug"),
        {
            "name": "Everyday mug",
            "description": "Blue now.",
            "price_amount": "13.95",
            "image": "",
            "position": "1",
            "is_listed": "on",
        },
    )

    assert answer.status_code == 302
    mug = Product.objects.get(sku="mug")
    assert (mug.price_amount, mug.description) == (1395, "Blue now.")
    assert LogEntry.objects.get().user.username == "superuser"


@pytest.mark.parametrize("price", ["", "0", "-1", "1.999", "nonsense"])
def test_a_price_that_is_none_is_refused(superuser, price):
    before = Product.objects.get(sku="mug").price_amount

    page = superuser.post(
        address("orders.product", "change", "mug"),
        {"name": "Everyday mug", "price_amount": price, "position": "1", "is_listed": "on"},
    )

    assert "price_amount" in page.context["adminform"].form.errors
    assert Product.objects.get(sku="mug").price_amount == before


def test_articles_are_neither_added_nor_deleted_here(superuser):
    assert superuser.get(address("orders.product", "add")).status_code == 403
    assert superuser.post(address("orders.product", "delete", "mug"), {"post": "yes"}).status_code == 403
    assert Product.objects.filter(sku="mug").exists()
