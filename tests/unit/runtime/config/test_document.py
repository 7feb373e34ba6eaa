from __future__ import annotations

import pytest

from finial.runtime.config.document import Document, DocumentError, read_document

TEXT = '''# a comment with = and [brackets]
first = 1
"quoted key" = "a # b"
list = [
  "a", # ]
  "b = [",
  '[',
]
long = """
not = "a key"
[neither]
"""
literal = \'\'\'
nor = [this
\'\'\'
dotted.inner = true
inline = { a = 1, b = { c = 2 } }

[table]
key = "x"
[ table . "sub" ]
deep = 2
[[many]]
a = 1
last = 1979-05-27
[[many]]
a = 2
[many.part]
b = 1
[[many.deep]]
c = 1
[[many]]
[[many.deep]]
c = 2
inline = [{ d = 1 }, { d = 2 }]'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("first", 2),
        ("quoted key", 3),
        ("list", 4),
        ("long", 9),
        ("literal", 13),
        ("dotted.inner", 16),
        ("inline", 17),
        ("inline.b.c", 17),
        ("table", 19),
        ("table.key", 20),
        ("table.sub.deep", 22),
        ("many.a", 24),
        ("many.last", 25),
        ("many[0].last", 25),
        ("many[1]", 26),
        ("many[1].a", 27),
        ("many[1].absent", 26),
        ("many[1].part.b", 29),
        ("many[1].deep[0].c", 31),
        ("many[2].deep[0].c", 34),
        ("many[2].deep[0].inline[1].d", 35),
    ],
)
def test_the_line_of_each_key_is_known(key: str, line: int) -> None:
    assert read_document("f.toml", TEXT).where(key) == f"f.toml:{line}: {key}"


def test_nothing_but_keys_has_a_line() -> None:
    lines = read_document("f.toml", TEXT).lines
    assert not {"not", "neither", "nor"} & set(lines)
    assert read_document("f.toml", TEXT).where("absent") == "f.toml: absent"


def test_an_empty_document_says_nothing() -> None:
    assert Document().table == {}
    assert read_document("f", "").lines == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = ", 2),
        ("a = 1\na = 2\n", 2),
        ("= 1", 1),
        ("x = " + "[" * 100_000, 0),
        ("[a", 1),
        ("x = " + "9" * 5_000, 0),
    ],
)
def test_what_is_no_toml_is_refused(text: str, line: int) -> None:
    with pytest.raises(DocumentError) as caught:
        read_document("f", text)
    assert caught.value.line in {line, 0}
    assert str(caught.value)
    assert "(at line" not in str(caught.value)


def test_nesting_is_bounded() -> None:
    deepest = f"[{'.'.join('a' * 30)}]\nb = []"
    assert read_document("f", deepest).table
    for text in (deepest.replace("[]", "[[]]"), f"[{'.'.join('a' * 1000)}]", f"a = {'[' * 40}{']' * 40}"):
        with pytest.raises(DocumentError, match="deeper than 32"):
            read_document("f", text)


@pytest.mark.parametrize("deep", ["[" + ".".join("a" * 33) + "]", "  " + ".".join(["'a.b'"] * 33) + " = 1"])
def test_a_key_that_nests_too_deep_is_refused_with_its_line(deep: str) -> None:
    with pytest.raises(DocumentError, match="deeper than 32") as caught:
        read_document("f", f"b = 1\n{deep}\n")
    assert caught.value.line == 2


def test_what_only_looks_like_such_a_key_is_read() -> None:
    words = ".".join("a" * 40)
    found = read_document("f", f'b = """\n{words} = 1\n"""\n# c\n{".".join("a" * 31)} = "{words}"\n')
    assert found.table["b"] == f"{words} = 1\n"
