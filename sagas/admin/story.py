"""What the page of a saga tells: where it stands, its steps, its messages, what people did."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest

from contracts.message import Command
from deadletters.models import DeadLetter, DeskEntry
from eventstore.admin_columns import Tone, badge, duration, json_block, moment, page_for, page_of
from eventstore.admin_privacy import masked
from eventstore.private_text import scrubbed
from sagas import records
from sagas.actions import possible_actions
from sagas.admin import acts, bars, diagram, timeline
from sagas.admin.looks import SAGA_TONES, STEP_TONES
from sagas.definition import Saga, Step
from sagas.errors import MissingDefinition
from sagas.models import MessageRecord, SagaRecord
from sagas.records import LoadedSaga
from sagas.registry import definition, newest
from sagas.standing import in_words, kind_of, sentence, step_words
from sagas.state import (
    ACTION_IS_AWAITED,
    COMPENSATION_IS_AWAITED,
    SagaState,
    SagaStatus,
    StepState,
    StepStatus,
)
from sagas.steering import name_of
from sagas.switches import Switch

_DIRECTIONS = {
    MessageRecord.Direction.RECEIVED: ("← received", Tone.QUIET),
    MessageRecord.Direction.SENT: ("→ sent", Tone.WAITING),
    MessageRecord.Direction.TIME: ("deadline missed", Tone.BAD),
    MessageRecord.Direction.PERSON: ("a person acted", Tone.UNDONE),
}


def told(saga: SagaRecord, *, request: HttpRequest, is_hidden: bool, now: datetime) -> dict[str, Any]:
    """The context of the page, in five statements whatever the saga has gone through."""
    locked = records.look([saga.id], now=now)
    loaded = locked.sagas[saga.id]
    messages = list(saga.messages.order_by("id"))
    of_steps = [step.letter_id for step in loaded.state.steps if step.letter_id]
    letters = list(
        DeadLetter.objects.filter(Q(saga_id=saga.id) | Q(id__in=of_steps)).order_by("-died_at", "-id")[:50]
    )
    states = {letter.id: letter.state for letter in letters}
    entries = list(DeskEntry.objects.filter(saga_id=saga.id).order_by("-at", "-id")[:50])
    fork_id = getattr(saga, "fork_id", None)
    try:
        table: Saga | None = definition(loaded.name, loaded.version)
    except MissingDefinition:
        table = None
    state = loaded.state
    version = hashlib.sha256(repr((state, len(messages), len(letters), len(entries))).encode()).hexdigest()
    found = timeline.rows(table, state, _noted(messages), locked.switches, now=now) if table else []
    return {
        "saga": saga,
        "version": version[:16],
        "is_live": not state.is_final,
        "standing": sentence(table, state, now) if table else "This release does not have its definition.",
        "state_badge": badge(state.status.value, SAGA_TONES[state.status]),
        "deadline": moment(state.deadline_at) if state.deadline_at else "",
        "diagram": diagram.drawing(table, state) if table else "",
        "upright_diagram": diagram.drawing(table, state, is_upright=True) if table else "",
        "timeline": bars.chart(found, begin=saga.started_at, now=now, end=saga.finished_at)
        if found
        else None,
        "steps": [
            _step(
                table,
                step,
                position,
                loaded,
                locked.switches,
                request=request,
                letters=states,
                is_hidden=is_hidden,
            )
            for position, step in enumerate(state.steps)
        ],
        "steering": acts.offered(table, loaded, locked.switches, user=request.user) if table else [],
        "switches": _holding_it_back(table, state, locked.switches) if table else [],
        "messages_of_saga": [
            _message(message, user=request.user, is_hidden=is_hidden) for message in messages
        ],
        "letters": [_letter(letter, user=request.user) for letter in letters],
        "entries": entries if request.user.has_perm("deadletters.view_deskentry") else [],
        "hides_entries": not request.user.has_perm("deadletters.view_deskentry"),
        "forked_from": saga.forked_from_id
        and page_of("sagas_sagarecord", str(saga.forked_from_id), id=saga.forked_from_id),
        "fork": fork_id and page_of("sagas_sagarecord", str(fork_id), id=fork_id),
        "newest_version": _newest_version(loaded),
        "saga_data": json_block(saga.data),
        "now": now,
    }


def _noted(messages: Sequence[MessageRecord]) -> list[timeline.Noted]:
    return [
        timeline.Noted(
            direction=message.direction,
            type=message.type,
            step=message.step,
            at=message.noted_at or message.at,
            steps=tuple(message.body.get("steps", ()))
            if message.direction == MessageRecord.Direction.TIME
            else (),
        )
        for message in messages
    ]


def _holding_it_back(table: Saga, saga: SagaState, switches: Sequence[Switch]) -> list[Switch]:
    """The switches that are set and name a command that this saga waits to send, or will come to."""
    if not saga.is_withheld:
        return []
    awaited = [
        (step.name, command)
        for step, state in zip(table.steps, saga.steps, strict=True)
        for command in _still_to_be_sent(step, state, saga)
    ]
    return [
        switch
        for switch in switches
        if switch.lifted_at is None
        and any(switch.matches(table.name, name, command) for name, command in awaited)
    ]


def _still_to_be_sent(step: Step, state: StepState, saga: SagaState) -> Iterator[type[Command]]:
    is_out = state.status in ACTION_IS_AWAITED
    if step.command is not None and (
        is_out or (state.status is StepStatus.PENDING and saga.status is SagaStatus.RUNNING)
    ):
        yield step.command
    if step.ask is not None and is_out:
        yield step.ask
    is_going_back = state.is_to_be_undone or state.status in COMPENSATION_IS_AWAITED
    if step.undo is not None and saga.status is SagaStatus.COMPENSATING and is_going_back:
        yield step.undo


def _newest_version(loaded: LoadedSaga) -> int | None:
    """The version that a new saga would have, where it is not this one's."""
    try:
        version = newest(loaded.name).version
    except MissingDefinition:
        return None
    return version if version != loaded.version else None


def _step(
    table: Saga | None,
    state: StepState,
    position: int,
    loaded: LoadedSaga,
    switches: Sequence[Switch],
    *,
    request: HttpRequest,
    letters: Mapping[UUID, str],
    is_hidden: bool,
) -> dict[str, Any]:
    """`letters` are the states of those that are stored; of one that was pruned the step tells what it was told."""
    step = table.steps[position] if table and position < len(table.steps) else None
    possible = possible_actions(table, loaded.state, state, switches) if table else ()
    return {
        "position": position + 1,
        "name": state.name,
        "what": kind_of(step) if step else "–",
        "status": badge(step_words(loaded.state, state), STEP_TONES[state.status]),
        "state": state.status.value,
        "sendings": state.sendings or "–",
        "questions": state.questions,
        "compensation": in_words(step.undo) if step and step.undo else "nothing to undo",
        "sent": moment(state.sent_at, is_precise=True),
        "deadline": "stands still" if state.is_frozen else moment(state.deadline_at, is_precise=True),
        "finished": moment(state.finished_at, is_precise=True),
        "took": duration(state.sent_at, state.finished_at),
        "failure": state.failure.replace("_", " ") or "–",
        "problem": scrubbed(state.problem) if is_hidden else state.problem,
        "key_saga_id": state.key_saga_id,
        "letter": state.letter_id
        and page_of("deadletters_deadletter", f"dead letter {state.letter_id}", id=state.letter_id),
        "letter_state": state.letter_id
        and letters.get(state.letter_id, "discarded" if state.is_letter_discarded else ""),
        "acts": [
            acts.link(name_of(kind(state.name)), [loaded.state.id], step=state.name)
            for kind in possible
            if acts.may(request.user, name_of(kind(state.name)))
        ],
    }


def _message(message: MessageRecord, *, user: Any, is_hidden: bool) -> dict[str, Any]:
    words, tone = _DIRECTIONS[MessageRecord.Direction(message.direction)]
    is_message = message.direction in (MessageRecord.Direction.RECEIVED, MessageRecord.Direction.SENT)
    is_sent = message.direction == MessageRecord.Direction.SENT
    receiver = message.type.split(".", 1)[0] if is_sent else "sagas"
    asked: dict[str, UUID | str] = {"service": receiver, "message_id": message.message_id}
    return {
        "direction": badge(words, tone),
        "type": message.type.replace("_", " ") if not is_message else message.type,
        "step": message.step or "–",
        "at": moment(message.noted_at or message.at, is_precise=True),
        "message_id": message.message_id if is_message else "",
        "body": json_block(_hidden(message.body) if is_hidden and is_message else message.body),
        "key": page_for(user, "messaging_idempotencykey", f"key in {receiver}", **asked)
        if is_message
        else "",
        "failures": page_for(user, "messaging_failedattempt", "failed attempts", **asked)
        if is_message
        else "",
    }


def _hidden(body: dict[str, Any]) -> dict[str, Any]:
    """The body without what it says of customers, also where it quotes an exception that does."""
    found: dict[str, Any] = masked(body)
    if isinstance(found.get("problem"), str):
        found = {**found, "problem": scrubbed(found["problem"])}
    return found


def _letter(letter: DeadLetter, *, user: Any) -> dict[str, Any]:
    return {
        "link": page_for(user, "deadletters_deadletter", letter.type, id=letter.id),
        "state": letter.get_state_display(),
        "service": letter.service,
        "step": letter.step or "–",
        "died": moment(letter.died_at),
    }
