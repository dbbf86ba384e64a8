from __future__ import annotations

from pathlib import Path

import pytest

from tests.sae_runs import inside

LOADING = """
import json, shutil, torch
from pathlib import Path
from contract import Request
from data import load_data
from dictionary import Trained, fold_scale
from experiment import PROFILES, Trainer
from keeping import keep_trained
from references import Config, load_one
from safetensors.torch import load_file, save_file

def keep(data):
    config = Config(**PROFILES["smoke"])
    sae = Trainer(config, data.d_model, 0).sae
    x = data.documents["test"].activations()[:200]
    one = Trained(sae=fold_scale(sae, data.mean, data.scale, x), seed=0, k=config.k, report={})
    folder, = keep_trained(Path("kept"), data, [one], "topk")
    return folder

def load(data, folder):
    config = Config(**PROFILES["smoke"], family="trained", source=str(folder))
    try:
        load_one(Request(out_dir=folder, profile="smoke", seed=0, config=config,
            data_dir=data.folder), data)
    except SystemExit as error:
        return str(error).replace(str(folder), "FOLDER")
    return "loaded"

def change(file, *pairs):
    text = file.read_text()
    for old, new in pairs:
        assert text.count(old) == 1, (old, text)
        text = text.replace(old, new)
    file.write_text(text)

def remove(name, file, read, write):
    tensors = read(file)
    del tensors[name]
    write(tensors, file)

def cut(file):
    file.write_bytes(file.read_bytes()[:-2000])
"""
SPOILED = """
def configured(*pairs):
    return lambda one: change(one / "config.json", *pairs)

name = data.model_name
cases = {
    "dictionary_learning": {
        "site": configured(("resid_post", "mlp_out")),
        "older name": configured(("resid_post_layer_0", "resid_out_layer0")),
        "layer": configured(("post_layer_0", "post_layer_3")),
        "model": configured((name, "org/Other-1b")),
        "same model": configured((name, "org/" + name.upper())),
        "says nothing": configured(('"resid_post_layer_0"', "null"), (json.dumps(name), "null")),
        "cut": lambda one: cut(one / "ae.pt"),
        "lacking": lambda one: remove("encoder.bias", one / "ae.pt", torch.load, torch.save),
        "broken": configured(('"trainer": ', "")),
        "a list": lambda one: (one / "config.json").write_text("[]"),
    },
    "saelens": {
        "model": lambda one: change(one / "cfg.json", (name, "Other-1b")),
        "cut": lambda one: cut(one / "sae_weights.safetensors"),
        "lacking": lambda one: remove(
            "b_enc", one / "sae_weights.safetensors", load_file, save_file),
        "broken": lambda one: (one / "cfg.json").write_text("{"),
        "own": lambda one: change(one / "cfg.json", ('"topk"', '"own_topk"')),
    },
}
kept, said = keep(data), {}
for format, spoils in cases.items():
    for number, (case, spoil) in enumerate(spoils.items()):
        folder = Path(f"{format}_{number}").absolute()
        shutil.copytree(kept, folder)
        if format != "saelens":
            (folder / "cfg.json").unlink()
        spoil(folder)
        said[f"{format}: {case}"] = load(data, folder)
print(json.dumps(said))
"""


@pytest.mark.slow
def test_what_is_no_sae_of_this_place_is_refused(
    sae_python: Path, template: Path, smoke_data: Path
) -> None:
    """Of another site or model, cut, incomplete or the run's own: one sentence with the place."""
    opened = f"data = load_data(Path({str(smoke_data)!r}))\n"
    said = inside(sae_python, template, LOADING + opened + SPOILED)
    here = "; this profile measures blocks.0.hook_resid_post"
    model = f"; this profile measures ai_scientist-sae-{smoke_data.name}"
    again = "; copy or download it again"
    wanted = {
        "dictionary_learning: site": ("FOLDER was trained at mlp_out_layer_0 of layer 0", here),
        "dictionary_learning: older name": ("loaded", ""),
        "dictionary_learning: layer": ("FOLDER was trained at resid_post_layer_3 of layer 0", here),
        "dictionary_learning: model": ("FOLDER was trained on org/Other-1b", model),
        "dictionary_learning: same model": ("loaded", ""),
        "dictionary_learning: says nothing": ("loaded", ""),
        "dictionary_learning: cut": ("FOLDER/ae.pt cannot be read (PytorchStreamReader", again),
        "dictionary_learning: lacking": ("FOLDER cannot be read (it lacks encoder.bias)", again),
        "dictionary_learning: broken": ("FOLDER/config.json cannot be read", again),
        "dictionary_learning: a list": ("FOLDER/config.json cannot be read", again),
        "saelens: model": ("FOLDER was trained on Other-1b", model),
        "saelens: cut": ("FOLDER cannot be read", again),
        "saelens: lacking": ("FOLDER cannot be read (", f'state_dict: "b_enc"){again}'),
        "saelens: broken": ("FOLDER/cfg.json cannot be read", again),
        "saelens: own": ("FOLDER has an encoder of its own run", "see that run's final_info.json"),
    }
    assert said.keys() == wanted.keys()
    for case, (begins, ends) in wanted.items():
        assert said[case].removeprefix("error: ").startswith(begins), said[case]
        assert said[case].endswith(ends), said[case]
        assert len(said[case].splitlines()) == 1
