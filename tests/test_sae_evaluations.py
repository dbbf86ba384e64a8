"""sae_bench's evaluations of the sae template, and the measures of its own."""

from __future__ import annotations

from pathlib import Path

from tests.sae_runs import inside


def test_generated_data_sets(sae_python: Path, template: Path, tmp_path: Path) -> None:
    """Data sets have sae_bench's columns and classes, questions are solvable, no split leaks."""
    code = f"""
        import json
        from pathlib import Path
        from corpus import World
        from offline_data import AG_NEWS, BIAS_IN_BIOS, FORGET, RETAIN, read_dataset, write_datasets
        from prepare import SEED, SIZES
        world = World(SIZES["small"].corpus, SEED)
        folder = Path({str(tmp_path)!r})
        write_datasets(world, folder, SEED)
        rows = {{
            (name, split): read_dataset(folder, name, split)
            for name in (AG_NEWS, BIAS_IN_BIOS)
            for split in ("train", "test")
        }}
        texts = {{
            key: {{row.get("text") or row["hard_text"] for row in found}}
            for key, found in rows.items()
        }}
        questions = [
            row for name in (FORGET, *RETAIN) for row in read_dataset(folder, name, "test")
        ]
        known = {{(f.entity, f.verb, f.object) for domain in range(3) for f in world.facts(domain)}}
        print(json.dumps({{
            "letters": sorted({{word[0] for word in world.vocabulary if word.isalpha()}}),
            "labels": sorted({{row["label"] for row in rows[AG_NEWS, "test"]}}),
            "quadrants": len(
                {{(row["profession"], row["gender"]) for row in rows[BIAS_IN_BIOS, "test"]}}
            ),
            "leaks": [
                len(texts[name, "train"] & texts[name, "test"]) for name in (AG_NEWS, BIAS_IN_BIOS)
            ],
            "unknown": sorted({{
                word for found in texts.values() for text in found for word in text.split()
            }} - set(world.vocabulary)),
            "choices": sorted({{len(set(row["choices"])) for row in questions}}),
            "right": all(
                (*row["question"].split()[1:], row["choices"][row["answer"]]) in known
                for row in questions
            ),
            "answers": sorted({{row["answer"] for row in questions}}),
        }}))
    """
    got = inside(sae_python, template, code)
    assert set("abcdefghijklmnopqrstuvwxyz") <= set(got["letters"])
    assert got["labels"] == [0, 1, 2, 3]
    assert got["quadrants"] == 14
    assert got["leaks"] == [0, 0]
    assert got["unknown"] == []
    assert got["choices"] == [4]
    assert got["right"]
    assert got["answers"] == [0, 1, 2, 3]
