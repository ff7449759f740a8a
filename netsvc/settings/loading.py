"""From files and overrides to one struct for each section."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from netsvc.settings.faults import Fault, Place, SettingsError, nearest, printable, quoted
from netsvc.settings.ini import Entry, Line, parse_ini, unreadable
from netsvc.settings.sections import keys_of

__all__ = ["LARGEST_FILE", "Settings", "load"]

LARGEST_FILE: Final = 1 << 20
"""How many bytes one file may have; a larger one is not a settings file, and is not read whole."""

_Section = TypeVar("_Section", bound=msgspec.Struct)
_OVERRIDE: Final = "--set"


class Settings:
    """What was loaded: a struct for each section, and where each key comes from."""

    __slots__ = ("_entries", "_faulty", "_structs")

    def __init__(self, structs: Mapping[str, msgspec.Struct], entries: Mapping[tuple[str, str], Entry], faults: Iterable[Fault] = ()) -> None:
        self._structs = structs
        self._entries = entries
        self._faulty = {(fault.section, fault.key) for fault in faults}

    def section(self, struct: type[_Section]) -> _Section:
        """The section that a struct declares. KeyError, a mistake in the code: it was not among those loaded."""
        for value in self._structs.values():
            if type(value) is struct:
                return value
        raise KeyError(struct)

    def origin(self, section: str, key: str) -> str:
        """Where a key's value comes from: ``FILE:LINE``, ``--set`` or ``default``."""
        place = self._place(section, key)
        if place is None:
            return "default"
        return str(place) if place.line else _OVERRIDE

    def written(self, section: str, key: str) -> list[tuple[Place | None, str]]:
        """The items of a list that has one per line, each with where it was written (None for the default); empty if the list has a fault."""
        if (section, key) in self._faulty:
            return []
        values = getattr(self._structs[section], key)
        entry = self._entries.get((section, key))
        return list(zip([None] * len(values) if entry is None else [line.place for line in entry.lines], values, strict=True))

    def fault(self, section: str, key: str, problem: str, item: str = "") -> SettingsError:
        """An error to raise for a value that turned out wrong only when it was used; it names the place like any other.

        :param item: the item of a list that is wrong, so that its own line is named.
        """
        return SettingsError([Fault(self._place(section, key, item), section, key, problem)])

    def _place(self, section: str, key: str, item: str = "") -> Place | None:
        getattr(self._structs[section], key)  # a name that is not declared is the caller's mistake, not a default
        entry = self._entries.get((section, key))
        if entry is None:
            return None
        return next((line.place for line in entry.lines if item and item in (line.text, *line.text.replace(",", " ").split())), entry.place)


class _Loading:
    """What is known while files are read one after the other: every fault so far, and the last entry and value of each key."""

    def __init__(self, sections: Mapping[str, type[msgspec.Struct]]) -> None:
        self.keys = {section: keys_of(section, struct) for section, struct in sections.items()}
        self.faults: list[Fault] = []
        self.entries: dict[tuple[str, str], Entry] = {}
        self.values: dict[str, dict[str, Any]] = {section: {} for section in sections}
        self._read: list[str] = []

    def in_order(self) -> list[Fault]:
        """The faults by file, as the files were read, and by line; then those of overrides and defaults."""
        order = {source: number for number, source in enumerate(self._read)}

        def position(fault: Fault) -> tuple[int, int]:
            place = fault.place or Place("")
            return order.get(place.source, len(order)), place.line

        return sorted(self.faults, key=position)

    def files(self, path: Path) -> None:
        """The file, then its drop-ins by name."""
        self._file(path)
        folder = path.with_name(f"{path.name}.d")
        try:
            # Hidden files are an editor's locks and copies.
            names = sorted(file.name for file in folder.iterdir() if file.suffix == ".ini" and not file.name.startswith("."))
        except FileNotFoundError:
            return
        except OSError as error:
            self._unread(folder, error.strerror)
            return
        for name in names:
            self._file(folder / name)

    def _unread(self, path: Path, reason: str | None) -> None:
        self.faults.append(Fault(Place(str(path)), "", "", f"cannot be read: {reason}"))

    def _file(self, path: Path) -> None:
        self._read.append(str(path))
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST_FILE + 1)
        except OSError as error:
            self._unread(path, error.strerror)
            return
        if len(data) > LARGEST_FILE:
            self._unread(path, f"larger than {LARGEST_FILE} bytes")
            return
        read = parse_ini(str(path), data)
        faults = read.faults
        for place, section in read.headers:
            if section not in self.keys:
                faults.append(Fault(place, section, "", f"unknown section{nearest(section, self.keys)}"))
        for entry in read.entries:
            # The keys of an unknown section are not faults of their own: its header is.
            if entry.section in self.keys:
                faults.extend(self._take(entry))
        self.faults.extend(faults)

    def override(self, text: str) -> None:
        """One ``section.key=value``."""
        name, equals, value = text.partition("=")
        section, dot, key = (part.strip() for part in name.partition("."))
        if not (equals and dot and section and key):
            self.faults.append(Fault(Place(_OVERRIDE), "", "", f"write {_OVERRIDE} section.key=value, not {quoted(text)}"))
            return
        place = Place(f"{_OVERRIDE} {printable(section)}.{printable(key)}")
        lines = [line.strip() for line in value.split("\n")]
        entry = Entry(place, section, key, [Line(place, line) for line in lines if line])
        problem = next(filter(None, map(unreadable, lines)), "")
        if problem:
            self.faults.append(Fault(place, section, key, problem))
        elif section not in self.keys:
            self.faults.append(Fault(place, section, key, f"unknown section{nearest(section, self.keys)}"))
        else:
            self.faults.extend(self._take(entry))

    def _take(self, entry: Entry) -> Iterable[Fault]:
        """Keep what an entry of a known section gives; the faults if it gives nothing usable."""
        key = self.keys[entry.section].get(entry.key)
        if key is None:
            return [Fault(entry.place, entry.section, entry.key, f"unknown key{self._likely(entry)}")]
        try:
            self.values[entry.section][entry.key] = key.read(entry)
        except SettingsError as error:
            return error.faults
        self.entries[entry.section, entry.key] = entry
        return ()

    def _likely(self, entry: Entry) -> str:
        """Which key was probably meant: one of this name in another section, otherwise the nearest in this one."""
        for section, keys in self.keys.items():
            if entry.key in keys:
                return f' (did you mean "{entry.key}" in [{section}]?)'
        return nearest(entry.key, self.keys[entry.section])


def load(
    sections: Mapping[str, type[msgspec.Struct]],
    path: Path | None,
    overrides: Sequence[str] = (),
    check: Callable[[Settings], object] = lambda settings: None,
) -> Settings:
    """Read the settings.

    :param sections: each section's struct. Its defaults apply to keys that are not given.
    :param path: the INI file; then its drop-ins are read, FILE.d/*.ini by name. A later file's value replaces an earlier one's, lists
        as a whole. None reads no file.
    :param overrides: ``section.key=value``, applied after the files; the last one wins.
    :param check: checks what a type cannot express, and raises a SettingsError for it. If something is wrong already, it is given
        what could be read, so that the operator sees every fault at once.

    SettingsError: with every fault of every file and override, whether or not another one replaces it.
    """
    loading = _Loading(sections)
    if path is not None:
        loading.files(path)
    for text in overrides:
        loading.override(text)
    settings = Settings({section: struct(**loading.values[section]) for section, struct in sections.items()}, loading.entries, loading.faults)
    try:
        check(settings)
    except SettingsError as error:
        loading.faults.extend(error.faults)
    if loading.faults:
        raise SettingsError(loading.in_order())
    return settings
