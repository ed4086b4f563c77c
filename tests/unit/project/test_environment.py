"""A variable that is wrong stops the start with a sentence that names it."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from project import environment


@pytest.mark.parametrize(("given", "expected"), [("", 0), ("0", 0), ("9000", 9000), ("65535", 65535)])
def test_a_port(monkeypatch, given, expected):
    monkeypatch.setenv("PROCESS_PORT", given)

    assert environment.port("PROCESS_PORT") == expected


@pytest.mark.parametrize("given", ["65536", "-1", "http", "80.5"])
def test_what_is_no_port_is_refused(monkeypatch, given):
    monkeypatch.setenv("PROCESS_PORT", given)

    with pytest.raises(ImproperlyConfigured, match="PROCESS_PORT"):
        environment.port("PROCESS_PORT")


def test_a_token_that_could_be_guessed_is_refused(monkeypatch):
    monkeypatch.setenv("METRICS_TOKEN", "short")

    with pytest.raises(ImproperlyConfigured, match="METRICS_TOKEN is shorter than 16"):
        environment.token("METRICS_TOKEN", least=16)


def test_a_word_that_is_not_allowed_is_refused(monkeypatch):
    monkeypatch.delenv("LOG_FORMAT", raising=False)
    assert environment.one_of("LOG_FORMAT", "text", "json") == "text"
    monkeypatch.setenv("LOG_FORMAT", "xml")

    with pytest.raises(ImproperlyConfigured, match="LOG_FORMAT is 'xml'; write one of: text, json"):
        environment.one_of("LOG_FORMAT", "text", "json")


def test_a_database_that_vanishes_is_noticed_within_a_minute(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p@db.example/shop?connect_timeout=3")

    options = environment.database("DATABASE_URL")["OPTIONS"]

    assert options["connect_timeout"] == 3
    idle, interval, count = (options[f"keepalives_{part}"] for part in ("idle", "interval", "count"))
    assert idle + interval * count <= 60
    assert 0 < options["tcp_user_timeout"] <= 60_000
