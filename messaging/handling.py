"""Which function handles which message: the declarations of every service, in one registry."""

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from django.conf import settings

from contracts.catalogue import MESSAGE_TYPES
from contracts.message import Command, Event, Message
from messaging import ordering

PlainHandler = Callable[[Any], Event | None]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """A handler that needs its own database only: one transaction."""

    service: str
    message_type: type[Message]
    run: PlainHandler


class GatewayHandler(msgspec.Struct, frozen=True, kw_only=True):
    """A handler that asks a gateway: a transaction, the call, a transaction.

    `prepare(message, action_key)` says what the gateway is to be asked (JSON-compatible), reading its own tables
    if it must; `action_key` is the key of the action that a compensation undoes, else None. `call(request, key)`
    asks, with no transaction open; it is repeated with the same key until it is known what happened.
    `conclude(message, outcome)` stores and publishes the outcome, and returns the reply, if any.
    """

    service: str
    message_type: type[Message]
    prepare: Callable[[Any, str | None], dict[str, Any]]
    call: Callable[[dict[str, Any], str], Any]
    conclude: Callable[[Any, Any], Event | None]


AnyHandler = Handler | GatewayHandler

_handlers: dict[tuple[str, str], AnyHandler] = {}
_subscriptions: dict[str, set[str]] = {}


def handles(message_type: type[Message]) -> Callable[[Decorated], Decorated]:
    """Declare a function as the handler of a message type in the service whose package it is in.

    The function runs in a unit of work. It publishes what happened and returns the event that is the reply, or
    None where nobody waits for one. A refusal is such a reply; an exception means: try again later.
    """

    def register(function: Decorated) -> Decorated:
        service = function.__module__.split(".", 1)[0]
        _register(Handler(service=service, message_type=message_type, run=function))
        return function

    return register


def handles_by_gateway(
    message_type: type[Message],
    *,
    service: str,
    prepare: Callable[[Any, str | None], dict[str, Any]],
    call: Callable[[dict[str, Any], str], Any],
    conclude: Callable[[Any, Any], Event | None],
) -> None:
    """Declare the three parts of a handler that asks a gateway; see `GatewayHandler`."""
    _register(
        GatewayHandler(
            service=service, message_type=message_type, prepare=prepare, call=call, conclude=conclude
        )
    )


def subscribe(service: str, message_types: set[str]) -> None:
    """Bind a service that has a consumer of its own (the orchestrator) to these wire types."""
    _subscriptions.setdefault(service, set()).update(message_types)


def _register(handler: AnyHandler) -> None:
    identity = (handler.service, handler.message_type.wire_type)
    if identity in _handlers:
        raise TypeError(f"{identity[0]} handles {identity[1]} twice; a message has one handler in a service.")
    if issubclass(handler.message_type, Command) and handler.message_type.owner() != handler.service:
        raise TypeError(
            f"{identity[1]} is a command to {handler.message_type.owner()}; {handler.service} cannot handle it."
        )
    _handlers[identity] = handler


def load_handlers() -> None:
    """Import every service's declarations; the topology is computed from all of them."""
    for module in settings.HANDLER_MODULES:
        importlib.import_module(module)
    refuse_unordered_handling()


def refuse_unordered_handling() -> None:
    """Make sure that no declaration handles ordered events otherwise than one by one; raises `TypeError`."""
    for (service, wire_type), handler in _handlers.items():
        size = getattr(handler, "batch", None) or 1
        if size > 1 and ordering.order_of(service, wire_type) is not None:
            raise TypeError(
                f"{service} handles {wire_type} in batches of {size} and declares it as ordered: an ordered event is "
                "handled by itself, in the transaction that moves its stream's position. Leave out one of the two."
            )


def handlers_of(service: str) -> dict[str, AnyHandler]:
    """Wire type to handler, for one service. An ordered event that it has no handler for is passed over."""
    passed_over: dict[str, AnyHandler] = {
        wire_type: Handler(service=service, message_type=MESSAGE_TYPES[wire_type], run=_pass_over)
        for wire_type in ordering.ordered_types(service)
    }
    own = {wire_type: handler for (owner, wire_type), handler in _handlers.items() if owner == service}
    return passed_over | own


def _pass_over(event: Event) -> None:
    """Nothing follows from it but its stream's position."""


def subscriptions() -> dict[str, set[str]]:
    """Service to the wire types that its queue receives."""
    found: dict[str, set[str]] = {service: set(types) for service, types in _subscriptions.items()}
    for service, wire_type in _handlers:
        found.setdefault(service, set()).add(wire_type)
    for service in ordering.ordered_services():
        found.setdefault(service, set()).update(ordering.ordered_types(service))
    return found
