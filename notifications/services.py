"""What the notifications service can do: tell customers by e-mail."""

from smtplib import SMTPException, SMTPRecipientsRefused
from typing import Any
from uuid import UUID

from django.core.mail import EmailMessage

from contracts import reasons
from contracts.values import Contact, Money
from messaging.errors import PermanentError, TransientError
from messaging.unit_of_work import current
from notifications.models import Notification

IN_WORDS = {
    reasons.OUT_OF_STOCK: "an article was sold out",
    reasons.CARD_DECLINED: "the card was declined",
    reasons.UNDELIVERABLE: "we cannot deliver to this address",
    reasons.CAPTURE_REFUSED: "the payment could not be taken",
    reasons.STEP_OVERDUE: "we could not carry it out in time",
    reasons.SAGA_OVERDUE: "we could not carry it out in time",
    reasons.CANCELLED_BY_OPERATOR: "we could not carry it out",
    reasons.STEP_FAILED: "something on our side went wrong",
}


def confirmation(order_id: UUID, contact: Contact, total: Money) -> dict[str, Any]:
    """The e-mail that says that an order is confirmed."""
    return _mail(
        order_id,
        contact,
        subject="Your order is confirmed",
        text=f"your order {order_id} is confirmed. We have charged {total} and the parcel is on its way.",
    )


def cancellation(order_id: UUID, contact: Contact, reason: str) -> dict[str, Any]:
    """The e-mail that says that an order is cancelled, and why."""
    because = IN_WORDS.get(reason, "it could not be carried out")
    return _mail(
        order_id,
        contact,
        subject="Your order is cancelled",
        text=f"we are sorry: your order {order_id} is cancelled, because {because}. You have not been charged.",
    )


def refund(order_id: UUID, contact: Contact, total: Money) -> dict[str, Any]:
    """The e-mail that says that a cancelled order is paid back."""
    return _mail(
        order_id,
        contact,
        subject="Your order is cancelled and paid back",
        text=f"your order {order_id} is cancelled as you asked. We have given {total} back to your card.",
    )


def refusal(order_id: UUID, contact: Contact, reason: str) -> dict[str, Any]:
    """The e-mail that says that an order was not cancelled although its customer asked for it, and why."""
    because = (
        "because the parcel has left"
        if reason == reasons.SHIPMENT_LEFT
        else "because something on our side went wrong. It stays confirmed, and you may ask for it again"
    )
    return _mail(
        order_id,
        contact,
        subject="Your order could not be cancelled",
        text=f"we are sorry: your order {order_id} could not be cancelled, {because}.",
    )


def send(mail: dict[str, Any], *, key: str) -> None:
    """Hand the e-mail over. A repetition bears the same Message-ID.

    Raises `PermanentError` where the server refuses the address for good, `TransientError` where it fails otherwise.
    """
    message = EmailMessage(
        subject=mail["subject"],
        body=mail["body"],
        to=[mail["to"]],
        headers={"Message-ID": f"<{key.replace(':', '.')}@makegood.example>"},
    )
    try:
        message.send()
    except SMTPRecipientsRefused as error:
        codes = sorted({code for code, _ in error.recipients.values()})
        refusal = f"the mail server refuses the customer's address: {', '.join(map(str, codes))}"
        is_final = all(code >= 500 for code in codes)
        raise (PermanentError if is_final else TransientError)(refusal) from error
    except (SMTPException, OSError) as error:
        raise TransientError(f"the mail server did not take the e-mail: {type(error).__name__}") from error


def record_sent(order_id: UUID, *, kind: str) -> None:
    """Note that the customer was told."""
    Notification.objects.get_or_create(order_id=order_id, kind=kind, defaults={"sent_at": current().now})


def _mail(order_id: UUID, contact: Contact, *, subject: str, text: str) -> dict[str, Any]:
    body = f"Hello {contact.name},\n\n{text}\n\nMakegood\n"
    return {"to": contact.email, "subject": subject, "body": body, "order_id": str(order_id)}
