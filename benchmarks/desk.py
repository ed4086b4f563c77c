"""The pages of the desk, as an operator opens them: `python -m benchmarks.desk TURNS` prints JSON.

For each page the statements that it takes, and the milliseconds of so many openings in turns, after one
that is not counted. A page is asked for through Django's whole stack, middleware and templates included; what is left
out is the web server's part, which is the same for every page.
"""

import json
import sys
import time
from typing import Any

import django


def main(turns: int) -> None:
    django.setup()
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    operator, _ = User.objects.get_or_create(
        username="benchmark", defaults={"is_staff": True, "is_superuser": True}
    )
    client = Client(SERVER_NAME="localhost")
    client.force_login(operator)

    def open_page(address: str) -> None:
        page = client.get(address)
        if page.status_code != 200:
            raise SystemExit(f"{address} answers {page.status_code}: {page.content[:500]!r}")

    found: dict[str, dict[str, Any]] = {}
    pages = addresses()
    for name, address in pages.items():
        open_page(address)
        with CaptureQueriesContext(connection) as queries:
            open_page(address)
        found[name] = {"statements": len(queries), "ms": []}
    for _ in range(turns):
        for name, address in pages.items():
            began = time.perf_counter()
            open_page(address)
            found[name]["ms"].append(1000 * (time.perf_counter() - began))
    sys.stdout.write(json.dumps(found) + "\n")


def addresses() -> dict[str, str]:
    """The pages, of the largest group and of its newest letter where one is needed."""
    from django.db.models import Sum
    from django.urls import reverse
    from django.utils.http import urlencode

    from benchmarks.filling_letters import COMMON, RARE
    from deadletters.models import DeadLetter, LetterTally

    sums = LetterTally.objects.values("fingerprint").annotate(sum=Sum("letters"))
    largest = sums.order_by("-sum")[0]["fingerprint"]
    letter = (
        DeadLetter.objects.filter(group=largest, state="open").order_by("-died_at").only("type", "service")[0]
    )
    letters = reverse("admin:deadletters_deadletter_changelist")

    def letters_with(**query: object) -> str:
        return f"{letters}?{urlencode(query)}"

    return {
        "the first page": reverse("admin:index"),
        "groups": reverse("admin:deadletters_lettergroup_changelist"),
        "the largest group": reverse("admin:deadletters_lettergroup_change", args=[largest]),
        "letters": letters,
        "letters, page 2": letters_with(p=2),
        "open letters": letters_with(state="open"),
        "letters of a service": letters_with(service=letter.service),
        "letters of a type": letters_with(type=letter.type),
        "letters of a group": letters_with(group=largest),
        "letters with a common word": letters_with(q=COMMON),
        "letters with a rare word": letters_with(q=RARE),
        "open letters with a common word": letters_with(state="open", q=COMMON),
        "a letter": reverse("admin:deadletters_deadletter_change", args=[letter.id]),
        "confirming a replay of the largest group": reverse("admin:deadletters_act", args=["replay"])
        + f"?{urlencode({'group': largest})}",
        "bulk jobs": reverse("admin:deadletters_letterjob_changelist"),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]))
