"""Whoever lacks a permission is refused: he is told which, nothing changes, and the operators' log has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from deadletters.models import DeadLetter, DeskEntry, LetterAction, LetterEdit, LetterJob, Replay
from tests.integration.admin.edits_at_hand import an_edit
from tests.integration.admin.jobs_at_hand import record_job
from tests.integration.admin.people import (
    APPROVE,
    DISCARD,
    EDIT,
    EDIT_ORDER_PLACED,
    LOOKS,
    REPLAY,
    SEE_PERSONAL_DATA,
    of_group,
    staff,
)
from tests.integration.admin.records import NOON, TOKEN, record_letter

pytestmark = pytest.mark.django_db


@contextmanager
def refused(by: str, action: str, *, lacks: str, reason: str = "because") -> Iterator[None]:
    """Inside, exactly one refusal comes into the log: of whom, of what, when and why; and nothing else changes."""
    before, begun = everything(), datetime.now(UTC)
    known = set(DeskEntry.objects.values_list("id", flat=True))
    yield
    (entry,) = DeskEntry.objects.exclude(id__in=known)
    assert (entry.by, entry.action, entry.outcome, entry.reason) == (by, action, "refused", reason)
    assert lacks in entry.detail
    assert entry.subject
    assert begun <= entry.at <= datetime.now(UTC)
    assert everything() == before


def everything() -> list[object]:
    return [
        sorted(model.objects.values_list("id", state))
        for model, state in (
            (DeadLetter, "state"),
            (LetterJob, "state"),
            (LetterEdit, "state"),
            (Replay, "outcome"),
            (LetterAction, "kind"),
        )
    ]


def act_on(letter: DeadLetter, kind: str) -> tuple[str, dict[str, object]]:
    address = f"{reverse('admin:deadletters_act', args=[kind])}?ids={letter.id}"
    return address, {"seen": 1, "job_id": str(uuid4()), "reason": "because"}


@pytest.mark.parametrize(
    ("kind", "lacks", "has"),
    [
        ("replay", REPLAY, (DISCARD, EDIT, APPROVE)),
        ("discard", DISCARD, (REPLAY, EDIT, APPROVE)),
        ("restore", DISCARD, (REPLAY, EDIT, APPROVE)),
    ],
)
def test_acting_needs_the_permission_for_it(kind, lacks, has):
    client = staff("eve", *LOOKS, *has)
    letter = record_letter(**({"state": "discarded", "closed_at": NOON} if kind == "restore" else {}))
    address, form = act_on(letter, kind)

    with refused("eve", kind, lacks=lacks):
        page = client.post(address, form)

    assertContains(page, lacks, status_code=403)
    assertContains(page, "this refusal is in the operators&#x27; log", status_code=403)


def test_a_refusal_is_written_down_even_where_the_form_is_not_whole():
    client = staff("eve", *LOOKS)
    address, _ = act_on(record_letter(), "discard")

    with refused("eve", "discard", lacks=DISCARD, reason=""):
        assert client.post(address, {}).status_code == 403


@pytest.mark.parametrize("kind", ["replay", "discard", "restore"])
def test_whoever_only_looks_at_the_page_that_asks_is_refused_and_not_written_down(kind):
    client = staff("eve", *LOOKS)
    address, _ = act_on(record_letter(), kind)

    page = client.get(address)

    assertContains(page, "Ask whoever administers the users", status_code=403)
    assert not DeskEntry.objects.exists()


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
@pytest.mark.parametrize(
    ("kind", "lacks", "has"), [("replay", REPLAY, DISCARD), ("discard", DISCARD, REPLAY)]
)
def test_steering_a_job_needs_the_permission_for_what_it_does(verb, kind, lacks, has):
    client = staff("eve", *LOOKS, has)
    job = record_job(kind=kind, state="paused" if verb == "resume" else "running")

    with refused("eve", verb, lacks=lacks):
        page = client.post(
            reverse(f"admin:deadletters_letterjob_{verb}", args=[job.id]), {"reason": "because"}
        )

    assertContains(page, lacks, status_code=403)


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_the_pages_that_ask_before_a_job_is_steered_are_refused_too(verb):
    job = record_job()
    client = staff("eve", *LOOKS)

    assert client.get(reverse(f"admin:deadletters_letterjob_{verb}", args=[job.id])).status_code == 403
    page = client.get(reverse("admin:deadletters_letterjob_change", args=[job.id]))
    assertNotContains(page, reverse(f"admin:deadletters_letterjob_{verb}", args=[job.id]))
    assertContains(page, "can pause, resume and cancel it")


def test_a_dry_run_needs_the_permission_to_replay():
    client = staff("eve", *LOOKS, DISCARD, EDIT)
    letter = record_letter()

    with refused("eve", "dry run", lacks=REPLAY):
        page = client.post(reverse("admin:deadletters_dry_run", args=[letter.id]), {"reason": "because"})

    assertContains(page, REPLAY, status_code=403)


@pytest.mark.parametrize("has", [(), (EDIT,)], ids=["neither permission", "not for this type"])
def test_editing_needs_both_permissions(settings, has):
    settings.LETTER_EDITING = True
    client = staff("eve", *LOOKS, REPLAY, DISCARD, SEE_PERSONAL_DATA, *has)
    letter = record_letter()
    address = reverse("admin:deadletters_edit", args=[letter.id])

    assert client.get(address).status_code == 403
    with refused("eve", "edit", lacks="deadletters.edit_"):
        page = client.post(address, {"body": "{}", "step": "replay", "reason": "because"})

    assertContains(page, "Not permitted", status_code=403)


@pytest.mark.parametrize("verb", ["approve", "decline"])
def test_deciding_on_an_edit_needs_the_permission_for_it(settings, verb):
    settings.LETTER_EDITING = settings.LETTER_EDITS_NEED_APPROVAL = True
    client = staff("eve", *LOOKS, REPLAY, DISCARD, EDIT, EDIT_ORDER_PLACED, SEE_PERSONAL_DATA)
    edit = an_edit(record_letter())
    address = reverse(f"admin:deadletters_letteredit_{verb}", args=[edit.id])

    assertContains(client.get(address), APPROVE, status_code=403)
    with refused("eve", verb, lacks=APPROVE):
        assertContains(client.post(address, {"reason": "because"}), APPROVE, status_code=403)


def test_approving_needs_the_permission_to_edit_that_type_too(settings):
    settings.LETTER_EDITING = settings.LETTER_EDITS_NEED_APPROVAL = True
    client = staff("eve", *LOOKS, EDIT, APPROVE, SEE_PERSONAL_DATA)
    edit = an_edit(record_letter())
    address = reverse("admin:deadletters_letteredit_approve", args=[edit.id])

    with refused("eve", "approve", lacks=EDIT_ORDER_PLACED):
        assertContains(client.post(address, {"reason": "because"}), EDIT_ORDER_PLACED, status_code=403)


def test_nobody_approves_his_own_edit_and_he_may_take_it_back(settings):
    settings.LETTER_EDITING = settings.LETTER_EDITS_NEED_APPROVAL = True
    client = staff("eve", *LOOKS, EDIT, EDIT_ORDER_PLACED, APPROVE, SEE_PERSONAL_DATA)
    edit = an_edit(record_letter(), by="eve")
    address = reverse("admin:deadletters_letteredit_approve", args=[edit.id])

    assertContains(client.get(address), "a second person has to approve it", status_code=403)
    with refused("eve", "approve", lacks="second person"):
        page = client.post(address, {"reason": "because"})
    assertContains(page, "a second person has to approve it", status_code=403)
    assertNotContains(page, "Ask whoever", status_code=403)

    client.post(reverse("admin:deadletters_letteredit_decline", args=[edit.id]), {"reason": "a mistake"})
    assert LetterEdit.objects.get(id=edit.id).state == "declined"


def test_nobody_edits_or_approves_what_he_may_not_read(settings):
    settings.LETTER_EDITING = settings.LETTER_EDITS_NEED_APPROVAL = True
    client = staff("eve", *LOOKS, EDIT, EDIT_ORDER_PLACED, APPROVE)
    letter = record_letter()
    edit = an_edit(letter, before={"payment_token": TOKEN}, after={"payment_token": "tok_another"})

    for action, address in (
        ("edit", reverse("admin:deadletters_edit", args=[letter.id])),
        ("approve", reverse("admin:deadletters_letteredit_approve", args=[edit.id])),
    ):
        assertContains(client.get(address), SEE_PERSONAL_DATA, status_code=403)
        with refused("eve", action, lacks=SEE_PERSONAL_DATA):
            page = client.post(address, {"body": "{}", "step": "replay", "reason": "because"})
        assertNotContains(page, TOKEN, status_code=403)


# --- the groups that come with the shop --------------------------------------------------------------------


ALLOWED = {
    "Support": {"replay"},
    "Operators": {"replay", "discard", "restore"},
}


@pytest.mark.parametrize("group", ALLOWED)
@pytest.mark.parametrize("kind", ["replay", "discard", "restore"])
def test_the_groups_may_exactly_what_they_should(group, kind):
    client = of_group("grace", group)
    letter = record_letter(**({"state": "discarded", "closed_at": NOON} if kind == "restore" else {}))
    before = letter.state
    address, form = act_on(letter, kind)

    looked, acted = client.get(address), client.post(address, form)

    changed = DeadLetter.objects.get(id=letter.id).state != before
    is_allowed = kind in ALLOWED[group]
    assert changed is is_allowed
    assert looked.status_code == (200 if is_allowed else 403)
    assert acted.status_code == (302 if is_allowed else 403)
    assert DeskEntry.objects.get().outcome == ("done" if is_allowed else "refused")


@pytest.mark.parametrize("group", ALLOWED)
def test_no_group_that_comes_with_the_shop_edits_or_reads_of_customers(settings, group):
    settings.LETTER_EDITING = settings.LETTER_EDITS_NEED_APPROVAL = True
    client = of_group("grace", group)
    letter = record_letter()
    edit = an_edit(letter)

    assert client.get(reverse("admin:deadletters_edit", args=[letter.id])).status_code == 403
    assert client.get(reverse("admin:deadletters_letteredit_approve", args=[edit.id])).status_code == 403
    assert client.get(reverse("admin:deadletters_letteredit_change", args=[edit.id])).status_code == 200
    assert client.get(reverse("admin:deadletters_deskentry_changelist")).status_code == 200
    assert client.get(reverse("admin:deadletters_letterjob_changelist")).status_code == 200


# --- the log stays as it is ---------------------------------------------------------------------------------


def an_entry() -> DeskEntry:
    return DeskEntry.objects.create(at=NOON, by="ada", action="replay", outcome="done", subject="a letter")


@pytest.mark.parametrize("label", ["deskentry", "letterjob", "letteredit"])
def test_not_even_a_superuser_adds_changes_or_deletes(superuser, label):
    row = {
        "deskentry": an_entry,
        "letterjob": record_job,
        "letteredit": lambda: an_edit(record_letter()),
    }[label]()
    named = f"admin:deadletters_{label}"
    before = type(row).objects.filter(pk=row.pk).values().get()

    assert superuser.post(reverse(f"{named}_add"), {"by": "mallory"}).status_code == 403
    answer = superuser.post(reverse(f"{named}_change", args=[row.pk]), {"by": "mallory", "state": "finished"})
    assert answer.status_code == 403
    assert superuser.post(reverse(f"{named}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    superuser.post(
        reverse(f"{named}_changelist"),
        {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"},
    )

    assert type(row).objects.filter(pk=row.pk).values().get() == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE deadletters_deskentry SET by = 'mallory'",
        "DELETE FROM deadletters_deskentry",
        "TRUNCATE deadletters_deskentry",
        "UPDATE deadletters_letteraction SET by = 'mallory'",
        "DELETE FROM deadletters_letteraction",
        "TRUNCATE deadletters_letteraction",
    ],
)
def test_the_database_itself_refuses_to_change_what_was_written_down(statement):
    an_entry()
    record_letter()

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as at the commit

    assert DeskEntry.objects.get().by == "ada"
    assert LetterAction.objects.get().by == "ada"
