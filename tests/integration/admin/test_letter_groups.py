"""Groups of dead letters: what fails, how often, for whom; in a few statements, however many letters there are."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from deadletters.models import DeadLetter, LetterGroup, LetterJob
from tests.integration.admin.records import EMAIL, NOON, record_letter

pytestmark = pytest.mark.django_db(databases="__all__")
LIST = "admin:deadletters_lettergroup_changelist"
SEE_PERSONAL_DATA = "eventstore.see_personal_data"
MOST_STATEMENTS = 9


@pytest.fixture
def group_of():
    """A group with so many letters."""

    def group_of_(letters: int = 1, *, seen_at: datetime = NOON, **more) -> LetterGroup:
        group = LetterGroup.objects.create(
            fingerprint=uuid4().hex[:24],
            type=more.get("type", "billing.authorize_payment.v1"),
            exception_class="KeyError",
            frame=f"billing/handlers.py in {uuid4().hex}",
            first_seen_at=seen_at,
            last_seen_at=seen_at,
        )
        for _ in range(letters):
            record_letter(group=group, **more)
        return group

    return group_of_


def listed(page) -> list[str]:
    return [group.fingerprint for group in page.context["cl"].result_list]


def page_of(client, group: LetterGroup):
    return client.get(reverse("admin:deadletters_lettergroup_change", args=[group.fingerprint]))


def test_groups_come_newest_first_with_their_figures(superuser, group_of):
    now = datetime.now(UTC)
    group_of(1, seen_at=NOON)
    newest = group_of(3, seen_at=NOON + timedelta(hours=1), service="billing", died_at=now)
    record_letter(group=newest, service="shipping", state="discarded", closed_at=now, died_at=now)

    page = superuser.get(reverse(LIST))

    assert listed(page)[0] == newest.fingerprint
    figures = page.context["cl"].result_list[0].figures
    assert figures.by_state == {"open": 3, "discarded": 1}
    assert figures.orders == 3
    for said in ("3 open", "of 4", "billing, shipping", newest.frame, 'role="img"', "at most 4"):
        assertContains(page, said)
    address = reverse("admin:deadletters_deadletter_changelist")
    assertContains(page, f"{address}?state=open&amp;group={newest.fingerprint}")
    assertContains(page, f"{address}act/replay/?state=open&amp;group={newest.fingerprint}")
    assertContains(page, f"{address}act/discard/?state=open&amp;group={newest.fingerprint}")


def test_who_may_see_letters_may_see_groups_and_is_offered_what_is_permitted(client_with, group_of):
    group = group_of()

    page = client_with("view", "replay").get(reverse(LIST))

    assertContains(page, "act/replay/")
    assertNotContains(page, "act/discard/")
    assertNotContains(page_of(client_with("view"), group), "/act/")
    assert client_with().get(reverse(LIST)).status_code == 403
    assert page_of(client_with("replay"), group).status_code == 403


def test_groups_are_filtered_and_searched(superuser, group_of):
    opened = group_of(service="billing")
    closed = group_of(state="resolved", closed_at=NOON, service="shipping", type="shipping.book_shipment.v1")

    def found(**query: str) -> set[str]:
        return set(listed(superuser.get(reverse(LIST), query))) & {opened.fingerprint, closed.fingerprint}

    assert found() == {opened.fingerprint, closed.fingerprint}
    assert found(open="yes") == {opened.fingerprint}
    assert found(service="shipping") == {closed.fingerprint}
    assert found(type="billing.authorize_payment.v1") == {opened.fingerprint}
    assert found(q=closed.frame[-20:]) == {closed.fingerprint}
    assert found(q="keyerror") == {opened.fingerprint, closed.fingerprint}


@pytest.mark.parametrize(
    "query",
    [{"opened": "yes"}, {"open": "maybe"}, {"service": "\x00"}, {"type__exact": "x"}, {"fingerprint": "x"}],
)
def test_a_wrong_address_says_what_is_wrong_and_shows_no_group(superuser, group_of, query):
    group = group_of()

    page = superuser.get(reverse(LIST), query)

    assertContains(page, 'role="alert"', status_code=400)
    assertNotContains(page, group.frame, status_code=400)


def test_an_empty_list_says_what_is_good(superuser):
    DeadLetter.objects.all().delete()
    LetterGroup.objects.all().delete()

    assertContains(superuser.get(reverse(LIST)), "No group: nothing has ever failed for good.")
    assertContains(superuser.get(reverse(LIST), {"open": "yes"}), "nothing waits for a person")


def test_the_list_takes_as_many_statements_for_thirty_groups_as_for_one(
    superuser, client_with, group_of, statements
):
    group_of()
    superuser.get(reverse(LIST))
    with statements() as count_one:
        superuser.get(reverse(LIST))
    for _ in range(29):
        group_of()
    reader = client_with("view")

    with statements() as count_thirty:
        superuser.get(reverse(LIST))
    with statements() as count_reader:
        reader.get(reverse(LIST))

    assert count_one() == count_thirty() <= MOST_STATEMENTS
    assert count_reader() <= MOST_STATEMENTS


def test_a_group_tells_its_story_and_leads_to_its_letters(superuser, group_of, statements):
    group = group_of(12, service="billing", traceback="the innermost frame")
    job = LetterJob.objects.create(
        id=uuid4(),
        kind="replay",
        filter={"state": "open", "fingerprint": group.fingerprint},
        description="open letters of that group",
        requested_by="grace",
        requested_at=NOON,
        collected_until=NOON,
        begins_at=NOON,
        ramp=[1, 5],
        rate=10,
    )
    page_of(superuser, group)

    with statements() as count:
        page = page_of(superuser, group)

    assert count() <= MOST_STATEMENTS
    for said in (
        "KeyError",
        group.frame,
        "12 open",
        "the innermost frame",
        job.description,
        "grace",
        "running",
    ):
        assertContains(page, said)
    assert len(page.context["recent"]) == 10
    assertContains(page, "act/replay/?state=open")
    assertContains(page, "All its letters")
    for inline in (" style=", "<style", "<script>", " onclick="):
        assertNotContains(page, inline)


def test_a_group_without_letters_is_calm_about_it(superuser, group_of):
    page = page_of(superuser, group_of(0))

    assertContains(page, "No letter of this group is kept any more.")
    assertNotContains(page, "act/replay/")


def test_a_group_quotes_nothing_to_who_may_not_see_personal_data(client_with, group_of):
    group = group_of(exception=f"KeyError: '{EMAIL}'", traceback=f"KeyError: '{EMAIL}'")

    assertContains(page_of(client_with("view", SEE_PERSONAL_DATA), group), EMAIL)
    assertNotContains(page_of(client_with("view"), group), EMAIL)


def test_what_a_hostile_message_says_is_only_text(superuser, group_of):
    hostile = "<script>alert(1)</script>"
    group = group_of(type=hostile, exception=hostile, traceback=hostile, service=hostile)

    for page in (superuser.get(reverse(LIST)), page_of(superuser, group)):
        assertContains(page, "&lt;script&gt;")
        assertNotContains(page, "<script>alert")
