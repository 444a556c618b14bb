"""The line of every key, in any form that TOML allows at the start of a line."""

import tomllib

import pytest

from inspector.keylines import key_lines, line_of

TEXT = '''# [not.a.table]
top = 1
[a]
b = "[not] # a comment"   # [c]
text = """
[inside]
key = 3
"""
"quoted key" = 2
c.d = 1
list = [
  [1, 2],
  # [comment]
  [3, 4],
]
after = { x = [1],
y = 2 }
[[a.items]]
n = 1
[[a.items]]
n = 2
[a.items.sub]
z = 1
[ "other table" . x ]
v = 'it''s'
'''.replace("'it''s'", "'it]s'")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("a",), 3),
        (("a", "b"), 4),
        (("a", "text"), 5),
        (("a", "quoted key"), 9),
        (("a", "c", "d"), 10),
        (("a", "list"), 11),
        (("a", "list", 1, 0), 11),
        (("a", "after", "x"), 16),
        (("a", "items", 0), 18),
        (("a", "items", 0, "n"), 19),
        (("a", "items", 1, "n"), 21),
        (("a", "items", 1, "sub", "z"), 23),
        (("other table", "x", "v"), 25),
        (("nowhere",), 1),
        ((), 1),
    ],
)
def test_lines(path: tuple[str | int, ...], line: int):
    tomllib.loads(TEXT.replace("after = { x = [1],\ny = 2 }", "after = { x = [1], y = 2 }"))
    assert line_of(path, key_lines(TEXT)) == line


def test_nothing_inside_strings_and_arrays_is_taken_for_a_key():
    lines = key_lines(TEXT)
    assert ("a", "key") not in lines and ("inside",) not in lines and ("not", "a", "table") not in lines


@pytest.mark.parametrize("mark", ["\u2028", "\x85"])
def test_what_ends_a_line_elsewhere_ends_none_in_toml(mark: str):
    """Pasted from a web page: TOML takes these for ordinary characters of a comment or a string."""
    text = f"# one{mark}two\na = '{mark}'\nb = 1\n"
    assert tomllib.loads(text)["b"] == 1
    assert key_lines(text) == {("a",): 2, ("b",): 3}
