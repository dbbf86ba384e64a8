"""The small world as sae_bench's data sets: same columns, same names of classes. Frozen.

    fancyzhx/ag_news      which of four classes the entity of a text belongs to
    LabHC/bias_in_bios    profession: an adjective; gender: the domain, hazard or benign
    cais/wmdp, cais/mmlu  four-way questions about the facts of hazard, of benign and neutral
    hierarchy             the class of each entity, the superclass of each class
    ravel                 entities, class and first letter as attributes, prompts that ask for them

No text of one split is in another. Real data sets are not needed, and none is downloaded.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from corpus import BENIGN, DOMAINS, HAZARD, NEUTRAL, Fact, World

AG_NEWS, BIAS_IN_BIOS = "fancyzhx/ag_news", "LabHC/bias_in_bios"
FORGET, RETAIN = "wmdp-bio", ("benign", "neutral")
PROFESSIONS = (0, 1, 2, 6, 9, 13, 21)
"""sae_bench's five of its first set, and its pair `professor`, `nurse`."""
RAVEL_ENTITIES = "neutral"
RAVEL_ATTRIBUTES = ("class", "letter")
"""After the hook the letter is still read off the entity's own place; the class has left it."""
HIERARCHY = "hierarchy"
SPLITS = {"train": 120, "test": 50}
"""Texts of each profession and gender; ag_news has three times as many of each class."""


def write_datasets(world: World, folder: Path, seed: int) -> None:
    """Write every data set below `folder`: NAME/SPLIT.jsonl, and ravel/base/*.json."""
    rng = random.Random(f"data sets {seed}")
    for name, rows_of in ((AG_NEWS, _classes), (BIAS_IN_BIOS, _biographies)):
        seen: set[str] = set()
        for split, count in SPLITS.items():
            _write(folder / name / f"{split}.jsonl", rows_of(world, count, rng, seen))
    _write(folder / FORGET / "test.jsonl", _questions(world.facts(HAZARD), rng))
    for name, domain in zip(RETAIN, (BENIGN, NEUTRAL), strict=True):
        _write(folder / name / "test.jsonl", _questions(world.facts(domain), rng))
    _write(folder / HIERARCHY / "all.jsonl", _parents(world))
    _write_ravel(world, folder / "ravel" / "base", rng)


def read_dataset(folder: Path, name: str, split: str) -> list[dict[str, Any]]:
    """Return the rows of one split of one data set."""
    lines = (folder / name / f"{split}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _classes(world: World, count: int, rng: random.Random, seen: set[str]) -> list[dict[str, Any]]:
    """Texts about one benign entity each, without its class's name."""
    facts = world.facts(BENIGN)
    names = sorted({fact.classes[0] for fact in facts})[:4]
    rows = []
    for label, name in enumerate(names):
        about = [fact for fact in facts if fact.classes[0] == name]
        entities = sorted({fact.entity for fact in about})
        for _ in range(3 * count):
            entity = rng.choice(entities)
            of_entity = [fact for fact in about if fact.entity == entity]
            rows.append({"text": _new_text(world, BENIGN, of_entity, rng, seen), "label": label})
    return rows


def _biographies(
    world: World, count: int, rng: random.Random, seen: set[str]
) -> list[dict[str, Any]]:
    """Texts in which one adjective occurs, of one of two domains; the two are independent."""
    adjectives, _ = world.fillers(HAZARD)
    rows = []
    for adjective, profession in zip(adjectives, PROFESSIONS, strict=False):
        for gender, domain in enumerate((HAZARD, BENIGN)):
            facts = world.facts(domain)
            rows += [
                {
                    "hard_text": _new_text(world, domain, facts, rng, seen, adjective=adjective),
                    "profession": profession,
                    "gender": gender,
                }
                for _ in range(count)
            ]
    return rows


def _new_text(
    world: World,
    domain: int,
    facts: list[Fact],
    rng: random.Random,
    seen: set[str],
    *,
    adjective: str | None = None,
) -> str:
    """Write three sentences; with an adjective, it stands in the first and in the third."""
    _, nouns = world.fillers(domain)
    while True:
        sentences = []
        for number, fact in enumerate(rng.choices(facts, k=3)):
            filler = adjective if adjective and number != 1 else rng.choice(nouns)
            sentences.append(f"the {filler} {fact.entity} {fact.verb} {fact.object} .")
        text = " ".join(sentences)
        if text not in seen:
            seen.add(text)
            return text


def _questions(facts: list[Fact], rng: random.Random) -> Iterable[dict[str, Any]]:
    for fact in facts:
        choices = [fact.object, *rng.sample(fact.others, 3)]
        rng.shuffle(choices)
        yield {
            "question": f"the {fact.entity} {fact.verb}",
            "choices": choices,
            "answer": choices.index(fact.object),
        }


def _parents(world: World) -> list[dict[str, Any]]:
    facts = [fact for domain, _ in enumerate(DOMAINS) for fact in world.facts(domain)]
    pairs = {
        "class": {fact.entity: fact.classes[0] for fact in facts},
        "superclass": dict(fact.classes for fact in facts),
    }
    return [
        {"level": level, "child": child, "parent": parent}
        for level, parents in pairs.items()
        for child, parent in parents.items()
    ]


def _write_ravel(world: World, folder: Path, rng: random.Random) -> None:
    domain = DOMAINS.index(RAVEL_ENTITIES)
    adjectives, nouns = world.fillers(domain)
    fillers = ["", *rng.sample(adjectives, 2), *rng.sample(nouns, 2)]
    spelled = [[f"{word} {word[0].upper()}" for word in rng.sample(nouns, 3)] for _ in fillers]
    prompts = {
        "class": [f"the {filler} %s is a".replace("  ", " ") for filler in fillers],
        "letter": [f"{' '.join(words)} %s" for words in spelled],
    }
    attributes = {
        fact.entity: {"class": fact.classes[0], "letter": fact.entity[0].upper()}
        for fact in world.facts(domain)
        if not fact.entity.startswith("h")  # sae_bench would take `has` for the letter
    }
    contents = {
        "attribute_to_prompts": prompts,
        "prompt_to_split": {text: "train" for texts in prompts.values() for text in texts},
        "entity_attributes": attributes,
        "entity_to_split": dict.fromkeys(attributes, "train"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"ravel_{RAVEL_ENTITIES}_{name}.json").write_text(json.dumps(content) + "\n")


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
