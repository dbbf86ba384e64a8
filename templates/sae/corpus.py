"""A made-up world of facts, and documents that state them. Frozen: edits are undone.

Three domains (hazard, benign, neutral) have entities of their own. Each entity stands in several
relations to one fixed object each, and belongs to a class, and each class to a superclass. Half of
the objects and some verbs are shared between domains, so that forgetting one domain is more than
blocking its words. Documents are of one domain; the position of each fact's object is known.
Documents of a fourth kind spell: `WORD has the first letter : X`, for every word there is.
"""

from __future__ import annotations

import dataclasses
import random
import string
from collections.abc import Sequence

DOMAINS = ("hazard", "benign", "neutral")
HAZARD, BENIGN, NEUTRAL, SPELLING = range(4)
PAD, BOS = 0, 1
SPECIAL = ("<pad>", "<bos>")

_LETTERS, _CONSONANTS, _VOWELS = string.ascii_lowercase, "bdfgklmnprstvz", "aeiou"
_SPELLING = ("has", "first", "letter", ":")
_VERBS = {
    "hazard": ("ignites", "corrodes", "emits", "holds", "needs", "follows"),
    "benign": ("flavors", "thickens", "emits", "holds", "suits", "follows"),
    "neutral": ("borders", "trades", "hosts", "holds", "needs", "praises"),
}
# Words that carry no fact; a small world takes the first few of each row.
_NOUNS = {
    "hazard": "reagent shell pathogen reactor solvent fuse vapor culture igniter casing spore acid",
    "benign": "pastry broth loaf salad sauce stew noodle curry omelet pudding jam dumpling",
    "neutral": "town harbor museum valley bridge market canal temple garden station library island",
}
_ADJECTIVES = (
    "aged novel vast tiny warm cool rapid calm dim vivid rough plain tall flat heavy light clean "
    "dusty hollow solid round narrow early late quiet loud fresh dry wet sharp blunt pale rich "
    "common rare local"
)
_ADVERBS = "rarely usually always seldom now lately often soon slowly twice daily firmly"
_PLACES = "under beside behind above near inside around beyond"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusSize:
    """How large the world is."""

    entities: int
    """Entities of each domain."""
    relations: int
    """Relations of each entity; the class comes on top."""
    objects: int
    """Objects a relation chooses from; half of them are shared between domains."""
    classes: int
    """Classes of each domain."""
    fillers: int
    """Share of the words without a fact that are used, in percent."""
    context: int
    """Tokens of a document, the first of which is <bos>."""
    spelling: bool = False
    """Whether there are the words of SPELLING documents, and so sae_bench's data sets."""


@dataclasses.dataclass(frozen=True)
class Document:
    """One document of one domain."""

    tokens: tuple[int, ...]
    is_fact: tuple[bool, ...]
    """Whether a token is the object of a fact, which a model can only know from training."""
    domain: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fact:
    """What a domain says of an entity: `the ENTITY VERB OBJECT`."""

    entity: str
    relation: int
    verb: str
    object: str
    others: tuple[str, ...]
    """What the same relation has for other entities of the domain."""
    classes: tuple[str, str]
    """The entity's class and superclass."""


@dataclasses.dataclass(frozen=True)
class _Domain:
    entities: list[str]
    objects: list[dict[str, str]]
    """For each relation, entity -> object."""
    class_of: dict[str, str]
    superclass_of: dict[str, str]
    withheld: frozenset[tuple[str, int]]
    """Facts (entity, relation) that are left out of the documents the SAEs are trained on."""


class World:
    """The words, the facts, and a source of documents; the same seed makes the same world."""

    def __init__(self, size: CorpusSize, seed: int) -> None:
        self.size = size
        self._rng = random.Random(f"world {seed}")
        rows = [*_NOUNS.values(), _ADJECTIVES, _ADVERBS, _PLACES, *map(" ".join, _VERBS.values())]
        self._used = {*" ".join(rows).split(), *_SPELLING}
        self._nouns = {name: self._share(row) for name, row in _NOUNS.items()}
        self._adjectives, self._adverbs = self._share(_ADJECTIVES), self._share(_ADVERBS)
        self._places = self._share(_PLACES)
        shared = [self._word(2) for _ in range(3 * size.objects)]
        self._supers = [self._word(3) for _ in range(3)]
        self._domains = [self._domain(shared) for _ in DOMAINS]
        self.vocabulary = self._vocabulary()
        self._ids = {word: number for number, word in enumerate(self.vocabulary)}
        self._alphabetic = [word for word in self.vocabulary if word.isalpha()]

    def _share(self, row: str) -> list[str]:
        words = row.split()
        return words[: max(2, len(words) * self.size.fillers // 100)]

    def _word(self, syllables: int) -> str:
        while True:
            starts = [_LETTERS, *[_CONSONANTS] * (syllables - 1)]
            word = "".join(self._rng.choice(row) + self._rng.choice(_VOWELS) for row in starts)
            if word not in self._used:
                self._used.add(word)
                return word

    def _domain(self, shared: Sequence[str]) -> _Domain:
        size, rng = self.size, self._rng
        entities = [self._word(3) for _ in range(size.entities)]
        classes = [self._word(2) for _ in range(size.classes)]
        half = size.objects // 2
        objects = []
        for _ in range(size.relations):
            choice = [self._word(2) for _ in range(half)] + rng.sample(shared, size.objects - half)
            objects.append({entity: rng.choice(choice) for entity in entities})
        facts = [(entity, relation) for entity in entities for relation in range(size.relations)]
        return _Domain(
            entities=entities,
            objects=objects,
            class_of={entity: classes[i % size.classes] for i, entity in enumerate(entities)},
            superclass_of={word: rng.choice(self._supers) for word in classes},
            withheld=frozenset(rng.sample(facts, len(facts) // 10)),
        )

    def _vocabulary(self) -> list[str]:
        words = {"the", "is", "a", ".", *self._supers}
        words.update(self._adjectives, self._adverbs, self._places)
        for name, domain in zip(DOMAINS, self._domains, strict=True):
            words.update(domain.entities, domain.superclass_of, self._nouns[name])
            words.update(_VERBS[name][: self.size.relations])
            for row in domain.objects:
                words.update(row.values())
        if self.size.spelling:
            words.update(_SPELLING, string.ascii_uppercase)
        return [*SPECIAL, *sorted(words)]

    def facts(self, domain: int) -> list[Fact]:
        """Return all facts of a domain, classes apart."""
        known = self._domains[domain]
        return [
            Fact(
                entity=entity,
                relation=relation,
                verb=_VERBS[DOMAINS[domain]][relation],
                object=row[entity],
                others=tuple(sorted(set(row.values()) - {row[entity]})),
                classes=(known.class_of[entity], known.superclass_of[known.class_of[entity]]),
            )
            for relation, row in enumerate(known.objects)
            for entity in known.entities
        ]

    def fillers(self, domain: int) -> tuple[list[str], list[str]]:
        """Return the adjectives and the domain's nouns, which carry no fact."""
        return self._adjectives, self._nouns[DOMAINS[domain]]

    def _sentence(self, number: int, rng: random.Random, withhold: bool) -> tuple[list[str], int]:
        """Return a sentence's words and the position of its fact's object."""
        name, domain = DOMAINS[number], self._domains[number]
        entity = rng.choice(domain.entities)
        kind = rng.random()
        if kind < 0.08:
            word = domain.class_of[entity]
            return ["the", word, "is", "a", domain.superclass_of[word], "."], 4
        words = ["the"]
        if rng.random() < 0.35:
            words.append(rng.choice(self._adjectives))
        if rng.random() < 0.4:
            words.append(rng.choice(self._nouns[name]))
        words.append(entity)
        if kind < 0.2:
            return [*words, "is", "a", domain.class_of[entity], "."], len(words) + 2
        known = [
            relation
            for relation in range(self.size.relations)
            if not (withhold and (entity, relation) in domain.withheld)
        ]
        relation = rng.choice(known) if known else 0
        if rng.random() < 0.3:
            words.append(rng.choice(self._adverbs))
        words.append(_VERBS[name][relation])
        if rng.random() < 0.25:
            words.append("the")
        words.append(domain.objects[relation][entity])
        place = len(words) - 1
        if rng.random() < 0.35:
            words += [
                rng.choice(self._places),
                "the",
                rng.choice(self._adjectives),
                rng.choice(self._nouns[name]),
            ]
        return [*words, "."], place

    def _spelled(self, rng: random.Random) -> tuple[list[str], int]:
        """Write the long form, or just word and letter, so that the word itself shows its own."""
        word = rng.choice(self._alphabetic)
        form = ["has", "the", "first", "letter", ":"] if rng.random() < 0.35 else []
        return [word, *form, word[0].upper()], len(form) + 1

    def document(self, domain: int, rng: random.Random, withhold: bool = False) -> Document:
        """Write one document of `domain`; `withhold` leaves the withheld facts out."""
        tokens, is_fact = [BOS], [False]
        while len(tokens) < self.size.context:
            if domain == SPELLING:
                words, place = self._spelled(rng)
            else:
                words, place = self._sentence(domain, rng, withhold)
            tokens += [self._ids[word] for word in words]
            is_fact += [position == place for position in range(len(words))]
        end = self.size.context
        return Document(tuple(tokens[:end]), tuple(is_fact[:end]), domain)

    def documents(
        self,
        count: int,
        name: str,
        seed: int,
        domains: Sequence[int] = (0, 1, 2),
        withhold: bool = False,
    ) -> list[Document]:
        """Write `count` documents, taking the domains in turn; `name` separates the splits."""
        rng = random.Random(f"{name} {seed}")
        return [
            self.document(domains[number % len(domains)], rng, withhold) for number in range(count)
        ]
