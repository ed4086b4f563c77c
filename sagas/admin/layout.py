"""Where each step of a saga is drawn: in layers, one after the other, and in lanes beside each other. Pure."""

import msgspec

from sagas.definition import Saga


class Place(msgspec.Struct, frozen=True):
    """Where a step is drawn: how many come before it, and beside how many it is."""

    layer: int
    lane: int


def layout(definition: Saga) -> tuple[Place, ...]:
    """A place of its own for each step, in a layer beyond all that it comes after.

    A step stays in the lane of the first step that it comes after, if that is free; and where an arrow has to pass a
    layer, its lane is kept free there, so that no arrow crosses a step.
    """
    layers = _layers(definition)
    lanes: dict[int, int] = {}
    taken: set[tuple[int, int]] = set()
    for position in sorted(range(len(layers)), key=lambda position: (layers[position], position)):
        layer = layers[position]
        lane = min((lanes[before] for before in definition.predecessors[position]), default=0)
        passed = range(layer + 1, _last_layer_before(definition, position, layers, own=layer))
        while any((crossed, lane) in taken for crossed in (layer, *passed)):
            lane += 1
        lanes[position] = lane
        taken |= {(crossed, lane) for crossed in (layer, *passed)}
    return tuple(Place(layers[position], lanes[position]) for position in range(len(layers)))


def _layers(definition: Saga) -> list[int]:
    layers: list[int] = []
    for before in definition.predecessors:
        layers.append(max((layers[position] + 1 for position in before), default=0))
    return layers


def _last_layer_before(definition: Saga, position: int, layers: list[int], *, own: int) -> int:
    """The furthest layer that an arrow from this step leads to; its own where there is none."""
    followers = (layers[other] for other, before in enumerate(definition.predecessors) if position in before)
    return max(followers, default=own)
