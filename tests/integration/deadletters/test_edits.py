"""Edit and replay: the message that goes out, the records that stay, and who is refused what."""

import json
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.db import connections

from billing.models import Payment
from contracts.catalogue import MESSAGE_TYPES
from contracts.operations import ReplaySucceeded
from deadletters import permissions, services
from deadletters.desk import Operator
from deadletters.editing.edits import check, edit
from deadletters.errors import InvalidEdit, NotPermitted, ReasonMissing
from deadletters.filtering import LetterFilter
from deadletters.models import DeadLetter, DeskEntry, LetterEdit, Replay
from messaging.consumer import consume
from messaging.envelope import utc_now
from messaging.models import IdempotencyKey, OutboxMessage
from tests.at_once import at_once
from tests.builders import NOON, a_delivery, an_envelope, authorize_payment, reserve_stock
from tests.integration.deadletters.edited import (
    AUTHORIZE,
    EDIT,
    SEE,
    a_billing_letter,
    actions,
    body_with,
    deliver,
    edited,
    entries,
    sent_for,
    somebody,
    untouched,
)
from tests.integration.deadletters.rehearsed import Story, a_letter

pytestmark = pytest.mark.usefixtures("committed", "editing")


def test_an_edited_message_is_sent_under_an_id_of_its_own_and_the_same_key():
    letter = a_billing_letter()

    made = edited(letter)

    row = sent_for(made.message_id)
    assert row is not None
    assert (row.service, row.exchange, row.routing_key) == ("operations", "", "billing")
    assert row.body["payment_token"] == "tok_visa"
    assert made.message_id != letter.message_id
    before = letter.headers
    for name in ("type", "idempotency_key", "correlation_id", "saga_id", "step", "occurred_at"):
        assert row.headers[name] == before[name]
    assert row.headers.get("attempt", 1) == 1
    assert made.replay is not None
    assert row.headers["replay_id"] == str(made.replay.id)


def test_the_letter_keeps_what_came_and_the_edit_what_was_made_of_it():
    letter = a_billing_letter()

    made = edited(letter)

    now = DeadLetter.objects.get(id=letter.id)
    assert (now.state, bytes(now.body), now.message_id) == (
        "replaying",
        bytes(letter.body),
        letter.message_id,
    )
    stored = LetterEdit.objects.get(id=made.id)
    assert (stored.state, stored.proposed_by, stored.decided_by, stored.reason) == (
        "sent",
        "ada",
        "ada",
        "a new card",
    )
    assert (stored.before["payment_token"], stored.after["payment_token"]) == ("tok_gone", "tok_visa")
    assert stored.replay_id == Replay.objects.get(letter=letter).id
    assert actions(letter) == [("edited", "ada")]
    (entry,) = DeskEntry.objects.filter(letter_id=letter.id)
    assert (entry.action, entry.outcome, entry.reason, entry.detail, entry.letters) == (
        "edit",
        "done",
        "a new card",
        "changed: payment_token",
        1,
    )


def test_the_letter_is_found_by_the_edited_messages_id_too():
    letter = a_billing_letter()
    made = edited(letter)

    for chosen in (
        LetterFilter(message_id=made.message_id),
        LetterFilter(message_id=letter.message_id),
        LetterFilter(text=str(made.message_id)),
    ):
        assert list(chosen.apply(DeadLetter.objects.defer("body"))) == [letter]


def test_the_edited_message_is_handled_and_closes_the_letter(gateway):
    story = Story()
    letter = a_billing_letter(story)
    made = edited(letter)
    row = sent_for(made.message_id)
    assert row is not None
    assert made.replay is not None

    deliver(row)

    assert gateway.calls == [story.key("authorize")]
    assert Payment.objects.get(order_id=story.order_id).state == "authorized"
    report = OutboxMessage.objects.using(settings.SERVICES["billing"]).get(
        type=ReplaySucceeded.wire_type, body__replay_id=str(made.replay.id)
    )
    consume(
        "operations",
        a_delivery(ReplaySucceeded(**{name: UUID(value) for name, value in report.body.items()})),
    )
    assert DeadLetter.objects.get(id=letter.id).state == "resolved"


def test_the_original_has_no_effect_beside_the_edited_message(gateway):
    """A copy of the message that died may still come: the key is claimed by then."""
    story = Story()
    letter = a_billing_letter(story)
    row = sent_for(edited(letter).message_id)
    assert row is not None
    deliver(row)

    story.hand("billing", authorize_payment(story.order_id, card="tok_gone"), key=story.key("authorize"))

    assert gateway.effects == 1


def test_an_edited_message_that_dies_again_makes_a_letter_that_follows_the_first():
    letter = a_billing_letter()
    made = edited(letter)
    row = sent_for(made.message_id)
    assert row is not None

    again = a_letter("billing", headers=row.headers, body=json.dumps([[row.body], {}, {}]).encode())

    assert (again.follows_id, again.message_id) == (letter.id, made.message_id)
    assert DeadLetter.objects.get(id=letter.id).state == "superseded"
    assert Replay.objects.get(letter=letter).outcome == "failed"


def test_checking_changes_nothing_and_tells_what_would_change():
    letter = a_billing_letter()

    (change,) = check(letter.id, body_with(letter, payment_token="tok_visa"), operator=somebody())

    assert (change.path, change.before, change.after) == ("payment_token", "tok_gone", "tok_visa")
    assert untouched(letter)
    assert (entries(letter), actions(letter)) == ([], [])


@pytest.mark.parametrize("missing", [EDIT, AUTHORIZE, SEE])
@pytest.mark.parametrize("verb", ["check", "edit"])
def test_each_missing_permission_refuses_and_is_written_down(missing, verb):
    letter = a_billing_letter()
    who = somebody(without=missing)

    with pytest.raises(NotPermitted, match=missing.replace(".", r"\.")):
        if verb == "check":
            check(letter.id, body_with(letter, payment_token="tok_visa"), operator=who)
        else:
            edited(letter, by=who)

    assert untouched(letter)
    assert entries(letter) == [("edit", "refused", "ada")]
    assert missing in DeskEntry.objects.get(letter_id=letter.id).detail


def test_who_sees_no_personal_data_may_edit_what_holds_none():
    letter = a_letter("inventory", reserve_stock(uuid4()))

    made = edited(letter, by=somebody(without=SEE), lines=[{"sku": "mug", "quantity": 1}])

    assert made.state == "sent"


def test_nothing_is_edited_while_it_is_switched_off(monkeypatch):
    monkeypatch.setattr(settings, "LETTER_EDITING", False)
    letter = a_billing_letter()

    with pytest.raises(NotPermitted, match="switched off"):
        edited(letter)

    assert untouched(letter)
    assert entries(letter) == [("edit", "refused", "ada")]


def test_an_invalid_edit_is_refused_and_the_log_names_no_value():
    letter = a_billing_letter()

    with pytest.raises(InvalidEdit, match=r'total\.currency is "Ada Lovelace"'):
        edited(letter, total={"amount": 1, "currency": "Ada Lovelace"})

    assert untouched(letter)
    entry = DeskEntry.objects.get(letter_id=letter.id)
    assert (entry.outcome, "Lovelace" in entry.detail) == ("refused", False)
    assert entry.detail.startswith("total.currency: expected `str` matching regex")


def test_editing_needs_a_reason():
    letter = a_billing_letter()

    with pytest.raises(ReasonMissing):
        edit(letter.id, body_with(letter, payment_token="x"), operator=somebody(), reason=" ", at=NOON)

    assert untouched(letter)


def test_only_an_open_letter_can_be_edited():
    letter = a_billing_letter()
    services.discard([letter], by="ada", reason="a test order", at=NOON)

    with pytest.raises(InvalidEdit, match="The letter is discarded"):
        edited(letter)


def test_a_letter_that_holds_no_message_cannot_be_edited():
    letter = a_letter("billing", body=b"\xff")

    with pytest.raises(InvalidEdit, match="There is no message that could be edited"):
        edit(
            letter.id,
            "{}",
            operator=Operator(name="root", may=lambda permission: True),
            reason="to see",
            at=NOON,
        )


@pytest.mark.parametrize(
    ("state", "said"), [("started", "must be asked the same"), ("finished", "handled this message already")]
)
def test_a_message_whose_key_is_taken_is_replayed_unedited_only(state, said):
    story = Story()
    letter = a_billing_letter(story)
    IdempotencyKey.objects.using(settings.SERVICES["billing"]).create(
        consumer="billing",
        key=story.key("authorize"),
        state=state,
        message_id=letter.message_id,
        type=letter.type,
        request={"token": "tok_gone"},
        lease_until=utc_now() - timedelta(hours=1),
        fence=1,
        claimed_at=utc_now(),
    )

    with pytest.raises(InvalidEdit, match=said):
        edited(letter)

    assert untouched(letter)


def test_without_the_services_database_nothing_is_edited(monkeypatch):
    letter = a_billing_letter()
    body = body_with(letter, payment_token="tok_visa")
    database = settings.SERVICES["billing"]
    connections[database].close()
    with monkeypatch.context() as away:
        away.setitem(connections[database].settings_dict, "PORT", "1")
        away.setitem(connections[database].settings_dict, "HOST", "127.0.0.1")
        with pytest.raises(InvalidEdit, match="The database of billing does not answer"):
            edit(letter.id, body, operator=somebody(), reason="a new card", at=NOON)

    assert untouched(letter)


def test_of_two_who_edit_at_once_one_does():
    letter = a_billing_letter()

    def try_to_edit(name: str) -> str:
        try:
            edited(letter, by=somebody(name))
            return "sent"
        except InvalidEdit:
            return "refused"

    outcomes = at_once(partial(try_to_edit, "ada"), partial(try_to_edit, "grace"))

    assert sorted(outcomes) == ["refused", "sent"]
    assert Replay.objects.filter(letter=letter).count() == 1


def test_there_is_a_permission_for_each_message_type_and_making_them_twice_makes_no_more():
    permissions.create_for_every_type()
    permissions.create_for_every_type()

    names = [permissions.to_edit(wire_type) for wire_type in MESSAGE_TYPES]
    assert len(set(names)) == len(names)
    for name in names:
        app, codename = name.split(".")
        assert Permission.objects.filter(content_type__app_label=app, codename=codename).count() == 1
        assert len(codename) <= 100


def test_a_user_is_given_the_permission_of_one_type_as_any_other():
    permissions.create_for_every_type()
    user = User.objects.create_user(f"editor-{uuid4().hex}")
    user.user_permissions.add(Permission.objects.get(codename="edit_billing_authorize_payment_v1"))

    user = User.objects.get(id=user.id)

    assert user.has_perm(AUTHORIZE)
    assert not user.has_perm(permissions.to_edit("billing.void_payment.v1"))


def test_an_edit_of_an_event_goes_to_the_one_service_where_it_died():
    story = Story()
    event = story.replies.booked
    letter = a_letter("orders", event)
    operator = Operator(name="root", may=lambda permission: True)

    made = edit(
        letter.id, body_with(letter, tracking="MG2"), operator=operator, reason="a wrong number", at=NOON
    )

    row = sent_for(made.message_id)
    assert row is not None
    assert (row.exchange, row.routing_key) == ("", "orders")
    assert row.headers["idempotency_key"] == str(letter.message_id)
    assert an_envelope(event).type == row.type
