"""Fine-tuning: a copy of the encoder and a linear head, trained on the labels that may be seen, by one of two recipes.

`plain` puts a head of zeros on the features as they are and trains all weights at one rate from the first step. Where features are large
(SqueezeNet's have a mean of 250) the head's first steps shake the encoder, and most nets ended below a linear probe of the same weights.

`from_probe` begins where the linear probe ends, so that the encoder's first gradients come from a head that makes use of its features.
These are standardised within the model, which gives the head weights of the same scale whatever the net; encoder and head have a rate
each, and both warm up. Running statistics of batch normalisation are taken anew from the labelled images, before the head is fitted (a
pretext's are of other views, and an untrained encoder has none) and after the last step (those of few steps lag behind the weights).

An untrained encoder is treated alike, head and all, so that only the weights to begin with differ. Its probe has learnt noise by heart,
and such a head teaches the encoder noise: an untrained MobileNetV2 stayed at chance, where from zeros it learnt. So the head is scaled by
what it was worth on images held out of the probe, which is next to nothing there, and most of it after a pretext.
"""

import copy
import math
from dataclasses import replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from helpers.core.devices import autocast
from helpers.core.errors import TrainingStopped, UserError
from helpers.core.seeds import derive, generator
from helpers.data import Batches
from helpers.evaluation.features import extract
from helpers.evaluation.linear import Fitted, fit
from helpers.evaluation.metrics import Probe, judged, top_k
from helpers.models import tune

RECIPES = {"plain": 1, "from_probe": 4}  # and forward passes over the labelled images that they take besides the training
BATCH_SIZE = 128
HEAD_RATE = 1e-3  # over standardised features, whatever the net
WARM_UP = 0.1  # of the steps


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
    recipe="plain",
    epochs=20,
    steps=0,
    batch_size=BATCH_SIZE,
    rate=1e-3,
    weight_decay=1e-5,
    seed=0,
    precision="auto",
) -> Probe:
    """Train all weights with AdamW and a cosine on `indices` of split (all of it when None), score the last epoch on test."""
    device = torch.device(device)
    if split.labels is None or test_split.labels is None:
        raise UserError("Fine-tuning needs labels, and this split has none. Use labelled splits, such as 'train' and 'test'.")
    count = len(split.images) if indices is None else len(indices)
    batches = Batches(split, min(batch_size, count), device, seed=seed, indices=indices)
    epochs = epochs_of(count, batch_size, epochs, steps)
    encoder = copy.deepcopy(encoder).requires_grad_(True).to(device, memory_format=torch.channels_last)
    if precision != "plain":
        tune(encoder, device)  # a trained encoder is, an untrained one not yet: both arms then take the same kernels
    read = {"device": device, "precision": precision}

    def shown(epoch: int):
        """The views of an epoch and their labels, batch by batch."""
        for step, batch in enumerate(batches.epoch(epoch)):
            seen = views(batch.images, generator(device, seed, "finetune", epoch, step))
            yield torch.cat(seen).contiguous(memory_format=torch.channels_last), batch.labels.repeat(len(seen))

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive(seed, "finetune"))  # dropout and stochastic depth draw from the global generator
        if recipe == "plain":
            model = nn.Sequential(encoder, _zeros(encoder.width, classes)).to(device)
            optimizer, warm = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=weight_decay), 0.0
        else:
            settle(encoder, shown(0), device, precision)
            model = nn.Sequential(encoder, *_probed(fit(extract(encoder, views, split, indices=indices, **read), classes)))
            head = {"params": model[-1].parameters(), "lr": HEAD_RATE}
            optimizer, warm = torch.optim.AdamW([{"params": encoder.parameters()}, head], lr=rate, weight_decay=weight_decay), WARM_UP
        _train(model, shown, optimizer, epochs, len(batches), warm, device, precision)
        if recipe != "plain":
            settle(encoder, shown(epochs), device, precision)
    train = extract(model, views, split, indices=indices, **read)
    test = extract(model, views, test_split, indices=test_indices, **read)
    return replace(judged(test.x, test.y, weight_decay), train_top1=top_k(train.x, train.y, (1,))[1])


def epochs_of(count: int, batch_size: int, epochs: int, steps: int) -> int:
    """Epochs over so many labelled images: those asked for, or as many as the least number of steps takes."""
    return max(epochs, -(-steps // (count // min(batch_size, count))))


class Standardised(nn.Module):
    """Features with the mean and deviation that they had before the first step; nothing here is trained."""

    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x):
        return (x - self.mean) / self.std


def _zeros(width: int, classes: int) -> nn.Linear:
    head = nn.Linear(width, classes)
    nn.init.zeros_(head.weight)  # so that the first steps do not shake the encoder with a random head's gradient
    nn.init.zeros_(head.bias)
    return head


def _probed(found: Fitted) -> tuple[Standardised, nn.Linear]:
    head = nn.Linear(*found.weights.shape, device=found.weights.device)
    head.weight.data.copy_(found.trust * found.weights.T)
    head.bias.data.copy_(found.trust * found.bias)
    return Standardised(found.mean, found.std), head


@torch.no_grad()
def settle(encoder, batches, device, precision) -> None:
    """Running statistics of batch normalisation, taken anew as the mean over these batches."""
    norms = [part for part in encoder.modules() if isinstance(part, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    encoder.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    if norms:
        for images, _ in batches:
            with autocast(device, precision):
                encoder(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _train(model, shown, optimizer, epochs: int, steps: int, warm: float, device, precision) -> None:
    """So many epochs of so many steps; the rates rise in a line for that share of them, and fall by a cosine over all of them."""

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / (warm * epochs * steps or 1)) * 0.5 * (1 + math.cos(math.pi * step / (epochs * steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    model.train()
    for epoch in range(epochs):
        for images, labels in shown(epoch):
            with autocast(device, precision):
                scores = model(images)
            loss = nn.functional.cross_entropy(scores.float(), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        if not torch.isfinite(loss):
            rate = optimizer.defaults["lr"]
            raise TrainingStopped(f"Fine-tuning diverged in epoch {epoch + 1} of {epochs} at a rate of at most {rate:g}. Lower the rate.")
