"""Editing a letter in the admin: errors name the field, changes are shown field by field before anything is sent."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from deadletters.models import DeadLetter, DeskEntry, LetterEdit
from messaging.models import OutboxMessage
from tests.integration.admin.edits_at_hand import an_edit
from tests.integration.admin.people import (
    APPROVE,
    EDIT,
    EDIT_ORDER_PLACED,
    LOOKS,
    SEE_PERSONAL_DATA,
    staff,
)
from tests.integration.admin.records import NOON, STREET, TOKEN, record_letter

pytestmark = pytest.mark.django_db
LIST = "admin:deadletters_letteredit_changelist"


@pytest.fixture(autouse=True)
def editing(settings) -> None:
    settings.LETTER_EDITING = True


@pytest.fixture
def editor(db: None) -> Client:
    return staff("ada", *LOOKS, EDIT, EDIT_ORDER_PLACED, SEE_PERSONAL_DATA)


@pytest.fixture
def approver(db: None) -> Client:
    return staff("grace", *LOOKS, EDIT, EDIT_ORDER_PLACED, APPROVE, SEE_PERSONAL_DATA)


def address(letter: DeadLetter) -> str:
    return reverse("admin:deadletters_edit", args=[letter.id])


def page_of(client: Client, edit: LetterEdit):
    return client.get(reverse("admin:deadletters_letteredit_change", args=[edit.id]))


def decide(verb: str, edit: LetterEdit) -> str:
    return reverse(f"admin:deadletters_letteredit_{verb}", args=[edit.id])


def edited(letter: DeadLetter, **changed: Any) -> str:
    message = json.loads(bytes(letter.body))[0][0]
    return json.dumps({**message, **changed})


# --- the editor ---------------------------------------------------------------------------------------------


def test_the_message_is_shown_with_what_may_stand_in_each_field(editor):
    letter = record_letter()

    page = editor.get(address(letter))

    assertContains(page, "The message, as JSON</label>")
    assertContains(page, 'spellcheck="false"')
    assertContains(page, TOKEN)
    assertContains(page, "<code>ship_to.city</code>")
    assertContains(page, "identifier (UUID)")
    assertContains(page, "Nothing is sent before you have seen what you changed.")


def test_a_check_shows_what_was_changed_field_by_field_and_sends_nothing(editor):
    letter = record_letter()

    page = editor.post(address(letter), {"body": edited(letter, payment_token="tok_new"), "step": "check"})

    assertContains(page, "<code>payment_token</code>")
    assertContains(page, f"<del>&quot;{TOKEN}&quot;</del>")
    assertContains(page, "<ins>&quot;tok_new&quot;</ins>")
    assertContains(page, "changed</span>")
    assertContains(page, "Replay this</button>")
    assert DeadLetter.objects.get(id=letter.id).state == "open"
    assert not LetterEdit.objects.exists()
    assert not DeskEntry.objects.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"payment_token": 7}, "payment_token"),
        ({"total": {"amount": -1, "currency": "EUR"}}, "total.amount"),
        ({"nonsense": True}, "nonsense"),
        ({}, "change"),
    ],
    ids=["wrong type", "out of bounds", "unknown field", "nothing changed"],
)
@pytest.mark.parametrize("step", ["check", "replay"])
def test_what_does_not_fit_is_named_and_kept_in_the_editor(editor, change, said, step):
    letter = record_letter()
    body = edited(letter, **change)

    page = editor.post(address(letter), {"body": body, "step": step, "reason": "mending"})

    assert page.status_code == 422
    assert said in page.context["problem"]
    assert page.context["body"] == body
    assertContains(page, 'aria-invalid="true"', status_code=422)
    assert DeadLetter.objects.get(id=letter.id).state == "open"


def test_what_is_no_json_is_answered_with_the_place(editor):
    letter = record_letter()

    page = editor.post(address(letter), {"body": "{", "step": "check"})

    assertContains(page, 'role="alert"', status_code=422)
    assert page.context["body"] == "{"


def test_the_edited_message_is_sent_only_with_a_reason(editor):
    letter = record_letter()
    form = {"body": edited(letter, payment_token="tok_new"), "step": "replay"}

    page = editor.post(address(letter), {**form, "reason": " "})
    assertContains(page, "Say why you change the message.", status_code=422)
    assertContains(page, "<ins>&quot;tok_new&quot;</ins>", status_code=422)
    assert not LetterEdit.objects.exists()

    answer = editor.post(address(letter), {**form, "reason": "the token was wrong"})
    edit = LetterEdit.objects.get()
    assertRedirects(answer, reverse("admin:deadletters_letteredit_change", args=[edit.id]))
    assert (edit.state, edit.proposed_by, edit.reason) == ("sent", "ada", "the token was wrong")
    assert DeadLetter.objects.get(id=letter.id).state == "replaying"
    assert OutboxMessage.objects.get(message_id=edit.message_id).body["payment_token"] == "tok_new"


def test_an_edit_goes_back_to_the_editor_with_what_was_typed(editor):
    letter = record_letter()
    body = edited(letter, payment_token="tok_new")

    page = editor.post(address(letter), {"body": body, "step": "edit"})

    assertContains(page, "tok_new")
    assertContains(page, 'value="check"')
    assertNotContains(page, "Replay this")


def test_a_form_that_is_sent_twice_sends_one_message(editor):
    letter = record_letter()
    form = {"body": edited(letter, payment_token="tok_new"), "step": "replay", "reason": "mending"}

    answers = [editor.post(address(letter), form).status_code for _ in range(2)]

    assert answers == [302, 422]
    assert LetterEdit.objects.count() == 1


def test_opening_the_editor_sends_nothing(editor):
    letter = record_letter()

    editor.get(address(letter), {"body": edited(letter, payment_token="x"), "step": "replay", "reason": "x"})

    assert not LetterEdit.objects.exists()
    assert DeadLetter.objects.get(id=letter.id).state == "open"


def test_where_editing_is_off_who_may_is_told_how_it_is_switched_on(editor, settings):
    settings.LETTER_EDITING = False
    letter = record_letter()

    assertContains(editor.get(address(letter)), "LETTER_EDITING=true", status_code=404)
    assert editor.post(address(letter), {"body": edited(letter, payment_token="x")}).status_code == 403
    page = staff("eve", *LOOKS).get(address(letter))
    assertNotContains(page, "LETTER_EDITING=true", status_code=403)
    assertNotContains(page, "for the permission", status_code=403)  # it would not help


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"state": "resolved", "closed_at": NOON}, "only an open one can be edited"),
        ({"body": b"\xff"}, "There is no message that could be edited"),
    ],
)
def test_a_letter_that_cannot_be_edited_is_answered_in_words(editor, fields, said):
    assertContains(editor.get(address(record_letter(**fields))), said, status_code=409)


def test_a_letter_that_is_not_there_is_answered_in_words(editor):
    address = reverse("admin:deadletters_edit", args=[uuid4()])

    assertContains(editor.get(address), "There is no dead letter", status_code=404)
    assertContains(editor.post(address), "There is no dead letter", status_code=404)


def test_while_an_edit_waits_the_letter_is_not_edited_again(editor):
    letter = record_letter()
    edit = an_edit(letter, by="grace")

    page = editor.get(address(letter))

    assertContains(page, "An edit of this letter by grace waits for a second person.", status_code=409)
    assertContains(page, page_of(editor, edit).request["PATH_INFO"], status_code=409)


# --- a second person ------------------------------------------------------------------------------------------


def test_an_edit_waits_for_a_second_person_where_the_shop_wants_that(editor, approver, settings):
    settings.LETTER_EDITS_NEED_APPROVAL = True
    letter = record_letter()
    form = {"body": edited(letter, payment_token="tok_new"), "reason": "the token was wrong"}

    assertContains(editor.post(address(letter), {**form, "step": "check"}), "Propose this</button>")
    editor.post(address(letter), {**form, "step": "replay"})
    edit = LetterEdit.objects.get()
    assert edit.state == "proposed"
    assert DeadLetter.objects.get(id=letter.id).state == "open"

    assertContains(page_of(editor, edit), "a second person has to approve it")
    assertNotContains(page_of(editor, edit), decide("approve", edit))
    assertContains(page_of(approver, edit), decide("approve", edit))
    assertContains(approver.get(decide("approve", edit)), "<ins>&quot;tok_new&quot;</ins>")

    assertRedirects(approver.post(decide("approve", edit)), page_of(approver, edit).request["PATH_INFO"])
    edit.refresh_from_db()
    assert (edit.state, edit.decided_by) == ("sent", "grace")
    assert DeadLetter.objects.get(id=letter.id).state == "replaying"


def test_a_second_person_declines_with_a_reason(approver):
    letter = record_letter()
    edit = an_edit(letter)

    assert approver.post(decide("decline", edit)).status_code == 422
    approver.post(decide("decline", edit), {"reason": "the old token is right"})

    edit.refresh_from_db()
    assert (edit.state, edit.decided_by) == ("declined", "grace")
    assert DeadLetter.objects.get(id=letter.id).state == "open"


@pytest.mark.parametrize("verb", ["approve", "decline"])
def test_looking_decides_nothing(approver, verb):
    edit = an_edit(record_letter())

    approver.get(decide(verb, edit), {"reason": "x"})

    edit.refresh_from_db()
    assert edit.state == "proposed"


@pytest.mark.parametrize("verb", ["approve", "decline"])
def test_what_is_decided_already_is_answered_in_words(approver, verb):
    edit = an_edit(record_letter(), state="declined")

    page = approver.post(decide(verb, edit), {"reason": "late"})

    assert page.status_code == 422
    assert page.context["problem"]
    assertContains(
        approver.get(reverse(f"admin:deadletters_letteredit_{verb}", args=[uuid4()])),
        "There is no edit",
        status_code=404,
    )


# --- list and page --------------------------------------------------------------------------------------------


def test_an_edit_tells_who_changed_what_and_why(editor):
    letter = record_letter()
    edit = an_edit(
        letter,
        state="sent",
        before={"quantity": 1, "note": "old"},
        after={"quantity": 2, "sku": "mug"},
    )

    assertContains(editor.get(reverse(LIST)), "a slip of the pen")
    page = page_of(editor, edit)

    for said in ("ada", "grace", "a slip of the pen", "changed</span>", "added</span>", "removed</span>"):
        assertContains(page, said)
    assertContains(page, "<code>note</code>")
    assertContains(page, reverse("admin:deadletters_deadletter_change", args=[letter.id]))
    assertNotContains(page, decide("decline", edit))


def test_customers_and_tokens_are_hidden_from_who_may_not_read_of_them(db):
    client = staff("eve", *LOOKS)
    edit = an_edit(record_letter(), before={"payment_token": TOKEN}, after={"payment_token": STREET})

    page = page_of(client, edit)

    assertNotContains(page, TOKEN)
    assertNotContains(page, STREET)
    assertContains(page, "Only what is hidden from you.")


def test_without_an_edit_the_list_says_that_all_was_sent_as_it_came(editor):
    assertContains(editor.get(reverse(LIST)), "No letter has been edited: what came was sent as it came.")


def test_hostile_text_is_shown_and_does_nothing(editor, approver):
    hostile = "<script>alert(1)</script>"
    letter = record_letter()
    edit = an_edit(
        record_letter(), by=hostile, reason=hostile, before={hostile: hostile}, after={hostile: f"{hostile}2"}
    )
    body = edited(letter, payment_token=hostile)

    for page in (
        editor.post(address(letter), {"body": body, "step": "check"}),
        editor.post(address(letter), {"body": f"</textarea>{hostile}", "step": "check"}),
        approver.get(reverse(LIST)),
        page_of(approver, edit),
        approver.get(decide("approve", edit)),
    ):
        assertNotContains(page, hostile, status_code=page.status_code)
        for inline in (" style=", "<style", "<script>", " onclick="):
            assertNotContains(page, inline, status_code=page.status_code)


def test_the_pages_cost_few_statements(editor, statements):
    letter, edit = record_letter(), an_edit(record_letter())
    for _ in range(15):
        an_edit(record_letter())

    for page in (address(letter), reverse(LIST), page_of(editor, edit).request["PATH_INFO"]):
        with statements() as count:
            assert editor.get(page).status_code == 200
        assert count() < 10
