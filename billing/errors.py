"""The errors of the billing service."""

from messaging.errors import PermanentError


class BillingError(Exception):
    """Any error of this package."""


class PaymentNotInState(BillingError, PermanentError):
    """What is asked of a payment does not fit its state; a person has to look at it."""
