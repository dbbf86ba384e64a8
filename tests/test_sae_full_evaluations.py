"""The evaluations of the profile `full`, on a random model of gemma-2-2b's shape made tiny."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ai_scientist.inputs.templates import load_template
from ai_scientist.results.reading import read_results
from tests.sae_runs import call, inside, write_texts

COMMIT = "0" * 40
SMALLER = """
        from bench_absorption import AbsorptionSettings
        from bench_core import CoreSettings
        from bench_mdl import MdlSettings
        import benchmarks
        benchmarks.PRETRAINED |= {
            "core": CoreSettings(batches=1, variance_batches=2, prompts=2, llm_dtype="bfloat16"),
            "mdl": MdlSettings(num_bins_values=(64,), sae_batch_size=2),
            "absorption": AbsorptionSettings(seeds=(0,), max_k_value=1, llm_batch_size=32,
                prompt_template="{word} has the first letter :", llm_dtype="bfloat16"),
        }
"""


def write_inputs(folder: Path, smoke_data: Path) -> tuple[Path, Path]:
    """Make what a person has: a hub folder with two data sets and a tokenizer, and SAE_TEXTS."""
    hub, texts = folder / "hub", folder / "texts"
    snapshot = hub / "models--tiny--gemma-2" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (hub / "models--tiny--gemma-2" / "refs").mkdir()
    (hub / "models--tiny--gemma-2" / "refs" / "main").write_text(COMMIT)
    for path in (smoke_data / "model").iterdir():
        if "token" in path.name:
            (snapshot / path.name).write_bytes(path.read_bytes())
    tokenizer = json.loads((snapshot / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    rng = random.Random(0)
    for letter in string.ascii_lowercase:
        for _ in range(8):
            vocabulary.setdefault(letter + "".join(rng.choices("aeioubdk", k=5)), len(vocabulary))
    for word in ("has", "first", "letter", ":", *string.ascii_uppercase):
        vocabulary.setdefault(word, len(vocabulary))
    (snapshot / "tokenizer.json").write_text(json.dumps(tokenizer))
    sentences = (smoke_data / "text" / "train.jsonl").read_text()
    write_texts(texts, smoke_data)
    for name in ("Skylion007--openwebtext", "HuggingFaceFW--fineweb"):
        place = hub / f"datasets--{name}" / "snapshots" / COMMIT
        place.mkdir(parents=True)
        (place / "train.jsonl").write_text(sentences)
    return hub, texts


def name_inputs(folder: Path, hub: Path, texts: Path, names: Iterable[str]) -> str:
    """Return code that names a person's inputs and evaluations, and folder/data as `out`."""
    return f"""
        import json, os, torch
        from pathlib import Path
        hub, out = Path({str(hub)!r}), Path({str(folder / "data")!r})
        os.environ |= {{
            "HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1", "HF_HOME": {str(folder / "hf")!r},
            "AI_SCIENTIST_INPUTS": json.dumps(
                {{"HF_HOME/hub": str(hub), "SAE_TEXTS": {str(texts)!r}}}
            ),
            "AI_SCIENTIST_EVALUATIONS": {" ".join(names)!r},
        }}
        """


def build_model(folder: Path, hub: Path, texts: Path, names: Iterable[str]) -> str:
    """Return code that makes the tiny model and its data in folder/data."""
    return (
        name_inputs(folder, hub, texts, names)
        + f"""
        from transformers import Gemma2Config, Gemma2ForCausalLM
        snapshot = hub / "models--tiny--gemma-2" / "snapshots" / {COMMIT!r}
        words = json.loads((snapshot / "tokenizer.json").read_text())["model"]["vocab"]
        torch.manual_seed(0)
        shape = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=4, head_dim=12,
            num_attention_heads=4, num_key_value_heads=2, vocab_size=len(words), sliding_window=8,
            query_pre_attn_scalar=12, bos_token_id=1, eos_token_id=1, pad_token_id=0)
        Gemma2ForCausalLM(Gemma2Config(**shape)).save_pretrained(snapshot)
        from prepare_full import FullSize, build_full
        out.mkdir()
        build_full(FullSize(model="tiny/gemma-2", layer=2, context=9, tokens=700,
            held_out_contexts=12, named_share=0.2, chunk_contexts=64, batch_contexts=16), out)
        """
    )


BIOS, AMAZON = "LabHC/bias_in_bios", "canrager/amazon_reviews_mcauley_1and5"
ROWS: dict[str, Any] = {
    BIOS: {"hard_text": "a", "profession": 0, "gender": 0},
    AMAZON: {"text": "a", "category": 1, "rating": 5.0},
    "fancyzhx/ag_news": {"text": "a", "label": 0},
    "codeparrot/github-code": {"content": "a", "license": "mit"},
    "Helsinki-NLP/europarl": {"translation": {"en": "a", "fr": "b"}},
}
UNUSABLE = {
    "core": ("Skylion007/openwebtext", "made for its script openwebtext.py"),
    "sparse_probing": ("codeparrot/github-code", "has no column code, language; it is made for"),
    "scr": ("sae_bench failed", "Error"),
    "ravel": ("adamkarvonen/ravel_prompts", "ravel_city_entity_attributes.json"),
}


@pytest.mark.slow
def test_full_goes_on_where_a_data_set_cannot_be_used(
    sae_python: Path, template: Path, smoke_data: Path, tmp_path: Path
) -> None:
    """A data set made for its script, of other columns, or too small: not run, with the reason.

    The evaluations after it are measured.
    """
    hub, texts = write_inputs(tmp_path, smoke_data)
    for name, row in ROWS.items():
        place = hub / f"datasets--{name.replace('/', '--')}" / "snapshots" / COMMIT
        place.mkdir(parents=True)
        for split in ("train", "test"):
            (place / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
    code, web, prompts = (
        hub / f"datasets--{name}" / "snapshots" / COMMIT
        for name in (
            "codeparrot--github-code",
            "Skylion007--openwebtext",
            "adamkarvonen--ravel_prompts",
        )
    )
    (code / "github-code.py").write_text("raise RuntimeError\n")
    (web / "train.jsonl").rename(web / "subset.tar")
    (web / "openwebtext.py").write_text("raise RuntimeError\n")
    prompts.mkdir(parents=True)
    got = inside(
        sae_python,
        template,
        build_model(tmp_path, hub, texts, [])
        + SMALLER
        + f"""
        from bench import Blank
        from benchmarks import run_benchmarks
        from data import load_data
        data = load_data(out)
        names = {[*UNUSABLE, "mdl"]!r}
        sections, reasons = run_benchmarks(names, [Blank(data)], data)
        print(json.dumps({{"measured": list(sections), "reasons": reasons}}))
        """,
    )
    assert got["measured"] == ["mdl evaluation results"]
    specs = load_template(template).metrics
    reasons = {path.rsplit("/", 1)[-1]: reason for path, reason in got["reasons"].items()}
    for name, spec in specs.items():
        for words in UNUSABLE.get(spec.evaluation or "", ()):
            assert words in reasons[name]


@pytest.mark.slow
def test_full_keeps_what_is_small(
    sae_python: Path, template: Path, smoke_data: Path, tmp_path: Path
) -> None:
    """Probes of the language model are kept beside the data, and change no number; no activations.

    A set-up that cannot be made is none.
    """
    hub, texts = write_inputs(tmp_path, smoke_data)
    names = ("absorption", "sparse_probing", "ravel")
    got = inside(
        sae_python,
        template,
        build_model(tmp_path, hub, texts, names)
        + SMALLER
        + """
        import dataclasses, shutil
        from bench import Blank, measure_all
        from bench_absorption import ABSORPTION
        from data import load_data
        settings = dataclasses.replace(
            benchmarks.PRETRAINED["absorption"], min_GT_probe_f1=0.0, min_feats_for_eval=1)
        benchmarks.PRETRAINED["absorption"] = settings
        data = load_data(out)
        benchmarks.keep_set_ups(data, out)
        kept = sorted(path.name for path in (out / "evaluations").iterdir())
        blank, found = Blank(data), []
        for _ in range(2):
            found += measure_all(ABSORPTION, [blank], data, settings)
            shutil.rmtree(out / "evaluations", ignore_errors=True)
        print(json.dumps({"kept": kept, "found": found}))
        """,
    )
    (kept,) = got["kept"]
    assert kept.startswith("absorption_")
    assert got["found"][0] == got["found"][1]
    assert got["found"][0]["absorption_letters"] >= 1


@pytest.mark.slow
def test_set_ups_of_full_are_prepared_from_the_hub_alone(
    sae_python: Path, template: Path, smoke_data: Path, tmp_path: Path
) -> None:
    """The script that adds them finds the weights where runs find them, and goes on without some.

    Beside absorption's model unlearning wants one that the hub does not hold, and RAVEL's data.
    """
    hub, texts = write_inputs(tmp_path, smoke_data)
    inside(sae_python, template, build_model(tmp_path, hub, texts, []) + "print('{}')")
    done = call(
        sae_python,
        template,
        "prepare_evaluations.py",
        "--profile=full",
        f"--out_dir={tmp_path / 'added'}",
        DATA=str(tmp_path / "data"),
        INPUTS=json.dumps({"HF_HOME/hub": str(hub), "SAE_TEXTS": str(texts)}),
        EVALUATIONS="absorption unlearning ravel",
    )
    assert done.returncode == 0, done.stderr
    assert "huggingface.co" not in done.stderr
    assert done.stdout.count("set-up of") == 3


@pytest.mark.slow
def test_full_holds_one_language_model_for_evaluations(
    sae_python: Path, template: Path, smoke_data: Path, tmp_path: Path
) -> None:
    """A model that another evaluation needed is gone when the next one is loaded."""
    hub, texts = write_inputs(tmp_path, smoke_data)
    got = inside(
        sae_python,
        template,
        build_model(tmp_path, hub, texts, [])
        + """
        import gc, shutil, weakref
        from bench_inputs import hooked_model
        from data import load_data
        shutil.copytree(hub / "models--tiny--gemma-2", hub / "models--tiny--other")
        data = load_data(out)
        first = weakref.ref(hooked_model(data))
        held = hooked_model(data) is first()
        hooked_model(data, "tiny/other")
        gc.collect()
        from transformers import Gemma2ForCausalLM
        print(json.dumps({"held": held, "gone": first() is None,
            "left": sum(isinstance(one, Gemma2ForCausalLM) for one in gc.get_objects())}))
        """,
    )
    assert got == {"held": True, "gone": True, "left": 0}


@pytest.mark.slow
def test_full_measures_what_it_can_and_says_why_not_the_rest(
    sae_python: Path, template: Path, smoke_data: Path, tmp_path: Path
) -> None:
    """Screen, core and MDL have numbers; each other metric has the reason why it has none.

    transformer_lens makes of the model what transformers does, at the hook and at the end.
    """
    hub, texts = write_inputs(tmp_path, smoke_data)
    names = load_template(template).profiles["full"].evaluations
    got = inside(
        sae_python,
        template,
        build_model(tmp_path, hub, texts, names)
        + SMALLER
        + """
        from bench_inputs import hooked_model
        from contract import Request, write_results
        from data import load_data
        from evaluation import evaluate
        from experiment import PROFILES, Config, Trainer
        from training import train_all
        config = Config(**PROFILES["full"] | dict(n_latents=96, k=4, training_tokens=3000,
            batch_size=64, dead_after_tokens=600, auxiliary_latents=8, repeats=1))
        data, run = load_data(out), out / "run_0"
        run.mkdir()
        request = Request(out_dir=run, profile="full", seed=0, config=config, data_dir=out)
        trained = train_all(request, data, Trainer)
        write_results(request, evaluate(request, data, trained, "topk"))
        test, hooked = data.documents["test"], hooked_model(data)
        there = hooked.run_with_cache(test.tokens, names_filter=data.hook)[1][data.hook]
        gap = lambda a, b: float((a.float() - b.float()).abs().max() / b.float().abs().max())
        print(json.dumps({
            "hook": gap(there, test.residual),
            "end": gap(hooked(test.tokens), data.model.logits_from(test.residual, data.layer)),
        }))
        """,
    )
    assert max(got["hook"], got["end"]) < 0.05  # bfloat16
    specs = load_template(template).metrics
    results = read_results(tmp_path / "data" / "run_0" / "final_info.json", specs)
    measured = {path.rsplit("/", 1)[-1] for path in results.metrics}
    reasons = {path.rsplit("/", 1)[-1]: reason for path, reason in results.not_run.items()}
    by_evaluation = {name: {k for k, s in specs.items() if s.evaluation == name} for name in names}
    assert {"fvu", "log_selectivity", "dead_share"} <= measured
    assert by_evaluation["core"] | by_evaluation["mdl"] <= measured
    for name in set(names) - {"core", "mdl"}:
        assert by_evaluation[name].isdisjoint(measured)
        assert by_evaluation[name] <= set(reasons)
    assert "google/gemma-2-2b-it is not in HF_HOME" in reasons["unlearning_score"]
    assert "fewer than 10 first letters" in reasons["mean_absorption_score"]
    assert "gpt-4o-mini" in reasons["autointerp_score"]
    assert "--repo-type dataset adamkarvonen/ravel_prompts" in reasons["ravel_cause_score"]


def test_the_main_branch_is_read_and_hashed(
    sae_python: Path, template: Path, tmp_path: Path
) -> None:
    """Of several snapshots that of refs/main is read; its commit is part of what is hashed."""
    data_set = tmp_path / "datasets--adamkarvonen--ravel_prompts"
    (data_set / "refs").mkdir(parents=True)
    for commit in ("a" * 40, "b" * 40):
        (data_set / "snapshots" / commit).mkdir(parents=True)
    got = inside(
        sae_python,
        template,
        f"""
        import json, os
        from pathlib import Path
        from types import SimpleNamespace
        from bench import set_up_name
        from bench_inputs import find_in_hub
        from bench_ravel import PROMPTS, RAVEL
        from benchmarks import PRETRAINED, describe_settings
        os.environ["AI_SCIENTIST_INPUTS"] = json.dumps({{"HF_HOME/hub": {str(tmp_path)!r}}})
        data = SimpleNamespace(meta={{"model": "a"}}, content_sha256="", hook="h")
        main = Path({str(data_set)!r}, "refs", "main")
        found = {{"read": [], "hashed": [], "set-up": []}}
        for letter in "ab":
            main.write_text(letter * 40)
            found["read"].append(find_in_hub("datasets", PROMPTS).name)
            found["hashed"].append(describe_settings(data))
            found["set-up"].append(set_up_name(RAVEL, data, PRETRAINED["ravel"]))
        main.unlink()
        found["read"].append(find_in_hub("datasets", PROMPTS).name)
        print(json.dumps(found))
        """,
    )
    assert got["read"] == ["a" * 40, "b" * 40, "b" * 40]
    first, second = got["hashed"]
    assert [name for name in first if first[name] != second[name]] == ["ravel"]
    assert len(set(got["set-up"])) == 2
