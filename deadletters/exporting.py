"""A dead letter as a test of pytest that fails as the letter did."""

from uuid import UUID


def test_case(letter_id: UUID) -> str:
    """The source of a test module; it runs the installed handler on the letter's message."""
    raise NotImplementedError
