"""What an edit changes, and which edits are refused."""

import copy
import json
import re
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadletters.editing.changes import LARGEST, FieldChange, changes, check_edit, parsed
from deadletters.errors import InvalidEdit
from tests.builders import authorize_payment, reserve_stock

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.sampled_from([0, 1, 1.0, True, False, "", "a"])
)
names = st.sampled_from(["a", "b", "a.b", "[0]", "$", "", '"', "a_id", "é"]) | st.text(max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)


def applied(before: Any, changed: list[FieldChange]) -> Any:
    """The value after these changes, which are found by their paths alone."""
    box = {"$": copy.deepcopy(before)}
    kept = [change for change in changed if not change.is_removed]
    for change in [*kept, *reversed([change for change in changed if change.is_removed])]:
        *way, last = ["$", *steps_of(change.path)]
        holder: Any = box
        for step in way:
            holder = holder[step]
        if change.is_removed:
            del holder[last]
        elif change.is_added and isinstance(holder, list):
            assert last == len(holder)
            holder.append(change.after)
        else:
            holder[last] = change.after
    return box["$"]


def steps_of(path: str) -> list[str | int]:
    if path == "$":
        return []
    found: list[str | int] = []
    while path:
        if path.startswith('["'):
            name, end = json.JSONDecoder().raw_decode(path, 1)
            found.append(name)
            path = path[end + 1 :]
        elif match := re.match(r"\[(\d+)\]", path):
            found.append(int(match[1]))
            path = path[match.end() :]
        else:
            match = re.match(r"\.?([A-Za-z_][A-Za-z0-9_-]*)", path)
            assert match is not None, path
            found.append(match[1])
            path = path[match.end() :]
    return found


def exactly(value: Any) -> str:
    """Tells 1, 1.0 and true apart, and not the order of an object's fields."""
    return json.dumps(value, sort_keys=True)


@given(values, values)
def test_changes_made_to_what_was_before_give_what_is_after(before, after):
    assert exactly(applied(before, changes(before, after))) == exactly(after)


@given(values)
def test_what_is_the_same_has_no_changes(value):
    assert changes(value, copy.deepcopy(value)) == []


@given(values, values)
def test_each_change_has_a_path_of_its_own(before, after):
    paths = [change.path for change in changes(before, after)]

    assert len(set(paths)) == len(paths)


def test_changes_are_told_by_their_paths():
    before = {"ship_to": {"city": "Lodnon"}, "lines": [{"quantity": 2}, {"quantity": 1}], "note": "x", "n": 1}
    after = {"ship_to": {"city": "London"}, "lines": [{"quantity": "2"}], "gift": True, "n": True}

    assert changes(before, after) == [
        FieldChange(path="ship_to.city", before="Lodnon", after="London"),
        FieldChange(path="lines[0].quantity", before=2, after="2"),
        FieldChange(path="lines[1]", before={"quantity": 1}, after=None, is_removed=True),
        FieldChange(path="note", before="x", after=None, is_removed=True),
        FieldChange(path="n", before=1, after=True),
        FieldChange(path="gift", before=None, after=True, is_added=True),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{\n  "a": 1,\n}',
            "This is not JSON: Illegal trailing comma before end of object|in line 3 at column 1",
        ),
        ("", "This is not JSON: Expecting value, in line 1 at column 1"),
        ("[]", "A message is a JSON object"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', 'The field "c" stands twice'),
        ('{"a": NaN}', "NaN is no JSON value"),
        ('{"a": "\\u0000"}', "cannot be stored"),
        ('{"a": "\\ud800"}', "cannot be stored"),
        ("[" * 100_000, "nested too deeply"),
        (f'{{"a": {"9" * 5000}}}', "This is not JSON that can be read"),
        (f'{{"a": "{"x" * LARGEST}"}}', "larger than 256 KiB"),
    ],
)
def test_what_is_no_message_is_refused_with_the_place(text, said):
    with pytest.raises(InvalidEdit, match=said):
        parsed(text)


def test_a_number_written_as_a_whole_one_stays_one():
    assert exactly(parsed('{"a": 1, "b": 1.0}')) == '{"a": 1, "b": 1.0}'


ORDER = uuid4()
BEFORE = authorize_payment(ORDER).to_payload()


def checked(after, *, before=BEFORE, wire_type="billing.authorize_payment.v1", correlation_id=str(ORDER)):
    return check_edit(wire_type=wire_type, correlation_id=correlation_id, before=before, after=after)


def test_a_message_that_keeps_its_schema_is_accepted():
    (change,) = checked(BEFORE | {"payment_token": "tok_other"})

    assert (change.path, change.before, change.after) == ("payment_token", "tok_visa", "tok_other")


@pytest.mark.parametrize(
    ("after", "said", "noted"),
    [
        (BEFORE, "Nothing is changed", "Nothing is changed"),
        (
            BEFORE | {"total": {"amount": -5, "currency": "EUR"}},
            r"^total\.amount is -5: expected `int` >= 0\.$",
            "total.amount: expected `int` >= 0",
        ),
        (
            BEFORE | {"total": {"amount": 5, "currency": "Ada"}},
            r'^total\.currency is "Ada": expected `str` matching regex',
            "total.currency: expected `str` matching regex",
        ),
        (
            BEFORE | {"total": {"amount": 5}},
            r'^total is {"amount": 5}: object missing required field `currency`\.$',
            "total: object missing required field `currency`",
        ),
        (
            {name: value for name, value in BEFORE.items() if name != "total"},
            "^It is no billing.authorize_payment.v1: object missing required field `total`",
            "it is no billing",
        ),
        (BEFORE | {"tip": 5}, r"^billing\.authorize_payment\.v1 has no field tip\.$", "it has no field tip"),
        (
            BEFORE | {"total": {"amount": 5, "currency": "EUR", "tax": 1}},
            r"has no field total\.tax\.$",
            "it has no field total.tax",
        ),
        (BEFORE | {"order_id": str(uuid4())}, f"and must be {ORDER}", "order_id is another one"),
        (BEFORE | {"order_id": "x"}, f'^order_id is "x", and must be {ORDER}', "order_id is another one"),
    ],
)
def test_a_message_that_breaks_its_schema_is_refused_by_field_and_value(after, said, noted):
    with pytest.raises(InvalidEdit, match=said) as refused:
        checked(after)

    assert refused.value.noted.startswith(noted)


def test_an_item_of_a_list_is_named_by_its_place():
    before = reserve_stock(ORDER).to_payload()
    after = copy.deepcopy(before)
    after["lines"][0]["quantity"] = "two"

    with pytest.raises(InvalidEdit, match=r'^lines\[0\]\.quantity is "two": expected `int`, got `str`\.$'):
        checked(after, before=before, wire_type="inventory.reserve_stock.v1")


def test_an_identifier_that_was_wrong_may_be_put_right_only_to_the_orders_own():
    before = BEFORE | {"order_id": 5}

    assert [change.path for change in checked(BEFORE, before=before)] == ["order_id"]
    with pytest.raises(InvalidEdit, match=f"must be {ORDER}"):
        checked(BEFORE | {"order_id": str(uuid4())}, before=before)


def test_a_field_that_another_release_has_sent_may_stay():
    before = BEFORE | {"tip": 5}

    assert [change.path for change in checked(before | {"payment_token": "tok_b"}, before=before)] == [
        "payment_token"
    ]


def test_a_type_that_nobody_knows_cannot_be_edited():
    with pytest.raises(InvalidEdit, match=r"has no message type 'billing\.tip\.v1'"):
        checked(BEFORE | {"tip": 5}, wire_type="billing.tip.v1")
