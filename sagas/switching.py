"""Pause switches: set and lifted by people, or for a gateway whose circuit breaker is open.

While one is set, the commands that it matches are not handed out, and the deadlines of those that are out stand still.
When it is lifted, every saga from which something was withheld is looked at again.
"""

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from contracts.operations import LapsePauseSwitch
from deadletters import desk_log
from deadletters.desk import Operator
from messaging import topology
from messaging.envelope import Envelope, new_message_id
from messaging.outbox_rows import OutgoingMessage, delete_statement
from messaging.unit_of_work import UnitOfWork, unit_of_work
from sagas.errors import WrongRequest
from sagas.handlers import SERVICE
from sagas.models import PauseSwitch, SagaRecord
from sagas.outgoing import look_again
from sagas.registry import DEFINITIONS
from sagas.steering import permit
from sagas.switches import SwitchKind

SET = "sagas.set_pauseswitch"
BY_ITSELF = "by itself"


def choices() -> dict[SwitchKind, list[str]]:
    """The names that a switch of each kind may have: what the sagas of this release could send."""
    definitions = list(DEFINITIONS.values())
    types = sorted({wire_type for saga in definitions for wire_type in saga.command_types()})
    return {
        SwitchKind.STEP: list(
            dict.fromkeys(
                f"{saga.name}.{step.name}"
                for saga in definitions
                for step in saga.steps
                if step.command or step.undo
            )
        ),
        SwitchKind.SERVICE: sorted({wire_type.split(".", 1)[0] for wire_type in types}),
        SwitchKind.TYPE: types,
    }


def set_switch(
    kind: SwitchKind,
    name: str,
    *,
    operator: Operator,
    reason: str,
    at: datetime,
    lapses_at: datetime | None = None,
) -> PauseSwitch:
    """Hold back from now on what matches, until the switch is lifted or, if given, until `lapses_at`.

    Raises `NotPermitted`, which is in the operators' log, and `WrongRequest` where no saga sends such a command, the
    reason is missing, or the switch is set already.
    """
    subject = f"{kind} {name}"
    permit(SET, "set_switch", subject, operator=operator, reason=reason, at=at)
    if name not in choices()[kind]:
        raise WrongRequest(f"No saga has the {kind} {name!r}. There are {', '.join(choices()[kind])}.")
    if not reason.strip():
        raise WrongRequest("A reason is missing: say why, for those who wonder what is held back.")
    if lapses_at is not None and lapses_at <= at:
        raise WrongRequest(f"The switch would be lifted at {lapses_at:%Y-%m-%d %H:%M}, which is over.")
    with unit_of_work(SERVICE) as work:
        try:
            with transaction.atomic(using=work.database):
                switch = _create(
                    kind,
                    name,
                    by=operator.name,
                    reason=reason,
                    at=at,
                    lapses_at=lapses_at,
                    is_automatic=False,
                )
        except IntegrityError as error:
            raise WrongRequest(f"The {kind} {name} is paused already.") from error
        _let_lapse(switch, work=work)
        until = f"until {lapses_at:%Y-%m-%d %H:%M} UTC" if lapses_at else "until it is lifted"
        desk_log.note(
            by=operator.name, action="set_switch", subject=subject, at=at, reason=reason, detail=until
        )
    return switch


def lift_switch(switch_id: UUID, *, operator: Operator, at: datetime, reason: str = "") -> int:
    """Let go on what the switch holds back; returns how many sagas are looked at again.

    Raises `NotPermitted`, which is in the operators' log, and `WrongRequest` where the switch is not set.
    """
    known = PauseSwitch.objects.filter(id=switch_id).first()
    subject = str(known) if known is not None else f"switch {switch_id}"
    permit(SET, "lift_switch", subject, operator=operator, reason=reason, at=at)
    with unit_of_work(SERVICE) as work:
        going_on = _lift(switch_id, by=operator.name, at=at, work=work)
        if going_on is None:
            raise WrongRequest(f"The {subject} is not paused any more.")
        desk_log.note(
            by=operator.name,
            action="lift_switch",
            subject=subject,
            at=at,
            reason=reason,
            detail=f"{going_on} sagas go on",
        )
    return going_on


def hold_service_back(
    service: str, *, gateway: str, at: datetime, lapses_at: datetime, work: UnitOfWork
) -> None:
    """The circuit breaker of this service's gateway is open: nothing is handed out to it until the switch lapses.

    Said again, that is put off. A switch that a person has set stays as it is; news of before the last lifting is old.
    """
    if service not in choices()[SwitchKind.SERVICE]:
        return
    switches = PauseSwitch.objects.filter(kind=SwitchKind.SERVICE, name=service)
    if switches.filter(is_automatic=True, lifted_at__gt=at).exists():
        return
    with transaction.atomic(using=work.database):
        switch = switches.select_for_update().filter(lifted_at__isnull=True).first()
        if switch is None:
            switch = _create(
                SwitchKind.SERVICE,
                service,
                by=f"circuit breaker of the {gateway}",
                reason=f"the {gateway} does not answer",
                at=at,
                lapses_at=lapses_at,
                is_automatic=True,
            )
        elif switch.is_automatic:
            switch.lapses_at = lapses_at
            switch.save(update_fields=["lapses_at"])
        else:
            return
    _let_lapse(switch, work=work)


def let_service_go_on(service: str, *, gateway: str, at: datetime, work: UnitOfWork) -> None:
    """The gateway answers again: the switch that its circuit breaker has set is lifted."""
    switch = PauseSwitch.objects.filter(
        kind=SwitchKind.SERVICE, name=service, is_automatic=True, lifted_at__isnull=True, set_at__lte=at
    ).first()
    if switch is not None:
        _lift(switch.id, by=f"circuit breaker of the {gateway}", at=at, work=work)


def lapse(switch_id: UUID, *, at: datetime, work: UnitOfWork) -> None:
    """Lift the switch where its time is over; where it was put off meanwhile another message comes."""
    switch = PauseSwitch.objects.filter(id=switch_id, lifted_at__isnull=True, lapses_at__lte=at).first()
    if switch is not None:
        _lift(switch.id, by=BY_ITSELF, at=at, work=work)


def switches_set() -> list[PauseSwitch]:
    """Those that hold something back now, the newest first."""
    return list(PauseSwitch.objects.filter(lifted_at__isnull=True).order_by("-set_at"))


def _create(
    kind: SwitchKind,
    name: str,
    *,
    by: str,
    reason: str,
    at: datetime,
    lapses_at: datetime | None,
    is_automatic: bool,
) -> PauseSwitch:
    return PauseSwitch.objects.create(
        id=new_message_id(),
        kind=kind,
        name=name,
        set_by=by,
        is_automatic=is_automatic,
        reason=reason,
        set_at=at,
        lapses_at=lapses_at,
    )


def _lift(switch_id: UUID, *, by: str, at: datetime, work: UnitOfWork) -> int | None:
    """Whoever still decides by the switch holds it shared: once it is ours, all that they held back is there to see."""
    lifted = PauseSwitch.objects.filter(id=switch_id, lifted_at__isnull=True).update(
        lifted_at=at, lifted_by=by
    )
    if not lifted:
        return None
    work.add_statement(delete_statement([_lapse_key(switch_id)]))
    withheld = SagaRecord.objects.filter(is_withheld=True).order_by("id").values_list("id", "correlation_id")
    going_on = [
        look_again(saga_id, correlation_id, now=work.now, at=work.now) for saga_id, correlation_id in withheld
    ]
    work.outgoing += going_on
    return len(going_on)


def _let_lapse(switch: PauseSwitch, *, work: UnitOfWork) -> None:
    if switch.lapses_at is None:
        return
    message_id = new_message_id()
    command = LapsePauseSwitch(switch_id=switch.id)
    work.outgoing.append(
        OutgoingMessage(
            envelope=Envelope(
                message_id=message_id,
                type=command.wire_type,
                idempotency_key=str(message_id),
                correlation_id=str(switch.id),
                occurred_at=work.now,
            ),
            body=command.to_payload(),
            service=SERVICE,
            exchange=topology.COMMANDS,
            routing_key=command.routing_key(),
            available_at=switch.lapses_at,
            known_key=_lapse_key(switch.id),
        )
    )


def _lapse_key(switch_id: UUID) -> str:
    return f"pause-switch:{switch_id}:lapse"
