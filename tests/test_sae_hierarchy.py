"""Absorption over the generated world's hierarchy, on SAEs made to absorb or not to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sae_runs import inside

ENTITIES = [f"e{number:02}" for number in range(12)]
CLASSES = [f"c{number}" for number in range(6)]


def _write_world(folder: Path) -> None:
    """Twelve entities of two classes; six classes of two superclasses."""
    rows = [
        {"level": "class", "child": child, "parent": CLASSES[place // 6]}
        for place, child in enumerate(ENTITIES)
    ] + [
        {"level": "superclass", "child": child, "parent": f"s{place // 3}"}
        for place, child in enumerate(CLASSES)
    ]
    words = ["<pad>", "<bos>", *ENTITIES, *CLASSES]
    tokenizer = {"model": {"vocab": {word: number for number, word in enumerate(words)}}}
    (folder / "meta.json").write_text("{}")
    (folder / "model").mkdir()
    (folder / "model" / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "datasets" / "hierarchy").mkdir(parents=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "datasets" / "hierarchy" / "all.jsonl").write_text(lines)


@pytest.mark.slow
def test_an_absorbing_sae_is_told_from_one_that_is_not(
    sae_python: Path, template: Path, tmp_path: Path
) -> None:
    """Two of twelve entities swallow their class: half the tokens in two folds of twelve."""
    _write_world(tmp_path)
    got = inside(
        sae_python,
        template,
        f"""
        import json, torch
        from pathlib import Path
        from bench import measure_all
        from bench_hierarchy import HIERARCHY_ABSORPTION, HierarchySettings
        from data import Data, Documents
        torch.manual_seed(0)
        directions = torch.linalg.qr(torch.randn(24, 24))[0][:22]
        # Rows: entities 0-11, classes as parents 12-13, classes as children 14-19, superclasses.
        parent = [12 + place // 6 for place in range(12)] + [20 + place // 3 for place in range(6)]
        child = [*range(12), *range(14, 20)]
        means = directions[child] + directions[parent]
        def documents():
            tokens = torch.stack([torch.randperm(18) for _ in range(30)])
            x = means[tokens] + 0.02 * torch.randn(30, 18, 24)
            pad = lambda rows, value: torch.nn.functional.pad(rows, (1, 0), value=value)
            first = torch.zeros(30, 1, 24)
            return Documents(pad(tokens + 2, 1), None, None, torch.cat([first, x], 1))
        data = Data(folder=Path({str(tmp_path)!r}), layer=0, d_model=24, mean=torch.zeros(24),
            scale=1.0, train_x=None, train_domain=None, content_sha256="made",
            documents={{"select": documents(), "test": documents()}}, device=torch.device("cpu"))
        class Sae:
            def __init__(self, swallowing):
                self.swallowing = swallowing
                self.W_enc, self.W_dec = directions.T.clone(), directions.clone()
                for entity in swallowing:
                    self.W_dec[entity] = (directions[entity] + directions[12]) / 2**0.5
            def encode(self, x):
                latents = x @ self.W_enc
                latents = torch.where(latents > 0.3, latents, 0.0)
                swallowed = (latents[..., self.swallowing] > 0).any(-1)
                latents[..., 12] *= ~swallowed
                return latents
        saes = [Sae([]), Sae([0, 1])]
        scores = measure_all(HIERARCHY_ABSORPTION, saes, data, HierarchySettings())
        print(json.dumps({{"scores": scores}}))
        """,
    )
    faithful, absorbing = got["scores"]
    assert faithful["hierarchy_absorption_score"] == 0.0
    assert faithful["hierarchy_parent_recall"] == faithful["hierarchy_parent_f1"] == 1.0
    assert faithful["hierarchy_parents"] == absorbing["hierarchy_parents"] == 4.0
    assert absorbing["hierarchy_absorption_score"] == pytest.approx(1 / 12)
    assert absorbing["hierarchy_parent_recall"] == pytest.approx(11 / 12)
