"""What is found by a search: whole words, beginnings where asked, and never what is personal."""

import json
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from deadletters.collecting import words
from deadletters.collecting.words import LARGEST_BODY, MOST_WORDS, query_of, words_in
from tests.builders import ADA, LONDON, order_placed

ORDER = UUID("0192f3a1-20ff-7835-82aa-eaac92dac109")


def body_of(value: object) -> bytes:
    return json.dumps(value).encode()


def words_of(*, exception: str = "", body: bytes = b"{}") -> list[str]:
    found = words.words_of(service="billing", wire_type="a.type.v1", exception=exception, body=body).split()
    assert found[:4] == ["billing", "a", "type", "v1"]
    return found[4:]


def test_exception_and_body_are_cut_into_words_in_lower_case():
    found = words_of(exception="TimeoutError: no answer", body=body_of({"order_id": str(ORDER), "n": 7}))

    assert found == ["timeouterror", "timeout", "error", "no", "answer", "order", "id", str(ORDER), "n", "7"]


def test_what_is_said_of_a_customer_and_his_card_is_no_word():
    message = order_placed(ORDER, card="tok_visa_4242")
    payload = {**message.to_payload(), "contact": {"name": ADA.name, "email": ADA.email}, "body": "Dear Ada"}
    secrets = (ADA.name, ADA.email, LONDON.line1, LONDON.city, LONDON.postcode, "tok_visa_4242", "Dear Ada")

    found = words_of(exception=f"ValueError: wrong {secrets}", body=body_of([[payload], {}, {}]))

    assert {"valueerror", "wrong", "mug", "sku", str(ORDER)} <= set(found)
    for secret in secrets:
        assert not set(words_in(secret)) & set(found), secret
    assert "hidden" not in found


def test_what_an_exception_quotes_is_no_word_unless_the_body_shows_it():
    quoting = "KeyError: 'Lovelace' at ada@example.com near 'mug'"

    assert words_of(exception=quoting, body=body_of({"sku": "mug"})) == [
        *("keyerror", "key", "error", "at", "near", "sku", "mug")
    ]


def test_of_a_body_that_cannot_be_read_only_the_class_of_the_exception_is_found():
    deep = b"[" * 100_000 + b"]" * 100_000

    for body in (b"\xffAda", b"Ada Lovelace", b'{"x": "Ada', b"", deep, b'"' + b"a " * LARGEST_BODY + b'"'):
        assert words_of(exception="KeyError: Ada", body=body) == ["keyerror", "key", "error"]


def test_endless_words_and_endless_texts_are_cut():
    many = " ".join(f"w{number}" for number in range(50_000))

    assert words_of(exception="x" * 5_000) == ["x" * words.LONGEST_WORD]
    assert len(words_of(exception=many, body=body_of(many))) == MOST_WORDS - 4
    assert words_of(exception="first", body=body_of(many))[:3] == ["first", "w0", "w1"]


def test_what_is_typed_means_whole_words_and_an_asterisk_a_beginning():
    assert query_of("Timeout  authorize_payment") == "'timeout' & 'authorize' & 'payment'"
    assert query_of("time* tea-tow*") == "'time':* & 'tea' & 'tow':*"
    assert query_of("word word") == "'word'"


def test_an_identifier_is_one_word_and_its_beginning_finds_it():
    assert query_of(str(ORDER).upper()) == f"'{ORDER}'"
    assert query_of("0192F3A1-20ff") == "'0192f3a1-20ff':*"
    assert query_of("0192f3a1-") == "'0192f3a1-':*"


def test_where_no_word_is_typed_there_is_no_query():
    for text in ("", " ", "*", "'", "\\", "&|!():*<->", "\x00", "- -"):
        assert query_of(text) == ""


def test_only_so_many_words_narrow_a_search():
    assert query_of(" ".join(f"w{number}" for number in range(500))).count("&") == words.MOST_TYPED - 1


@settings(max_examples=300)
@given(st.text(max_size=300))
def test_whatever_was_said_is_found_by_saying_it_again(text):
    said = {"billing", "a", "type", "v1", *words_of(body=body_of(text))}

    for term in query_of(text).split(" & ") if query_of(text) else []:
        word, ending = term.rsplit("'", 1)
        assert any(one.startswith(word[1:]) if ending else one == word[1:] for one in said), (term, said)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200)
@given(JSON)
def test_no_word_of_a_hidden_value_is_kept(around):
    mark = uuid4().hex
    value = [around, {"ship_to": [around, {"line1": mark}], "token": mark, "body": mark}]

    assert mark not in words_of(exception=f"ValueError: {mark} is wrong", body=body_of(value))
