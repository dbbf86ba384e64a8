"""The texts that a person brings for `full`: how they are read, held out and stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sae_runs import inside


def write_texts(folder: Path, name: str, texts: list[str]) -> None:
    """Write one of the data sets of SAE_TEXTS."""
    place = folder / "texts" / name
    place.mkdir(parents=True)
    rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (place / "part.jsonl").write_text(rows)


@pytest.mark.slow
def test_held_out_texts_are_held_out(sae_python: Path, template: Path, tmp_path: Path) -> None:
    """No text gives tokens to two of select, validation, test and training, nor to two contexts.

    Not even one that a person has twice. Short texts share a context, long ones give one each.
    """
    words = {"train": "n", "forget": "h", "retain": "b"}
    texts = {
        name: [f"{letter}{one} " * (30 if one % 3 else 3) for one in range(120)]
        for name, letter in words.items()
    }
    for name, rows in texts.items():
        write_texts(tmp_path, name, [*rows, *rows[:9], *texts["forget"][:9]])
    vocabulary = [f"{letter}{one}" for letter in words.values() for one in range(120)]
    got = inside(
        sae_python,
        template,
        f"""
        import json, os
        from pathlib import Path
        folder = Path({str(tmp_path)!r})
        os.environ["AI_SCIENTIST_INPUTS"] = json.dumps({{"SAE_TEXTS": str(folder / "texts")}})
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast
        words = dict.fromkeys(["<pad>", "<eos>", "<bos>", *{vocabulary!r}])
        words = {{word: number for number, word in enumerate(words)}}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>",
            pad_token="<pad>").save_pretrained(folder / "model")
        shape = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=2, head_dim=12,
            num_attention_heads=4, num_key_value_heads=2, vocab_size=len(words))
        Gemma2ForCausalLM(Gemma2Config(**shape)).save_pretrained(folder / "model")
        from prepare_full import FullSize, build_full
        from safetensors.torch import load_file
        (folder / "data").mkdir()
        build_full(FullSize(model=str(folder / "model"), layer=0, context=9, tokens=1200,
            held_out_contexts=24, named_share=0.3), folder / "data")
        documents = load_file(folder / "data" / "documents.safetensors")
        told = {{split: documents[split + ".tokens"][:, 1:].tolist()
            for split in ("select", "validation", "test")}}
        rows = load_file(folder / "data" / "contexts.safetensors")["contexts"]
        told["training"] = rows[:, 1:].tolist()
        told["domains"] = documents["test.domain"].bincount().tolist()
        print(json.dumps(told))
        """,
    )
    assert got.pop("domains") == [8, 8, 8]
    texts_of = {name: [set(row) for row in rows] for name, rows in got.items()}
    told: dict[int, str] = {}
    for name, rows in texts_of.items():
        for text in set().union(*rows):
            assert told.setdefault(text, name) == name
    for name in ("select", "validation", "test"):
        assert sum(map(len, texts_of[name])) == len(set().union(*texts_of[name]))
    assert len(texts_of["training"]) >= 1200 / 8


WRONG = {
    "other": ("row 1, has no text in a column `text`", '{"content": "a"}'),
    "null": ("row 2, has no text", '{"text": "a"}\n{"text": null}'),
    "list": ("row 1, has no text", "[1]"),
    "broken": ("cannot be read", '{"text": '),
    "empty": ("holds no .jsonl or .parquet file", None),
}


@pytest.mark.slow
def test_texts_are_read_from_any_folder(sae_python: Path, template: Path, tmp_path: Path) -> None:
    """Of a folder as it was downloaded both kinds are read; what is wrong is one sentence."""
    train = tmp_path / "texts" / "train"
    (train / "more").mkdir(parents=True)
    (train / "README.md").write_text("# Texts")
    (train / ".gitattributes").write_text("*.parquet filter=lfs")
    (train / "._a.jsonl").write_bytes(b"\x00\x05")
    rows = [{"text": "one", "meta": 1}, {"text": "two", "meta": {"other": []}}]
    (train / "a.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    for name, (_, content) in WRONG.items():
        (tmp_path / "texts" / name).mkdir()
        if content is not None:
            (tmp_path / "texts" / name / "part.jsonl").write_text(content)
    got = inside(
        sae_python,
        template,
        f"""
        import json, os
        from pathlib import Path
        texts = Path({str(tmp_path / "texts")!r})
        os.environ["AI_SCIENTIST_INPUTS"] = json.dumps({{"SAE_TEXTS": str(texts)}})
        import pyarrow, pyarrow.parquet
        def write(place, **columns):
            place.parent.mkdir(exist_ok=True)
            pyarrow.parquet.write_table(pyarrow.table(columns), place)
        write(texts / "train" / "more" / "b.parquet", meta=[3, 4], text=["three", "four"])
        write(texts / "columns" / "part.parquet", content=["a"])
        write(texts / "cut" / "part.parquet", text=["a"])
        whole = (texts / "cut" / "part.parquet").read_bytes()
        (texts / "cut" / "part.parquet").write_bytes(whole[:-9])
        from texts import read_texts
        told = {{"train": list(read_texts("train"))}}
        for name in (*{list(WRONG)!r}, "columns", "cut", "nowhere"):
            try:
                told[name] = list(read_texts(name))
            except SystemExit as error:
                told[name] = str(error)
        print(json.dumps(told))
        """,
    )
    assert got.pop("train") == ["one", "two", "three", "four"]
    words = {name: said for name, (said, _) in WRONG.items()}
    words |= {"columns": "row 1, has no text in a column `text`", "cut": "cannot be read"}
    words |= {"nowhere": "there is no folder SAE_TEXTS/nowhere"}
    for name, said in words.items():
        assert said in got[name]
        assert got[name].startswith("error: ")
        assert "\n" not in got[name]


@pytest.mark.slow
def test_a_store_has_its_room_before_it_is_filled(
    sae_python: Path, template: Path, tmp_path: Path
) -> None:
    """Where it is lacking, one sentence comes before any further activation is made."""
    got = inside(
        sae_python,
        template,
        f"""
        import json, resource, torch
        from pathlib import Path
        from activations import write_store
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, resource.RLIM_INFINITY))
        asked, told = [], []

        def chunks():
            for _ in range(10):
                asked.append(1)
                yield torch.randn(100, 7), torch.zeros(100)

        for tokens in (900, 9000):
            try:
                write_store(Path({str(tmp_path)!r}), chunks(), tokens=tokens, dtype="float32",
                    seed=0, facts={{}})
                told.append("")
            except SystemExit as error:
                told.append(str(error))
            told.append(len(asked))
        print(json.dumps(told))
        """,
    )
    assert got[:2] == ["", 9]
    assert "no room for 0.000252 GB of activations" in got[2]
    assert got[3] == 10
