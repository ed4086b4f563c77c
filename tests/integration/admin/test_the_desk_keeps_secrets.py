"""What messages say of customers, for people who may not read that: not shown, and not found out by asking either."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from deadletters.collecting.words import words_of
from messaging.models import FailedAttempt
from tests.integration.admin.edits_at_hand import an_edit
from tests.integration.admin.jobs_at_hand import came_back, record_job
from tests.integration.admin.pages import list_of
from tests.integration.admin.people import LOOKS, REPLAY, SEE_PERSONAL_DATA, of_group, permission, staff
from tests.integration.admin.records import NOON, STREET, TOKEN, record_letter

pytestmark = pytest.mark.django_db

UNQUOTED = f"ValueError: no courier goes to Ada Lovelace of {STREET}"
TRACEBACK = f"""Traceback (most recent call last):
  File "/app/orders/handlers.py", line 12, in place
    raise ValueError(f"no courier goes to {{name}} of {{street}}")
{UNQUOTED}"""


def a_telling_letter(**more):
    """A letter whose exception says, without quotation marks, what its message says of the customer."""
    return record_letter(**{"exception": UNQUOTED, "traceback": TRACEBACK, **more})


@pytest.fixture
def support(db) -> Client:
    return of_group("sue", "Support")


@pytest.fixture
def trusted(db) -> Client:
    return staff("tess", *LOOKS, REPLAY, SEE_PERSONAL_DATA)


def tells(page) -> bool:
    text = page.content.decode()
    return "Lovelace" in text or "James" in text


@pytest.mark.parametrize(
    "page_of",
    [
        lambda letter: f"{reverse('admin:deadletters_act', args=['replay'])}?ids={letter.id}",
        lambda letter: reverse("admin:deadletters_deadletter_change", args=[letter.id]),
        lambda letter: reverse("admin:deadletters_deadletter_changelist"),
        lambda letter: reverse("admin:deadletters_lettergroup_change", args=[letter.group_id]),
        lambda letter: reverse("admin:deadletters_lettergroup_changelist"),
    ],
    ids=["the page that asks", "letter", "letters", "group", "groups"],
)
def test_no_page_repeats_what_an_exception_says_without_quotation_marks(support, page_of):
    letter = a_telling_letter()

    page = support.get(page_of(letter))

    assert page.status_code == 200
    assert not tells(page)


@pytest.mark.parametrize("page", ["change", "progress"])
def test_the_page_of_a_job_does_not_repeat_it_either(support, trusted, page):
    job = record_job(state="stopped")
    came_back(job, exception=UNQUOTED, traceback=TRACEBACK)
    address = reverse(f"admin:deadletters_letterjob_{page}", args=[job.id])

    hidden, shown = support.get(address), trusted.get(address)

    assertContains(hidden, "ValueError")
    assert not tells(hidden)
    assert tells(shown)


@pytest.mark.parametrize(
    "body",
    [b"Ada Lovelace, 12 St James's Square", json.dumps([["x" * 300_000], {}, {}]).encode()],
    ids=["no JSON", "too large to be read"],
)
@pytest.mark.parametrize("page", ["deadletter", "lettergroup"])
def test_of_a_body_that_cannot_be_read_the_exception_tells_its_class_alone(support, trusted, body, page):
    letter = a_telling_letter(body=body)
    row = letter.id if page == "deadletter" else letter.group_id
    address = reverse(f"admin:deadletters_{page}_change", args=[row])

    hidden = support.get(address)

    assertContains(hidden, "ValueError: (hidden)")
    assertContains(hidden, "line 12, in place")
    assert not tells(hidden)
    assert tells(trusted.get(address))


@pytest.mark.parametrize(
    "asked",
    [
        {"before__payment_token": TOKEN},
        {"before__payment_token__startswith": TOKEN[:5]},
        {"after__icontains": "lovelace"},
    ],
)
def test_nobody_finds_an_edit_by_what_he_may_not_read(support, trusted, asked):
    message = {"payment_token": TOKEN, "ship_to": {"name": "Ada Lovelace"}}
    an_edit(record_letter(), before=message, after=message)

    assert support.get(list_of("deadletters.letteredit"), asked).status_code == 400


@pytest.mark.parametrize(
    ("label", "asked"),
    [
        ("messaging.failedattempt", {"exception": UNQUOTED}),
        ("messaging.failedattempt", {"traceback": TRACEBACK}),
        ("messaging.outboxmessage", {"body__payment_token": TOKEN}),
        ("messaging.idempotencykey", {"reply__body__payment_token": TOKEN}),
        ("eventstore.storedevent", {"data__payment_token": TOKEN}),
        ("sagas.sagarecord", {"data__payment_token": TOKEN}),
    ],
)
def test_no_list_is_narrowed_by_a_field_that_is_hidden(reader, label, asked):
    assert reader.get(list_of(label), asked).status_code == 400


def test_a_failed_attempt_is_not_found_by_the_words_of_its_exception(reader, superuser):
    FailedAttempt.objects.using("default").create(
        consumer="operations",
        message_id=uuid4(),
        attempt=1,
        type="operations.advance_letter_job.v1",
        exception=UNQUOTED,
        traceback=TRACEBACK,
        failed_at=NOON,
    )
    asked = {"service": "operations", "q": "Lovelace"}

    assert reader.get(list_of("messaging.failedattempt"), asked).context["cl"].result_count == 0
    assert superuser.get(list_of("messaging.failedattempt"), asked).context["cl"].result_count == 1


def test_what_an_exception_quotes_is_no_word_of_a_letter_even_where_its_message_does_not_say_it():
    words = words_of(
        service="notifications",
        wire_type="orders.order_confirmed.v1",
        exception="SMTPError: 'Ada Lovelace' <ada@example.com> refused, \"no such mailbox\"",
        body=json.dumps([[{"order_id": str(uuid4())}], {}, {}]).encode(),
    ).split()

    assert {"smtperror", "refused"} <= set(words)
    assert not {"ada", "lovelace", "example", "mailbox"} & set(words)


def test_headers_in_which_celery_repeats_a_body_are_hidden(support, trusted):
    letter = record_letter(headers={"argsrepr": "['Ada Lovelace']", "kwargsrepr": "{'to': 'Ada Lovelace'}"})
    address = reverse("admin:deadletters_deadletter_change", args=[letter.id])

    assertNotContains(support.get(address), "Lovelace&#x27;]")
    assertContains(trusted.get(address), "Lovelace&#x27;]")


def test_searches_do_not_find_a_letter_by_name_token_or_address(support, trusted):
    words = words_of(
        service="orders",
        wire_type="orders.order_placed.v1",
        exception=UNQUOTED,
        body=json.dumps([[{"ship_to": {"name": "Ada Lovelace"}, "payment_token": TOKEN}], {}, {}]).encode(),
    )
    assert not {"ada", "lovelace", TOKEN} & set(words.split())


def test_whoever_may_read_of_customers_reads_the_whole_exception_before_a_replay(trusted):
    letter = a_telling_letter(died_at=timezone.now() - timedelta(minutes=1))

    assert tells(trusted.get(f"{reverse('admin:deadletters_act', args=['replay'])}?ids={letter.id}"))
    assert permission(SEE_PERSONAL_DATA).codename == "see_personal_data"
