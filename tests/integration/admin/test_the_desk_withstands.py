"""What no page of the desk offers and somebody may send anyway: an answer in words, never an error, never an act."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.urls import reverse
from django_celery_results.models import TaskResult
from pytest_django.asserts import assertContains

from deadletters.models import DeadLetter, DeskEntry, LetterEdit, LetterJob
from tests.integration.admin.edits_at_hand import an_edit
from tests.integration.admin.jobs_at_hand import record_job
from tests.integration.admin.pages import list_of
from tests.integration.admin.people import (
    APPROVE,
    DISCARD,
    EDIT,
    EDIT_ORDER_PLACED,
    LOOKS,
    REPLAY,
    SEE_PERSONAL_DATA,
    VIEW,
    VIEW_EDITS,
    VIEW_JOBS,
    staff,
)
from tests.integration.admin.records import record_letter

pytestmark = pytest.mark.django_db

LISTS = ("deadletter", "lettergroup", "letterjob", "letteredit", "deskentry")
UNSTORABLE = "because\x00" + "x" * 10_000


def address_to(kind: str, *letters: DeadLetter) -> str:
    return f"{reverse('admin:deadletters_act', args=[kind])}?ids={','.join(str(each.id) for each in letters)}"


def form_for(number: int, **more: object) -> dict[str, object]:
    return {"seen": number, "job_id": str(uuid4()), "reason": "because", **more}


# --- reasons -------------------------------------------------------------------------------------------------


def everything_that_can_be_posted() -> list[tuple[str, str]]:
    letter, job, edit = record_letter(), record_job(), an_edit(record_letter())
    return [
        *((kind, address_to(kind, letter)) for kind in ("replay", "discard", "restore")),
        *(
            (verb, reverse(f"admin:deadletters_letterjob_{verb}", args=[job.id]))
            for verb in ("pause", "cancel")
        ),
        *(
            (verb, reverse(f"admin:deadletters_letteredit_{verb}", args=[edit.id]))
            for verb in ("approve", "decline")
        ),
        ("dry run", reverse("admin:deadletters_dry_run", args=[letter.id])),
        ("edit", reverse("admin:deadletters_edit", args=[letter.id])),
    ]


@pytest.mark.parametrize("sees", [(), LOOKS], ids=["sees nothing", "sees all"])
def test_whatever_is_refused_is_in_the_log_even_where_the_reason_cannot_be_stored(sees):
    client = staff("eve", *sees)
    posted = everything_that_can_be_posted()

    for _, address in posted:
        assert client.post(address, {"reason": UNSTORABLE, "step": "replay", "body": "{}"}).status_code == 403

    entries = list(DeskEntry.objects.order_by("id"))
    assert [(entry.action, entry.by, entry.outcome) for entry in entries] == [
        (action, "eve", "refused") for action, _ in posted
    ]
    assert all(entry.reason.startswith("because") and len(entry.reason) <= 500 for entry in entries)


def test_a_reason_that_cannot_be_stored_is_stored_as_far_as_it_can(settings):
    settings.LETTER_EDITING = settings.LETTER_EDITS_NEED_APPROVAL = True
    client = staff("olga", *LOOKS, REPLAY, APPROVE, EDIT_ORDER_PLACED)
    job, edit = record_job(), an_edit(record_letter())

    client.post(reverse("admin:deadletters_letterjob_cancel", args=[job.id]), {"reason": UNSTORABLE})
    client.post(reverse("admin:deadletters_letteredit_decline", args=[edit.id]), {"reason": UNSTORABLE})

    assert LetterJob.objects.get(id=job.id).state == "cancelled"
    assert LetterEdit.objects.get(id=edit.id).state == "declined"
    assert {entry.reason[:8] for entry in DeskEntry.objects.all()} == {"because�"}


# --- nobody acts on what he may not see ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("may", "lacks", "action"),
    [
        ((REPLAY,), VIEW, "replay"),
        ((DISCARD,), VIEW, "discard"),
        ((REPLAY,), VIEW, "dry run"),
        ((EDIT, EDIT_ORDER_PLACED, SEE_PERSONAL_DATA), VIEW, "edit"),
        ((REPLAY,), VIEW_JOBS, "pause"),
        ((EDIT_ORDER_PLACED, APPROVE, SEE_PERSONAL_DATA), VIEW_EDITS, "approve"),
    ],
)
def test_who_may_act_but_not_look_is_shown_nothing_and_refused(settings, may, lacks, action):
    settings.LETTER_EDITING = settings.LETTER_EDITS_NEED_APPROVAL = True
    client = staff("eve", *may)
    address = dict(everything_that_can_be_posted())[action]

    looked = client.get(address)
    acted = client.post(address, form_for(1, step="replay", body="{}"))

    assert looked.status_code == (302 if action == "dry run" else 403)
    assertContains(acted, lacks, status_code=403)
    for page in (looked, acted):
        assert b"TimeoutError" not in page.content
    assert not DeadLetter.objects.exclude(state="open").exists()
    assert LetterEdit.objects.get().state == "proposed"
    entry = DeskEntry.objects.get()
    assert (entry.action, entry.outcome) == (action, "refused")
    assert lacks in entry.detail


# --- addresses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("parameter", ["q", "o", "state__exact", "at__gte", "anything"])
def test_a_character_that_is_in_nothing_is_refused_in_every_list(superuser, name, parameter):
    assert superuser.get(list_of(f"deadletters.{name}"), {parameter: "a\x00"}).status_code == 400


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("deskentry", {"by__regex": "*"}),
        ("deskentry", {"at__year": "0"}),
        ("deskentry", {"at__year": "9" * 30}),
        ("deskentry", {"at__date__gte": "9" * 30}),
        ("letterjob", {"requested_at__year": "-1"}),
        ("letterjob", {"filter__x": "1"}),
        ("letterjob", {"stopped_because__contains": "a"}),
    ],
)
def test_a_list_is_narrowed_in_no_way_that_it_does_not_offer(superuser, name, asked):
    assert superuser.get(list_of(f"deadletters.{name}"), asked).status_code == 400


@pytest.mark.parametrize("ticked", [[""], [" "], ["", str(uuid4())], ["x"], ["\x00"]])
def test_an_action_on_what_is_no_letter_says_so(superuser, ticked):
    record_letter()
    posted = {"action": "replay", "_selected_action": ticked, "select_across": "0"}

    page = superuser.post(list_of("deadletters.deadletter"), posted, follow=True)

    assertContains(page, "Ids is ")
    assert not DeskEntry.objects.exists()


def test_as_many_letters_are_ticked_as_an_address_can_name(superuser):
    letters = [record_letter() for _ in range(51)]
    listed = superuser.get(list_of("deadletters.deadletter"), {"all": ""}).context["cl"].result_list
    posted = {"action": "replay", "_selected_action": [str(each.id) for each in listed]}

    answer = superuser.post(list_of("deadletters.deadletter"), posted)

    assert len(listed) < len(letters)
    assert (
        len(f"GET {answer['Location']} HTTP/1.1") < 4094
    )  # what a web server takes unless it is told otherwise


# --- forged forms ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["nan", "inf", "-inf", "1e308", "-1", "0", "1e-300", "x"])
def test_a_rate_at_which_nothing_could_be_sent_is_refused(superuser, rate):
    letters = [record_letter(), record_letter()]

    page = superuser.post(address_to("replay", *letters), form_for(2, rate=rate))

    assert page.status_code == 422
    assert not LetterJob.objects.exists()


@pytest.mark.parametrize("begins_at", ["0001-01-01T00:00", "99999-01-01T00:00", "2026-13-01T00:00", "\x00"])
def test_a_time_that_is_none_is_refused(superuser, begins_at):
    page = superuser.post(address_to("replay", record_letter()), form_for(1, begins_at=begins_at))

    assert page.status_code == 422
    assert not LetterJob.objects.exists()


def test_a_time_far_away_is_only_that(superuser):
    page = superuser.post(
        address_to("replay", record_letter()), form_for(1, begins_at="9999-12-31T23:59"), follow=True
    )

    assertContains(page, "9999-12-31")
    assert LetterJob.objects.get().begins_at == datetime(9999, 12, 31, 23, 59, tzinfo=UTC)


def test_a_job_never_takes_the_name_of_another_task(superuser):
    other = TaskResult.objects.create(
        task_id=str(uuid4()), task_name="operations.prune", status="SUCCESS", result='"all"'
    )
    letters = [record_letter(), record_letter()]

    superuser.post(address_to("replay", *letters), form_for(2, job_id=other.task_id))

    other.refresh_from_db()
    assert (other.task_name, other.status, other.result) == ("operations.prune", "SUCCESS", '"all"')
