"""Which function handles which message: the declarations of every service, in one registry."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from django.conf import settings

from contracts.catalogue import MESSAGE_TYPES
from contracts.message import Command, Event, Message
from messaging import ordering
from messaging.policies import RetryPolicy

PlainHandler = Callable[[Any], Event | None]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


LockRows = Callable[[Sequence[Any]], None]


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """A handler that needs its own database only: one transaction.

    With `batch` above 1 it may share that transaction with so many messages. `lock`, given all messages of a batch
    that name it, locks the rows which they will change, in an order that is the same for every batch.
    """

    service: str
    message_type: type[Message]
    run: PlainHandler
    batch: int = 1
    lock: LockRows | None = None
    retry: RetryPolicy | None = None
    """None: the settings' own."""


class GatewayHandler(msgspec.Struct, frozen=True, kw_only=True):
    """A handler that asks a gateway: a transaction, the call, a transaction.

    `prepare(message, action_key)` says what the gateway is to be asked (JSON-compatible), reading its own tables
    if it must; `action_key` is the key of the action that a compensation undoes, else None. `call(request, key)`
    asks, with no transaction open; it is repeated with the same key until it is known what happened.
    `conclude(message, outcome)` stores and publishes the outcome, and returns the reply, if any.

    `gateway` is what is asked, in words. Handlers of one service that name the same one share its circuit breaker.

    `rehearse(request)` is the outcome that a rehearsal assumes instead of the call: the ordinary success.
    """

    service: str
    message_type: type[Message]
    prepare: Callable[[Any, str | None], dict[str, Any]]
    call: Callable[[dict[str, Any], str], Any]
    conclude: Callable[[Any, Any], Event | None]
    gateway: str
    retry: RetryPolicy | None = None
    rehearse: Callable[[dict[str, Any]], Any] | None = None


class QuestionHandler(msgspec.Struct, frozen=True, kw_only=True):
    """Answers what became of a command of a saga, the action, whose outcome the saga does not know.

    Where the action has been handled, its own reply is the answer. Where its call to the gateway broke off,
    `find(key)` asks the gateway under the action's key what it has done; a found outcome is stored by
    `conclude(question, outcome)` just as the action would have stored it. Where nothing happened, as far as is known,
    `nothing(question)` publishes that and returns it; the action may still be carried out afterwards.

    `rehearse(key)` is what a rehearsal assumes that the gateway has done under the key; None: nothing.
    """

    service: str
    message_type: type[Command]
    find: Callable[[str], Any | None]
    conclude: Callable[[Any, Any], Event]
    nothing: Callable[[Any], Event]
    gateway: str
    retry: RetryPolicy | None = None
    rehearse: Callable[[str], Any | None] = lambda key: None


AnyHandler = Handler | GatewayHandler | QuestionHandler

_handlers: dict[tuple[str, str], AnyHandler] = {}
_handlers_of: dict[str, dict[str, AnyHandler]] = {}
_subscriptions: dict[str, set[str]] = {}
_senders: dict[str, set[str]] = {}


def handles(
    message_type: type[Message],
    *,
    batch: int = 1,
    lock: LockRows | None = None,
    retry: RetryPolicy | None = None,
    service: str | None = None,
) -> Callable[[Decorated], Decorated]:
    """Declare a function as the handler of a message type, in the service whose package it is in unless it is named.

    The function runs in a unit of work. It publishes what happened and returns the event that is the reply, or
    None where nobody waits for one. A refusal is such a reply; an exception means: try again later, as `retry`
    says or else the settings. `batch` and `lock` are those of `Handler`; raises `TypeError` where they cannot be.
    """
    if batch < 1:
        raise TypeError(
            f"batch is {batch} for {message_type.wire_type}; it must be 1, or more to share a transaction."
        )

    def register(function: Decorated) -> Decorated:
        _register(
            Handler(
                service=service or function.__module__.split(".", 1)[0],
                message_type=message_type,
                run=function,
                batch=batch,
                lock=lock,
                retry=retry,
            )
        )
        return function

    return register


def handles_by_gateway(
    message_type: type[Message],
    *,
    service: str,
    prepare: Callable[[Any, str | None], dict[str, Any]],
    call: Callable[[dict[str, Any], str], Any],
    conclude: Callable[[Any, Any], Event | None],
    gateway: str,
    retry: RetryPolicy | None = None,
    rehearse: Callable[[dict[str, Any]], Any] | None = None,
) -> None:
    """Declare the three parts of a handler that asks a gateway; see `GatewayHandler`."""
    _register(
        GatewayHandler(
            service=service,
            message_type=message_type,
            prepare=prepare,
            call=call,
            conclude=conclude,
            gateway=gateway,
            retry=retry,
            rehearse=rehearse,
        )
    )


def answers_question(
    message_type: type[Command],
    *,
    service: str,
    find: Callable[[str], Any | None],
    conclude: Callable[[Any, Any], Event],
    nothing: Callable[[Any], Event],
    gateway: str,
    retry: RetryPolicy | None = None,
    rehearse: Callable[[str], Any | None] = lambda key: None,
) -> None:
    """Declare how a service answers the question what became of a command; see `QuestionHandler`."""
    _register(
        QuestionHandler(
            service=service,
            message_type=message_type,
            find=find,
            conclude=conclude,
            nothing=nothing,
            gateway=gateway,
            retry=retry,
            rehearse=rehearse,
        )
    )


def subscribe(service: str, message_types: set[str]) -> None:
    """Bind a service that has a consumer of its own (the orchestrator) to these wire types."""
    _subscriptions.setdefault(service, set()).update(message_types)


def sends(service: str, message_types: set[str]) -> None:
    """Declare which commands a package sends, by their wire types; `manage.py check --deploy` compares them."""
    _senders.setdefault(service, set()).update(message_types)


def senders() -> dict[str, set[str]]:
    """Package to the wire types of the commands that it declares to send."""
    return {service: set(types) for service, types in _senders.items()}


def _register(handler: AnyHandler) -> None:
    identity = (handler.service, handler.message_type.wire_type)
    if identity in _handlers:
        raise TypeError(f"{identity[0]} handles {identity[1]} twice; a message has one handler in a service.")
    if issubclass(handler.message_type, Command) and handler.message_type.owner() != handler.service:
        raise TypeError(
            f"{identity[1]} is a command to {handler.message_type.owner()}; {handler.service} cannot handle it."
        )
    _handlers[identity] = handler
    _handlers_of.setdefault(handler.service, {})[identity[1]] = handler


def load_handlers() -> None:
    """Import every service's declarations; the topology is computed from all of them."""
    for module in settings.HANDLER_MODULES:
        importlib.import_module(module)
    complete_ordered_consumers()


def complete_ordered_consumers() -> None:
    """Make sure that every event which a service consumes in order is handled, if only by passing over it.

    Raises `TypeError` for one that is handled in batches.
    """
    for service, wire_type in ordering.ordered_types():
        handler = _handlers.get((service, wire_type))
        if handler is None:
            message_type = MESSAGE_TYPES[wire_type]
            _register(Handler(service=service, message_type=message_type, run=_pass_over))
        elif isinstance(handler, Handler) and handler.batch > 1:
            raise TypeError(
                f"{service} handles {wire_type} in batches of {handler.batch} and declares it as ordered: an ordered "
                "event is handled by itself, in the transaction that moves its stream's position. Leave out one of "
                "the two."
            )


def _pass_over(event: Event) -> None:
    """Nothing follows from it but its stream's position."""


def handlers_of(service: str) -> dict[str, AnyHandler]:
    """Wire type to handler, for one service."""
    return _handlers_of.get(service, {})


def policy_of(service: str, wire_type: str) -> RetryPolicy:
    """How this service repeats such a message: as its handler declares, else as the settings say."""
    handler = handlers_of(service).get(wire_type)
    return (handler.retry if handler else None) or RetryPolicy()


def is_handled(wire_type: str) -> bool:
    """Whether any service handles such messages."""
    receivers = (*_handlers_of.values(), *_subscriptions.values())
    return any(wire_type in types for types in receivers)


def subscriptions() -> dict[str, set[str]]:
    """Service to the wire types that its queue receives."""
    found: dict[str, set[str]] = {service: set(types) for service, types in _subscriptions.items()}
    for service, wire_type in _handlers:
        found.setdefault(service, set()).add(wire_type)
    return found
