"""sae_bench's evaluations of the sae template, and the measures of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ai_scientist.inputs.ideas import read_ideas
from ai_scientist.inputs.templates import evaluations_named, load_template
from ai_scientist.results.reading import read_results
from tests.sae_runs import call, inside, results_of

IDEAS = (
    "ratio_ranked_orthogonal_sae",
    "hierarchical_orthogonal_sae",
    "sparsity_guided_orthogonal_sae",
    "frequency_consistency_sae",
)
TRAINED = """
        import contextlib, io, json, os, random, torch
        import numpy as np
        from pathlib import Path
        from data import load_data
        from experiment import PROFILES, Config, Trainer
        from session import Session
        torch.set_num_threads(1)
        data = load_data(Path({data!r}))
        config = Config(**PROFILES["smoke"])
        session = Session(Trainer(config, data.d_model, 0), config, data)
        for number, batch in enumerate(data.batches(128, 60, 0)): session.step(number, batch)
        sae = session.finish(0).sae
"""


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


@pytest.mark.slow
@pytest.mark.timeout(1800)  # on a new machine it prepares the profile's data first
def test_every_evaluation(
    sae_python: Path, template: Path, small_data: Path, tmp_path: Path
) -> None:
    """All run offline, measure what ideas predict, and give a seed the same bits again.

    The first run has two SAEs, two processes and the set-up that prepare.py has kept; the second
    one SAE, one process and a set-up of its own.
    """
    names = load_template(template).profiles["small"].evaluations
    cold = tmp_path / "cold"
    cold.mkdir()
    for path in small_data.iterdir():
        if path.name != "evaluations":
            (cold / path.name).symlink_to(path)
    for run, repeats, data in (("run_0", 2, small_data), ("run_1", 1, cold)):
        overrides = {"repeats": repeats, "frontier_repeats": 0, "training_tokens": 153_600}
        done = call(
            sae_python,
            template,
            "experiment.py",
            f"--out_dir={run}",
            threads=repeats,
            timeout_s=900,
            PROFILE="small",
            DATA=str(data),
            EVALUATIONS=" ".join(names),
            OVERRIDES=json.dumps(overrides),
        )
        assert done.returncode == 0, done.stderr
    two, one = results_of(template, "run_0"), results_of(template, "run_1")
    assert two.pop("not run") == one.pop("not run") == {}
    assert {section.split()[0] for section in two} >= set(names) - {"sparse_probing"}
    for section in two:
        for metric, (first, _) in two[section]["per_seed"].items():
            assert one[section]["per_seed"][metric] == [first], metric
    hashes = {part["measured"]["evaluation_sha256"] for part in (*two.values(), *one.values())}
    assert len(hashes) == 1
    _check_plausible(template)


def _check_plausible(template: Path) -> None:
    specs = load_template(template).metrics
    results = read_results(template / "run_0" / "final_info.json", specs).metrics
    metrics = {path.rsplit("/", 1)[-1]: value for path, value in results.items()}
    assert {name for name, spec in specs.items() if spec.evaluation} <= set(metrics)
    assert 0.0 <= metrics["mean_absorption_score"] <= 1.0
    assert metrics["absorption_letters"] >= 10
    assert 0.0 <= metrics["hierarchy_absorption_score"] <= 1 - metrics["hierarchy_parent_recall"]
    assert metrics["hierarchy_parents"] >= 6
    assert 0.5 < metrics["sae_top_1_test_accuracy"] < metrics["sae_test_accuracy"] <= 1.0
    assert 0.0 <= metrics["unlearning_score"] <= 1.0
    assert 0.4 < metrics["autointerp_score"] <= 1.0
    assert metrics["ravel_cause_score"] > 0.05
    assert metrics["ravel_isolation_score"] > 0.3
    assert metrics["description_length_64_bins"] > 0
    assert metrics["sae_bench_ce_loss_score"] > 0.5


def test_ideas_choose_evaluations(project: Path) -> None:
    """Runs measure what an idea's hypotheses name, and every metric they name is measured."""
    template = load_template(project / "templates" / "sae")
    small = template.profiles["small"]
    chosen = {}
    for name in IDEAS:
        (idea,) = read_ideas(project / "ideas" / f"{name}.json")
        for one in (*idea.hypotheses, *idea.guards):
            spec = template.metrics[one.metric]
            assert spec.evaluation is None or spec.evaluation in small.evaluations
        chosen[name] = evaluations_named(template, small, idea)
    assert chosen["ratio_ranked_orthogonal_sae"] == ()
    assert chosen["hierarchical_orthogonal_sae"] == ("absorption", "hierarchy")
    assert chosen["sparsity_guided_orthogonal_sae"] == ("sparse_probing",)
    assert evaluations_named(template, template.profiles["smoke"], idea) == ()


@pytest.mark.slow
def test_unknown_evaluation(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """A name that is no evaluation costs one sentence, and leaves no result."""
    variables = {"PROFILE": "smoke", "DATA": str(smoke_data), "EVALUATIONS": "core absorbtion"}
    done = call(sae_python, template, "experiment.py", "--out_dir=run_0", **variables)
    assert done.returncode == 1
    assert "names 'absorbtion'; there are core, absorption" in done.stderr
    assert not (template / "run_0" / "final_info.json").exists()


@pytest.fixture(scope="module")
def traps(
    sae_python: Path, project: Path, smoke_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What sae_bench does with one SAE of the rehearsal, and what it leaves behind."""
    code = (
        TRAINED.format(data=str(smoke_data))
        + """
        from bench import measure_all
        from bench_inputs import hooked_model
        from bench_autointerp import AUTOINTERP, AutointerpSettings
        from bench_core import CORE, CoreSettings
        from transformers import AutoModelForCausalLM, AutoTokenizer

        def state():
            return [torch.get_rng_state().tolist()[:99], random.getstate()[1][:99],
                    np.random.get_state()[1].tolist()[:99], torch.is_grad_enabled(), os.getcwd()]
        got, before = {}, state()
        names = hooked_model(data).to_str_tokens
        settings = AutointerpSettings(n_latents=8)
        got["scores"] = [measure_all(AUTOINTERP, [sae], data, settings)[0] for _ in range(2)]
        (got["core"],) = measure_all(CORE, [sae], data, CoreSettings(batches=1))
        encode, sae.encode = sae.encode, lambda x: 1 / 0
        core = CoreSettings(batches=1)
        for evaluation, given in ((CORE, core), (AUTOINTERP, settings)):
            try:
                measure_all(evaluation, [sae], data, given)
            except RuntimeError as error:
                got[f"{evaluation.name} fails"] = str(error)
        got["restored"] = state() == before
        got["names"] = hooked_model(data).to_str_tokens == names
        test = data.documents["test"]
        hf = AutoModelForCausalLM.from_pretrained(data.folder / "model")
        tokenizer = AutoTokenizer.from_pretrained(data.folder / "model")
        hidden = hf(test.tokens, output_hidden_states=True).hidden_states
        got["layers"] = [float((one - test.residual).abs().max()) for one in hidden]
        got["layer"] = data.layer
        word = tokenizer.convert_ids_to_tokens(7)
        got["bos"] = [tokenizer(word)["input_ids"], tokenizer.bos_token_id,
                      hooked_model(data).to_tokens(word).tolist()]
        print(json.dumps(got))
    """
    )
    return inside(sae_python, project / "templates" / "sae", code)


@pytest.mark.slow
def test_failures_are_not_skipped(traps: dict[str, Any]) -> None:
    """What core would log and skip, and what others would print, becomes an error that says it."""
    assert "left this SAE out" in traps["core fails"]
    assert "division by zero" in traps["core fails"]
    assert "division by zero" in traps["autointerp fails"]
    assert traps["core"]["sae_bench_l0"] == pytest.approx(5.0, abs=0.01)
    assert traps["core"]["sae_bench_ce_loss_score"] > 0.8


@pytest.mark.slow
def test_nothing_is_left_behind(traps: dict[str, Any]) -> None:
    """Generators, gradient mode, folder and replaced names are as before, after errors too."""
    assert traps["restored"]
    assert traps["names"]
    first, second = traps["scores"]
    assert first == second
    assert 0.3 < first["autointerp_score"] <= 1.0


@pytest.mark.slow
def test_layers_and_bos(traps: dict[str, Any]) -> None:
    """Hook of layer L is hidden state L + 1 of transformers; one <bos> comes first, in both."""
    right = traps["layers"][traps["layer"] + 1]
    assert right < 1e-4
    assert min(other for other in traps["layers"] if other != right) > 0.1
    ids, bos, hooked = traps["bos"]
    assert ids == hooked[0] == [bos, 7]


def test_set_up_is_named_by_what_determines_it(
    sae_python: Path, template: Path, smoke_data: Path
) -> None:
    """Another context length, set size, data type, batch, seed, text or hook is another set-up."""
    code = f"""
        import json
        from dataclasses import replace
        from pathlib import Path
        from bench import set_up_name
        from bench_absorption import ABSORPTION, AbsorptionSettings
        from bench_probing import SPARSE_PROBING, ProbingSettings
        from data import load_data
        data, settings = load_data(Path({str(smoke_data)!r})), ProbingSettings()
        def folder(data, **given):
            return set_up_name(SPARSE_PROBING, data, replace(settings, **given))
        places = [
            folder(data), folder(data, context_length=25), folder(data, probe_train_set_size=404),
            folder(data, probe_test_set_size=164), folder(data, llm_dtype="bfloat16"),
            folder(data, llm_batch_size=32), folder(data, random_seed=1),
            folder(replace(data, content_sha256="other")), folder(replace(data, layer=1)),
            *(set_up_name(ABSORPTION, data, AbsorptionSettings(seeds=seeds))
              for seeds in ((0,), (1,))),
        ]
        print(json.dumps({{"places": places, "again": folder(data)}}))
    """
    got = inside(sae_python, template, code)
    assert len(set(got["places"])) == 11
    assert got["again"] == got["places"][0]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_absorption_uses_its_seed(sae_python: Path, template: Path, small_data: Path) -> None:
    """An equal seed gives equal scores whatever was drawn before; another seed gives others."""
    code = (
        TRAINED.format(data=str(small_data))
        + """
        from tempfile import TemporaryDirectory
        from bench_absorption import ABSORPTION, AbsorptionSettings
        def scores(seed):
            torch.rand(9), random.random(), np.random.rand()
            settings = AbsorptionSettings(seeds=(seed,), max_k_value=1)
            with TemporaryDirectory() as folder:
                return ABSORPTION.prepare(data, settings)(Path(folder), sae)
        print(json.dumps({"scores": [scores(0), scores(0), scores(1)]}))
    """
    )
    first, again, other = inside(sae_python, template, code)["scores"]
    assert first == again
    assert first != other
