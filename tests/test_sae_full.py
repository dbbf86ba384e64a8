from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sae_runs import inside


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
    lines = (smoke_data / "text" / "train.jsonl").read_text().splitlines()
    sentences = [json.loads(line)["text"] for line in lines]
    for name in ("train", "forget", "retain"):
        (tmp_path / "texts" / name).mkdir(parents=True)
        rows = "".join(json.dumps({"text": text}) + "\n" for text in sentences)
        (tmp_path / "texts" / name / "part.jsonl").write_text(rows)
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
