"""Reading queries, and matching messages with them."""

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.query import LONGEST_QUERY, MOST_SPANS, MOST_TERMS, WORDS_LOOKED_AT, Query, Term, matches, parse_query, searchable, spans
from netsvc.errors import InvalidParams

DAY = 1_793_491_200_000
"""2026-11-01T00:00Z"""


class ParseTests(SynchronousTestCase):
    """What a query means."""

    def test_terms(self) -> None:
        """Words, stars and phrases, asked for or excluded."""
        self.assertEqual(parse_query("Ann").terms, (Term(("ann",), False),))
        self.assertEqual(parse_query('a b* "c d" "e f"*').terms, (Term(("a",), False), Term(("b",), True), Term(("c", "d"), False), Term(("e", "f"), True)))
        self.assertEqual(parse_query('-a -b* -"c d"').without, (Term(("a",), False), Term(("b",), True), Term(("c", "d"), False)))
        self.assertEqual(parse_query("x'y.z c++ --d").terms, (Term(("x", "y", "z"), False), Term(("c",), False)))

    def test_filters(self) -> None:
        """Filters, in any case; several days bound from both sides."""
        query = parse_query("FROM:Ann in:Lobby -from:Zoë -in:x before:2026-11-01 before:2026-11-02 after:2025-01-01")
        self.assertEqual((query.senders, query.rooms, query.not_senders, query.not_rooms, query.before), (("ann",), ("lobby",), ("zoë",), ("x",), DAY))
        self.assertEqual(query.after, 1_735_689_600_000)

    def test_no_filter(self) -> None:
        """What only looks like a filter is text."""
        self.assertEqual(parse_query("http://x").terms, (Term(("http", "x"), False),))
        self.assertEqual(parse_query('"from:ann"').terms, (Term(("from", "ann"), False),))

    def test_passed_over(self) -> None:
        """What has no letters or digits is passed over beside something that has."""
        self.assertEqual(parse_query('hello ! - "" \U0001f600 "..." *'.removesuffix(" *")), Query((Term(("hello",), False),)))

    def test_wrong(self) -> None:
        """A bad query says what is wrong with it, and which param it is."""
        cases = {
            "": "nothing to search for",
            " \t": "nothing to search for",
            "!?": "nothing to search for",
            'a "b': "quotation mark",
            "*": "at the end of a word",
            "*a": "at the end of a word",
            "a*b": "at the end of a word",
            "from:": "from:ann",
            "in:": "in:lobby",
            "in:!": "not a room's name",
            "before:": "before:2026-11-01",
            "before:yesterday": "not a day",
            "after:2026-13-01": "not a day",
            "after:20261101": "not a day",
            "-before:2026-11-01": "cannot be excluded",
            "a" * (LONGEST_QUERY + 1): "characters",
            "a " * (MOST_TERMS + 1): "at most",
        }
        for text, words in cases.items():
            error = self.assertRaises(InvalidParams, parse_query, text)
            self.assertTrue(error.detail.startswith("query: "), error.detail)
            self.assertIn(words, error.detail)

    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """Whatever is typed is a query or an InvalidParams, and its words are letters and digits: nothing can get out of a phrase."""
        try:
            query = parse_query(text)
        except InvalidParams:
            return
        for term in query.terms + query.without:
            for word in term.words:
                self.assertFalse(set(word) & set("\"'*-+()^:{}\0 "), word)


class MatchTests(SynchronousTestCase):
    """What a query finds in a text, for the memory store and for highlights."""

    def spans(self, query: str, text: str) -> list[str]:
        """The marked parts of a text."""
        return [text[start:end] for start, end in spans(parse_query(query), text)]

    def test_spans(self) -> None:
        """Each word found is marked where it stands in the text as it is, once."""
        self.assertEqual(self.spans("deploy", "Deploy, re-deploy, deployed"), ["Deploy", "deploy"])
        self.assertEqual(self.spans('dep* "a deploy" -x from:ann', "a deploy x dépôt"), ["a", "deploy", "dépôt"])
        self.assertEqual(self.spans("東京", "今日は東京に東"), ["東", "京"])
        self.assertEqual(self.spans("cafe", "cafe\u0301 CAFÉ"), ["cafe\u0301", "CAFÉ"])
        self.assertEqual(self.spans("from:ann", "ann"), [])

    def test_many_spans(self) -> None:
        """Only the first of very many are marked, and of a very long text only the beginning is looked at."""
        query = parse_query('a* "c a d"')
        text = "x " * 100 + "ab c a d " * 90 + "c a d"
        everything = [match.span() for match in re.finditer("[acd]+b?", text)]
        self.assertEqual(spans(query, text), everything[:MOST_SPANS])
        self.assertEqual(spans(parse_query("end"), "x " * (WORDS_LOOKED_AT - 1) + "end end"), [(2 * WORDS_LOOKED_AT - 2, 2 * WORDS_LOOKED_AT + 1)])

    def test_matches(self) -> None:
        """Room, sender, day and words must all be right."""
        query = parse_query("word from:ann in:lobby before:2026-11-01 after:2026-10-31")
        right = ("lobby", "Ann", DAY - 1, "a word")
        self.assertTrue(matches(query, *right))
        for index, wrong in enumerate(("other", "bob", DAY, "a sword")):
            self.assertFalse(matches(query, *right[:index], wrong, *right[index + 1 :]))  # type: ignore[arg-type]
        self.assertFalse(matches(parse_query("after:2026-11-01"), *right))
        self.assertFalse(matches(parse_query("-in:lobby"), *right))
        self.assertFalse(matches(parse_query("-from:ann"), *right))
        self.assertFalse(matches(parse_query("-word"), *right))

    def test_searchable(self) -> None:
        """ASCII stays as it is; characters of scripts without blanks are set apart."""
        self.assertEqual(searchable("plain text"), "plain text")
        self.assertEqual(searchable("a東京b").split(), ["a", "東", "京", "b"])
        self.assertEqual(searchable("ﬁne"), "fine")
