"""Train a small network on handwritten digits: one hidden layer, softmax, momentum.

Run as `python experiment.py --out_dir=run_N`. Each repeat trains one network with its own seed;
the results are the means over repeats. data.py, evaluation.py and contract.py are frozen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract import Request, log_step, read_request, write_results
from data import CLASSES, PIXELS, Digits, load_digits
from evaluation import accuracy, mean_loss


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that a run can vary; every key is written into final_info.json."""

    hidden: int = 64
    epochs: int = 40
    batch_size: int = 50
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    train_images: int = 300
    repeats: int = 5


PROFILES: dict[str, dict[str, Any]] = {
    "smoke": {"epochs": 3, "train_images": 200, "repeats": 2},
    "small": {},
}

Parameters = dict[str, np.ndarray]


def initial_parameters(config: Config, rng: np.random.Generator) -> Parameters:
    """Return He-scaled weights and zero biases."""
    return {
        "w1": rng.normal(0.0, np.sqrt(2.0 / PIXELS), (PIXELS, config.hidden)),
        "b1": np.zeros(config.hidden),
        "w2": rng.normal(0.0, np.sqrt(2.0 / config.hidden), (config.hidden, CLASSES)),
        "b2": np.zeros(CLASSES),
    }


def forward(parameters: Parameters, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the hidden activations (n, hidden) and the logits (n, 10) of images (n, 64)."""
    hidden = np.maximum(images @ parameters["w1"] + parameters["b1"], 0.0)
    return hidden, hidden @ parameters["w2"] + parameters["b2"]


def target_distribution(labels: np.ndarray) -> np.ndarray:
    """Return what the softmax output is pulled towards, (n, 10): all mass on the true digit."""
    return np.eye(CLASSES)[labels]


def gradients(parameters: Parameters, batch: Digits, config: Config) -> Parameters:
    """Return the gradient of the training loss: cross-entropy plus weight decay."""
    hidden, logits = forward(parameters, batch.images)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    d_logits = (probabilities - target_distribution(batch.labels)) / len(batch.labels)
    d_hidden = (d_logits @ parameters["w2"].T) * (hidden > 0.0)
    return {
        "w1": batch.images.T @ d_hidden + config.weight_decay * parameters["w1"],
        "b1": d_hidden.sum(axis=0),
        "w2": hidden.T @ d_logits + config.weight_decay * parameters["w2"],
        "b2": d_logits.sum(axis=0),
    }


def train(request: Request[Config], train_set: Digits, repeat: int) -> Parameters:
    """Train one network on mini-batches and log its loss after each epoch."""
    config = request.config
    rng = np.random.default_rng([request.seed, repeat])
    parameters = initial_parameters(config, rng)
    velocity = {name: np.zeros_like(value) for name, value in parameters.items()}
    for epoch in range(1, config.epochs + 1):
        order = rng.permutation(len(train_set.labels))
        for start in range(0, len(order), config.batch_size):
            rows = order[start : start + config.batch_size]
            batch = Digits(train_set.images[rows], train_set.labels[rows])
            for name, gradient in gradients(parameters, batch, config).items():
                velocity[name] = config.momentum * velocity[name] - config.learning_rate * gradient
                parameters[name] = parameters[name] + velocity[name]
        _, logits = forward(parameters, train_set.images)
        log_step(request, repeat=repeat, epoch=epoch, train_loss=mean_loss(logits, train_set))
    return parameters


def main() -> None:
    """Train each repeat, measure it, and write the results."""
    request = read_request(Config(), PROFILES)
    train_set, test_set = load_digits()
    train_set = Digits(*(part[: request.config.train_images] for part in train_set))
    per_seed: dict[str, list[float]] = {
        "test_accuracy": [],
        "test_loss": [],
        "train_loss": [],
        "seconds": [],
    }
    for repeat in range(request.config.repeats):
        started = time.perf_counter()
        parameters = train(request, train_set, repeat)
        _, test_logits = forward(parameters, test_set.images)
        _, train_logits = forward(parameters, train_set.images)
        per_seed["test_accuracy"].append(accuracy(test_logits, test_set))
        per_seed["test_loss"].append(mean_loss(test_logits, test_set))
        per_seed["train_loss"].append(mean_loss(train_logits, train_set))
        per_seed["seconds"].append(time.perf_counter() - started)
    write_results(request, "digits", per_seed)


if __name__ == "__main__":
    main()
