from __future__ import annotations

import json
import math
import shutil
import textwrap
from pathlib import Path

import pytest

from ai_scientist.audit import audit
from ai_scientist.inputs.ideas import read_ideas
from ai_scientist.inputs.templates import load_template
from ai_scientist.results.reading import read_results
from tests.sae_runs import call, inside, results_of, smoke

IDEAS = (
    "ratio_ranked_orthogonal_sae",
    "hierarchical_orthogonal_sae",
    "sparsity_guided_orthogonal_sae",
    "frequency_consistency_sae",
)


def _metrics(folder: Path, run: str) -> dict[str, float]:
    results = read_results(folder / run / "final_info.json", load_template(folder).metrics).metrics
    return {path.rsplit("/", 1)[-1]: value for path, value in results.items()}


def test_ideas_name_their_terms(project: Path) -> None:
    """Each shipped idea is valid, of this template, with hypotheses, guards and placebo arms."""
    for name in IDEAS:
        (idea,) = read_ideas(project / "ideas" / f"{name}.json")
        assert (idea.name, idea.template) == (name, "sae")
        assert idea.hypotheses
        assert idea.guards
        arms = {key for control in idea.controls for key in control.overrides}
        assert len(idea.controls) >= 2
        assert arms <= set(idea.varies)


def test_descriptor_matches_folder(project: Path) -> None:
    """Every module is named editable or frozen, and experiment.py stays short."""
    template = load_template(project / "templates" / "sae")
    modules = {path.name for path in template.folder.glob("*.py")}
    assert modules == {*template.editable, *template.frozen}
    assert set(template.profiles) == {"smoke", "small", "full"}
    assert template.primary_metric in template.metrics
    lines = (template.folder / "experiment.py").read_text().splitlines()
    assert len(lines) <= 300


@pytest.mark.slow
def test_smoke_is_deterministic(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """Equal seeds give equal bits, another seed others; only the seconds may differ."""
    for run, seed in (("run_0", "7"), ("run_1", "7"), ("run_2", "8")):
        done = smoke(sae_python, template, smoke_data, run, SEED=seed)
        assert (done.returncode, done.stderr) == (0, "")
    same, again, other = (results_of(template, f"run_{i}") for i in range(3))
    assert same == again
    assert same != other
    steps = [
        json.loads(line) for line in (template / "run_0/metrics.jsonl").read_text().split("\n")[:-1]
    ]
    assert {"start", "middle", "end"} <= {step.get("phase") for step in steps}
    assert all("step" in step for step in steps)


@pytest.mark.slow
def test_smoke_exercises_every_mechanism(
    sae_python: Path, template: Path, smoke_data: Path
) -> None:
    """The rehearsal imports torch alone, resamples, pulls on dead latents, and reads as results."""
    code = """
        import atexit, runpy, sys
        heavy = {"transformer_lens", "transformers", "sae_bench", "matplotlib"}
        atexit.register(lambda: print("heavy:", *sorted(heavy & set(sys.modules))))
        sys.argv = ["experiment.py", "--out_dir=run_0"]
        runpy.run_path("experiment.py", run_name="__main__")
    """
    variables = {"PROFILE": "smoke", "DATA": str(smoke_data)}
    done = call(sae_python, template, "-c", textwrap.dedent(code), **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "heavy:"
    metrics = _metrics(template, "run_0")
    assert metrics["resampled_latents"] > 0
    assert metrics["gradient_share_auxiliary"] > 1e-4
    assert metrics["l0"] == 5.0
    assert 0.0 < metrics["fvu"] < 0.5
    results = read_results(template / "run_0/final_info.json", load_template(template).metrics)
    assert not results.not_run
    assert {facts["d_sae"] for facts in results.measured.values()} == {160}
    assert len({facts["weights_sha256"] for facts in results.measured.values()}) == 1
    places = [f"weights_sha256{at_k}" for at_k in ("", "_at_half_k", "_at_double_k")]
    assert len({results.measured["frontier results"][place] for place in places}) == 3
    assert "foreign_result" not in {one.kind for one in audit(template)}
    file = template / "run_0/final_info.json"
    content = json.loads(file.read_text())
    content["frontier results"]["measured"]["weights_sha256"] = "0" * 64
    file.write_text(json.dumps(content))
    assert [one.run for one in audit(template) if one.kind == "foreign_result"] == ["run_0"]
    frontier = {path for path in results.seeds if path.startswith("frontier results/")}
    assert {len(results.seeds[path]) for path in frontier} == {1}
    assert {len(values) for path, values in results.seeds.items() if path not in frontier} == {2}


@pytest.mark.slow
def test_standard_architecture(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """An L1 SAE goes the same way; its sparsity term replaces the auxiliary one."""
    overrides = json.dumps({"architecture": "standard", "l1_coefficient": 0.1})
    done = smoke(sae_python, template, smoke_data, OVERRIDES=overrides)
    assert (done.returncode, done.stderr) == (0, "")
    metrics = _metrics(template, "run_0")
    assert metrics["loss_sparsity"] > 0
    assert "loss_auxiliary" not in metrics
    config = results_of(template, "run_0")["training results for layer 0"]["config"]
    assert config["architecture"] == "standard"
    assert config["l1_coefficient"] == 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OVERRIDES": '{"latents": 3}'}, "AI_SCIENTIST_OVERRIDES names 'latents'"),
        ({"OVERRIDES": '{"k": "3"}'}, "must be of type int"),
        ({"OVERRIDES": "[1]"}, "must be a JSON object"),
        ({"OVERRIDES": '{"n_latents": 128}'}, "n_latents and batch_size are both 128"),
        ({"OVERRIDES": '{"architecture": "l1"}'}, "'l1'; it must be one of topk, standard"),
        ({"OVERRIDES": '{"precision": "bf16"}'}, "'bf16'; it must be one of float32, bfloat16"),
        ({"OVERRIDES": '{"compiled": "yes"}'}, "'yes'; it must be one of never, always, on_gpu"),
        ({"OVERRIDES": '{"k": 0}'}, "k is 0; it must be at least 1"),
        ({"OVERRIDES": '{"k": 100}'}, "n_latents is 160; it must be at least 200"),
        ({"OVERRIDES": '{"batch_size": 100000}'}, "batch_size is 100000; it must be from 1 to"),
        ({"OVERRIDES": '{"repeats": 0}'}, "repeats is 0; it must be at least 1"),
        ({"OVERRIDES": '{"resamplings": -1}'}, "resamplings is -1; it must be at least 0"),
        ({"PROFILE": "huge"}, "this script has smoke, small, full"),
        ({"PROFILE": "small"}, "was made for profile smoke"),
        ({"SEED": "-1"}, "must be a whole number"),
        ({"DATA": "nowhere"}, "nowhere holds no meta.json"),
        ({"DATA": ""}, "AI_SCIENTIST_DATA is not set"),
    ],
)
def test_wrong_request(
    sae_python: Path, template: Path, smoke_data: Path, variables: dict[str, str], said: str
) -> None:
    """A wrong key, type, size, profile, seed or folder costs one sentence, and leaves no result."""
    done = smoke(sae_python, template, smoke_data, **variables)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (template / "run_0/final_info.json").exists()


@pytest.mark.slow
def test_wrong_axis_fails(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """A Gram matrix over the wrong axis cannot pass unnoticed, since no two sizes are equal."""
    script = template / "experiment.py"
    wrong = """        gram = self.sae.W_dec.T @ self.sae.W_dec
        scores = latents.detach().mean(0)
        return {"orthogonality": (scores[:, None] * scores * gram.abs()).sum()}
"""
    text = script.read_text()
    assert text.count("        return {}\n") == 1
    script.write_text(text.replace("        return {}\n", wrong))
    done = smoke(sae_python, template, smoke_data)
    assert done.returncode == 1
    assert "must match the size" in done.stderr


@pytest.mark.slow
def test_idea_term_is_measured(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """A term returned from idea_terms is logged with its gradient share, and changes the SAE."""
    assert smoke(sae_python, template, smoke_data).returncode == 0
    script = template / "experiment.py"
    imported = "from evaluation import evaluate\n"
    text = script.read_text()
    text = text.replace(imported, f"from dictionary import ortho_pairs\n{imported}")
    term = '{"orthogonality": ortho_pairs(self.sae.W_dec, torch.ones(self.config.n_latents))}'
    script.write_text(text.replace("        return {}\n", f"        return {term}\n"))
    done = smoke(sae_python, template, smoke_data, "run_1")
    assert (done.returncode, done.stderr) == (0, "")
    before, after = _metrics(template, "run_0"), _metrics(template, "run_1")
    assert after["gradient_share_orthogonality"] > 1e-4
    assert after["max_decoder_cosine"] < before["max_decoder_cosine"]


@pytest.mark.slow
def test_plots_every_run(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """plot.py draws run_0 to run_10 in numeric order, without a display."""
    assert smoke(sae_python, template, smoke_data).returncode == 0
    for number in (1, 2, 10):
        shutil.copytree(template / "run_0", template / f"run_{number}")
    (template / "run_1.py").write_text("")
    done = call(sae_python, template, "plot.py")
    assert (done.returncode, done.stderr) == (0, "")
    pictures = {path.name: path.stat().st_size for path in template.glob("*.png")}
    assert set(pictures) == {"frontier.png", "metrics.png", "training.png"}
    assert min(pictures.values()) > 10_000


@pytest.mark.slow
def test_plots_every_evaluation(
    project: Path, sae_python: Path, template: Path, smoke_data: Path
) -> None:
    """Every metric that template.toml describes is drawn below its evaluation's name."""
    assert smoke(sae_python, template, smoke_data).returncode == 0
    specs = load_template(template).metrics
    further = {name: spec.evaluation for name, spec in specs.items() if spec.evaluation}
    file = template / "run_0/final_info.json"
    base = json.loads(file.read_text())
    shutil.copytree(file.parent, template / "run_1")
    for run, shift in (("run_0", 0.0), ("run_1", 0.1)):
        for number, (name, evaluation) in enumerate(further.items()):
            section = base.setdefault(f"{evaluation} evaluation results", {})
            seeds = [0.5 + shift, 0.51 + shift + number / 100]
            section.setdefault("final_info", {})[name] = sum(seeds) / 2
            section.setdefault("stderr", {})[name] = 0.01
            section.setdefault("per_seed", {})[name] = seeds
        (template / run / "final_info.json").write_text(json.dumps(base))
    watcher = project / "ai_scientist" / "steps" / "watched_plot.py"
    done = call(sae_python, template, str(watcher), "plot.py")
    assert (done.returncode, done.stderr) == (0, "")
    pictures = json.loads((template / "watched.json").read_text())
    drawn = {name: one["words"] for name, one in pictures.items() if name.startswith("evaluations")}
    assert len(drawn) == 3
    for name, evaluation in further.items():
        words = [one for one in drawn.values() if name.replace("_", " ") in one]
        assert len(words) == 1, name
        assert evaluation in words[0]


@pytest.mark.slow
def test_prepare_refuses(sae_python: Path, template: Path, tmp_path: Path) -> None:
    """A model without its facts, and a profile that cannot be built, end in a sentence."""
    script = template / "prepare.py"
    script.write_text(script.read_text().replace("model_steps=700", "model_steps=20"))
    out = tmp_path / "out"
    done = call(sae_python, template, "prepare.py", "--profile=smoke", f"--out_dir={out}")
    assert done.returncode == 1
    assert "nothing measured on it would mean anything" in done.stderr
    assert not (out / "meta.json").exists()
    done = call(sae_python, template, "prepare.py", "--profile=full", f"--out_dir={out}")
    assert done.returncode == 1
    assert "gemma-2-2b" in done.stderr


@pytest.mark.slow
def test_splits_and_labels(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """Splits share no document, each token carries its domain, and sizes are pairwise different."""
    got = inside(
        sae_python,
        template,
        f"""
        import json
        from pathlib import Path
        from data import load_data
        data = load_data(Path({str(smoke_data)!r}))
        rows = {{name: set(map(tuple, d.tokens.tolist())) for name, d in data.documents.items()}}
        names = sorted(rows)
        shared = [len(rows[a] & rows[b]) for a in names for b in names if a < b]
        batch = next(data.batches(192, 1, 0))
        again = next(data.batches(192, 1, 0))
        print(json.dumps({{
            "splits": names, "shared": shared, "domains": sorted(set(batch.domain.tolist())),
            "tokens": len(data.train_domain), "rows": len(data.train_x),
            "mean": float(data.train_x.mean(0).abs().max()),
            "rms": float(data.train_x.square().mean()),
            "same": bool((batch.x == again.x).all()),
            "facts": float(data.documents["test"].is_fact.float().mean()),
        }}))
        """,
    )
    assert got["splits"] == ["select", "test", "validation"]
    assert got["shared"] == [0, 0, 0]
    assert got["domains"] == [0, 1, 2]
    assert got["tokens"] == got["rows"]
    assert got["mean"] < 1e-3
    assert math.isclose(got["rms"], 1.0, rel_tol=1e-3)
    assert got["same"]
    assert 0.05 < got["facts"] < 0.3
