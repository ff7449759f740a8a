"""The files that are made of the settings' own words: etc/netsvc.ini and docs/settings.md.

``python -m tests.generated_files`` writes them anew; tests/test_etc.py promises that they are what it would write.
"""

from collections.abc import Mapping
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from netsvc.settings import KeyReference, describe, render
from netsvc.tap import SECTIONS

__all__ = ["ROOT", "generated", "references"]

ROOT = Path(__file__).parent.parent

PREFACE = """\
# Settings

Every key with its default. `twistd -n netsvc --config FILE` reads FILE, then `FILE.d/*.ini` in the order of their names; the value given last applies.
`--set section.key=value`, which may be repeated, comes after the files. `netsvc check --config FILE` says everything that is wrong, with file and line.

A line that begins with `#` or `;` is a comment, and a comment needs a line of its own.
A value of several lines continues on lines that are indented deeper than its key.
"""


def references() -> dict[tuple[str, str], KeyReference]:
    """Every key by section and name."""
    return {(reference.section, reference.key): reference for reference in describe(SECTIONS)}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")


def _settings_page() -> str:
    lines = [PREFACE]
    for section, keys in groupby(describe(SECTIONS), attrgetter("section")):
        title = (SECTIONS[section].__doc__ or "").strip().partition("\n")[0].removeprefix(f"[{section}]").lstrip(": ")
        lines += [f"## [{section}]", "", title[:1].upper() + title[1:], "", "| key | default | what | how to write it |", "|---|---|---|---|"]
        for key in keys:
            default = f"`{_cell(key.default)}`" if key.default else ""
            lines.append(f"| `{key.key}` | {default} | {_cell(key.help)} | {_cell(key.words)} |")
        lines.append("")
    return "\n".join(lines)


def generated() -> Mapping[Path, str]:
    """The text of each file."""
    return {ROOT / "etc" / "netsvc.ini": render(SECTIONS), ROOT / "docs" / "settings.md": _settings_page()}


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
