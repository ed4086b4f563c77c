"""A gateway with a wrong environment does not start, and says why."""

import sqlite3
from pathlib import Path

import pytest

from simulator.books import Books
from simulator.errors import InvalidSetting
from simulator.settings import Settings


def test_everything_but_the_books_has_a_harmless_default(tmp_path: Path) -> None:
    settings = Settings.read({"GATEWAY_BOOKS": str(tmp_path / "books")})

    assert settings.allowed_origins == frozenset()
    assert settings.hang_seconds == 15
    assert settings.faults.error_rate == 0


def test_origins_are_a_comma_list(tmp_path: Path) -> None:
    settings = Settings.read(
        {"GATEWAY_BOOKS": str(tmp_path / "b"), "GATEWAY_ALLOWED_ORIGINS": "http://a:1, http://b:2/ ,"}
    )

    assert settings.allowed_origins == {"http://a:1", "http://b:2"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_BOOKS", ""),
        ("GATEWAY_BOOKS", "/no/such/folder/books.sqlite3"),
        ("GATEWAY_HANG_SECONDS", "soon"),
        ("GATEWAY_HANG_SECONDS", "-1"),
        ("GATEWAY_HANG_SECONDS", "nan"),
        ("GATEWAY_ERROR_RATE", "1.5"),
        ("GATEWAY_LATENCY_MS", "x"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=name):
        Settings.read({"GATEWAY_BOOKS": str(tmp_path / "books"), name: value})


def test_books_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(InvalidSetting, match="version 99"):
        Books(path)
