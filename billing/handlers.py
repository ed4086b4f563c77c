"""What the billing service reacts to. Each asks the gateway between two transactions."""

from functools import cache
from typing import Any

from django.conf import settings

from billing import services
from billing.gateway import (
    Authorized,
    Captured,
    CaptureDeclined,
    Declined,
    Gateway,
    HttpGateway,
    Refunded,
    Voided,
)
from billing.models import Payment
from contracts.billing import (
    AuthorizationNotFound,
    AuthorizePayment,
    CaptureNotFound,
    CapturePayment,
    FindAuthorization,
    FindCapture,
    RefundPayment,
    VoidPayment,
)
from contracts.message import Event
from contracts.values import Money
from messaging.handling import answers_question, handles_by_gateway
from messaging.policies import RetryPolicy

PATIENT = RetryPolicy(attempts=20, longest_pause=60)
"""For what has to be finished once it is begun: there is no other way, and no saga that turns round meanwhile."""


@cache
def gateway() -> Gateway:
    """The gateway of this process; its connections stay open."""
    return HttpGateway(settings.GATEWAY_URL, settings.GATEWAY_TIMEOUT)


def _amount(request: dict[str, Any]) -> Money:
    return Money(request["amount"], request["currency"])


def _prepare_authorization(command: AuthorizePayment, action_key: str | None) -> dict[str, Any]:
    return {
        "token": command.payment_token,
        "amount": command.total.amount,
        "currency": command.total.currency,
        "reference": str(command.order_id),
    }


def _authorize(request: dict[str, Any], key: str) -> Authorized | Declined:
    return gateway().authorize(
        token=request["token"], amount=_amount(request), reference=request["reference"], key=key
    )


def _conclude_authorization(command: AuthorizePayment, outcome: Authorized | Declined) -> Event:
    return services.record_authorization(command.order_id, command.total, outcome)


def _prepare_capture(command: CapturePayment, action_key: str | None) -> dict[str, Any]:
    return _prepare_held(command, Payment.State.AUTHORIZED)


def _capture(request: dict[str, Any], key: str) -> Captured | CaptureDeclined:
    return gateway().capture(authorization=request["authorization"], amount=_amount(request), key=key)


def _conclude_capture(command: CapturePayment, outcome: Captured | CaptureDeclined) -> Event:
    return services.record_capture(command.order_id, outcome)


def _prepare_void(command: VoidPayment, action_key: str | None) -> dict[str, Any]:
    return {"authorization_key": action_key}


def _void(request: dict[str, Any], key: str) -> Voided:
    return gateway().void(authorization_key=request["authorization_key"], key=key)


def _conclude_void(command: VoidPayment, outcome: Voided) -> Event:
    return services.record_void(command.order_id)


def _prepare_refund(command: RefundPayment, action_key: str | None) -> dict[str, Any]:
    return _prepare_held(command, Payment.State.CAPTURED)


def _refund(request: dict[str, Any], key: str) -> Refunded:
    return gateway().refund(authorization=request["authorization"], amount=_amount(request), key=key)


def _conclude_refund(command: RefundPayment, outcome: Refunded) -> Event:
    return services.record_refund(command.order_id)


def _assume_authorized(request: dict[str, Any]) -> Authorized:
    return Authorized(authorization="rehearsed")


def _assume_captured(request: dict[str, Any]) -> Captured:
    return Captured()


def _assume_voided(request: dict[str, Any]) -> Voided:
    return Voided(is_amount_released=True)


def _assume_refunded(request: dict[str, Any]) -> Refunded:
    return Refunded()


def _prepare_held(command: CapturePayment | RefundPayment, state: Payment.State) -> dict[str, Any]:
    authorization, amount = services.held_payment(command.order_id, state=state)
    return {"authorization": authorization, "amount": amount.amount, "currency": amount.currency}


for _command, _prepare, _call, _conclude, _assume, _retry in (
    (AuthorizePayment, _prepare_authorization, _authorize, _conclude_authorization, _assume_authorized, None),
    (CapturePayment, _prepare_capture, _capture, _conclude_capture, _assume_captured, PATIENT),
    (VoidPayment, _prepare_void, _void, _conclude_void, _assume_voided, PATIENT),
    (RefundPayment, _prepare_refund, _refund, _conclude_refund, _assume_refunded, PATIENT),
):
    handles_by_gateway(
        _command,
        service=services.SERVICE,
        prepare=_prepare,
        call=_call,
        conclude=_conclude,
        gateway="payment gateway",
        retry=_retry,
        rehearse=_assume,
    )

answers_question(
    FindAuthorization,
    service=services.SERVICE,
    find=lambda key: gateway().find_authorization(key=key),
    conclude=lambda question, outcome: services.record_authorization(
        question.order_id, question.total, outcome
    ),
    nothing=lambda question: services.say_not_found(AuthorizationNotFound(order_id=question.order_id)),
    gateway="payment gateway",
    retry=PATIENT,
)
answers_question(
    FindCapture,
    service=services.SERVICE,
    find=lambda key: gateway().find_capture(key=key),
    conclude=lambda question, outcome: services.record_capture(question.order_id, outcome),
    nothing=lambda question: services.say_not_found(CaptureNotFound(order_id=question.order_id)),
    gateway="payment gateway",
    retry=PATIENT,
)
