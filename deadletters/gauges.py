"""What `/metrics` tells of dead letters."""

from deadletters.tallies import IN_HAND
from messaging.gauges import Gauge, Question, register

register(
    Question(
        gauges=(
            Gauge(
                name="makegood_dead_letters_open",
                help="Dead letters that wait for a person.",
                labels=("service",),
            ),
            Gauge(
                name="makegood_dead_letters_replaying",
                help="Dead letters that were sent again and are not answered yet.",
                labels=("service",),
            ),
        ),
        sql=f"SELECT ARRAY[service], coalesce(open, 0), coalesce(replaying, 0) FROM ({IN_HAND}) AS in_hand",  # noqa: S608
        only_in="default",
    )
)
