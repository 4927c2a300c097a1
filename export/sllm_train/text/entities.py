"""Consistent substitution of entities: the same story about other names, animals and things.

A small model learns that children in stories are called Lily or Tom, and says so whatever a prompt
says. In a copy of the story in which all mentions of one name are another name, only the context
tells which it is.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

from sllm_export.digest import sha256

# Words of one kind, which can take each other's place in simple sentences. Left out is what often
# has another sense in stories (Will, Rose, orange, fish, bear, chicken), is part of a name of two
# words (teddy bear), or is the same in the plural (sheep).
_KINDS: dict[str, list[str]] = {
    "girls": """Ada Alice Amy Anna Bella Beth Clara Dora Ella Ellie Emily Emma Eva Fiona Hannah Ida
        Iris Jane Jenny Jill Julia Kate Katie Kim Laila Lara Laura Leah Lena Lila Lily Lisa Lola
        Lucy Lulu Maggie Mandy Maria Mary Maya Mia Mila Millie Mimi Molly Nancy Nina Nora Olivia
        Polly Rosa Rosie Sally Sara Sarah Sophie Sue Susie Tara Tina Wendy Zara Zoe""".split(),
    "boys": """Adam Alex Andy Anton Ben Benny Billy Bob Bobby Charlie Dan Daniel Danny David Eddie
        Eric Felix Finn Frank Fred George Harry Henry Hugo Ian Jacob Jack Jake James Jamie Jim
        Jimmy Joe Joey John Johnny Josh Leo Leon Luke Martin Matt Max Mike Nick Noah Oliver Oscar
        Otto Paul Pete Peter Ralph Rob Robert Sam Sammy Simon Steve Ted Theo Tim Timmy Toby
        Tom Tommy Tony Victor Zack""".split(),
    "animals": """badger beaver camel cat cow dog donkey elephant fox frog giraffe goat
        hamster hedgehog hippo horse kangaroo kitten koala lamb lion lizard mole monkey mouse otter
        panda pig pony puppy rabbit raccoon rat skunk snake squirrel tiger turtle wolf
        zebra""".split(),
    "birds": """bird crow dove duck duckling eagle goose hawk hen owl parrot peacock
        penguin pigeon rooster swan""".split(),
    "toys": """ball balloon bike block boat book car crayon doll drum flute helicopter kite lantern
        marble mask puppet puzzle robot rocket scooter sled train truck trumpet umbrella
        wagon""".split(),
    "foods": """apple banana biscuit bun cake carrot cherry cookie cupcake lemon muffin onion
        pancake peach pear pie pizza potato pumpkin sandwich strawberry tomato""".split(),
    "colours": "black blue brown green grey pink purple red white yellow".split(),
}
_NAMES = ("girls", "boys")
# Words that are not names are substituted in so many of the copies.
_SHARE_OF_THINGS = 0.5
_IRREGULAR = {"mouse": "mice", "goose": "geese", "wolf": "wolves"}
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words}
_SINGULAR_OF = {plural: word for word, plural in _IRREGULAR.items()}
_WORD = re.compile(r"\b(?:([Aa][Nn]?)( +))?([A-Za-z]+)\b")


def version() -> str:
    """A digest of all that a substitution depends on besides the text: of this file."""
    return sha256(Path(__file__))


def substituted_copies(text: str, copies: int, seed: str) -> Iterator[str]:
    """Up to `copies` texts like this one with other names, animals and things; none of a text that
    has no word to substitute."""
    for copy in range(copies):
        changed = substituted(text, random.Random(f"{seed} {copy}"))
        if changed != text:
            yield changed


def substituted(text: str, draw: random.Random) -> str:
    """`text` in which each name of the vocabulary is another one throughout, and so, by chance, is
    each animal, bird, toy, food and colour."""
    kinds = {kind for kind in _KINDS if kind in _NAMES or draw.random() < _SHARE_OF_THINGS}
    present = dict.fromkeys(filter(None, (_entity(match[3]) for match in _WORD.finditer(text))))
    others: dict[str, str] = {}
    for kind in _KINDS:
        words = [word for word in present if _KIND_OF[word] == kind]
        free = [word for word in _KINDS[kind] if word not in present]
        if kind in kinds and words:
            draw.shuffle(free)
            others.update(zip(words, free, strict=False))

    def replaced(match: re.Match[str]) -> str:
        article, blanks, word = match[1] or "", match[2] or "", match[3]
        entity = _entity(word)
        if entity is None or entity not in others:
            return match[0]
        plural = _lower(word) not in (entity, entity.lower())
        new = _plural(others[entity]) if plural else others[entity]
        if len(word) > 1 and word.isupper():
            new = new.upper()
        elif word[0].isupper():
            new = new[0].upper() + new[1:]
        if article:
            n = "N" if article.isupper() and word.isupper() else "n"
            article = article[0] + (n if new[0].lower() in "aeiou" else "")
        return article + blanks + new

    return _WORD.sub(replaced, text)


def names_in(text: str) -> list[str]:
    """Each mention of a name of the vocabulary, in the text's order."""
    found = (_entity(match[3]) for match in _WORD.finditer(text))
    return [entity for entity in found if entity and _KIND_OF[entity] in _NAMES]


def _lower(word: str) -> str:
    """A word as the vocabulary has it, whose case is one of `ball`, `Ball`, `BALL`."""
    return word.lower() if word[1:].islower() or word.isupper() else word


def _entity(word: str) -> str | None:
    """The entry of the vocabulary that a word of a text is a form of."""
    name = word.capitalize() if word.isupper() else word
    if name in _KIND_OF:
        return name
    lower = _lower(word)
    if _KIND_OF.get(lower.capitalize()) in _NAMES:
        return None
    for form in (lower, _SINGULAR_OF.get(lower, ""), *_singulars(lower)):
        if form in _KIND_OF:
            return form
    return None


def _singulars(word: str) -> Iterator[str]:
    for ending, singular in (("ies", "y"), ("es", ""), ("s", "")):
        if word.endswith(ending):
            candidate = word[: -len(ending)] + singular
            countable = _KIND_OF.get(candidate) not in (None, *_NAMES, "colours")
            if countable and _plural(candidate) == word:
                yield candidate


def _plural(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh", "o")) and word != "hippo" else "s")
