"""Edits that a second person has to approve: what is sent when, who may decide, and what stays decided."""

from collections.abc import Callable
from functools import partial

import pytest

from deadletters import services
from deadletters.editing.edits import approve, decline
from deadletters.errors import InvalidEdit, NotPermitted, ReasonMissing, WrongMove
from deadletters.models import DeadLetter, LetterAction, LetterEdit, Replay
from tests.at_once import at_once
from tests.builders import NOON
from tests.integration.deadletters.edited import (
    APPROVE,
    AUTHORIZE,
    SEE,
    a_billing_letter,
    actions,
    edited,
    entries,
    sent_for,
    somebody,
    untouched,
)
from tests.integration.deadletters.rehearsed import Story

pytestmark = pytest.mark.usefixtures("committed", "editing")


def test_with_approval_nothing_is_sent_before_a_second_person_says_so(with_approval):
    letter = a_billing_letter()

    made = edited(letter)

    assert (made.state, made.replay, sent_for(made.message_id)) == ("proposed", None, None)
    assert untouched(letter)
    assert actions(letter) == [("proposed", "ada")]
    assert entries(letter) == [("propose", "done", "ada")]


def test_a_second_person_approves_and_the_message_is_sent(with_approval):
    letter = a_billing_letter()
    made = edited(letter)

    approved = approve(made.id, operator=somebody("grace"), reason="seen", at=NOON)

    row = sent_for(made.message_id)
    assert row is not None
    assert row.body["payment_token"] == "tok_visa"
    assert (approved.state, approved.proposed_by, approved.decided_by) == ("sent", "ada", "grace")
    assert LetterEdit.objects.get(id=made.id).replay_id == Replay.objects.get(letter=letter).id
    assert DeadLetter.objects.get(id=letter.id).state == "replaying"
    assert actions(letter) == [("proposed", "ada"), ("edited", "grace")]
    assert LetterAction.objects.get(letter=letter, kind="edited").reason == (
        "a new card (proposed by ada); approved: seen"
    )
    assert entries(letter) == [("propose", "done", "ada"), ("approve", "done", "grace")]


@pytest.mark.parametrize(
    ("who", "said"),
    [
        (somebody("ada"), "a second person has to approve it"),
        (somebody("grace", without=APPROVE), APPROVE),
        (somebody("grace", without=AUTHORIZE), AUTHORIZE),
        (somebody("grace", without=SEE), "nobody approves what he does not see"),
    ],
)
def test_who_may_not_approve_is_refused_and_written_down(with_approval, who, said):
    letter = a_billing_letter()
    made = edited(letter)

    with pytest.raises(NotPermitted, match=said):
        approve(made.id, operator=who, reason="", at=NOON)

    assert untouched(letter)
    assert LetterEdit.objects.get(id=made.id).state == "proposed"
    assert entries(letter)[1:] == [("approve", "refused", who.name)]


def test_who_sees_no_personal_data_may_approve_a_change_beside_it(with_approval):
    letter = a_billing_letter()
    made = edited(letter, total={"amount": 1, "currency": "EUR"})

    assert approve(made.id, operator=somebody("grace", without=SEE), reason="", at=NOON).state == "sent"


def test_an_edit_is_validated_again_when_it_is_approved(with_approval):
    story = Story()
    letter = a_billing_letter(story)
    made = edited(letter)
    services.replay([letter], by="ada", reason="tried as it is", at=NOON)

    with pytest.raises(InvalidEdit, match="The letter is replaying"):
        approve(made.id, operator=somebody("grace"), reason="", at=NOON)

    assert sent_for(made.message_id) is None
    assert LetterEdit.objects.get(id=made.id).state == "proposed"
    assert entries(letter)[-1] == ("approve", "refused", "grace")


def test_an_edit_is_declined_with_a_reason_or_taken_back(with_approval):
    letter = a_billing_letter()
    first = edited(letter)
    with pytest.raises(ReasonMissing):
        decline(first.id, operator=somebody("grace"), reason="", at=NOON)
    with pytest.raises(NotPermitted):
        decline(first.id, operator=somebody("grace", without=APPROVE), reason="no", at=NOON)
    decline(first.id, operator=somebody("grace"), reason="the wrong card", at=NOON)
    second = edited(letter)
    decline(second.id, operator=somebody("ada", without=APPROVE), reason="a mistake", at=NOON)

    assert untouched(letter)
    assert list(
        LetterEdit.objects.filter(letter=letter).order_by("id").values_list("state", "decided_by")
    ) == [
        ("declined", "grace"),
        ("declined", "ada"),
    ]
    assert [kind for kind, _ in actions(letter)] == ["proposed", "declined", "proposed", "declined"]
    assert ("decline", "refused", "grace") in entries(letter)


@pytest.mark.parametrize("decide", [approve, decline])
def test_what_is_decided_stays_decided(with_approval, decide: Callable[..., LetterEdit]):
    letter = a_billing_letter()
    made = edited(letter)
    decline(made.id, operator=somebody("grace"), reason="no", at=NOON)

    with pytest.raises(WrongMove, match="declined already, by grace"):
        decide(made.id, operator=somebody("grace"), reason="again", at=NOON)


def test_a_second_proposal_waits_for_the_first(with_approval):
    letter = a_billing_letter()
    edited(letter)

    with pytest.raises(InvalidEdit, match="An edit by ada waits for a second person"):
        edited(letter, by=somebody("grace"))


def test_of_two_who_approve_at_once_one_does(with_approval):
    letter = a_billing_letter()
    made = edited(letter)

    def try_to_approve(name: str) -> str:
        try:
            return approve(made.id, operator=somebody(name), reason="", at=NOON).state
        except (InvalidEdit, WrongMove):
            return "refused"

    outcomes = at_once(partial(try_to_approve, "grace"), partial(try_to_approve, "mary"))

    assert sorted(outcomes) == ["refused", "sent"]
    assert Replay.objects.filter(letter=letter).count() == 1
