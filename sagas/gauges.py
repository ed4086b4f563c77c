"""What `/metrics` tells of sagas."""

from messaging.gauges import Gauge, Question, register

register(
    Question(
        gauges=(
            Gauge(
                name="makegood_saga_steps_for_a_person",
                help="Steps of sagas for which nothing is sent any more until a person mends them, at most 10000.",
                labels=("status",),
            ),
        ),
        sql="""
            SELECT ARRAY[status::text], count(*)
            FROM (SELECT step.status
                  FROM sagas_sagarecord AS saga JOIN sagas_steprecord AS step ON step.saga_id = saga.id
                  WHERE saga.needs_a_person AND step.status IN ('held', 'stuck') LIMIT %(most)s) AS exhausted
            GROUP BY status""",
        only_in="default",
    )
)
