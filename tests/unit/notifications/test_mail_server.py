"""What the mail server says decides whether an e-mail is tried again: an address that it refuses for good is not."""

from smtplib import SMTPRecipientsRefused, SMTPServerDisconnected

import pytest
from django.core.mail import EmailMessage

from messaging.errors import PermanentError, TransientError
from notifications import services

MAIL = {"to": "ada@example.com", "subject": "Your order is confirmed", "body": "Hello", "order_id": "1"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (SMTPRecipientsRefused({"ada@example.com": (550, b"no such user")}), PermanentError),
        (SMTPRecipientsRefused({"ada@example.com": (450, b"greylisted")}), TransientError),
        (SMTPServerDisconnected("closed"), TransientError),
        (ConnectionRefusedError(), TransientError),
    ],
    ids=["no such address", "come back later", "hung up", "not there"],
)
def test_only_an_address_refused_for_good_ends_the_attempts(monkeypatch, answer, expected):
    def send(self: EmailMessage) -> None:
        raise answer

    monkeypatch.setattr(EmailMessage, "send", send)

    with pytest.raises(expected) as raised:
        services.send(MAIL, key="1")

    assert MAIL["to"] not in str(raised.value), "no address gets into a record of failures"
