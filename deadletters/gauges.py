"""What `/metrics` tells of dead letters."""

from messaging.gauges import Gauge, Question, register

register(
    Question(
        gauges=(
            Gauge(
                name="makegood_dead_letters_open",
                help="Dead letters that wait for a person, at most 10000 of all services.",
                labels=("service",),
            ),
            Gauge(
                name="makegood_dead_letters_replaying",
                help="Dead letters that were sent again and are not answered yet.",
                labels=("service",),
            ),
        ),
        sql="""
            SELECT ARRAY[service], count(*) FILTER (WHERE state = 'open'), count(*) FILTER (WHERE state = 'replaying')
            FROM (SELECT service, state FROM deadletters_deadletter
                  WHERE state IN ('open', 'replaying') LIMIT %(most)s) AS in_hand
            GROUP BY service""",
        only_in="default",
    )
)
