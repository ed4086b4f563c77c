"""The operators' log in the admin: who did what, when and why, and who was refused what."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from deadletters.models import DeskEntry
from tests.integration.admin.people import VIEW_LOG, staff
from tests.integration.admin.records import NOON, record_letter

pytestmark = pytest.mark.django_db
LIST = "admin:deadletters_deskentry_changelist"


def an_entry(**more: object) -> DeskEntry:
    known = {
        "at": NOON,
        "by": "ada",
        "action": "replay",
        "outcome": "done",
        "subject": "open letters of billing",
    }
    return DeskEntry.objects.create(**{**known, **more})


@pytest.fixture
def reader_of_log(db: None) -> Client:
    return staff("grace", VIEW_LOG)


def listed(client: Client, **asked: str) -> list[DeskEntry]:
    return list(client.get(reverse(LIST), asked).context["cl"].result_list)


def test_the_newest_comes_first_with_all_that_is_known(reader_of_log):
    letter, job_id = record_letter(), uuid4()
    first = an_entry(letter_id=letter.id, letters=1, reason="the gateway is back")
    second = an_entry(at=NOON + timedelta(hours=1), action="discard", job_id=job_id, letters=3, refused=2)
    third = an_entry(
        at=NOON + timedelta(hours=2), outcome="refused", detail="eve may not discard this.", by="eve"
    )

    page = reader_of_log.get(reverse(LIST))

    assert list(page.context["cl"].result_list) == [third, second, first]
    for said in (
        "the gateway is back",
        "3, and 2 stayed",
        "eve may not discard this.",
        "open letters of billing",
        reverse("admin:deadletters_deadletter_change", args=[letter.id]),
        reverse("admin:deadletters_letterjob_change", args=[job_id]),
        '<span class="badge badge-bad">refused</span>',
        '<span class="badge badge-good">done</span>',
    ):
        assertContains(page, said)


def test_the_log_is_narrowed_by_action_outcome_and_person_and_searched(reader_of_log):
    letter_id = uuid4()
    mine = an_entry(by="grace", action="dry run", letter_id=letter_id)
    refused = an_entry(by="eve", outcome="refused", detail="no permission", reason="let me")

    assert listed(reader_of_log, outcome__exact="refused") == [refused]
    assert listed(reader_of_log, action="dry run") == [mine]
    assert listed(reader_of_log, person="me") == [mine]
    assert listed(reader_of_log, person="others") == [refused]
    assert listed(reader_of_log, q="eve") == [refused]
    assert listed(reader_of_log, q="let me") == [refused]
    assert listed(reader_of_log, q=str(letter_id)) == [mine]


def test_an_entry_has_a_page(reader_of_log):
    entry = an_entry(outcome="refused", detail="The permission is missing.", reason="a whole sentence of why")

    page = reader_of_log.get(reverse("admin:deadletters_deskentry_change", args=[entry.id]))

    for said in ("The permission is missing.", "a whole sentence of why", "open letters of billing", "ada"):
        assertContains(page, said)
    assertNotContains(page, 'name="_save"')


def test_an_empty_log_says_what_that_means(reader_of_log):
    assertContains(reader_of_log.get(reverse(LIST)), "Nobody has done anything at the desk yet")


def test_who_lacks_the_permission_reads_nothing_of_it(db):
    assert staff("eve").get(reverse(LIST)).status_code == 403


def test_hostile_text_is_shown_and_does_nothing(reader_of_log):
    hostile = "<script>alert(1)</script>"
    entry = an_entry(by=hostile, action=hostile, subject=hostile, reason=hostile, detail=hostile)

    for page in (
        reader_of_log.get(reverse(LIST)),
        reader_of_log.get(reverse("admin:deadletters_deskentry_change", args=[entry.id])),
        reader_of_log.get(reverse(LIST), {"action": hostile}),
    ):
        assertNotContains(page, hostile)


def test_the_list_costs_few_statements(reader_of_log, statements):
    for _ in range(30):
        an_entry(letter_id=uuid4())

    with statements() as count:
        assert reader_of_log.get(reverse(LIST)).status_code == 200
    assert count() < 10
