"""The operators' log and the actions on letters: what was written down stays, whoever wants it otherwise."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains

from deadletters.models import DeadLetter, DeskEntry, LetterAction
from deadletters.pruning import prune_closed
from tests.integration.admin.people import LOOKS, REPLAY, staff
from tests.integration.admin.records import record_letter

pytestmark = pytest.mark.django_db


def at_the_commit(*statements: str) -> None:
    """Run them in a transaction of their own, with what is looked at when it ends."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def an_entry() -> DeskEntry:
    return DeskEntry.objects.create(
        at=timezone.now(), by="ada", action="replay", outcome="done", subject="a letter"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda: DeskEntry.objects.update(by="mallory"),
        lambda: DeskEntry.objects.all().delete(),
        lambda: DeskEntry.objects.get().delete(),
        lambda: DeskEntry.objects.bulk_update([DeskEntry(id=DeskEntry.objects.get().id, by="x")], ["by"]),
        lambda: LetterAction.objects.update(reason="another"),
        lambda: LetterAction.objects.get().save(),
        lambda: at_the_commit("DELETE FROM deadletters_letteraction"),
        lambda: at_the_commit("TRUNCATE deadletters_deadletter CASCADE"),
        lambda: at_the_commit("TRUNCATE deadletters_deskentry CASCADE"),
        lambda: at_the_commit(
            "MERGE INTO deadletters_deskentry AS entry USING (SELECT 1) AS one ON true "
            "WHEN MATCHED THEN UPDATE SET by = 'mallory'"
        ),
        lambda: at_the_commit(
            "CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM deadletters_deadletter",
            "DELETE FROM deadletters_letteraction",
            "DELETE FROM deadletters_deadletter",
            "INSERT INTO deadletters_deadletter SELECT * FROM kept",
        ),
    ],
)
def test_nothing_that_was_written_down_is_changed_by_code_or_sql(change):
    an_entry()
    record_letter()
    before = list(DeskEntry.objects.values()), list(LetterAction.objects.values())

    with pytest.raises(DatabaseError), transaction.atomic():
        change()

    assert (list(DeskEntry.objects.values()), list(LetterAction.objects.values())) == before


def test_pruning_still_takes_old_letters_with_their_actions_and_leaves_the_log():
    letter = record_letter(state="resolved", closed_at=timezone.now() - timedelta(days=91))
    entry = an_entry()

    assert sum(prune_closed(days=90, size=10)) >= 1
    at_the_commit()

    assert not DeadLetter.objects.filter(id=letter.id).exists()
    assert DeskEntry.objects.filter(id=entry.id).exists()


def test_what_somebody_did_keeps_his_name_when_he_is_renamed_and_when_he_is_gone(superuser):
    client = staff("sue", *LOOKS, REPLAY)
    letter = record_letter()
    client.post(
        f"{reverse('admin:deadletters_act', args=['replay'])}?ids={letter.id}",
        {"seen": 1, "job_id": str(uuid4()), "reason": "it is mended"},
    )
    user = User.objects.get(username="sue")

    for change in (lambda: User.objects.filter(id=user.id).update(username="susan"), user.delete):
        change()
        page = superuser.get(reverse("admin:deadletters_deadletter_change", args=[letter.id]))
        assertContains(page, "sue")
        assert DeskEntry.objects.get().by == "sue"


def test_a_form_without_its_token_does_nothing(superuser):
    user = User.objects.get(username="superuser")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    letter = record_letter()
    address = f"{reverse('admin:deadletters_act', args=['discard'])}?ids={letter.id}"

    answer = strict.post(address, {"seen": 1, "job_id": str(uuid4()), "reason": "x"})

    assert answer.status_code == 403
    assert DeadLetter.objects.get(id=letter.id).state == "open"
    assert strict.post(reverse("admin:deadletters_dry_run", args=[letter.id])).status_code == 403
    assert not DeskEntry.objects.exists()
