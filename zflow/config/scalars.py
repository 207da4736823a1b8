"""What a plain word of YAML means: the core schema of YAML 1.2, and nothing of YAML 1.1.

``true``, ``false``, ``null`` and numbers mean what they seem to; ``on``, ``no``, ``22:22`` and dates stay text.
"""

from __future__ import annotations

import re

from zflow.errors import ConfigError

Scalar = None | bool | int | float | str

MAX_DIGITS = 100  # a longer number is no number anybody wrote, and int() takes quadratic time over it
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def scalar_of(word: str) -> Scalar:
    """The value of an unquoted word. Raises ConfigError for a number of more than MAX_DIGITS characters."""
    if word in _WORDS:
        return _WORDS[word]
    if word[0] not in "+-.0123456789" or not (_FLOAT.fullmatch(word) or _radix(word)):
        return word
    if len(word) > MAX_DIGITS:
        raise ConfigError(
            f"a number of {len(word)} characters; at most {MAX_DIGITS} are allowed (quote it if it is text)"
        )
    if radix := _radix(word):
        return int(word[2:], radix)
    return int(word) if _DECIMAL.fullmatch(word) else float(word)


def _radix(word: str) -> int:
    return 8 if _OCTAL.fullmatch(word) else 16 if _HEXADECIMAL.fullmatch(word) else 0
