"""Small sagas that between them have everything a saga may have. Their messages carry one field."""

import msgspec

from contracts.message import Command, Event
from sagas.definition import Exhausted, Pause, Pivot, Saga, Step, Wait

_made: dict[str, type] = {}


def command(name: str) -> type[Command]:
    """The command `Do<Name>`, of the service `toys`."""
    return _message(name, Command)


def event(name: str) -> type[Event]:
    return _message(name, Event)


def _message(name: str, base: type) -> type:
    if name not in _made:
        _made[name] = msgspec.defstruct(
            name,
            [("order", str)],
            bases=(base,),
            namespace={"wire_type": f"toys.{name.lower()}.v1", "__module__": __name__},
            frozen=True,
            kw_only=True,
        )
    return _made[name]


def step(name: str, *, is_refused: bool = True, is_undone: bool = True, is_asked: bool = False, **more):
    """A step whose messages are named after it."""
    title = name.title()
    return Step(
        name,
        command(f"Do{title}"),
        done=event(f"{title}Done"),
        refused=event(f"{title}Refused") if is_refused else None,
        undo=command(f"Undo{title}") if is_undone else None,
        undone=event(f"{title}Undone") if is_undone else None,
        ask=command(f"Find{title}") if is_asked else None,
        nothing=event(f"{title}NotFound") if is_asked else None,
        **more,
    )


def pivot(name: str, *, is_refused: bool = True, is_asked: bool = False, **more):
    made = step(name, is_refused=is_refused, is_undone=False, is_asked=is_asked, **more)
    return Pivot(**{field: getattr(made, field) for field in made.__struct_fields__})


def last(name: str, **more):
    """A step after the pivot."""
    return step(name, is_refused=False, is_undone=False, **more)


BEGUN = event("Begun")
START = Step("start", undo=command("UndoStart"), undone=event("StartUndone"))

# fmt: off
PLAIN = Saga("plain", version=1, starts=BEGUN, unique_by="order", steps=(
    START, step("a", exhausted=Exhausted.COMPENSATE), step("b"), pivot("p"), last("z"),
))
WIDE = Saga("wide", version=1, starts=BEGUN, unique_by="order", steps=(
    START,
    step("a", after=("start",)), step("b", after=("start",), exhausted=Exhausted.COMPENSATE), step("c", after=("a",)),
    step("d", after=("b", "c"), is_undone=False),
))
ASKING = Saga("asking", version=1, starts=BEGUN, unique_by="order", deadline=500, steps=(
    step("a", is_asked=True), step("b", repeats=2), pivot("p", is_asked=True),
    last("y", after=("p",)), last("z", after=("p",)), last("x", after=("y", "z")),
))
WAITING = Saga("waiting", version=1, starts=BEGUN, unique_by="order", steps=(
    step("a"),
    Wait("word", done=event("WordGiven"), refused=event("WordDenied"), deadline=200, exhausted=Exhausted.COMPENSATE),
    Pause("rest", seconds=30), step("b"),
    Wait("sign", done=event("Signed"), deadline=200, after=("a",)),
    step("c", after=("b", "sign")),
))
# fmt: on
TOYS = (PLAIN, WIDE, ASKING, WAITING)
