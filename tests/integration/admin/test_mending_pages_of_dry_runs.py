"""The page of a dry run: a verdict, what would be written, sent and asked, and that nothing was."""

from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from deadletters.admin import dry_runs
from deadletters.errors import DeadLetterError
from deadletters.models import DeadLetter, DeskEntry
from deadletters.rehearsals.dry_runs import DryRun, GatewayCall, Told, Write
from tests.integration.admin.people import LOOKS, REPLAY, SEE_PERSONAL_DATA, staff
from tests.integration.admin.records import STREET, TOKEN, placed, record_letter

pytestmark = pytest.mark.django_db


def address(letter_id: UUID) -> str:
    return reverse("admin:deadletters_dry_run", args=[letter_id])


@pytest.fixture
def operator(db: None) -> Client:
    return staff("ada", *LOOKS, REPLAY)


@pytest.fixture
def finds(monkeypatch):
    """Have the next dry run find this. What a real one finds is its own tests' affair."""

    def finds_(letter: DeadLetter, **found: object) -> None:
        run = DryRun(letter_id=letter.id, service=letter.service, type=letter.type, **found)
        monkeypatch.setattr(dry_runs, "dry_run", lambda letter_id: run)

    return finds_


def test_a_run_that_would_succeed_shows_what_it_would_write_send_and_ask(operator, finds):
    letter = record_letter()
    finds(
        letter,
        would_succeed=True,
        verdict="It would be handled.",
        writes=[Write(table="billing_payment", operation="INSERT", rows=1)],
        told=[Told(type="billing.payment_authorized.v1", to="exchange events", body={"order_id": "o1"})],
        gateway_calls=[GatewayCall(gateway="payment gateway", request={"amount": 5}, answer="authorized")],
    )

    page = operator.post(address(letter.id))

    for said in (
        "Nothing was changed or sent.",
        "would succeed",
        "It would be handled.",
        "billing_payment",
        "billing.payment_authorized.v1",
        "was not asked. Assumed instead: authorized",
        "Replay the letter…",
    ):
        assertContains(page, said)
    entry = DeskEntry.objects.get()
    assert (entry.by, entry.action, entry.outcome, entry.letter_id) == ("ada", "dry run", "done", letter.id)


@pytest.mark.parametrize(
    ("is_same", "badge", "said"),
    [(True, "would fail again</span>", "the same failure"), (False, "would fail</span>", "another failure")],
)
def test_a_run_that_would_fail_shows_the_error_and_whether_it_is_the_old_one(
    operator, finds, is_same, badge, said
):
    letter = record_letter()
    finds(
        letter,
        would_succeed=False,
        verdict="It would fail again.",
        exception="KeyError: 'authorization'",
        traceback="Traceback: line 7",
        is_same_failure=is_same,
    )

    page = operator.post(address(letter.id))

    for expected in (badge, "KeyError: &#x27;authorization&#x27;", "Traceback: line 7", said):
        assertContains(page, expected)
    assertNotContains(page, "Replay the letter…")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"verdict": "It is busy.", "exception": "OperationalError: deadlock", "is_tried": False},
            "not tried</span>",
        ),
        ({"verdict": "It would wait: a gap is open."}, "not known</span>"),
    ],
)
def test_a_run_that_has_no_end_counts_as_neither(operator, finds, found, said):
    letter = record_letter()
    finds(letter, would_succeed=False, **found)

    page = operator.post(address(letter.id))

    assertContains(page, said)
    assertNotContains(page, "Replay the letter…")


def test_customers_and_tokens_are_hidden_from_who_may_not_read_of_them(operator, finds):
    message = placed(uuid4())
    letter, body = record_letter(message=message), message.to_payload()
    finds(
        letter,
        would_succeed=False,
        verdict=f"It would fail: KeyError: '{TOKEN}'.",
        exception=f"KeyError: '{TOKEN}'",
        traceback=f"Traceback (most recent call last):\nKeyError: '{TOKEN}' at {STREET}",
        told=[Told(type="orders.order_placed.v1", to="sagas", body=body)],
        gateway_calls=[GatewayCall(gateway="payment gateway", request={"token": TOKEN}, answer="ok")],
    )

    page = operator.post(address(letter.id))
    for hidden in (TOKEN, STREET.split("'")[0]):
        assertNotContains(page, hidden)
        assert hidden not in DeskEntry.objects.get().detail
    assertContains(page, "is hidden")

    page = staff("grace", *LOOKS, REPLAY, SEE_PERSONAL_DATA).post(address(letter.id))
    for shown in (TOKEN, STREET.split("'")[0]):
        assertContains(page, shown)


def test_what_cannot_be_tried_is_answered_in_words(operator, monkeypatch):
    letter = record_letter()

    def refuse(letter_id: UUID) -> DryRun:
        raise DeadLetterError("The service's database is away.")

    monkeypatch.setattr(dry_runs, "dry_run", refuse)

    assertContains(operator.post(address(letter.id)), "database is away", status_code=422)
    assertContains(operator.post(address(uuid4())), "There is no dead letter", status_code=404)


def test_an_address_that_is_opened_runs_nothing(operator):
    letter = record_letter()

    answer = operator.get(address(letter.id))

    assertRedirects(answer, reverse("admin:deadletters_deadletter_change", args=[letter.id]))
    assert not DeskEntry.objects.exists()


def test_hostile_text_is_shown_and_does_nothing(operator, finds):
    hostile = "<script>alert(1)</script>"
    letter = record_letter(type=hostile)
    finds(
        letter,
        would_succeed=False,
        verdict=hostile,
        exception=hostile,
        traceback=hostile,
        decided=[hostile],
        writes=[Write(table=hostile, operation=hostile, rows=1)],
        told=[Told(type=hostile, to=hostile, body={hostile: hostile})],
        gateway_calls=[GatewayCall(gateway=hostile, request={hostile: hostile}, answer=hostile)],
    )

    page = operator.post(address(letter.id))

    assertNotContains(page, hostile)
    for inline in (" style=", "<style", "<script>", " onclick="):
        assertNotContains(page, inline)


def test_the_installed_handler_is_really_run_and_nothing_of_it_is_kept(committed):
    client = staff(f"ada-{uuid4().hex}", *LOOKS, REPLAY)
    letter = record_letter()

    page = client.post(address(letter.id))

    assertContains(page, "Nothing was changed or sent.")
    assert DeadLetter.objects.get(id=letter.id).state == "open"
    assert DeskEntry.objects.get(letter_id=letter.id).detail
