"""Names of people, in the form in which they are compared: by their words, however those are written or ordered."""

from __future__ import annotations

import re
import unicodedata

# Letters of other alphabets that look like these of ours.
_LOOK_ALIKE = str.maketrans(
    "\u0430\u0441\u0501\u0435\u04bb\u0456\u0458\u04cf\u043e\u0440\u051b\u0455\u051d\u0445\u0443\u043a\u043c\u0442\u0432\u043d"
    "\u03b1\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u0131\u0261\u0251\u00f8\u0142\u00f0",
    "acdehijlopqswxykmtbhaeikvoptuxigaold",
)
_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> frozenset[str]:
    """The words of a name: without accents, case, punctuation and what cannot be seen."""
    seen = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", seen).casefold())
    bare = "".join(letter for letter in folded if not unicodedata.combining(letter))
    return frozenset(_WORD.findall(bare.translate(_LOOK_ALIKE)))
