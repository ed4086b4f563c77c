"""The sagas on the admin's first page."""

from collections.abc import Mapping

from eventstore.admin_columns import Tone
from operations.figures import MOST
from operations.tiles import Line, Links, Tile, counted, plural
from sagas.state import SagaStatus


def sagas(
    for_a_person: int, unfinished: Mapping[str, int], *, held_up: Mapping[str, int], links: Links
) -> Tile:
    """Those that wait for somebody to decide, those that go on by themselves, and what holds some of these up."""
    return Tile(
        title="Sagas",
        number=counted(for_a_person, MOST),
        word=plural(for_a_person, "needs a person", "need a person"),
        tone=Tone.BAD if for_a_person else Tone.GOOD,
        state="somebody is to decide" if for_a_person else "all go on by themselves",
        url=links.to("sagas.sagarecord", attention="person"),
        lines=(
            *(
                Line(
                    text=f"{counted(unfinished.get(status, 0), MOST)} {status}",
                    url=links.to("sagas.sagarecord", status__exact=status),
                )
                for status in (SagaStatus.RUNNING, SagaStatus.COMPENSATING)
            ),
            *(
                Line(
                    text=f"{counted(held_up[kind], MOST)} {words}",
                    url=links.to("sagas.sagarecord", attention=kind),
                    tone=Tone.WAITING,
                )
                for kind, words in (("overdue", "overdue"), ("withheld", "held back by a switch"))
                if held_up.get(kind)
            ),
        ),
    )
