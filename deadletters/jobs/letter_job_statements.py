"""The SQL of bulk jobs: what has become of their replays, which were forgotten, and what Celery's results tell."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from contracts.operations import AdvanceLetterJob
from eventstore.store import Statement

_OUTCOMES = """
SELECT under_way.letters, failed.letters, came_back.id, came_back.group_id, came_back.problem, came_back.is_same
FROM (SELECT count(*) AS letters FROM deadletters_replay WHERE job_id = %s AND outcome = 'open') AS under_way
CROSS JOIN (SELECT count(*) AS letters FROM deadletters_replay WHERE job_id = %s AND outcome = 'failed') AS failed
LEFT JOIN LATERAL (
    SELECT letter.id, letter.group_id,
           COALESCE(NULLIF(split_part(letter.exception, ':', 1), ''), letter.reason) AS problem,
           letter.group_id = before.group_id AS is_same
    FROM deadletters_replay AS replay
    JOIN deadletters_deadletter AS before ON before.id = replay.letter_id
    JOIN deadletters_deadletter AS letter ON letter.replay_id = replay.id
    WHERE replay.job_id = %s AND replay.outcome = 'failed'
      AND replay.finished_at > COALESCE(%s, '-infinity'::timestamptz)
    ORDER BY is_same DESC, replay.finished_at, letter.id LIMIT 1
) AS came_back ON true"""

_FORGOTTEN = """
SELECT job.id, died.letters, died.newest, died.problem
FROM deadletters_letterjob AS job
CROSS JOIN LATERAL (
    SELECT count(*) AS letters, (array_agg(id ORDER BY id DESC))[1] AS newest,
           (array_agg(COALESCE(NULLIF(exception, ''), reason) ORDER BY id DESC))[1] AS problem
    FROM deadletters_deadletter
    WHERE correlation_id = job.id::text AND type = %s AND collected_at > GREATEST(job.requested_at, job.resumed_at)
) AS died
WHERE job.state = 'running'
  AND GREATEST(begins_at, requested_at, resumed_at, advanced_at, paced_until) < %s
ORDER BY id"""

_KEEP_RESULT = """
INSERT INTO django_celery_results_taskresult (task_id, task_name, task_kwargs, status, content_type, content_encoding,
                                              result, meta, date_created, date_done)
VALUES (%s, %s, %s, %s, 'application/json', 'utf-8', %s, %s, %s, %s)
ON CONFLICT (task_id) DO UPDATE SET
    status = excluded.status, result = excluded.result, date_done = excluded.date_done
    WHERE django_celery_results_taskresult.task_name = excluded.task_name"""


def outcomes(job_id: UUID, *, since: datetime | None) -> Statement:
    """How many replays of the job are open and how many failed, and the first letter that came back after `since`.

    Of its exception the class alone is told: jobs, results and logs are read by people who may not read of customers.
    One that has the fingerprint of the letter which was replayed comes before any other.
    """
    return _OUTCOMES, [job_id, job_id, job_id, since]


def forgotten(*, before: datetime) -> Statement:
    """The running jobs whose next step was due before this time, in the order in which everybody wakes several; of each
    how many of its own messages have died since it was begun or resumed, the newest such letter, and its problem."""
    return _FORGOTTEN, [AdvanceLetterJob.wire_type, before]


def keep_result(
    job_id: UUID, *, task: str, status: str, result: Mapping[str, Any], at: datetime
) -> Statement:
    """Let Celery's result of this id say so."""
    kwargs = _json({"job_id": str(job_id)})
    return _KEEP_RESULT, [str(job_id), task, kwargs, status, _json(result), _json({"children": []}), at, at]


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
