"""Addresses in the admin, as its tests look them up."""

from django.urls import reverse


def list_of(label: str) -> str:
    return reverse(f"admin:{label.replace('.', '_')}_changelist")


def row_links(page) -> list[str]:
    return [page.context["cl"].url_for_result(row) for row in page.context["cl"].result_list]


def the_row(client, label: str, **asked: object) -> str:
    """The address that a search for one record leads to."""
    answer = client.get(list_of(label), asked)
    assert answer.status_code == 302, f"{label} has not exactly one row for {asked}"
    return answer.headers["Location"]
