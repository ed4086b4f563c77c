"""The saga desk: what it shows, what it lets people do, and to whom it says no."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from deadletters.models import DeskEntry
from messaging.models import FailedAttempt
from sagas.batch import handle_batch
from sagas.models import MessageRecord, PauseSwitch, SagaRecord, StepRecord
from tests.integration.sagas.checkout import Checkout

LIST = reverse("admin:sagas_sagarecord_changelist")


def page_of(checkout: Checkout) -> str:
    return reverse("admin:sagas_sagarecord_change", args=[checkout.id])


def act(kind: str, *checkouts: Checkout, step: str = "") -> str:
    ids = ",".join(str(checkout.id) for checkout in checkouts)
    return f"{reverse('admin:sagas_act', args=[kind])}?ids={ids}" + (f"&step={step}" if step else "")


def confirm(client: Client, kind: str, *checkouts: Checkout, **given: str):
    ids = ",".join(str(checkout.id) for checkout in checkouts)
    return client.post(
        reverse("admin:sagas_act", args=[kind]), {"ids": ids, "confirmed": "yes", **given}, follow=True
    )


@pytest.fixture
def checkout(db) -> Checkout:
    begun = Checkout()
    handle_batch([begun.start()])
    return begun


@pytest.fixture
def member(client_of):
    """Whoever belongs to this group."""

    def of(group: str) -> Client:
        client, user = client_of(f"one-of-{group}")
        user.groups.add(Group.objects.get(name=group))
        return client

    return of


@pytest.fixture
def client_of(db, django_user_model):
    def of(name: str):
        user = django_user_model.objects.create_user(name, password="secret", is_staff=True)
        client = Client()
        client.force_login(user)
        return client, user

    return of


def test_the_page_says_in_words_what_the_saga_waits_for_and_draws_its_steps(superuser, checkout):
    page = superuser.get(page_of(checkout))

    assertContains(page, "Waits since 0 s for inventory to reserve stock")
    assertContains(page, "place: done; reserve: under way; authorize: not yet")
    assertContains(page, '<g class="step pivot tone-quiet">')
    for kind, step in (("pause", ""), ("cancel", ""), ("retry", "reserve"), ("skip", "reserve")):
        assertContains(page, act(kind, checkout, step=step).replace("&", "&amp;"))


def test_the_part_that_changes_is_sent_when_it_has_changed(superuser, checkout):
    address = reverse("admin:sagas_progress", args=[checkout.id])
    version = superuser.get(page_of(checkout)).context["version"]

    assert superuser.get(address, {"seen": version}).status_code == 204
    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])

    assertContains(superuser.get(address, {"seen": version}), "for billing to authorize payment")


def test_the_list_counts_filters_and_finds(superuser, checkout):
    other = Checkout()
    handle_batch([other.start(), other.reply("reserve", other.replies.reserved)])
    SagaRecord.objects.filter(id=other.id).update(needs_a_person=True, is_overdue=True)

    def found(**asked: str) -> set[str]:
        shown = superuser.get(LIST, asked).context["cl"].result_list
        return {str(saga.id) for saga in shown} & {str(checkout.id), str(other.id)}

    assertContains(superuser.get(LIST), "1 needs a person")
    assert found(attention="person") == found(attention="overdue") == {str(other.id)}
    assert found(step="reserve") == {str(checkout.id)}
    assert found(step="reserve.*") == {str(checkout.id)}, "nothing but a name is looked for"
    assert found(q=str(checkout.order_id)) == found(q=str(checkout.order_id)[:13]) == {str(checkout.id)}
    assert found(q=str(other.id)) == {str(other.id)}
    assert found(name="refund") == set()


def test_each_page_takes_fewer_than_ten_statements_however_many_sagas_there_are(
    superuser, checkout, statements
):
    superuser.get(LIST)
    for address in (LIST, f"{LIST}?attention=person", f"{LIST}?q=abc", page_of(checkout)):
        superuser.get(address)
        with statements() as count:
            superuser.get(address)
        few = count()
        assert few < 10, address
    handle_batch([Checkout().start() for _ in range(30)])
    with statements() as count:
        superuser.get(LIST)
    assert count() < 10


def test_what_will_be_sent_is_said_before_it_is(superuser, checkout):
    asked = superuser.get(act("retry", checkout, step="reserve"))

    assertContains(asked, "inventory.reserve_stock.v1")
    assertContains(asked, "under the key that it had")
    assert checkout.step("reserve").sendings == 1

    confirm(superuser, "retry", checkout, step="reserve")
    assert checkout.step("reserve").sendings == 2


def test_a_reason_is_asked_for_and_kept_with_the_name(superuser, checkout):
    assertContains(confirm(superuser, "cancel", checkout), "A reason is missing", status_code=422)
    assert checkout.status == "running"

    page = confirm(superuser, "cancel", checkout, reason="the customer rang")

    assertContains(page, "The saga is being undone.")
    assertContains(page, "the customer rang")
    assert checkout.status == "compensating"
    entry = DeskEntry.objects.get(saga_id=checkout.id, action="cancel")
    assert (entry.by, entry.reason, entry.outcome) == ("superuser", "the customer rang", "done")


def test_a_stuck_compensation_is_marked_as_done_by_hand_with_evidence(superuser, checkout):
    handle_batch([checkout.reply("reserve", checkout.replies.unavailable)])
    StepRecord.objects.filter(saga_id=checkout.id, name="place").update(status="stuck", deadline_at=None)
    SagaRecord.objects.filter(id=checkout.id).update(needs_a_person=True)
    assertContains(superuser.get(page_of(checkout)), "could not be undone: a person has to retry it")

    assertContains(
        confirm(superuser, "mark_undone", checkout, step="place", reason="by phone"),
        "The evidence is missing",
        status_code=422,
    )
    confirm(superuser, "mark_undone", checkout, step="place", reason="by phone", evidence="call 4711")

    assert (checkout.status, checkout.step("place").status) == ("cancelled", "mended")


def test_many_sagas_are_paused_and_resumed_at_once(superuser, checkout):
    other = Checkout()
    handle_batch([other.start()])
    ids = [str(checkout.id), str(other.id)]

    asked = superuser.post(LIST, {"action": "pause", "_selected_action": ids})
    assertContains(asked, "Pause 2 sagas")
    assertContains(confirm(superuser, "pause", checkout, other), "2 sagas were paused.")
    again = confirm(superuser, "pause", checkout, other)

    assertContains(again, "2 sagas were left as they were: It is paused already.")
    assert SagaRecord.objects.filter(id__in=ids, paused_at__isnull=False).count() == 2


def test_a_saga_is_run_again_from_a_step_that_can_be_chosen(superuser, checkout):
    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])
    choosing = superuser.get(act("fork", checkout))
    assert choosing.context["choices"] == ["authorize"]
    assertContains(superuser.get(act("fork", checkout, step="authorize")), "billing.authorize_payment.v1")
    assertContains(
        superuser.get(act("fork", checkout, step="reserve")), "would have its effect twice", status_code=409
    )

    page = confirm(superuser, "fork", checkout, step="authorize", reason="mended")

    fork = SagaRecord.objects.get(forked_from=checkout.id)
    assertRedirects(page, reverse("admin:sagas_sagarecord_change", args=[fork.id]))
    assertContains(page, f"?id={checkout.id}")
    assertContains(superuser.get(page_of(checkout)), f"?id={fork.id}")


@pytest.mark.parametrize("kind", ["skip", "cancel", "mark_undone", "fork"])
def test_support_may_not_mend_and_its_attempt_is_in_the_log(member, checkout, kind):
    support = member("Support")

    assertNotContains(support.get(page_of(checkout)), f"/act/{kind}/")
    assertContains(support.get(act(kind, checkout, step="reserve")), "You may not", status_code=403)
    refused = confirm(support, kind, checkout, step="reserve", reason="why not", evidence="none")

    assertContains(refused, "lacks the permission", status_code=403)
    assert DeskEntry.objects.get(saga_id=checkout.id).outcome == "refused"
    assert checkout.step("reserve").status == "sent"


def test_support_retries_and_operators_do_the_rest(member, checkout):
    confirm(member("Support"), "retry", checkout, step="reserve")
    assert checkout.step("reserve").sendings == 2

    confirm(member("Operators"), "skip", checkout, step="reserve", reason="it is there")
    assert checkout.step("reserve").status == "skipped"


def test_who_may_see_nothing_is_shown_nothing(client_of, checkout):
    client, _ = client_of("nobody")

    assert client.get(page_of(checkout)).status_code == 403
    assert client.get(reverse("admin:sagas_progress", args=[checkout.id])).status_code == 403
    assert client.get(reverse("admin:saga_holdings", args=[checkout.id])).status_code == 403
    assert confirm(client, "pause", checkout).status_code == 403
    assert client.post(reverse("admin:sagas_switch_set"), {"what": "service:billing"}).status_code == 403


def test_bodies_and_problems_are_masked_for_who_may_not_see_people(member, checkout):
    problem = "ValueError: 'ada@example.com' is no address"
    StepRecord.objects.filter(saga_id=checkout.id, name="reserve").update(
        status="held", deadline_at=None, letter_id=uuid4(), problem=problem
    )
    MessageRecord.objects.create(
        saga_id=checkout.id,
        direction="received",
        message_id=uuid4(),
        type="sagas.note_dead_letter.v1",
        step="reserve",
        body={"problem": problem},
        at=timezone.now(),
    )

    page = member("Support").get(page_of(checkout))
    assertNotContains(page, "ada@example.com")

    assertContains(page, "orders.order_placed.v1")
    assertNotContains(page, "London")


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (f"{reverse('admin:sagas_act', args=['retry'])}?ids=nonsense", 400),
        (f"{reverse('admin:sagas_act', args=['explode'])}?ids={uuid4()}", 400),
        (reverse("admin:sagas_act", args=["pause"]), 400),
        (f"{reverse('admin:sagas_act', args=['pause'])}?ids={uuid4()}", 404),
        (f"{reverse('admin:sagas_act', args=['fork'])}?ids={uuid4()}", 404),
        (reverse("admin:sagas_progress", args=[uuid4()]), 404),
        (reverse("admin:saga_holdings", args=[uuid4()]), 404),
        (reverse("admin:sagas_switch_lift", args=[uuid4()]), 404),
        (f"{LIST}?q=%00", 400),
    ],
)
def test_nonsense_in_an_address_is_said(superuser, address, status):
    assert superuser.get(address).status_code == status


def test_a_switch_is_set_shown_on_every_page_and_lifted(superuser, checkout):
    assertContains(superuser.post(reverse("admin:sagas_switch_set"), {}), "Choose what", status_code=422)
    setting = {"what": "service:billing", "reason": "maintenance", "minutes": "30"}
    superuser.post(reverse("admin:sagas_switch_set"), setting)
    switch = PauseSwitch.objects.get(name="billing", lifted_at=None)
    assert switch.lapses_at - switch.set_at == timedelta(minutes=30)
    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])

    assertContains(
        superuser.get(reverse("admin:orders_order_changelist")), "service billing</a> (maintenance)"
    )
    assertContains(superuser.get(page_of(checkout)), "A pause switch holds back what it would send next.")
    assertContains(superuser.get(LIST), "held back</span>")
    assertContains(superuser.get(reverse("admin:sagas_switch_lift", args=[switch.id])), "1 saga waits")
    superuser.post(reverse("admin:sagas_switch_lift", args=[switch.id]))

    assert PauseSwitch.objects.get(id=switch.id).lifted_by == "superuser"
    assertNotContains(superuser.get(LIST), 'id="switches"')
    actions = DeskEntry.objects.filter(subject="service billing").order_by("id")
    assert [entry.action for entry in actions] == ["set_switch", "lift_switch"]


def test_what_each_service_holds_is_told(superuser, checkout):
    message = MessageRecord.objects.get(saga_id=checkout.id, direction="sent")
    FailedAttempt.objects.using("inventory").create(
        consumer="inventory",
        message_id=message.message_id,
        attempt=1,
        type=message.type,
        exception="OSError: the shelf of Ada is on fire",
        traceback="",
        failed_at=timezone.now(),
    )

    page = superuser.get(reverse("admin:saga_holdings", args=[checkout.id]))

    assertContains(page, "inventory.reserve_stock.v1")
    assertContains(page, "not handled yet")
    assertContains(page, "OSError")
    assertNotContains(page, "Ada")
