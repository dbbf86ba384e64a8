"""What `full` does on a GPU goes through with its tensors on a double of one (pretend_gpu.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.doors import PROJECT
from tests.sae_runs import inside
from tests.test_sae_full_evaluations import SMALLER, build_model, name_inputs, write_inputs
from tests.test_sae_training import SAE_RECORDINGS, edited

SIZES = (
    "n_latents=96, k=4, training_tokens=1100, batch_size=72, dead_after_tokens=100, "
    "auxiliary_latents=8, resamplings=2, repeats=1, frontier_repeats=0, precision='float32'"
)
MOVED = f"""
        import sys
        sys.path.insert(0, {str(PROJECT / "tests")!r})
        from pretend_gpu import NAME
        import dataclasses, json, torch
        from contract import Request
        from data import load_data
        from experiment import PROFILES
        from training import train_all
        import evaluation
        from unlearning import Clamping
        evaluation.CONFIGS["full"] = evaluation.EvaluationConfig(
            clamping=Clamping(retain_rates=(0.5,), counts=(2,)), latent_picture=False)
        loaded, device = load_data(out), torch.device(NAME)

        def move(owner):
            values = {{name: one.to(device) for name, one in vars(owner).items()
                      if isinstance(one, torch.Tensor)}}
            return dataclasses.replace(owner, **values)

        documents = {{name: move(one) for name, one in loaded.documents.items()}}
        data = dataclasses.replace(
            move(loaded), device=device, documents=documents, train_x=loaded.train_x)

        def ask(folder, make, **values):
            folder.mkdir(parents=True, exist_ok=True)
            config = make(**PROFILES["full"] | dict({SIZES}) | values)
            return Request(
                out_dir=folder, profile="full", seed=0, config=config, data_dir=data.folder)
        """


@pytest.fixture(scope="module")
def full(sae_python: Path, smoke_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Code that has the data of a tiny `full`, on the CPU as `loaded` and on the device."""
    folder = tmp_path_factory.mktemp("full")
    hub, texts = write_inputs(folder, smoke_data)
    code = build_model(folder, hub, texts, []) + "print(json.dumps({}))"
    inside(sae_python, PROJECT / "templates" / "sae", code)
    return name_inputs(folder, hub, texts, []) + MOVED


@pytest.mark.slow
def test_two_devices_are_told_apart(sae_python: Path, template: Path) -> None:
    """Where CUDA refuses a mix of devices the double does, and what CUDA computes it computes."""
    got = inside(
        sae_python,
        template,
        f"""
        import json, sys, torch
        sys.path.insert(0, {str(PROJECT / "tests")!r})
        from pretend_gpu import NAME
        x, ones, first = torch.ones(2, 2, device=NAME), torch.ones(2, 2), torch.tensor([0])
        generator, tokens = torch.Generator(), torch.tensor([0], device=NAME)
        wrong = [
            lambda: x + ones, lambda: x @ ones, lambda: torch.cat([x, ones]),
            lambda: torch.where(x > 0, ones, 0.0), lambda: ones[tokens],
            lambda: torch.stack([x.sum(), torch.tensor(1.0)]), lambda: torch.ones(()).add_(x.sum()),
            lambda: torch.ones(2).index_add(0, first, x[0, :1]), lambda: x.numpy(),
            lambda: torch.randn(2, device=NAME, generator=generator),
        ]
        refused = []
        for one in wrong:
            try:
                one()
            except (RuntimeError, TypeError) as error:
                refused.append(str(error))
        x[first] = 3.0
        ones.copy_(x + torch.tensor(1.0))
        print(json.dumps({{"refused": refused, "of": len(wrong), "sum": float(x[first].sum()),
            "there": x[first].device.type, "copied": ones.tolist(), "here": x.cpu().device.type}}))
        """,
    )
    assert len(got["refused"]) == got["of"]
    assert sum("same device" in words for words in got["refused"]) == got["of"] - 2
    assert (got["there"], got["here"], got["sum"]) == ("pretend", "cpu", 6.0)
    assert got["copied"] == [[4.0, 4.0], [2.0, 2.0]]


@pytest.mark.slow
def test_full_measures_on_a_gpu_what_it_does_on_a_cpu(
    sae_python: Path, template: Path, full: str
) -> None:
    """Training, kept SAEs, screen, latents and frontier: on one device, and every number alike."""
    got = inside(
        sae_python,
        template,
        full
        + """
        from experiment import Config, Trainer
        measured = []
        for place, on in (("cpu", loaded), ("gpu", data)):
            request = ask(Path(place), Config, frontier_repeats=1)
            found = evaluation.evaluate(request, on, train_all(request, on, Trainer), "topk")
            for section in found.values():
                for part in ("final_info", "per_seed"):
                    section.get(part, {}).pop("seconds", None)
            measured.append([found, Path(place, "latents.json").read_text()])
        print(json.dumps(measured))
        """,
    )
    (cpu, cpu_latents), (gpu, gpu_latents) = got
    assert cpu == gpu
    assert cpu_latents == gpu_latents
    assert "frontier results" in cpu


@pytest.mark.slow
def test_the_store_is_on_the_gpu_while_training(
    sae_python: Path, template: Path, full: str
) -> None:
    """It is copied there where it takes at most 60% of what is free, and nothing holds it later."""
    got = inside(
        sae_python,
        template,
        full
        + """
        import gc
        from experiment import Config, Trainer
        counts = []

        def count():
            return sum(type(one).__name__ == "OnDevice" and one.shape == data.train_x.shape
                for one in gc.get_objects())

        class Counting(Trainer):
            def loss_terms(self, batch, forward):
                counts.append(count())
                return super().loss_terms(batch, forward)

        told = []
        for bytes in (data.train_x.nbytes / 0.59, data.train_x.nbytes / 0.61):
            torch.pretend.mem_get_info = lambda device: (bytes, 10**9)
            counts.clear()
            train_all(ask(Path("run"), Config), data, Counting)
            told.append([max(counts), count()])
        print(json.dumps(told))
        """,
    )
    assert got == [[1, 0], [0, 0]]


@pytest.mark.slow
def test_references_are_measured_on_a_gpu(sae_python: Path, template: Path, full: str) -> None:
    """Each family is trained, measured and kept on its device, and so is what was kept of it.

    Of both formats; loaded, a family has the weights and the sparsity that it was kept with.
    """
    got = inside(
        sae_python,
        template,
        full
        + """
        import references
        from families import FAMILIES, FamilyLearner, linear_family
        from keeping import keep_trained
        told = {}

        def measure(request, trained, architecture):
            evaluation.evaluate(request, data, trained, architecture)
            return references._matching(request, data, trained)

        for name in FAMILIES:
            request = ask(Path(name), references.Config, family=name, l1_coefficient=0.01)
            trained = train_all(request, data, FamilyLearner)
            told[name] = [measure(request, trained, name)]
            folder, = Path(name, "sae").iterdir()
            for format in ("cfg.json", "config.json"):
                request = ask(Path(name, format), references.Config, source=str(folder))
                request, trained, about = references.load_one(request, data)
                told[name].append(references._matching(request, data, trained))
                kept, = keep_trained(request.out_dir, data, trained, about["architecture"])
                told[name].append(len(list(kept.iterdir())))
                (folder / "cfg.json").unlink(missing_ok=True)
        measure(request, trained, about["architecture"])
        for name in ("identity", "pca"):
            request = ask(Path(name), references.Config, n_latents=data.d_model, k=data.d_model)
            one = references._untrained(linear_family(name, request.config, data), request)
            told[name] = references._matching(request, data, [one])
        measure(request, [one], name)
        print(json.dumps(told))
        """,
    )
    assert set(got) == {"relu", "batch_topk", "jumprelu", "gated", "pca", "identity"}
    for name in ("relu", "batch_topk", "jumprelu", "gated"):
        measured, *again = got[name]
        assert again == [measured, 4, measured, 4]


@pytest.mark.slow
def test_sae_bench_measures_on_a_gpu(sae_python: Path, template: Path, full: str) -> None:
    """transformer_lens and sae_bench are given what is all on one device.

    Absorption is not tried: sae_bench reads its probes through torch's files, to a real device.
    """
    got = inside(
        sae_python,
        template,
        full
        + SMALLER
        + """
        from bench import Blank
        sections, not_run = benchmarks.run_benchmarks(["core", "mdl"], [Blank(data)], data)
        print(json.dumps({"measured": list(sections), "not run": not_run}))
        """,
    )
    assert got["not run"] == {}
    assert got["measured"] == ["core evaluation results", "mdl evaluation results"]


@pytest.mark.slow
def test_ideas_train_on_a_gpu(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """What the shipped ideas and their control arms keep, draw and index is on the SAE's device."""
    arms: dict[str, list[dict[str, Any]]] = {}
    for name in SAE_RECORDINGS:
        (template / f"{name}.py").write_text(edited(PROJECT, name)[0]["experiment.py"])
        controls = json.loads((PROJECT / "ideas" / f"{name}.json").read_text())["Controls"]
        arms[name] = [{}, *(control["set"] for control in controls)]
    got = inside(
        sae_python,
        template,
        f"""
        from pathlib import Path
        out = Path({str(smoke_data)!r})
        {MOVED}
        import importlib
        from dictionary import ortho_pairs
        trained = 0
        for name, arms in {arms!r}.items():
            module = importlib.import_module(name)
            for values in arms:
                request = ask(Path("ideas"), module.Config, **values)
                trained += len(train_all(request, data, module.Trainer))
        drawn = ortho_pairs(torch.eye(99, 7).to(device), torch.ones(99).to(device), 9,
            torch.Generator().manual_seed(0))
        print(json.dumps({{"trained": trained, "drawn": drawn.device.type}}))
        """,
    )
    assert got == {"trained": sum(map(len, arms.values())), "drawn": "pretend"}
