"""Names of people, in the form in which they are compared: what a reader sees of their words, in any order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, permutations

# Letters of other alphabets that look like ours, as capitals or small: Greek, Cyrillic, Cherokee, Lisu and others.
_CAPITALS = str.maketrans(
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0405\u0406\u0408\u051a\u051c"
    "\u13aa\u13f4\u13df\u13a0\u13ac\u13c0\u13bb\u13ab\u13e6\u13de\u13b7\u13e2\u13a1\u13da\u13a2\u13d9\u13d4\u13bd\u13c3"
    "\ua4ee\ua4d0\ua4da\ua4d3\ua4f0\ua4dd\ua4d6\ua4e7\ua4f2\ua4d9\ua4d7\ua4e1\ua4df"
    "\ua4e0\ua4f3\ua4d1\ua4e3\ua4e2\ua4d4\ua4f4\ua4e6\ua4ea\ua4eb\ua4ec\ua4dc"
    "\u15e9\u15f7\u1455\u15ea\u156e\u15b4\u157c\u148d\u14aa\u15f0\u144e\u146d\u1587\u1515\u144c\u142f\u15ef\u166d\u03fa",
    "ABEZHIKMNOPTYXABEKMHOPCTYXSIJQWABCDEGHJKLMPRSTVWYZABCDEFGHIJKLMNOPRSTUVWXYZABCDEFHJLMNPRSUVWXM",
)
_SMALL = str.maketrans(
    "\u0430\u0441\u0501\u0435\u04bb\u0456\u0458\u04cf\u043e\u0440\u051b\u0455\u051d\u0445\u0443\u043a\u043c\u0442\u0432\u043d"
    "\u03b1\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u00f0\u0251\u0269\u01c0"
    "\u0578\u0585\u057d\u0570\u0581\u04bd\u212e",
    "acdehijlopqswxykmtbhaeikvoptuxdaiinouhgee",
)
_ALIKE = str.maketrans("i1|0", "lllo")
"""Those of ours that look like one another."""
_AS_TWO = str.maketrans({
    "\u00df": "ss", "\u1e9e": "Ss", "\u00e6": "ae", "\u00c6": "Ae", "\u0153": "oe", "\u0152": "Oe",
    "\u00fe": "th", "\u00de": "Th",
})  # pairs, several in a row # fmt: skip
"""Letters that are written as two where they are not to be had."""
_UMLAUTS = str.maketrans({
    "\u00e4": "ae", "\u00c4": "Ae", "\u00f6": "oe", "\u00d6": "Oe", "\u00fc": "ue", "\u00dc": "Ue",
    "\u00f8": "oe", "\u00d8": "Oe", "\u00e5": "aa", "\u00c5": "Aa",
})  # pairs, several in a row # fmt: skip
"""Those that are written so, or without their mark."""
_NAMED = re.compile(r"(?:[A-Z ]+ )?(?:LATIN|REGIONAL INDICATOR).* LETTER (?:[A-Z]{2,} )*([A-Z])(?: WITH .*)?")
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0")
"""Letters, says Unicode, of which nothing is shown."""
_TURNED = re.compile("\u202e([^\u202c\u202e]*)")
"""What stands behind RIGHT-TO-LEFT OVERRIDE is shown from behind."""
_CAPITAL_WITHIN = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""What `_spaced` finds, in ASCII: most names are, and strangers' may be long."""
_WORD = re.compile(r"[^\W_]+")
ANY_ORDER = 4
"""Words of a name up to which they are looked for in each order where they are joined."""
LONG = 9
"""Letters of a name from which on it counts as one word beside others, without a capital within (`annmiller`)."""


@dataclass(frozen=True)
class Name:
    """A name's words in order. pieces: the same, cut at capitals within words, too (`AnnMiller`)."""

    words: tuple[str, ...]
    pieces: tuple[str, ...]

    def is_borne(self, shown: Name) -> bool:
        """Whether what is shown has this name in it: its words, or pieces that give them (`A n n`, `AnnMiller`)."""
        return self._has <= shown._has or self._looks <= shown._looks or any(map(shown._gives, self._joined))

    @cached_property
    def _has(self) -> frozenset[str]:
        return frozenset(self.words)

    @cached_property
    def _looks(self) -> frozenset[str]:
        """Its words, with letters that are seen as one for two (`rniller`)."""
        return frozenset(word.replace("rn", "m").replace("vv", "w") for word in self.words)

    @cached_property
    def _joined(self) -> frozenset[str]:
        """Its words as one, in any order; those of a long name in the written order and from behind."""
        orders = permutations(self.words) if len(self.words) <= ANY_ORDER else (self.words, self.words[::-1])
        return frozenset(map("".join, orders))

    @cached_property
    def _letters(self) -> str:
        return "".join(self.pieces)

    @cached_property
    def _edges(self) -> dict[int, int]:
        """Where pieces begin and end among the letters, and how many are before."""
        return {edge: count for count, edge in enumerate(accumulate(map(len, self.pieces), initial=0))}

    def _gives(self, joined: str) -> bool:
        """Whether whole pieces in a row give these letters: several, or one alone, or one that is long.

        One that is short may be another's name: `Erik Johansen` does not say that he is Jo Hansen.
        """
        at = self._letters.find(joined)
        while at >= 0 and joined:
            first, last = self._edges.get(at), self._edges.get(at + len(joined))
            if first is not None and last is not None:
                return last - first > 1 or len(self.pieces) == 1 or len(joined) >= LONG
            at = self._letters.find(joined, at + 1)
        return False


def shown_names(text: str) -> Iterator[Name]:
    """What a reader may see: the name, and that with what a mark in it turns round (`\u202erelliM nnA`)."""
    yield from spellings(text)
    if _TURNED.search(text):
        yield from spellings(_TURNED.sub(lambda found: found[1][::-1], text))


def spellings(text: str) -> Iterator[Name]:
    """A name as it is without accents, and as it is with two letters for one (`Juergen`) where it has such letters."""
    yield name_of(text)
    written = unicodedata.normalize("NFKC", text)
    if (spelt := written.translate(_UMLAUTS)) != written:
        yield name_of(spelt)


def name_of(text: str) -> Name:
    """A name without accents, case, punctuation and what cannot be seen."""
    if text.isascii():
        return Name(_words(text), _words(_CAPITAL_WITHIN.sub(" ", text)))
    text = "".join(filter(_letter, unicodedata.normalize("NFKC", text).translate(_AS_TWO)))
    return Name(_words(text), _words("".join(map(_spaced, f" {text}", text, f"{text[1:]} "))))


def _spaced(before: str, letter: str, behind: str) -> str:
    """A letter, with a blank in front if a word begins with it within another one (`annMiller`, `CEOAnn`)."""
    begins = letter.isupper() and (before.islower() or (before.isupper() and behind.islower()))
    return f" {letter}" if begins else letter


def _words(text: str) -> tuple[str, ...]:
    if text.isascii():
        return tuple(_WORD.findall(text.lower().translate(_ALIKE)))
    seen = "".join(map(_letter, text)).translate(_CAPITALS).casefold()
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", seen) if not _is_mark(letter))
    return tuple(_WORD.findall(bare.translate(_SMALL).translate(_ALIKE)))


@lru_cache(1000)
def _letter(letter: str) -> str:
    """A letter as it is compared: those that are one of ours in another shape (small capitals, in a circle) as that."""
    if letter.isascii():
        return letter
    if unicodedata.category(letter) == "Cf" or letter in _INVISIBLE:
        return ""
    name = unicodedata.name(letter, "")
    found = _NAMED.fullmatch(name)
    return found[1] if found else letter.upper() if name.startswith("CHEROKEE SMALL") else letter


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter).startswith("M")
