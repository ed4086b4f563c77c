"""What the pages of sagas show of every state a saga can be in, to whom, and at what price."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from inventory.models import Reservation, StockItem
from messaging.models import FailedAttempt, IdempotencyKey
from sagas.batch import handle_batch
from sagas.models import MessageRecord, PauseSwitch, SagaRecord, StepRecord
from sagas.standing import STEP_WORDS
from sagas.state import HAS_A_DEADLINE, SagaStatus, StepStatus
from tests.integration.sagas.checkout import Checkout

LIST = reverse("admin:sagas_sagarecord_changelist")


def page_of(checkout: Checkout) -> str:
    return reverse("admin:sagas_sagarecord_change", args=[checkout.id])


def held(checkout: Checkout) -> str:
    return reverse("admin:saga_holdings", args=[checkout.id])


@pytest.fixture
def checkout(db) -> Checkout:
    begun = Checkout()
    handle_batch([begun.start()])
    return begun


def record_message(checkout: Checkout, **more: object) -> MessageRecord:
    given = {"direction": "sent", "type": "inventory.reserve_stock.v1", "step": "reserve", "body": {}}
    return MessageRecord.objects.create(
        saga_id=checkout.id, message_id=uuid4(), at=timezone.now(), **(given | more)
    )


# --- the states ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", StepStatus)
def test_the_page_says_every_state_of_a_step_in_words_and_colour(superuser, checkout, status):
    StepRecord.objects.filter(saga_id=checkout.id, name="reserve").update(
        status=status,
        deadline_at=timezone.now() if status in HAS_A_DEADLINE else None,
        compensation="inventory.release_stock.v1",
    )

    page = superuser.get(page_of(checkout))

    assertContains(page, f"{STEP_WORDS[status]}</span>")
    assertContains(
        page, f"reserve: {STEP_WORDS[status]}; authorize", count=2
    )  # both drawings, for who hears them
    assertContains(page, f'data-step="reserve" data-state="{status}"')


@pytest.mark.parametrize("status", SagaStatus)
def test_the_list_and_the_page_say_every_state_of_a_saga(superuser, checkout, status):
    is_over = status in (SagaStatus.COMPLETED, SagaStatus.CANCELLED)
    over = {"finished_at": timezone.now(), "current": "", "look_at": None} if is_over else {}
    SagaRecord.objects.filter(id=checkout.id).update(status=status, reason="card_declined", **over)

    listed = superuser.get(LIST, {"status__exact": status})
    page = superuser.get(page_of(checkout))

    assert [saga.id for saga in listed.context["cl"].result_list] == [checkout.id]
    assertContains(listed, f"{status}</span>")
    assertContains(page, f"{status}</span>")
    assert ("data-address" in page.content.decode()) is not is_over, "what has ended is not followed"


def test_a_saga_of_a_version_that_this_release_lacks_is_shown_all_the_same(superuser, checkout):
    SagaRecord.objects.filter(id=checkout.id).update(version=99)

    page = superuser.get(page_of(checkout))

    assertContains(page, "This release does not have its definition.")
    assertContains(page, "orders.order_placed.v1")
    assertNotContains(page, "saga-diagram")


def test_the_way_back_is_drawn_where_the_saga_goes_it(superuser, checkout):
    assertNotContains(superuser.get(page_of(checkout)), 'class="arrow back"')
    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])
    handle_batch([checkout.reply("authorize", checkout.replies.declined)])

    page = superuser.get(page_of(checkout))

    assertContains(page, 'class="arrow back"', count=4)  # over place and reserve, in both drawings
    assertContains(page, "capture: never begun")


def test_only_the_switches_that_hold_this_saga_back_are_named_on_its_page(superuser, checkout):
    now = timezone.now()
    for name in ("billing", "notifications"):
        PauseSwitch.objects.create(
            id=uuid4(), kind="service", name=name, set_by="olga", reason="maintenance", set_at=now
        )
    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])

    named = superuser.get(page_of(checkout)).context["switches"]

    assert [switch.name for switch in named] == ["billing"]


def test_what_the_time_went_into_is_told_with_what_was_tried(superuser, checkout):
    now = timezone.now()
    record_message(checkout, noted_at=now + timedelta(seconds=1))
    record_message(
        checkout, direction="time", type="sagas.check_deadlines.v1", step="", body={"steps": ["reserve"]}
    )
    record_message(checkout, direction="person", type="pause", step="", noted_at=now)

    page = superuser.get(page_of(checkout))

    assertContains(page, "sent twice, no answer in time once")
    assertContains(page, "paused by a person")


def test_links_lead_to_all_that_is_known_of_the_order(superuser, checkout, settings):
    settings.FLOWER_URL = "http://flower.example/"
    message = MessageRecord.objects.get(saga_id=checkout.id, direction="sent")

    page = superuser.get(page_of(checkout))

    order = str(checkout.order_id)
    for address in (
        f"{reverse('admin:orders_order_changelist')}?id={order}",
        f"{LIST}?correlation_id={order}",
        f"{reverse('admin:deadletters_deadletter_changelist')}?order={order}",
        f"{reverse('admin:eventstore_storedevent_changelist')}?service=orders&amp;stream=order-{order}",
        f"http://flower.example/task/{message.message_id}",
        held(checkout),
    ):
        assertContains(page, f'href="{address}"')


def test_links_that_would_lead_to_a_refusal_are_left_out(client_with, checkout):
    page = client_with("sagas.view_sagarecord").get(page_of(checkout))

    for model in (
        "orders_order",
        "deadletters_deadletter",
        "eventstore_storedevent",
        "messaging_idempotencykey",
    ):
        assertNotContains(page, f"{reverse(f'admin:{model}_changelist')}?")


# --- what each service holds ---------------------------------------------------------------------------------


def test_the_stock_the_keys_and_the_trace_of_an_order_are_told(superuser, checkout):
    message = MessageRecord.objects.get(saga_id=checkout.id, direction="sent")
    sku = f"sku-{uuid4()}"
    StockItem.objects.create(sku=sku, version=1, received=10, on_hand=7, reserved=2, sold=1)
    Reservation.objects.create(
        order_id=checkout.order_id,
        version=1,
        state="held",
        lines=[{"sku": sku, "quantity": 2}],
        changed_at=timezone.now(),
    )
    IdempotencyKey.objects.using("inventory").create(
        consumer="inventory",
        key=f"{checkout.id}:reserve:1:action",
        state="finished",
        message_id=message.message_id,
        type=message.type,
        fence=0,
        reply={"envelope": {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}},
        claimed_at=timezone.now(),
        finished_at=timezone.now(),
    )

    page = superuser.get(held(checkout))

    assertContains(page, f"2 × {sku}")
    assertContains(page, "7 on hand, 2 reserved, 1 sold")
    assertContains(page, "<td>handled</td>")
    assertContains(page, f"<code>{'ab' * 16}</code>")


def test_what_the_others_hold_is_told_while_a_service_s_database_is_away(superuser, checkout, monkeypatch):
    def away(alias: str) -> None:
        raise OperationalError("could not connect to the server of Ada")

    monkeypatch.setattr(FailedAttempt.objects, "using", away)

    page = superuser.get(held(checkout))

    assertContains(page, "The database of inventory does not answer (OperationalError).")
    assertContains(page, "<h2>Shipping</h2>")
    assertNotContains(page, "Ada")


# --- to whom, and at what price ------------------------------------------------------------------------------


@pytest.mark.parametrize("permissions", [(), ("orders.view_order",), ("sagas.steer_sagarecord",)])
def test_who_may_not_view_sagas_sees_none_of_their_pages(client_with, checkout, permissions):
    client: Client = client_with(*permissions)

    for address in (LIST, page_of(checkout), held(checkout)):
        assert client.get(address).status_code == 403, address


def test_what_a_saga_says_of_a_customer_is_for_who_may_see_people(client_with, checkout):
    seeing = client_with("sagas.view_sagarecord", "eventstore.see_personal_data")

    assertContains(seeing.get(page_of(checkout)), "London")
    assertNotContains(client_with("sagas.view_sagarecord").get(page_of(checkout)), "London")


def test_a_page_takes_as_many_statements_whatever_the_saga_has_gone_through(superuser, checkout, statements):
    def spent(address: str) -> int:
        superuser.get(address)
        with statements() as count:
            assert superuser.get(address).status_code == 200
        return count()

    few = {address: spent(address) for address in (page_of(checkout), held(checkout))}
    for _ in range(40):
        record_message(checkout)
        record_message(checkout, direction="received", type="inventory.stock_reserved.v1")

    assert {address: spent(address) for address in few} == few
    assert few[page_of(checkout)] < 10


@pytest.mark.parametrize(
    "query",
    [
        "attention=nonsense",
        "step=%27%3B",
        "name=nothing",
        "status__exact=gone",
        "q=%25%27",
        "p=999",
        "id=none",
    ],
)
def test_nonsense_in_the_address_of_the_list_is_no_error(superuser, checkout, query):
    assert superuser.get(f"{LIST}?{query}", follow=True).status_code == 200


def test_nonsense_in_the_address_of_a_saga_leads_back_to_the_list(superuser, checkout):
    page = superuser.get(reverse("admin:sagas_sagarecord_change", args=["nonsense"]), follow=True)

    assert page.status_code == 200
    assertContains(page, "exist")
