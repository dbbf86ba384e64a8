from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ai_scientist.inputs.templates import load_template
from tests.sae_runs import inside, write_texts


@pytest.mark.slow
def test_layers_are_counted_alike(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """Layer L is hidden_states[L + 1] in transformers, and what prepare.py stored of the hook.

    Cut there, a NeoX and a gemma-2-shaped model go on to the logits of the whole model. That
    transformer_lens agrees with what is stored is tested in test_sae_template.py.
    """
    got = inside(
        sae_python,
        template,
        f"""
        import json, torch
        from pathlib import Path
        from data import load_data
        from pretrained import PretrainedModel
        from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM
        data = load_data(Path({str(smoke_data)!r}))
        test = data.documents["test"]
        neox = AutoModelForCausalLM.from_pretrained(data.folder / "model")
        torch.manual_seed(0)
        shape = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=4, head_dim=12,
            num_attention_heads=4, num_key_value_heads=2, vocab_size=200, sliding_window=8)
        gemma = Gemma2ForCausalLM(Gemma2Config(**shape, attn_implementation="eager"))
        with torch.no_grad():
            for weights in gemma.parameters(): weights.mul_(3)
        tokens = test.tokens[:4]
        told = {{}}
        for name, model, layer in (
            ("neox", neox, 0), ("gemma", gemma, 1)
        ):
            model = model.float().eval()
            with torch.no_grad():
                whole = model(tokens, output_hidden_states=True, use_cache=False)
            cut = PretrainedModel(model)
            here = cut.residual_after(tokens, layer)
            gap = lambda a, b: float((a - b).abs().max() / b.abs().max())
            told[name] = [gap(here, whole.hidden_states[layer + 1]),
                gap(cut.logits_from(here, layer), whole.logits)]
            told[name + "_off_by_one"] = gap(here, whole.hidden_states[layer])
            if name == "neox":
                told["stored"] = gap(here, test.residual[:4])
        print(json.dumps(told))
        """,
    )
    assert max(*got["neox"], *got["gemma"], got["stored"]) < 1e-4
    assert min(got["neox_off_by_one"], got["gemma_off_by_one"]) > 0.05


@pytest.mark.slow
def test_full_on_a_tiny_gemma(
    sae_python: Path, template: Path, smoke_data: Path, tmp_path: Path
) -> None:
    """The code of `full` builds a store from texts and trains on it in bfloat16, in one pass."""
    write_texts(tmp_path / "texts", smoke_data)
    got = inside(
        sae_python,
        template,
        f"""
        import json, os, torch
        from pathlib import Path
        os.environ["HF_HOME"] = {str(tmp_path / "hf")!r}
        os.environ["AI_SCIENTIST_INPUTS"] = json.dumps({{"SAE_TEXTS": {str(tmp_path / "texts")!r}}})
        from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM
        model, out = {str(tmp_path / "tiny2")!r}, Path({str(tmp_path / "data")!r})
        AutoTokenizer.from_pretrained({str(smoke_data / "model")!r}).save_pretrained(model)
        shape = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=4, head_dim=12,
            num_attention_heads=4, num_key_value_heads=2, vocab_size=200, sliding_window=8)
        Gemma2ForCausalLM(Gemma2Config(**shape)).save_pretrained(model)
        from prepare_full import FullSize, build_full
        out.mkdir()
        build_full(FullSize(model=model, layer=2, context=9, tokens=1000, held_out_contexts=6,
            named_share=0.2, chunk_contexts=64, batch_contexts=16), out)
        from contract import Request
        from data import load_data
        from experiment import PROFILES, Config, Trainer
        from training import train_all
        config = Config(**PROFILES["full"] | dict(n_latents=96, k=4, training_tokens=6000,
            batch_size=64, dead_after_tokens=600, auxiliary_latents=8, repeats=2))
        data = load_data(out)
        request = Request(out_dir=out, profile="full", seed=0, config=config, data_dir=out)
        trained = train_all(request, data, Trainer)
        lines = map(json.loads, open(out / "metrics.jsonl"))
        curve = [line["fvu"] for line in lines if (line["repeat"], line["k"]) == (0, 8)]
        logits = data.model.logits_from(data.documents["test"].residual, data.layer)
        print(json.dumps({{
            "x": [str(data.train_x.dtype), *data.train_x.shape], "curve": curve,
            "rms": float(data.train_x.float().square().mean()),
            "domains": torch.bincount(data.train_domain.long()).tolist(),
            "ks": [(one.k, one.seed) for one in trained], "epochs": trained[0].report["epochs"],
            "logits": list(logits.shape), "dtype": str(trained[0].sae.W_dec.dtype),
        }}))
        """,
    )
    assert got["x"] == ["torch.bfloat16", 1000, 48]
    assert 0.9 < got["rms"] < 1.1
    assert min(got["domains"]) > 100
    assert got["curve"][-1] < 0.9 * got["curve"][0]
    assert got["ks"] == [[4, 0], [4, 1], [2, 0], [8, 0]]
    assert got["epochs"] == pytest.approx(93 * 64 / 1000)
    assert got["logits"] == [6, 9, 200]
    assert got["dtype"] == "torch.float32"


@pytest.mark.slow
def test_latents_are_held_in_parts(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """However many tokens are measured, an SAE encodes few at once, and every number is the same.

    Interventions are tried on the first documents of a domain alone.
    """
    got = inside(
        sae_python,
        template,
        f"""
        import json
        from pathlib import Path
        import dictionary, evaluation, own_losses
        from data import load_data
        from dictionary import Trained
        from experiment import PROFILES, Config, Trainer
        from latent_report import describe_latents
        data = load_data(Path({str(smoke_data)!r}))
        config = Config(**PROFILES["smoke"])
        sae = Trainer(config, data.d_model, 0).sae.requires_grad_(False)
        encode, given, told = sae.encode, [], []

        def count(x):
            given.append(x.numel() // data.d_model)
            return encode(x)

        sae.encode = count
        for tokens in (10_000, 62):
            dictionary.LATENTS_AT_ONCE = tokens * config.n_latents
            given.clear()
            own = own_losses.measure_own_losses(data)
            metrics = evaluation._screen(sae, data, evaluation.CONFIGS["smoke"], own).metrics
            told.append({{"most": max(given), "metrics": metrics}})
        own_losses.MOST_FACTS = 10
        few = own_losses.measure_own_losses(data)
        told.append({{name: len(facts.loss) for name, facts in few.facts.items()}})
        evaluation._screen(sae, data, evaluation.CONFIGS["smoke"], few)
        describe_latents(Trained(sae=sae, seed=0, k=5, report={{}}), data, few.facts)
        print(json.dumps(told))
        """,
    )
    whole, parts, few = got
    assert whole["most"] == 24 * 31
    assert parts["most"] == 8 * 31  # of the documents whose facts are probed
    assert parts["metrics"] == pytest.approx(whole["metrics"], rel=1e-5)
    assert 5 < min(few.values()) <= max(few.values()) <= 10


@pytest.mark.slow
def test_sizes_of_full_are_counted(
    sae_python: Path, template: Path, smoke_data: Path, project: Path
) -> None:
    """What a step of a small SAE holds is what footprint.py counts, and it counts docs/sae.md."""
    got = inside(
        sae_python,
        template,
        f"""
        import json, torch
        from pathlib import Path
        from torch.multiprocessing.reductions import StorageWeakRef
        from torch.utils._python_dispatch import TorchDispatchMode
        from bench import Blank
        from data import load_data
        from experiment import Config, Trainer
        from footprint import (ModelShape, full_table, held_out_bytes, logit_bytes,
            measuring_bytes, preparing_bytes, sae_weights, store_bytes, training_bytes)
        from prepare_full import FullSize
        from experiment import PROFILES
        from session import Session

        class Held(TorchDispatchMode):
            most, live = 0, {{}}

            def __torch_dispatch__(self, function, types, given=(), named=None):
                made = function(*given, **(named or {{}}))
                self.live = {{r: n for r, n in self.live.items() if not r.expired()}}
                for one in made if isinstance(made, (tuple, list)) else [made]:
                    if isinstance(one, torch.Tensor):
                        storage = one.untyped_storage()
                        self.live[StorageWeakRef(storage)] = storage.nbytes()
                self.most = max(self.most, sum(self.live.values()))
                return made

        data = load_data(Path({str(smoke_data)!r}))
        config = Config(n_latents=2048, k=40, batch_size=512, training_tokens=512 * 200,
            dead_after_tokens=0, auxiliary_latents=64, repeats=1, frontier_repeats=0,
            precision="bfloat16", shared_order=True)
        session = Session(Trainer(config, data.d_model, 0), config, data)
        batches = data.batches(512, 8, 0)
        for number in range(7):
            session.step(number, next(batches))
        kept = sum(one.numel() for group in (session.optimizer._parameters,
            session.optimizer._means, session.optimizer._squares) for one in group)
        batch = next(batches)
        with Held() as held:
            session.step(7, batch)

        from data import Documents
        from evaluation import measure_loss_recovered
        from pretrained import PretrainedModel
        from transformers import Gemma2Config, Gemma2ForCausalLM
        from own_losses import measure_facts
        shape = dict(hidden_size=data.d_model, intermediate_size=80, num_hidden_layers=2,
            head_dim=12, num_attention_heads=4, num_key_value_heads=2, vocab_size=20_000)
        gemma = Gemma2ForCausalLM(Gemma2Config(**shape)).to(torch.bfloat16)
        data.__dict__["model"] = PretrainedModel(gemma)
        test, blank = data.documents["test"], Blank(data)
        many = {{name: getattr(test, name).repeat(3, *[1] * (getattr(test, name).dim() - 1))
            for name in ("tokens", "is_fact", "domain", "residual")}}
        many["is_fact"][:, 1:] = True
        data.documents["test"] = test = Documents(**many)
        size = FullSize(held_out_contexts=len(test.tokens), context=test.tokens.shape[1])
        losses = {{}}
        with Held() as losses["recovered"]:
            measure_loss_recovered(blank, data, (0.0, 1.0))
        third = test.rows(torch.arange(len(test.tokens)) % 3 == 0)
        with Held() as losses["facts"]:
            measure_facts(data, third, third.residual)
        full, model = Config(**PROFILES["full"]), ModelShape()
        print(json.dumps({{
            "dead": len(session.dead), "state": 4 * kept + held.most,
            "counted": training_bytes(config, data.d_model),
            "weights": [3 * sae_weights(config, data.d_model), kept],
            "gpu_gb": max(training_bytes(full, 2304), measuring_bytes(full, FullSize(), model),
                preparing_bytes(FullSize(), model)) / 1e9,
            "table": full_table(),
            "disk_gb": (store_bytes(FullSize(), model) + held_out_bytes(FullSize(), model)) / 1e9,
            "model": model.weights, "logits": [one.most for one in losses.values()],
            "logits_counted": logit_bytes(size, ModelShape(vocabulary=20_000)),
        }}))
        """,
    )
    assert got["dead"] > 500
    assert got["weights"][0] == got["weights"][1]
    assert 0.7 * got["counted"] < got["state"] <= got["counted"]
    assert 0.7 * got["logits_counted"] < max(got["logits"]) <= 1.05 * got["logits_counted"]
    assert got["model"] == pytest.approx(2.614e9, rel=1e-3)
    profile = load_template(template).profiles["full"]
    assert got["gpu_gb"] < profile.gpu_memory_gb
    assert got["disk_gb"] < profile.data_gb < profile.disk_gb
    said = (project / "docs" / "sae.md").read_text()
    for name, value in got["table"]:
        assert f"| {name} | {value} |" in said


@pytest.mark.slow
def test_full_through_the_front_door(
    sae_python: Path, template: Path, smoke_data: Path, fresh_cache: Path, tmp_path: Path
) -> None:
    """`template baseline --profile full` reads weights and texts from the person's folders.

    The stand-in is a gemma-2-shaped model of 48 dimensions where gemma-2-2b would lie; all sizes
    are small, and no GPU is asked for. A run without these folders says which it lacks. One run
    trains seeds enough for a hypothesis to be decided.
    """
    for file, old, new in (
        ("prepare_full.py", "layer: int = 12", "layer: int = 2"),
        ("prepare_full.py", "context: int = 128", "context: int = 9"),
        ("prepare_full.py", "tokens: int = 10_000_000", "tokens: int = 2_000"),
        ("prepare_full.py", "held_out_contexts: int = 384", "held_out_contexts: int = 24"),
        ("prepare_full.py", "chunk_contexts: int = 2048", "chunk_contexts: int = 32"),
        ("experiment.py", '"n_latents": 16_384', '"n_latents": 96'),
        ("experiment.py", '"k": 40', '"k": 4'),
        ("experiment.py", '"training_tokens": 50_000_000', '"training_tokens": 12_800'),
        ("experiment.py", '"batch_size": 2048', '"batch_size": 64'),
        ("experiment.py", '"dead_after_tokens": 5_000_000', '"dead_after_tokens": 1_280'),
        ("template.toml", "gpus = 1", "gpus = 0"),
        ("template.toml", "[profiles.smoke]", "[profiles.rehearsal]"),
    ):
        text = (template / file).read_text()
        assert text.count(old) == 1, old
        (template / file).write_text(text.replace(old, new))
    _lay_out_inputs(sae_python, template, smoke_data, tmp_path)
    variables = {**os.environ, "AI_SCIENTIST_CACHE": str(fresh_cache), "OMP_NUM_THREADS": "1"}

    command = ("ai_scientist", "template", "baseline", str(template), "--profile=full")

    def baseline(**named: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=Path(__file__).parent.parent,
            env=variables | named,
            capture_output=True,
            text=True,
            check=False,
        )

    hub = {"HF_HOME": str(tmp_path / "hf")}
    without = baseline(**hub)
    assert without.returncode == 2
    assert "reads the folder SAE_TEXTS, and SAE_TEXTS is not set" in without.stderr
    done = baseline(**hub, SAE_TEXTS=str(tmp_path / "texts"))
    assert done.returncode == 0, done.stderr
    place = template / "baselines" / "full" / "default"
    results = json.loads((place / "final_info.json").read_text())
    training = next(section for name, section in results.items() if "training" in name)
    assert training["measured"]["d_sae"] == 96
    assert training["measured"]["hook"] == "blocks.2.hook_resid_post"
    assert 0 < training["means"]["fvu"] < 1
    assert 0 < training["means"]["l0"] <= 4
    assert len(training["final_info_dict"]["fvu"]) == 5
    kept = next(place.rglob("seed_0_k_4"))
    trainer = json.loads((kept / "config.json").read_text())["trainer"]
    assert trainer["lm_name"] == "google/gemma-2-2b"
    saelens = json.loads((kept / "cfg.json").read_text())
    assert saelens["metadata"]["model_name"] == "gemma-2-2b"  # transformer_lens's name
    (latents,) = place.rglob("latents.json")
    contexts = json.loads(latents.read_text())["latents"][0]["contexts"]
    assert not contexts[0]["tokens"][0].isdecimal()  # words of the model's own tokenizer


def _lay_out_inputs(python: Path, template: Path, smoke_data: Path, folder: Path) -> None:
    """Make HF_HOME and SAE_TEXTS below `folder`, with a model of random weights."""
    write_texts(folder / "texts", smoke_data)
    repository = folder / "hf" / "hub" / "models--google--gemma-2-2b"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    inside(
        python,
        template,
        f"""
        import torch
        from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM
        model = {str(repository / "snapshots" / ("0" * 40))!r}
        AutoTokenizer.from_pretrained({str(smoke_data / "model")!r}).save_pretrained(model)
        torch.manual_seed(0)
        shape = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=4, head_dim=12,
            num_attention_heads=4, num_key_value_heads=2, vocab_size=200, sliding_window=8)
        Gemma2ForCausalLM(Gemma2Config(**shape)).save_pretrained(model)
        print("{{}}")
        """,
    )
