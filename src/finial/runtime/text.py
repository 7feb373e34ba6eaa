"""Foreign text for logs and terminals: it moves no cursor, forges no line, turns no writing around."""

from __future__ import annotations


def visible(text: str, *, keep: str = "") -> str:
    """A text in which every character that is not printed is spelled out, with a backslash.

    Args:
        text: From wherever.
        keep: Characters that stay as they are, such as a line break.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _spelled(each) for each in text)


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded: no half of a surrogate pair is in it, nor a byte that was no UTF-8."""
    return not any("\ud800" <= each <= "\udfff" for each in text)


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
