"""What an operator sees: every record, in the shop's words, in a few statements a page."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from contracts.billing import AuthorizePayment, VoidPayment
from messaging.handling import policy_of
from messaging.models import FailedAttempt, OutboxMessage
from orders.models import Order
from sagas.models import SagaRecord, StepRecord
from tests.integration.admin.pages import list_of, row_links, the_row
from tests.integration.admin.records import (
    EMAIL,
    IN_EVERY_DATABASE,
    NOON,
    RECORDS,
    STREET,
    TOKEN,
    an_open_breaker,
    record_letter,
    record_order,
)

pytestmark = pytest.mark.django_db(databases="__all__")

MOST_STATEMENTS = 9


@pytest.mark.parametrize("label", [*RECORDS, "orders.product"])
def test_a_list_takes_as_many_statements_for_thirty_rows_as_for_one(superuser, order_id, statements, label):
    superuser.get(list_of(label))
    with statements() as count_one:
        superuser.get(list_of(label))
    for _ in range(29):
        record_order()

    with statements() as count_thirty:
        page = superuser.get(list_of(label))

    assert page.status_code == 200
    assert count_thirty() == count_one() <= MOST_STATEMENTS


@pytest.mark.parametrize("label", RECORDS)
def test_a_record_takes_few_statements(superuser, order_id, statements, label):
    address = row_links(superuser.get(list_of(label)))[0]
    superuser.get(address)

    with statements() as count:
        page = superuser.get(address)

    assert page.status_code == 200
    assert count() <= MOST_STATEMENTS


@pytest.mark.parametrize("label", RECORDS)
def test_searching_and_filtering_answer(superuser, order_id, label):
    for asked in ({"q": "mug"}, {"q": str(order_id)}, {"q": "' OR 1=1"}):
        assert superuser.get(list_of(label), asked).status_code == 200


def test_an_order_tells_its_story_and_leads_to_every_service(superuser, order_id):
    page = superuser.get(reverse("admin:orders_order_change", args=[order_id]))

    for shown in ("confirmed", "12.50 EUR", "2026-11-23 12:00:07", "2.5 s", "Everyday mug", "Goods reserved"):
        assertContains(page, shown)
    for label, asked in (
        ("sagas.sagarecord", {"correlation_id": order_id}),
        ("billing.payment", {"order_id": order_id}),
        ("inventory.reservation", {"order_id": order_id}),
        ("shipping.shipment", {"order_id": order_id}),
        ("notifications.notification", {"order_id": order_id}),
        ("inventory.stockitem", {"sku": "mug"}),
    ):
        (name, value), *_ = asked.items()
        assertContains(page, f"{list_of(label)}?{name}={value}")
        assert superuser.get(the_row(superuser, label, **asked)).status_code == 200
    assertContains(page, f"{list_of('eventstore.storedevent')}?service=orders&amp;stream=order-{order_id}")


def test_a_saga_shows_its_steps_in_words_and_its_messages_with_bodies(superuser, order_id):
    page = superuser.get(the_row(superuser, "sagas.sagarecord", correlation_id=order_id))

    assertContains(page, '<span class="badge badge-waiting">under way</span>', html=True)
    assertContains(page, '<span class="badge badge-good">done</span>', html=True)
    for shown in (
        "authorize",
        "release stock",
        "340 ms",
        "12:01:07.250",
        "orders.order_placed.v1",
        TOKEN,
    ):
        assertContains(page, shown)
    assertContains(page, f"{list_of('orders.order')}?id={order_id}")


def test_the_list_of_sagas_says_what_each_waits_for(superuser, order_id):
    page = superuser.get(list_of("sagas.sagarecord"))

    assertContains(page, '<td class="field-shown_current">authorize</td>', html=True)
    assertContains(page, '<td class="field-shown_sendings">2</td>', html=True)


def test_a_saga_that_needs_a_person_is_found_and_shows_its_dead_letter(superuser, order_id):
    other_order, letter_id = record_order(), uuid4()
    StepRecord.objects.filter(saga__correlation_id=order_id, name="authorize").update(
        status="held", deadline_at=None, letter_id=letter_id, problem="ValueError: the gateway says nonsense"
    )

    SagaRecord.objects.filter(correlation_id=order_id).update(needs_a_person=True)

    found = superuser.get(list_of("sagas.sagarecord"), {"attention": "person"})
    page = superuser.get(the_row(superuser, "sagas.sagarecord", correlation_id=order_id))

    assertContains(found, '<span class="badge badge-bad">needs a person</span>', html=True)
    assertNotContains(found, other_order)
    assertContains(page, '<span class="badge badge-bad">waits for a person</span>', html=True)
    for shown in ("ValueError: the gateway says nonsense", f"dead letter {letter_id}", f"?id={letter_id}"):
        assertContains(page, shown)
    assertNotContains(page, "discarded")
    StepRecord.objects.filter(letter_id=letter_id).update(discarded_letter_id=letter_id)
    assertContains(
        superuser.get(the_row(superuser, "sagas.sagarecord", correlation_id=order_id)), ", discarded"
    )


@pytest.mark.parametrize("state", ["open", "discarded"])
def test_a_saga_shows_the_state_that_its_dead_letter_has_now(superuser, order_id, state):
    letter = record_letter(state=state, closed_at=None if state == "open" else NOON)
    StepRecord.objects.filter(saga__correlation_id=order_id, name="authorize").update(
        status="held", deadline_at=None, letter_id=letter.id, discarded_letter_id=letter.id
    )

    page = superuser.get(the_row(superuser, "sagas.sagarecord", correlation_id=order_id))

    assertContains(page, f"dead letter {letter.id}</a>, {state}")


def test_the_reason_of_an_order_is_a_filter(superuser, order_id):
    cancelled = record_order()
    Order.objects.filter(id=cancelled).update(status="cancelled", reason="card_declined")

    page = superuser.get(list_of("orders.order"), {"reason": "card_declined"})

    assertContains(page, cancelled)
    assertNotContains(page, order_id)


def test_finished_sagas_and_dead_letters_are_filters(superuser, order_id):
    def count(label: str, **asked: str) -> int:
        return superuser.get(list_of(label), asked).context["cl"].result_count

    assert count("sagas.sagarecord", status__exact="running") == 1
    assert count("sagas.sagarecord", status__exact="completed") == 0
    assert count("sagas.sagarecord", step="authorize", name="checkout") == 1
    assert count("sagas.sagarecord", step="ship") == 0
    assert count("messaging.failedattempt", service="billing", next_attempt_at_is="null") == 1
    assert count("messaging.failedattempt", service="billing", next_attempt_at_is="given") == 0


def test_what_is_not_there_yet_is_said(superuser):
    page = superuser.get(list_of("billing.payment"), {"order_id": uuid4()})

    assertContains(page, "No payment: billing has not been asked, or has not answered yet.")


def test_an_identifier_that_is_none_does_not_break_the_list(superuser):
    assertRedirects(
        superuser.get(list_of("billing.payment"), {"order_id": "nonsense"}),
        list_of("billing.payment") + "?e=1",
    )


@pytest.mark.parametrize("label", IN_EVERY_DATABASE)
def test_bookkeeping_is_shown_one_service_at_a_time(superuser, order_id, label):
    def rows(service: str) -> list[object]:
        page = superuser.get(list_of(label), {"service": service})
        assertNotContains(page, "service=all")
        return [(row._state.db, row.pk, str(row)) for row in page.context["cl"].result_list]

    for service in ("orders", "billing"):
        assert rows(service)
        assert {alias for alias, _, _ in rows(service)} == {settings.SERVICES[service]}
    assert set(rows("orders")).isdisjoint(rows("billing"))
    first = superuser.get(list_of(label)).context["cl"].result_list
    assert {row._state.db for row in first} == {settings.SERVICES[next(iter(settings.SERVICES))]}


def test_a_record_in_every_database_is_read_from_the_service_in_its_address(superuser, order_id):
    (link, *_) = row_links(superuser.get(list_of("eventstore.storedevent"), {"service": "billing"}))

    assert link.endswith("?service=billing")
    assertContains(superuser.get(link), "billing.payment_authorized.v1")


@pytest.mark.parametrize("label", IN_EVERY_DATABASE)
def test_a_service_that_is_not_there_is_not_found(superuser, label):
    assert superuser.get(list_of(label), {"service": "accounting"}).status_code == 404


def test_services_that_share_a_database_are_still_shown_apart(superuser, order_id):
    """`sagas` and `operations` both keep their messages in `default`."""
    keys = (
        superuser.get(list_of("messaging.idempotencykey"), {"service": "operations"})
        .context["cl"]
        .result_list
    )

    assert {key.consumer for key in keys} == {"operations"}


def test_bodies_hide_tokens_and_people_from_who_may_not_see_them(superuser, reader, order_id):
    pages = [
        the_row(superuser, "sagas.sagarecord", correlation_id=order_id),
        *(
            row_links(superuser.get(list_of(label), {"service": "orders"}))[0]
            for label in (
                "messaging.outboxmessage",
                "messaging.idempotencykey",
                "messaging.heldbackmessage",
                "eventstore.storedevent",
            )
        ),
    ]
    for address in pages:
        for_superuser, for_reader = superuser.get(address), reader.get(address)

        assertContains(for_superuser, TOKEN)
        assertNotContains(for_superuser, "whoever has the permission")
        for secret in (TOKEN, STREET, STREET.replace("'", "&#x27;"), EMAIL, "Ada Lovelace"):
            assertNotContains(for_reader, secret)
        assertContains(for_reader, "(hidden)")
        assertContains(for_reader, "whoever has the permission")
        assertContains(for_reader, "Everyday mug")
    assert SagaRecord.objects.get(correlation_id=order_id).data[""]["payment_token"] == TOKEN


def test_a_retry_says_which_attempt_it_is_of_how_many_and_when(superuser, order_id):
    database, later = settings.SERVICES["billing"], datetime.now(UTC) + timedelta(hours=1)
    waiting = OutboxMessage.objects.using(database).get(service="billing")
    for attempt, available_at in ((3, later), (4, waiting.available_at)):
        OutboxMessage.objects.using(database).create(
            message_id=uuid4(),
            service="billing",
            type=AuthorizePayment.wire_type,
            exchange="",
            routing_key="billing",
            headers={"attempt": attempt},
            body={},
            available_at=available_at,
            created_at=waiting.created_at,
        )

    page = superuser.get(list_of("messaging.outboxmessage"), {"service": "billing"})

    assertContains(page, f"attempt 3 of {settings.RETRY_ATTEMPTS}, next <time")
    assertContains(page, f'title="{later:%Y-%m-%d %H:%M:%S} UTC">in 59 min</time>')
    assertContains(page, f"attempt 4 of {settings.RETRY_ATTEMPTS}, due")
    assertContains(page, "first sending")


def test_a_failed_attempt_says_when_the_next_is_or_that_it_was_the_last(superuser, order_id):
    database, later = settings.SERVICES["billing"], datetime.now(UTC) + timedelta(hours=1)
    (last,) = FailedAttempt.objects.using(database).filter(consumer="billing")
    patience = policy_of("billing", VoidPayment.wire_type).attempts
    FailedAttempt.objects.using(database).create(
        consumer="billing",
        message_id=uuid4(),
        attempt=3,
        type=VoidPayment.wire_type,
        exception="TransientError: no answer",
        traceback="",
        failed_at=last.failed_at,
        next_attempt_at=later,
    )

    page = superuser.get(list_of("messaging.failedattempt"), {"service": "billing"})

    assertContains(page, f"attempt 1 of {settings.RETRY_ATTEMPTS} failed: <span")
    assertContains(page, f"attempt 3 of {patience} failed, <span")
    assertContains(page, f'title="{later:%Y-%m-%d %H:%M:%S} UTC">in 59 min</time>')


def test_a_message_says_which_gateway_it_waits_for(superuser, order_id):
    an_open_breaker(settings.SERVICES["billing"])

    page = superuser.get(list_of("messaging.outboxmessage"), {"service": "billing"})

    assertContains(page, '<span class="badge badge-bad">waits for payment gateway</span>', html=True)
    assertContains(page, f"attempt 3 of {settings.RETRY_ATTEMPTS}, at the latest <time")


def test_an_open_breaker_leads_to_what_waits_for_it(superuser, order_id):
    an_open_breaker(settings.SERVICES["billing"])

    page = superuser.get(list_of("messaging.circuitbreaker"), {"service": "billing", "state": "open"})

    (row,) = page.context["cl"].result_list
    assert (row.gateway, row.waiting_messages) == ("payment gateway", 1)
    assertContains(page, "next <time")
    assertContains(page, "TransientError: no answer")
    waiting = f"{list_of('messaging.outboxmessage')}?service=billing&waits_for=payment+gateway"
    assertContains(page, waiting.replace("&", "&amp;"))
    assert superuser.get(waiting).context["cl"].result_count == 1


def test_pages_carry_no_inline_script_or_style(superuser, order_id):
    for address in (
        reverse("admin:index"),
        list_of("sagas.sagarecord"),
        the_row(superuser, "sagas.sagarecord", correlation_id=order_id),
        reverse("admin:orders_order_change", args=[order_id]),
        reverse("admin:orders_product_change", args=["mug"]),
    ):
        page = superuser.get(address)
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        for inline in (" style=", "<style", "<script>", " onclick="):
            assertNotContains(page, inline)


def test_who_may_see_an_order_is_led_to_its_dead_letters_and_to_no_page_that_is_closed_to_him(
    superuser, order_id, client_with
):
    address = reverse("admin:orders_order_change", args=[order_id])
    support = client_with("orders.view_order", "view")

    page = support.get(address)

    assertContains(page, f"{reverse('admin:deadletters_deadletter_changelist')}?order={order_id}")
    assertNotContains(page, reverse("admin:billing_payment_changelist"))
    assertContains(superuser.get(address), reverse("admin:billing_payment_changelist"))


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/admin/billing/payment/", 403, "You may not see this page."),
        ("/admin/no/such/page/", 404, "There is nothing at this address."),
    ],
)
def test_a_page_that_is_missing_or_closed_leads_back_to_the_first_page(client_with, address, status, said):
    page = client_with("view").get(address)

    assertContains(page, said, status_code=status)
    assertContains(page, "Back to the first page", status_code=status)
    assertNotContains(page, "Go to the shop", status_code=status)


def test_a_wrong_address_of_the_shop_is_answered_by_the_shop(client_with):
    assertContains(client_with("view").get("/no-such-page"), "Go to the shop", status_code=404)


@pytest.mark.parametrize(
    ("label", "title", "filtered_by"),
    [
        ("orders.order", "Orders", "By time placed"),
        ("deadletters.deskentry", "Operators&#x27; log", "By time"),
        ("deadletters.letterjob", "Bulk jobs", "By time requested"),
    ],
)
def test_lists_of_history_are_named_after_what_they_hold(superuser, order_id, label, title, filtered_by):
    page = superuser.get(list_of(label))

    assertContains(page, f"<h1>{title}</h1>")
    assertContains(page, filtered_by)
