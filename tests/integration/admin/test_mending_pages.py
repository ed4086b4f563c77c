"""Replay, discard and restore in the admin: a page says how many and what, and nothing happens by accident."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from deadletters.admin import acts
from deadletters.models import DeadLetter, DeskEntry, LetterGroup, LetterJob, Replay
from tests.integration.admin.people import DISCARD, LOOKS, REPLAY, staff
from tests.integration.admin.records import NOON, STREET, TOKEN, record_letter

pytestmark = pytest.mark.django_db


def address(kind: str, **asked: object) -> str:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    return f"{reverse('admin:deadletters_act', args=[kind])}?{query}"


def of(*letters: DeadLetter) -> dict[str, str]:
    return {"ids": ",".join(str(letter.id) for letter in letters)}


def confirm(client: Client, kind: str, *, seen: int, typed: object = "", **more: object):
    """Send the form of the page that asks, as a browser would."""
    asked = {name: more.pop(name) for name in ("ids", "service", "group", "state", "type") if name in more}
    form = {"seen": seen, "typed": typed, "job_id": uuid4(), "reason": "", **more}
    return client.post(address(kind, **asked), form)


def state_of(letter: DeadLetter) -> str:
    return DeadLetter.objects.get(id=letter.id).state


def another_group() -> LetterGroup:
    return LetterGroup.objects.get_or_create(
        fingerprint="another-group",
        defaults={
            "type": "orders.order_placed.v1",
            "exception_class": "KeyError",
            "frame": "orders/handlers.py in place",
            "first_seen_at": NOON,
            "last_seen_at": NOON,
        },
    )[0]


@pytest.fixture
def operator(db: None) -> Client:
    return staff("ada", *LOOKS, REPLAY, DISCARD)


# --- what the page says -------------------------------------------------------------------------------------


def test_the_page_says_how_many_letters_there_are_and_what_will_happen(operator):
    letters = [record_letter(service="billing") for _ in range(12)]

    page = operator.get(address("replay", **of(*letters)))

    assertContains(page, "<strong>12</strong> dead letters")
    assertContains(page, "sent again, with its own ids, to the one queue where it died")
    assertContains(page, "First 1, then 5, then 6, at no more than 50 a second")
    assertContains(page, "stops by itself when letters like these come back")
    assertContains(page, "Replay 12 letters")
    assertContains(page, "and 2 more.")
    newest = sorted(letters, key=lambda letter: letter.id, reverse=True)[:10]
    assert [row["id"] for row in page.context["letters"]] == [letter.id for letter in newest]
    assertContains(page, newest[0].correlation_id)
    assert not Replay.objects.exists()


def test_discarding_says_what_becomes_of_sagas_and_asks_why(operator):
    letter = record_letter(saga_id=uuid4())

    page = operator.get(address("discard", **of(letter)))

    assertContains(page, "The messages are never handled.")
    assertContains(page, "that step counts as failed")
    assertContains(page, "It belongs to a saga.")
    assertContains(page, "required autofocus")
    assertNotContains(page, 'name="begins_at"')
    assertNotContains(page, 'name="typed"')


def test_letters_of_several_groups_are_warned_of_and_told_apart(operator):
    letters = [record_letter(), record_letter(), record_letter(group=another_group(), service="billing")]

    page = operator.get(address("replay", **of(*letters)))

    assertContains(page, "<strong>2 groups</strong>")
    assertContains(page, "orders.order_placed.v1: KeyError in orders/handlers.py in place")
    assertNotContains(
        operator.get(address("replay", **of(*letters[:2]))), "they failed for different reasons"
    )


def test_letters_in_another_state_are_counted_and_stay(operator):
    letters = [record_letter(), record_letter(), record_letter(state="discarded", closed_at=NOON)]

    page = operator.get(address("replay", **of(*letters)))

    assertContains(page, "1 more letter matches, but is not open: it stays as it is.")
    confirm(operator, "replay", seen=2, **of(*letters))
    assert LetterJob.objects.count() == 1
    assert state_of(letters[2]) == "discarded"


def test_where_there_is_nothing_to_do_the_page_says_so(operator):
    closed = record_letter(state="resolved", closed_at=NOON)

    page = operator.get(address("replay", **of(closed)))

    assert page.status_code == 200
    assertContains(page, "There is nothing to replay")
    assertContains(page, "only letters that are open can be sent again")
    assertContains(operator.get(address("restore", service="nowhere")), "There is nothing to restore")


def test_no_customer_is_told_of_on_the_page(operator):
    page = operator.get(address("discard", **of(record_letter())))

    assertNotContains(page, TOKEN)
    assertNotContains(page, STREET)


def test_hostile_text_is_shown_and_does_nothing(operator):
    hostile = "<script>alert(1)</script>"
    letter = record_letter(exception=hostile, type=hostile, correlation_id=hostile)

    for page in (
        operator.get(address("replay", **of(letter))),
        operator.get(address("discard", service=hostile)),
        operator.get(address("replay", state=hostile)),
        confirm(operator, "discard", seen=1, reason="", typed=hostile, **of(letter)),
    ):
        assertNotContains(page, hostile, status_code=page.status_code)
        for inline in (" style=", "<style", "<script>", " onclick="):
            assertNotContains(page, inline, status_code=page.status_code)


def test_the_page_costs_few_statements_however_many_letters_there_are(operator, statements):
    letters = [record_letter(service="billing") for _ in range(15)]

    for asked in (of(*letters), {"service": "billing"}, {"group": "a-group"}, {}):
        with statements() as count:
            assert operator.get(address("replay", **asked)).status_code == 200
        assert count() < 10


# --- what is refused because it cannot be meant -----------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("state=lost", "state is &#x27;lost&#x27;"),
        ("ids=1,2", "ids is &#x27;1&#x27;, which is no identifier"),
        ("since=yesterday", "since is &#x27;yesterday&#x27;, which is no time"),
        ("sevice=billing", "&#x27;sevice&#x27; is no filter of dead letters"),
        ("service=billing&service=orders", "service is given twice"),
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_address_that_names_no_letters_is_refused_with_the_reason(operator, query, said, method):
    letter = record_letter()

    page = getattr(operator, method)(f"{address('discard')}{query}")

    assertContains(page, said, status_code=400)
    assertContains(page, "Nothing was done.", status_code=400)
    assert state_of(letter) == "open"


def test_what_cannot_be_done_with_letters_has_no_page(operator):
    assertContains(operator.get(address("delete")), "There is no &#x27;delete&#x27;", status_code=404)


# --- what happens -------------------------------------------------------------------------------------------


def test_one_letter_is_sent_again_at_once(operator):
    letter = record_letter()

    answer = confirm(operator, "replay", seen=1, reason="the gateway is back", **of(letter))

    assertRedirects(answer, reverse("admin:deadletters_deadletter_change", args=[letter.id]))
    replay = Replay.objects.get(letter=letter)
    assert (replay.requested_by, replay.reason) == ("ada", "the gateway is back")
    assert state_of(letter) == "replaying"
    entry = DeskEntry.objects.get()
    assert (entry.by, entry.action, entry.outcome, entry.letters) == ("ada", "replay", "done", 1)


def test_several_letters_become_a_job_whose_page_follows(operator):
    letters = [record_letter(service="billing") for _ in range(3)]

    answer = confirm(operator, "replay", seen=3, reason="mended", rate="7", **of(*letters))

    job = LetterJob.objects.get()
    assertRedirects(answer, reverse("admin:deadletters_letterjob_change", args=[job.id]))
    assert (job.kind, job.requested_by, job.reason, job.rate) == ("replay", "ada", "mended", 7)
    assert job.ramp == list(settings.REPLAY_RAMP)


def test_a_replay_at_a_later_time_is_a_job_that_begins_then(operator):
    letter = record_letter()
    later = (datetime.now(UTC) + timedelta(days=1)).replace(second=0, microsecond=0)

    confirm(operator, "replay", seen=1, begins_at=f"{later:%Y-%m-%dT%H:%M}", **of(letter))

    assert LetterJob.objects.get().begins_at == later
    assert state_of(letter) == "open"


def test_letters_are_discarded_and_restored(operator):
    letters = [record_letter(), record_letter()]

    answer = confirm(operator, "discard", seen=2, reason="a test order", **of(*letters))
    assert [state_of(letter) for letter in letters] == ["discarded", "discarded"]
    assertContains(operator.get(answer.headers["Location"], follow=True), "2 dead letters discarded.")

    confirm(operator, "restore", seen=2, **of(*letters))
    assert [state_of(letter) for letter in letters] == ["open", "open"]


def test_what_stays_is_named_with_the_reason(operator):
    letter = record_letter(body=b"\xff")

    answer = confirm(operator, "replay", seen=1, **of(letter))

    page = operator.get(answer.headers["Location"])
    assertContains(page, f"Letter {letter.id} stays as it is. It cannot be sent again")


# --- accidents --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["replay", "discard", "restore"])
def test_looking_at_the_page_changes_nothing(operator, kind):
    letters = [record_letter(), record_letter(state="discarded", closed_at=NOON)]

    operator.get(address(kind, **of(*letters)), {"reason": "x", "seen": 1, "job_id": str(uuid4())})
    operator.head(address(kind, **of(*letters)))

    assert [state_of(letter) for letter in letters] == ["open", "discarded"]
    assert not LetterJob.objects.exists()
    assert not DeskEntry.objects.exists()


def test_nothing_is_discarded_before_it_was_said_why(operator):
    letter = record_letter()

    page = confirm(operator, "discard", seen=1, reason="  ", **of(letter))

    assertContains(page, "Say why", status_code=422)
    assert state_of(letter) == "open"


def test_when_letters_have_come_meanwhile_the_page_asks_again(operator):
    for _ in range(3):
        record_letter(service="billing")

    page = confirm(operator, "replay", seen=2, service="billing", reason="mended")

    assertContains(page, "There were 2 letters when you looked; now there are 3.", status_code=422)
    assertContains(page, 'name="seen" value="3"', status_code=422)
    assertContains(page, 'value="mended"', status_code=422)
    assert not LetterJob.objects.exists()


def test_of_many_letters_the_number_has_to_be_typed(operator, monkeypatch):
    monkeypatch.setattr(acts, "TYPED_FROM", 2)
    for _ in range(3):
        record_letter(service="billing")

    assertContains(operator.get(address("discard", service="billing")), "Type 3, for these are many")
    for typed in ("", "2", "three"):
        page = confirm(operator, "discard", seen=3, service="billing", reason="tests", typed=typed)
        assertContains(page, "Type 3, so that nothing happens by accident.", status_code=422)
    assert not DeadLetter.objects.filter(state="discarded").exists()

    confirm(operator, "discard", seen=3, service="billing", reason="tests", typed=" 3 ")
    assert DeadLetter.objects.filter(state="discarded").count() == 3


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("begins_at", "2020-01-01T00:00", "That has passed"),
        ("begins_at", "tomorrow", "Write date and time like"),
        ("rate", "0", "At least 0.1 letters a second."),
        ("rate", "nan", "Write a number of letters a second"),
        ("rate", "fast", "Write a number of letters a second"),
        ("rate", "1e9", "At most 1000 letters a second."),
        ("seen", "", "This form was not sent whole"),
        ("job_id", "1", "This form was not sent whole"),
    ],
)
def test_what_cannot_be_is_asked_for_again(operator, field, value, said):
    letters = [record_letter(), record_letter()]

    page = confirm(operator, "replay", **{"seen": 2, field: value, **of(*letters)})

    assertContains(page, said, status_code=422)
    assert not LetterJob.objects.exists()


def test_a_form_that_is_sent_twice_makes_one_job(operator):
    letters = [record_letter(service="billing") for _ in range(3)]
    job_id = uuid4()

    answers = [confirm(operator, "replay", seen=3, job_id=job_id, **of(*letters)) for _ in range(2)]

    assert LetterJob.objects.get().id == job_id
    page = reverse("admin:deadletters_letterjob_change", args=[job_id])
    assert [answer.headers["Location"] for answer in answers] == [page, page]
    assert DeskEntry.objects.count() == 1


def test_the_page_offers_the_job_a_name_that_is_new_each_time(operator):
    letter = record_letter()

    names = {operator.get(address("replay", **of(letter))).context["job_id"] for _ in range(2)}

    assert len(names) == 2
    assert all(isinstance(name, UUID) for name in names)


def test_a_form_from_elsewhere_is_refused(operator):
    letter = record_letter()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies

    assert confirm(strict, "discard", seen=1, reason="forged", **of(letter)).status_code == 403
    assert state_of(letter) == "open"


def test_who_is_not_logged_in_is_sent_to_the_login(client):
    answer = client.get(address("discard", **of(record_letter())))

    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(reverse("admin:login"))
