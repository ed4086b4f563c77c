"""A small saga in its world, moved by hand: nothing happens by chance, and each message when the test says so."""

from random import Random

from sagas.definition import Saga
from tests.simulation.world import World


def world_of(definition: Saga) -> World:
    world = World(definition, Random(0))
    world.random.random = lambda: 1.0  # type: ignore[method-assign]  # nothing is refused by chance
    world.start()
    return world


def out(world: World) -> list[str]:
    """The commands that are on their way, by their names."""
    return sorted(type(sending.command).__name__ for sending in world.commands)


def answer(world: World, *names: str) -> None:
    """These commands are handled, and their replies heard."""
    for name in names:
        (place,) = [i for i, sending in enumerate(world.commands) if type(sending.command).__name__ == name]
        world.deliver_command(place)
        world.deliver_mail(len(world.mail) - 1)


def refuse(world: World, name: str) -> None:
    world.random.random = lambda: 0.0  # type: ignore[method-assign]
    answer(world, f"Do{name.title()}")
    world.random.random = lambda: 1.0  # type: ignore[method-assign]


def say(world: World, name: str, *, is_refused: bool = False) -> None:
    """What this step waits for happens outside."""
    world.say(name, is_refused=is_refused)
    world.deliver_mail(len(world.mail) - 1)


def lift(world: World) -> None:
    """All switches, and what they held back is looked at."""
    world.lift_switches()
    world.note_lifting()
    while world.mail:
        world.deliver_mail(0)


def status(world: World, name: str) -> str:
    return world.saga.steps[world.definition.positions[name]].status


def pass_deadline(world: World) -> None:
    due = world.saga.next_deadline()
    assert due is not None
    world.let_time_pass((due - world.clock.now).total_seconds())
    world.look_at_the_clock()
