"""A retention that would break what is promised about messages stops the start, naming both settings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from messaging import handling
from messaging.policies import RetryPolicy
from project.retention_rules import DAY, SAFETY, refuse_broken_promises, refuse_long_retries

ROOT = Path(__file__).resolve().parents[3]
KEPT = {
    "key_retention_days": 14,
    "waits": {"RETRY_ATTEMPTS and RETRY_LONGEST_PAUSE": 160.0},
    "deletion_grace": 1800.0,
    "task_time_limit": 1500.0,
    "kept_longer": {"FAILURE_RETENTION_DAYS": 30.0},
}


def test_settings_that_keep_the_promises_pass():
    refuse_broken_promises(**KEPT)


def test_a_retention_of_exactly_the_safe_length_passes():
    refuse_broken_promises(**{**KEPT, "waits": {"STEP_DEADLINE": 14 * DAY / SAFETY}})


@pytest.mark.parametrize(
    ("broken", "names"),
    [
        ({"waits": {"STEP_DEADLINE": 14 * DAY / SAFETY + 1}}, ("KEY_RETENTION_DAYS", "STEP_DEADLINE")),
        ({"deletion_grace": 1499.0}, ("KEY_DELETION_GRACE", "CELERY_TASK_TIME_LIMIT")),
        (
            {"kept_longer": {"LETTER_RETENTION_DAYS": 14.9}},
            ("LETTER_RETENTION_DAYS", "KEY_RETENTION_DAYS"),
        ),
    ],
    ids=["a message may be later", "a claim may last longer", "what stands in goes first"],
)
def test_what_would_break_a_promise_is_refused_by_name(broken, names):
    with pytest.raises(ImproperlyConfigured) as refused:
        refuse_broken_promises(**{**KEPT, **broken})

    assert all(name in str(refused.value) for name in names)


def test_a_handlers_own_retry_policy_is_held_to_it_too(settings, monkeypatch):
    policy = RetryPolicy(attempts=3, first_pause=86_400, longest_pause=86_400)
    monkeypatch.setattr(handling, "policy_of", lambda service, wire_type: policy)

    settings.KEY_RETENTION_DAYS = 20
    refuse_long_retries()
    settings.KEY_RETENTION_DAYS = 19
    with pytest.raises(ImproperlyConfigured, match="KEY_RETENTION_DAYS is 19, but by the retry policy of"):
        refuse_long_retries()


def test_no_process_starts_with_such_settings():
    done = subprocess.run(
        [sys.executable, "-c", "import tests.architecture.offline_settings"],
        cwd=ROOT,
        env={**os.environ, "KEY_RETENTION_DAYS": "0.5", "STEP_DEADLINE": "86400"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode != 0
    assert "KEY_RETENTION_DAYS is 0.5, but by STEP_DEADLINE" in done.stderr
