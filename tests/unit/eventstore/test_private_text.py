"""What an exception quotes of a customer is hidden; what it says of the programme stays."""

import pytest

from eventstore.private_text import scrubbed


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("KeyError: 'payment_token'", "KeyError: 'payment_token'"),
        ("KeyError: 'Ada'", "KeyError: '(hidden)'"),
        ("It didn't reach 'Ada'", "It didn't reach '(hidden)'"),
        (
            'invalid input syntax for type uuid: "12 St James\'s Square"',
            'invalid input syntax for type uuid: "(hidden)"',
        ),
        (r"ValueError: 'it\'s Ada' and more", "ValueError: '(hidden)' and more"),
        ("ValueError: b'Ada'", "ValueError: b'(hidden)'"),
        ("ValueError: 'cut off in the mid", "ValueError: '(hidden)"),
        ("ValueError: 'two\nlines' here", "ValueError: '(hidden)' here"),
        ("“Ada” is no UUID", "“(hidden)” is no UUID"),
        ("SMTPRecipientsRefused: ada@example.com, 550", "SMTPRecipientsRefused: (hidden), 550"),
        (
            "This service has no handler for 'billing.void_payment.v1'.",
            "This service has no handler for 'billing.void_payment.v1'.",
        ),
        ("It is '42', not 'EUR'", "It is '42', not 'EUR'"),
        ("TimeoutError: the gateway did not answer", "TimeoutError: the gateway did not answer"),
        ("", ""),
    ],
)
def test_quoted_values_are_hidden_and_names_of_our_own_stay(text, kept):
    assert scrubbed(text) == kept


def test_known_values_are_found_wherever_they_stand_and_however_they_are_written():
    said = r"no way to 12 St James's Square, nor to Zo\u00eb, nor to Zoë, nor Adamant"

    assert scrubbed(said, known=["12 St James's Square", "Zoë", "Ada", "GB"]) == (
        "no way to (hidden), nor to (hidden), nor to (hidden), nor Adamant"
    )


def test_the_code_of_a_traceback_stays_and_what_each_of_its_exceptions_says_is_scrubbed():
    text = """Traceback (most recent call last):
  File "/shop/billing/services.py", line 7, in authorize
    limit = LIMITS["a literal"]
            ~~~~~~^^^^^^^^^^^^^
KeyError: 'Ada'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/shop/billing/handlers.py", line 9, in handle
    raise Problem('in code')
billing.errors.Problem: nobody is called 'Ada
    Lovelace'"""

    told = scrubbed(text)

    assert "Ada" not in told
    assert "Lovelace" not in told
    for kept in (
        'File "/shop/billing/services.py"',
        'LIMITS["a literal"]',
        "raise Problem('in code')",
        "KeyError: '(hidden)'",
    ):
        assert kept in told
