"""Reading JSON objects key by key, gathering every problem with key, value and what is allowed."""

from __future__ import annotations

import json
from typing import Any

_SHOWN_CHARACTERS = 80


class Fields:
    """One JSON object under inspection; what was read with a problem comes back as 0, false, ""."""

    def __init__(self, value: Any, path: str, problems: list[str], present: bool = True) -> None:
        self.path = path
        self.problems = problems
        self.present = present and isinstance(value, dict)
        self._values: dict[str, Any] = dict(value) if self.present else {}
        if present and not self.present:
            self._refuse(path.rstrip(".") or "the file", value, "a JSON object")

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def problem(self, key: str, value: Any, allowed: str) -> None:
        """Notes that the value of `key` is not allowed."""
        self._refuse(self.path + key, value, allowed)

    def _refuse(self, where: str, value: Any, allowed: str) -> None:
        shown = json.dumps(value, ensure_ascii=True)
        if len(shown) > _SHOWN_CHARACTERS:
            shown = shown[:_SHOWN_CHARACTERS] + "..."
        self.problems.append(f"{where} is {shown} (allowed: {allowed})")

    def _take(self, key: str, allowed: str) -> tuple[bool, Any]:
        if key in self._values:
            return True, self._values.pop(key)
        if self.present:
            self.problems.append(f"{self.path}{key} is missing (allowed: {allowed})")
        return False, None

    def integer(self, key: str, low: int, high: int) -> int:
        """A whole number of `low` to `high`; 1.0 and true are none."""
        allowed = f"a whole number from {low} to {high}"
        found, value = self._take(key, allowed)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        if found:
            self.problem(key, value, allowed)
        return 0

    def boolean(self, key: str) -> bool:
        """true or false."""
        found, value = self._take(key, "true or false")
        if found and not isinstance(value, bool):
            self.problem(key, value, "true or false")
        return value is True

    def label(self, key: str, max_bytes: int) -> str:
        """A string that is not empty and stays on one line."""
        allowed = f"a string of 1 to {max_bytes} bytes of UTF-8 without control characters"
        found, value = self._take(key, allowed)
        if not found:
            return ""
        if (
            not isinstance(value, str)
            or not 1 <= len(value.encode(errors="surrogatepass")) <= max_bytes
            or any("\ud800" <= c <= "\udfff" for c in value)
            or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value)
        ):
            self.problem(key, value, allowed)
            return ""
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """One of a few words."""
        allowed = ", ".join(choices)
        found, value = self._take(key, allowed)
        if found and value not in choices:
            self.problem(key, value, allowed)
            return ""
        return value if found else ""

    def section(self, key: str) -> Fields:
        """An object inside this one; if it is missing, that is the only problem noted for it."""
        found, value = self._take(key, "a JSON object")
        return Fields(value, f"{self.path}{key}.", self.problems, present=found)

    def finish(self, allowed: str) -> None:
        """Notes every key that nothing took."""
        for key in self._values:
            shown = json.dumps(self.path + key, ensure_ascii=True)[: _SHOWN_CHARACTERS + 2]
            self.problems.append(f"unknown key {shown} (allowed: {allowed})")
