"""SAEs that were trained elsewhere, made ready to be measured here. Frozen: edits are undone.

    FOLDER            cfg.json + sae_weights.safetensors   SAELens
                      ae.pt + config.json                  dictionary_learning, such as trainer_0/
                      or folders of these kinds in it
    RELEASE:REGEX     SAELens's own lists: all SAEs of the releases whose ids match, from HF_HOME

Decoder rows are put to unit length before anything is measured; reconstructions stay as they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from contract import stop
from data import Data
from formats import OWN, SAELENS, encode_as_saelens, read_dictionary_learning

SAELENS_FILES = ("cfg.json", "sae_weights.safetensors")
DICTIONARY_LEARNING_FILES = ("config.json", "ae.pt")
UNREADABLE = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)
"""What readers raise where a file is cut, incomplete or of another kind."""


class Loaded(NamedTuple):
    """A trained SAE, not yet looked at."""

    sae: Any
    architecture: str
    k: int
    """0 where the number of active latents is not set."""
    hook: str
    """Where it belongs, by transformer_lens's name; "" where its files do not say."""
    model: str
    """Whose activations it takes, by any name; "" likewise."""


class Found(NamedTuple):
    """One SAE of a source."""

    name: str
    """No other SAE's: folders everywhere are called trainer_0."""
    source: str
    """Where it lies: its folder, or RELEASE/ID."""
    load: Callable[[], Loaded]


class UnitRows(nn.Module):
    """An SAE with decoder rows of unit length and latents in the activations' units."""

    norms: Tensor
    W_dec: Tensor
    W_enc: Tensor
    b_enc: Tensor
    b_dec: Tensor

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        rows = inner.W_dec.detach().float()
        norms = rows.norm(dim=1).clamp_min(1e-8)
        gate = getattr(inner, "b_gate", None)
        bias = inner.b_enc if gate is None else gate
        for name, value in {
            "norms": norms,
            "W_dec": rows / norms[:, None],
            "W_enc": inner.W_enc.detach().float() * norms,
            "b_enc": bias.detach().float() * norms,
            "b_dec": inner.b_dec.detach().float(),
        }.items():
            self.register_buffer(name, value)
        for name, scale in (("threshold", norms), ("b_mag", norms), ("r_mag", 1.0)):
            if hasattr(inner, name):  # r_mag is a ratio
                self.register_buffer(name, getattr(inner, name).detach().float() * scale)

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents (..., F) of activations (..., d)."""
        latents: Tensor = self.inner.encode(x) * self.norms
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Return the reconstruction (..., d) of latents (..., F)."""
        rebuilt: Tensor = self.inner.decode(latents / self.norms)
        return rebuilt


class Plain(nn.Module):
    """An SAE over weights by SAELens's names."""

    W_dec: Tensor
    b_dec: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], architecture: str, k: int) -> None:
        super().__init__()
        self._architecture, self._k = SAELENS[architecture], k
        for name, value in tensors.items():
            self.register_buffer(name, value.detach().float())

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents (..., F)."""
        return encode_as_saelens(dict(self.named_buffers()), self._architecture, self._k, x)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the reconstruction (..., d)."""
        rebuilt: Tensor = latents @ self.W_dec + self.b_dec
        return rebuilt


def find_trained(source: str) -> list[Found]:
    """Return the SAEs of a folder, or of SAELens's lists; ends with a sentence without any."""
    if Path(source).is_dir():
        folders = [Path(source), *sorted(Path(source).iterdir(), key=_natural)]
        found = [one for folder in folders if (one := _in_folder(folder))]
        if not found:
            stop(
                f"{source} holds no trained SAE: neither {' and '.join(SAELENS_FILES)} (SAELens) "
                f"nor {' and '.join(DICTIONARY_LEARNING_FILES)} (dictionary_learning), in it or "
                "one level below"
            )
        return found
    release, colon, pattern = source.partition(":")
    if not colon:
        stop(f"there is no folder {source}; one of SAELens's releases is given as RELEASE:REGEX")
    return _in_release(release, pattern)


def check_place(loaded: Loaded, data: Data, source: str) -> None:
    """End with a sentence when an SAE belongs elsewhere than this profile measures."""
    width = loaded.sae.W_dec.shape[1]
    if width != data.d_model:
        stop(f"{source} takes activations of width {width}; {data.hook} has {data.d_model} here")
    if loaded.hook and loaded.hook != data.hook:
        stop(f"{source} was trained at {loaded.hook}; this profile measures {data.hook}")
    if loaded.model and _last_part(loaded.model) != _last_part(data.model_name):
        stop(f"{source} was trained on {loaded.model}; this profile measures {data.model_name}")


def _last_part(model: str) -> str:
    return model.rstrip("/").split("/")[-1].lower()


def _in_folder(folder: Path) -> Found | None:
    place = str(folder.resolve())
    name = f"{folder.resolve().name}_{hashlib.sha256(place.encode()).hexdigest()[:8]}"
    if all((folder / file).is_file() for file in SAELENS_FILES):
        return Found(name, place, lambda: _load_saelens(folder))
    if all((folder / file).is_file() for file in DICTIONARY_LEARNING_FILES):
        return Found(name, place, lambda: _load_dictionary_learning(folder))
    return None


def _load_saelens(folder: Path) -> Loaded:
    from sae_lens import SAE

    config = _read_config(folder / "cfg.json")
    if str(config.get("architecture")).startswith(OWN):
        stop(
            f"{folder} has an encoder of its own run, which no other code can rebuild; for its "
            "numbers see that run's final_info.json"
        )
    with _reading(folder):
        return _described(SAE.load_from_disk(folder, dtype="float32"))


def _described(sae: Any) -> Loaded:
    about = sae.cfg.metadata
    hook, model = str(about.hook_name or ""), str(about.model_name or "")
    k = int(getattr(sae.cfg, "k", 0) or 0)
    return Loaded(UnitRows(sae), sae.cfg.architecture(), k, hook, model)


def _load_dictionary_learning(folder: Path) -> Loaded:
    with _reading(folder / "ae.pt"):
        tensors = torch.load(folder / "ae.pt", map_location="cpu", weights_only=True)
    config = _read_config(folder / "config.json")
    with _reading(folder):
        architecture, weights, k = read_dictionary_learning(tensors, config, str(folder))
        trainer = config.get("trainer", config)
        sae = UnitRows(Plain(weights, architecture, k))
        return Loaded(sae, architecture, k, _hook(trainer), str(trainer.get("lm_name") or ""))


def _hook(trainer: Mapping[str, Any]) -> str:
    """Return the hook after the trainer's layer, or its own words where they say another place."""
    layer, site = trainer.get("layer"), str(trainer.get("submodule_name") or "")
    ours = any(word in site for word in ("resid_post", "resid_out"))  # as of resid_out_layer3
    if site and (not ours or set(re.findall(r"\d+", site)) - {str(layer)}):
        return f"{site} of layer {layer}"
    return "" if layer is None else f"blocks.{layer}.hook_resid_post"


def _read_config(path: Path) -> dict[str, Any]:
    with _reading(path):
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError("it holds no JSON object")
        return found


@contextlib.contextmanager
def _reading(place: Path) -> Iterator[None]:
    """End with a sentence where what is read there cannot be."""
    try:
        yield
    except UNREADABLE as error:
        said = f"it lacks {error.args[0]}" if isinstance(error, KeyError) else str(error)
        reason = textwrap.shorten(said or type(error).__name__, 160, placeholder=" …").rstrip(".")
        stop(f"{place} cannot be read ({reason}); copy or download it again")


def _in_release(release: str, pattern: str) -> list[Found]:
    try:
        re.compile(pattern), re.compile(release)
    except re.error as error:
        stop(f"{release}:{pattern} is no regular expression: {error}")
    from sae_bench.sae_bench_utils.sae_selection_utils import get_saes_from_regex

    pairs = get_saes_from_regex(release, pattern)
    if not pairs:
        stop(f"SAELens lists no SAE whose release matches {release} and whose id matches {pattern}")
    return [
        Found(f"{name}_{sae_id}", f"{name}/{sae_id}", partial(_download, name, sae_id))
        for name, sae_id in pairs
    ]


def _download(release: str, sae_id: str) -> Loaded:
    from sae_lens import SAE

    with _reading(Path(release, sae_id)):
        try:
            return _described(SAE.from_pretrained(release, sae_id, device="cpu", dtype="float32"))
        except (OSError, ValueError) as error:
            said = str(error).strip().splitlines()[0]
            stop(f"{release}/{sae_id} is not in HF_HOME, and runs have no network: {said}")


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Order trainer_2 before trainer_10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]
