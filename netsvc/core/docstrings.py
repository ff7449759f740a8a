"""Reads the docstring of a procedure: text, fields and examples.

    Divide one number by another.

    More about it.

    :param a: what is divided.
    :returns: the quotient.
    :raises InvalidParams: `b` is 0.

    >>> math.divide(7.0, 2.0)
    3.5

Fields are written as Sphinx has them, examples as doctest has them: a call of the procedure by its name, with literals, and its result.
"""

import ast
import inspect
import re
from doctest import DocTestParser, Example
from typing import Any, NamedTuple

__all__ = ["CallExample", "Documentation", "read_docstring"]

_FIELD = re.compile(r":(param|raises|returns?)\b\s*([^:]*):\s*(.*)")

_parse_examples = DocTestParser().get_examples


class CallExample(NamedTuple):
    """A call and its result. ``arguments`` are by position, ``named`` by name; all are literals of Python."""

    arguments: list[Any]
    named: dict[str, Any]
    result: Any


class Documentation(NamedTuple):
    """A docstring, taken apart.

    :ivar words: everything but the fields and the examples; the first line is the summary.
    :ivar params: what it says about each param.
    :ivar returns: what it says about the result, empty if nothing.
    :ivar raises: what it says about each error, by the name of its class.
    """

    words: str
    params: dict[str, str]
    returns: str
    raises: dict[str, str]
    examples: tuple[CallExample, ...]

    @property
    def summary(self) -> str:
        """The first paragraph, in one line."""
        return " ".join(self.words.partition("\n\n")[0].split())

    @property
    def description(self) -> str:
        """The paragraphs after the first."""
        return self.words.partition("\n\n")[2]


def read_docstring(name: str, docstring: str) -> Documentation:
    """Take apart the docstring of the procedure `name`.

    :raises ValueError: an example is not a call of this procedure with literals.
    """
    text = inspect.cleandoc(docstring)
    examples = tuple(_example(name, each) for each in _parse_examples(text))
    words: list[str] = []
    fields: dict[tuple[str, str], list[str]] = {}
    open_field: list[str] | None = None
    example = False
    for line in text.splitlines():
        match = _FIELD.match(line)
        if not line.strip():
            open_field, example = None, False
            words.append("")
        elif match is not None:
            kind, subject, said = match.groups()
            open_field = fields.setdefault((kind.rstrip("s") if kind != "raises" else kind, subject.strip()), [])
            open_field.append(said)
        elif open_field is not None:
            open_field.append(line.strip())
        elif example or line.startswith(">>>"):
            example = True
        else:
            words.append(line)
    said_of = {key: " ".join(filter(None, lines)) for key, lines in fields.items()}
    return Documentation(
        re.sub(r"\n{3,}", "\n\n", "\n".join(words)).strip(),
        {subject: said for (kind, subject), said in said_of.items() if kind == "param"},
        said_of.get(("return", ""), ""),
        {subject: said for (kind, subject), said in said_of.items() if kind == "raises"},
        examples,
    )


def _example(name: str, example: Example) -> CallExample:
    try:
        call = ast.parse(example.source.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != name:
            raise ValueError
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
        if len(named) < len(call.keywords):  # there are ** or repetitions
            raise ValueError
        result = ast.literal_eval(example.want.strip() or "None")
        return CallExample([ast.literal_eval(argument) for argument in call.args], named, result)
    except (ValueError, SyntaxError):
        raise ValueError(f"the example {example.source.strip()!r} must be a call {name}(…) with literals, and its result a literal") from None
