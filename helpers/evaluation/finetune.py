"""Fine-tuning: a copy of the encoder and a linear head, trained on the labels that may be seen."""

import copy
import math

import torch
from torch import nn

from helpers.core.devices import autocast
from helpers.core.errors import TrainingStopped, UserError
from helpers.core.seeds import derive, generator
from helpers.data import Batches
from helpers.evaluation.features import extract
from helpers.evaluation.metrics import Probe, judged


def finetune(
    encoder,
    views,
    split,
    test_split,
    classes: int,
    *,
    device,
    indices=None,
    test_indices=None,
    epochs=20,
    batch_size=128,
    rate=1e-3,
    weight_decay=1e-5,
    seed=0,
    precision="auto",
) -> Probe:
    """Train all weights with AdamW and a cosine on `indices` of split (all of it when None), score the last epoch on test."""
    device = torch.device(device)
    if split.labels is None or test_split.labels is None:
        raise UserError("Fine-tuning needs labels, and this split has none. Use labelled splits, such as 'train' and 'test'.")
    head = nn.Linear(encoder.width, classes)
    nn.init.zeros_(head.weight)  # so that the first steps do not shake the encoder with a random head's gradient
    nn.init.zeros_(head.bias)
    model = nn.Sequential(copy.deepcopy(encoder).requires_grad_(True), head).to(device, memory_format=torch.channels_last)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive(seed, "finetune"))  # dropout and stochastic depth draw from the global generator
        _train(model, views, split, indices, epochs, batch_size, rate, weight_decay, seed, device, precision)
    scored = extract(model, views, test_split, device=device, indices=test_indices, precision=precision)
    return judged(scored.x, scored.y, weight_decay)


def _train(model, views, split, indices, epochs, batch_size, rate, weight_decay, seed, device, precision) -> None:
    count = len(split.images) if indices is None else len(indices)
    batches = Batches(split, min(batch_size, count), device, seed=seed, indices=indices)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=weight_decay)
    steps = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    model.train()
    for epoch in range(epochs):
        for step, batch in enumerate(batches.epoch(epoch)):
            seen = views(batch.images, generator(device, seed, "finetune", epoch, step))
            images = torch.cat(seen).contiguous(memory_format=torch.channels_last)
            with autocast(device, precision):
                scores = model(images)
            loss = nn.functional.cross_entropy(scores.float(), batch.labels.repeat(len(seen)))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        if not torch.isfinite(loss):
            raise TrainingStopped(f"Fine-tuning diverged in epoch {epoch + 1} of {epochs} at a rate of at most {rate:g}. Lower the rate.")
