"""The page of a dead letter: all that is known of it, for who may read it, whatever the letter is like."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from deadletters.desk_log import note, note_refusal
from deadletters.models import DeadLetter, LetterAction, LetterEdit, Replay
from messaging.models import FailedAttempt, HeldBackMessage
from sagas.models import StepRecord
from tests.integration.admin.records import EMAIL, NOON, STREET, TOKEN, record_letter, record_order

pytestmark = pytest.mark.django_db(databases="__all__")
SEE_PERSONAL_DATA = "eventstore.see_personal_data"
MOST_STATEMENTS = 9
HOSTILE = "<script>alert('x')</script>"


def page_of(client: Client, letter: DeadLetter):
    return client.get(reverse("admin:deadletters_deadletter_change", args=[letter.id]))


def body_of(letter: DeadLetter) -> str:
    return reverse("admin:deadletters_deadletter_body", args=[letter.id])


def fail(letter: DeadLetter, **more) -> FailedAttempt:
    """An attempt at its message, as its service records it."""
    fields = {
        "consumer": letter.service,
        "message_id": letter.message_id,
        "attempt": 1,
        "type": letter.type,
        "exception": "TimeoutError: the gateway did not answer",
        "traceback": "Traceback (most recent call last): ...",
        "failed_at": NOON,
    }
    return FailedAttempt.objects.using(settings.SERVICES[letter.service]).create(**{**fields, **more})


def test_a_letter_tells_what_it_is_and_why_it_died(superuser):
    first = record_letter()
    letter = record_letter(follows=first, saga_id=uuid4(), step="reserve")

    page = page_of(superuser, letter)

    for said in (
        "open: waits for a person",
        "Event to orders, attempt 1 of",
        "TimeoutError: the gateway did not answer",
        "TimeoutError in orders/handlers.py in place",
        TOKEN,
        str(letter.saga_id),
        letter.correlation_id,
        str(letter.message_id),
        reverse("admin:deadletters_deadletter_change", args=[first.id]),
        f"manage.py dead_letters export {letter.id}",
        "Celery&#x27;s [[…], {}, {}] around it is left out",
    ):
        assertContains(page, said)


def test_every_attempt_is_shown_with_its_traceback_also_those_of_replays(superuser):
    letter = record_letter(service="billing", attempt=2)
    fail(letter, traceback="the first traceback", next_attempt_at=NOON)
    fail(letter, attempt=2, traceback="the last traceback", failed_at=NOON + timedelta(seconds=5))
    replay_id = uuid4()
    fail(letter, replay_id=replay_id, traceback="the traceback of the replay")

    page = page_of(superuser, letter)

    for said in (
        "the first traceback",
        "the last traceback",
        "the traceback of the replay",
        f"of replay {replay_id}",
    ):
        assertContains(page, said)
    assertContains(page, '<details class="attempt" open>', count=1)


def test_the_page_opens_while_the_service_s_database_is_away(superuser, monkeypatch):
    letter = record_letter(service="billing", traceback="kept with the letter")
    headers = {**letter.headers, "stream": "order-1", "sequence": 3}
    DeadLetter.objects.filter(id=letter.id).update(headers=headers)

    def away(alias: str) -> None:
        raise OperationalError("could not connect")

    for model in (FailedAttempt, HeldBackMessage):
        monkeypatch.setattr(model.objects, "using", away)
    page = page_of(superuser, letter)

    assertContains(page, "The database of billing does not answer", count=2)
    assertContains(page, "kept with the letter")


def test_the_broker_s_deaths_are_a_table(superuser):
    letter = record_letter(
        deaths=[
            {
                "queue": "billing",
                "reason": "rejected",
                "count": 3,
                "time": {"$time": "2026-11-23T12:00:00"},
                "exchange": "commands",
                "routing-keys": ["billing.authorize_payment"],
            }
        ]
    )

    page = page_of(superuser, letter)

    for said in ("rejected", "2026-11-23T12:00:00", "commands → billing.authorize_payment"):
        assertContains(page, said)


def test_what_waits_behind_a_letter_is_named(superuser):
    order_id = record_order()
    letter = record_letter(
        service="billing",
        correlation_id=str(order_id),
        headers={"stream": f"order-{order_id}", "sequence": 4},
    )
    saga_steps = StepRecord.objects.filter(saga__correlation_id=str(order_id))
    saga_steps.filter(name="reserve").update(status="held", deadline_at=None, letter_id=letter.id)
    saga_steps.filter(name="authorize").update(status="pending", deadline_at=None)

    page = page_of(superuser, letter)

    assertContains(page, "The step waits for a person because of this letter.")
    assertContains(page, '<span class="badge badge-bad">held</span>', html=True)
    assertContains(page, "Not begun before that: authorize.")
    assertContains(page, "holds later events of this stream back")
    assertContains(page, "number 5")


def test_other_letters_of_the_message_and_of_the_order_are_told_apart(superuser):
    letter = record_letter()
    same_message = record_letter(message_id=letter.message_id, died_at=NOON - timedelta(hours=1))
    followed = record_letter(follows=letter, died_at=NOON + timedelta(hours=1))
    same_order = record_letter(correlation_id=letter.correlation_id)

    found = page_of(superuser, letter).context

    assert [str(same_message.id) in other["page"] for other in found["same_message"]] == [False, True]
    assert [other["order"] for other in found["same_message"]] == ["later", "earlier"]
    assert str(followed.id) in found["same_message"][0]["page"]
    assert [str(same_order.id) in other["page"] for other in found["same_order"]] == [True]


def test_all_that_was_done_and_refused_is_in_the_log_with_who_when_and_why(superuser):
    letter = record_letter()
    replay = Replay.objects.create(
        id=uuid4(),
        letter=letter,
        requested_by="grace",
        requested_at=NOON,
        available_at=NOON,
        reason="it is mended",
    )
    LetterAction.objects.create(letter=letter, kind="replayed", by="grace", at=NOON, reason="it is mended")
    LetterAction.objects.create(
        letter=letter, kind="refused", by="joan", at=NOON, refusal="discard: it is replaying"
    )
    note(by="grace", action="replay", subject="a letter", at=NOON, reason="it is mended", letter_id=letter.id)
    note_refusal(
        by="mallory",
        action="discard",
        subject="a letter",
        at=NOON,
        why="lacks the permission",
        letter_id=letter.id,
    )
    LetterEdit.objects.create(
        id=uuid4(),
        letter=letter,
        state="proposed",
        before={},
        after={},
        message_id=uuid4(),
        proposed_by="edith",
        proposed_at=NOON,
        reason="the city was misspelt",
    )

    page = page_of(superuser, letter)

    for said in (
        str(replay.id),
        "it is mended",
        "discard: it is replaying",
        "lacks the permission",
        "refused: discard",
        "the city was misspelt",
        "proposed: waits for a second person",
        "by mistake",
    ):
        assertContains(page, said)
    # The log's entry of the same move says nothing that the letter's own action does not.
    assert [action["by"] for action in page.context["actions"]].count("grace") == 1


def test_what_may_be_done_depends_on_the_state_the_permission_and_the_settings(
    superuser, client_with, settings
):
    settings.LETTER_EDITING = False
    opened = record_letter()
    discarded = record_letter(state="discarded", closed_at=NOON)
    resolved = record_letter(state="resolved", closed_at=NOON)

    def offered(client: Client, letter: DeadLetter) -> set[str]:
        return {button.text for button in page_of(client, letter).context["buttons"]}

    assert offered(superuser, opened) == {"Replay…", "Replay later…", "Dry run", "Discard…"}
    assert offered(superuser, discarded) == {"Restore…"}
    assert offered(superuser, resolved) == set()
    assert offered(client_with("view", "replay"), opened) == {"Replay…", "Replay later…", "Dry run"}
    assert offered(client_with("view", "discard"), discarded) == {"Restore…"}
    assert offered(client_with("view"), opened) == set()
    settings.LETTER_EDITING = True
    assert "Edit and replay…" in offered(superuser, opened)
    assert "Edit and replay…" not in offered(client_with("view", "replay", "discard"), opened)
    for button in page_of(superuser, opened).context["buttons"]:
        assert (superuser.post if button.is_post else superuser.get)(button.address).status_code == 200


def test_customers_and_tokens_are_hidden_from_who_may_not_see_them(superuser, client_with):
    traceback = (
        f"Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g('code')\nKeyError: {EMAIL}"
    )
    letter = record_letter(
        service="billing",
        headers={"token": TOKEN},
        exception=f"Unreachable: nobody goes to {STREET}, told {EMAIL}",
        traceback=traceback,
    )
    fail(letter, exception=f"KeyError: '{TOKEN}'", traceback=traceback)
    broken = record_letter(body=f"not JSON, with {TOKEN}".encode(), headers={})
    reader, trusted = client_with("view"), client_with("view", SEE_PERSONAL_DATA)

    for each in (letter, broken):
        page = page_of(reader, each)
        for secret in (TOKEN, STREET, STREET.replace("'", "&#x27;"), EMAIL, "Ada Lovelace"):
            assertNotContains(page, secret)
        assertContains(page, "(hidden)")
        assertContains(page, "whoever has the permission")
        assertContains(page_of(trusted, each), TOKEN)
        assertNotContains(page_of(trusted, each), "whoever has the permission")
    page = page_of(reader, letter)
    assertContains(page, "Unreachable: nobody goes to (hidden)")
    assertContains(page, "g(&#x27;code&#x27;)")
    assertContains(page, "Everyday mug")
    assert DeadLetter.objects.get(id=letter.id).headers == {"token": TOKEN}


def test_the_bytes_are_given_as_they_came_to_who_may_read_them_only(superuser, client_with):
    letter = record_letter(body=b"\xff\x00 exactly")

    given = superuser.get(body_of(letter))

    assert given.content == b"\xff\x00 exactly"
    assert given.headers["Content-Disposition"].startswith("attachment")
    assert given.headers["Content-Type"] == "application/octet-stream"
    assert client_with("view", SEE_PERSONAL_DATA).get(body_of(letter)).status_code == 200
    assert client_with("view").get(body_of(letter)).status_code == 403
    assert client_with(SEE_PERSONAL_DATA).get(body_of(letter)).status_code == 403
    assertNotContains(page_of(client_with("view", "replay"), letter), body_of(letter))


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"type": "", "message_id": None, "correlation_id": "", "attempt": None}, "no type that can be read"),
        ({"body": b"not JSON"}, "text as it came"),
        ({"body": b"\xff\xfe\x00A"}, "00000000  ff fe 00 41"),
        ({"body": b""}, "text as it came"),
        ({"body": b'{"a": 1}'}, "JSON, not as a message of ours is written"),
        ({"body": b'"\\ud800"'}, "JSON, not as"),
        ({"body": b"[" * 5_000 + b"]" * 5_000}, "text as it came"),
        ({"body": b"[" * 200 + b"1," * 100_000 + b"1" + b"]" * 200}, "This is the beginning of it"),
        ({"body": b"9" * 5_000}, "text as it came"),
        ({"body": b"null"}, "JSON, not as"),
        ({"headers": []}, "[]"),
        ({"headers": {"stream": 7, "sequence": "x"}}, "&quot;sequence&quot;"),
        ({"headers": {"stream": "s", "sequence": 2**70}}, "No later event"),
        ({"deaths": "odd"}, "no record of the broker"),
        ({"deaths": [{"queue": {"$bytes": "AA=="}, "count": [1, {"a": 2}]}, 7]}, "AA=="),
        ({"service": "abandoned"}, "No attempt is recorded by abandoned"),
        ({"correlation_id": "no uuid"}, "no uuid"),
        ({"is_failure_known": False, "exception": ""}, "database could not be asked yet"),
        ({"exception": "", "traceback": "", "reason": "expired"}, "by the broker: expired"),
    ],
)
def test_an_odd_letter_has_a_page_too(superuser, client_with, odd, said):
    letter = record_letter(**odd)

    assertContains(page_of(superuser, letter), said)
    assert page_of(client_with("view"), letter).status_code == 200


def test_a_huge_body_is_shown_cut_with_its_size_and_given_whole(superuser, client_with):
    payload = {"note": "x" * 1_000_000, "payment_token": TOKEN}
    letter = record_letter(body=json.dumps([[payload], {}, {}]).encode())

    page = page_of(superuser, letter)

    assert len(page.content) < 400_000
    assertContains(page, "976.6")
    assertContains(page, "This is the beginning of it")
    assert len(superuser.get(body_of(letter)).content) == len(letter.body)
    assertNotContains(page_of(client_with("view"), letter), "xxx")


def test_what_a_hostile_message_says_is_only_text(superuser):
    letter = record_letter(
        service="billing",
        type=HOSTILE,
        body=json.dumps([[{"sku": HOSTILE}], {}, {}]).encode(),
        headers={HOSTILE: HOSTILE, "stream": HOSTILE, "sequence": 1},
        properties={"a": HOSTILE},
        deaths=[{"queue": HOSTILE, "reason": HOSTILE}],
        correlation_id=HOSTILE,
        exception=f"ValueError: {HOSTILE}",
        traceback=HOSTILE,
        step=HOSTILE,
        reason=HOSTILE,
    )
    fail(letter, exception=HOSTILE, traceback=HOSTILE)
    record_letter(correlation_id=HOSTILE, exception=HOSTILE, type=HOSTILE)
    LetterAction.objects.create(letter=letter, kind="discarded", by=HOSTILE, at=NOON, reason=HOSTILE)

    page = page_of(superuser, letter)

    assertContains(page, "&lt;script&gt;")
    assertNotContains(page, "<script>")
    assertNotContains(page, "alert('x')")
    for inline in (" style=", "<style", " onclick=", "javascript:"):
        assertNotContains(page, inline)
    assert "unsafe-inline" not in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["nonsense", str(uuid4())])
def test_a_letter_that_is_not_there_leads_back_with_a_sentence(superuser, path):
    address = reverse("admin:deadletters_deadletter_changelist") + f"{path}/change/"

    page = superuser.get(address, follow=True)

    assert page.status_code == 200
    assertContains(page, "doesn’t exist")


def test_a_page_takes_few_statements_however_much_was_done(superuser, client_with, statements):
    order_id = record_order()
    headers = {"stream": f"order-{order_id}", "sequence": 4}
    letter = record_letter(service="billing", correlation_id=str(order_id), headers=headers)
    reader = client_with("view")
    page_of(superuser, letter)
    with statements() as count_little:
        page_of(superuser, letter)
    for number in range(30):
        fail(letter, attempt=number + 1)
        record_letter(correlation_id=str(order_id))
        LetterAction.objects.create(letter=letter, kind="restored", by="ada", at=NOON)

    with statements() as count_much:
        page_of(superuser, letter)
    with statements() as count_reader:
        page_of(reader, letter)

    assert count_much() == count_little() <= MOST_STATEMENTS
    assert count_reader() <= MOST_STATEMENTS + 2
