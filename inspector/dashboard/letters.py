"""Block letters: a verdict that can be read from across the aisle, in any terminal.

Each glyph is 5 dots high; two rows of dots share one row of cells as half blocks.
"""

from __future__ import annotations

from functools import lru_cache

GLYPHS = {
    "A": ".###. #...# ##### #...# #...#",
    "B": "####. #...# ####. #...# ####.",
    "C": ".#### #.... #.... #.... .####",
    "D": "####. #...# #...# #...# ####.",
    "E": "##### #.... ####. #.... #####",
    "F": "##### #.... ####. #.... #....",
    "G": ".#### #.... #..## #...# .####",
    "H": "#...# #...# ##### #...# #...#",
    "I": "### .#. .#. .#. ###",
    "J": "..### ...#. ...#. #..#. .##..",
    "K": "#..#. #.#.. ##... #.#.. #..#.",
    "L": "#.... #.... #.... #.... #####",
    "M": "#...# ##.## #.#.# #...# #...#",
    "N": "#...# ##..# #.#.# #..## #...#",
    "O": ".###. #...# #...# #...# .###.",
    "P": "####. #...# ####. #.... #....",
    "Q": ".###. #...# #...# #..#. .##.#",
    "R": "####. #...# ####. #..#. #...#",
    "S": ".#### #.... .###. ....# ####.",
    "T": "##### ..#.. ..#.. ..#.. ..#..",
    "U": "#...# #...# #...# #...# .###.",
    "V": "#...# #...# .#.#. .#.#. ..#..",
    "W": "#...# #...# #.#.# ##.## #...#",
    "X": "#...# .#.#. ..#.. .#.#. #...#",
    "Y": "#...# .#.#. ..#.. ..#.. ..#..",
    "Z": "##### ...#. ..#.. .#... #####",
    "0": ".##. #..# #..# #..# .##.",
    "1": ".#. ##. .#. .#. ###",
    "2": "###. ...# .##. #... ####",
    "3": "###. ...# .##. ...# ###.",
    "4": "#..# #..# #### ...# ...#",
    "5": "#### #... ###. ...# ###.",
    "6": ".##. #... ###. #..# .##.",
    "7": "#### ...# ..#. .#.. .#..",
    "8": ".##. #..# .##. #..# .##.",
    "9": ".##. #..# .### ...# .##.",
    " ": "... ... ... ... ...",
    "✓": "......# .....#. #...#.. .#.#... ..#....",
    "✗": "#...# .#.#. ..#.. .#.#. #...#",
    "?": ".###. #...# ..##. ..... ..#..",
    "!": "## ## ## .. ##",
    "‖": "##.## ##.## ##.## ##.## ##.##",
    "■": "##### ##### ##### ##### #####",
    "…": "........ ........ ........ ........ ##.##.##",
}
"""Capital letters, digits and the symbols that stand before a verdict."""

HEIGHT = 5
HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def dots_of(text: str) -> list[str]:
    """HEIGHT rows of '#' and '.', one column between glyphs. Raises KeyError for an unknown glyph."""
    glyphs = [GLYPHS[letter].split() for letter in text]
    return [".".join(glyph[row] for glyph in glyphs) for row in range(HEIGHT)]


@lru_cache(maxsize=64)
def block_letters(text: str, scale: int = 1) -> tuple[str, ...]:
    """Rows of cells of equal length that spell `text`; 3 rows at scale 1, 5 at scale 2."""
    rows = ["".join(dot * scale for dot in row) for row in dots_of(text) for _ in range(scale)]
    if len(rows) % 2:
        rows.append("." * len(rows[0]))
    return tuple(
        "".join(HALVES[(a == "#", b == "#")] for a, b in zip(above, below, strict=True))
        for above, below in zip(rows[::2], rows[1::2], strict=True)
    )


def fitting_letters(text: str, width: int, height: int) -> tuple[str, ...]:
    """The largest block letters that fit; the plain word where none do."""
    for scale in (3, 2, 1):
        rows = block_letters(text, scale)
        if len(rows[0]) <= width and len(rows) <= height:
            return rows
    return (text,)
