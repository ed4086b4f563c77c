"""Letters that a test has edited, and what became of them."""

import json
from uuid import UUID

from deadletters import permissions
from deadletters.desk import Operator
from deadletters.editing import edits
from deadletters.editing.edits import edit
from deadletters.models import DeadLetter, DeskEntry, LetterAction, LetterEdit, Replay
from messaging.consumer import consume
from messaging.delivery import Delivery
from messaging.models import OutboxMessage
from tests.builders import NOON, authorize_payment
from tests.integration.deadletters.rehearsed import Story, a_letter

EDIT, APPROVE = permissions.EDIT, permissions.APPROVE
SEE = permissions.SEE_PERSONAL_DATA
AUTHORIZE = permissions.to_edit("billing.authorize_payment.v1")
EVERYTHING = frozenset({EDIT, APPROVE, SEE, AUTHORIZE, permissions.to_edit("inventory.reserve_stock.v1")})


def somebody(name: str = "ada", *, without: str = "") -> Operator:
    return Operator(name=name, may=lambda permission: permission in EVERYTHING - {without})


def a_billing_letter(story: Story | None = None) -> DeadLetter:
    story = story or Story()
    command = authorize_payment(story.order_id, card="tok_gone")
    return a_letter("billing", command, key=story.key("authorize"), saga_id=story.saga_id, step="authorize")


def body_with(letter: DeadLetter, **fields: object) -> str:
    return json.dumps(json.loads(edits.text_of(letter)) | fields)


def edited(letter: DeadLetter, *, by: Operator | None = None, **fields: object) -> LetterEdit:
    fields = fields or {"payment_token": "tok_visa"}
    return edit(
        letter.id, body_with(letter, **fields), operator=by or somebody(), reason="a new card", at=NOON
    )


def sent_for(message_id: UUID) -> OutboxMessage | None:
    return OutboxMessage.objects.using("default").filter(message_id=message_id).first()


def entries(letter: DeadLetter) -> list[tuple[str, str, str]]:
    found = DeskEntry.objects.filter(letter_id=letter.id).order_by("id")
    return [(entry.action, entry.outcome, entry.by) for entry in found]


def actions(letter: DeadLetter) -> list[tuple[str, str]]:
    return list(LetterAction.objects.filter(letter=letter).order_by("id").values_list("kind", "by"))


def deliver(row: OutboxMessage) -> None:
    consume(
        row.routing_key,
        Delivery(headers=row.headers, payload=row.body, exchange="", routing_key=row.routing_key),
    )


def untouched(letter: DeadLetter) -> bool:
    now = DeadLetter.objects.get(id=letter.id)
    return (
        now.state == "open"
        and bytes(now.body) == bytes(letter.body)
        and not LetterEdit.objects.filter(letter=letter, state="sent").exists()
        and not Replay.objects.filter(letter=letter).exists()
    )
