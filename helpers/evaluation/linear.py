"""A linear classifier on frozen features: full-batch multinomial logistic regression, fitted on the device in seconds."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from helpers.core.errors import UserError
from helpers.core.seeds import generator
from helpers.evaluation.features import Features
from helpers.evaluation.metrics import Probe, judged, top_k

WEIGHT_DECAYS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
SEARCH_STEPS, FINAL_STEPS = 40, 100
HELD_OUT = 5000  # at most, of many labels
FEW = 5000  # labels; below, the weight decay is chosen in folds
FOLDS = 5  # a probe of 700 labels that chose its weight decay on 70 of them was up to 8 points worse than with the best one


@dataclass(frozen=True)
class Fitted:
    """A linear classifier and how it was found: `validation` is the held-out accuracy of each weight decay tried."""

    mean: torch.Tensor  # [D], and the deviation, of each feature where it was fitted
    std: torch.Tensor
    weights: torch.Tensor  # [D, C] on standardised features
    bias: torch.Tensor
    weight_decay: float
    validation: dict[float, float]
    folds: int
    trust: float  # 0 to 1: times this its scores had the least cross-entropy on images held out

    def scores(self, x) -> torch.Tensor:
        return ((x - self.mean) / self.std) @ self.weights + self.bias


def probe(train: Features, test: Features, classes: int, *, seed: int = 0, folds: int | None = None) -> Probe:
    """Fit on train, the weight decay chosen there, and score once on test."""
    highest = max(int(train.y.max()), int(test.y.max()))
    if highest >= classes:
        raise UserError(
            f"Labels go up to {highest}, but there are {classes} classes (0 to {classes - 1}). Give the dataset's number of classes."
        )
    found = fit(train, classes, seed=seed, folds=folds)
    weights = found.weights / found.std[:, None]
    return replace(
        judged(found.scores(test.x), test.y, found.weight_decay, found.validation),
        train_top1=top_k(found.scores(train.x), train.y, (1,))[1],
        folds=found.folds,
        classifier=(weights, found.bias - found.mean @ weights),
    )


def fit(train: Features, classes: int, *, seed: int = 0, folds: int | None = None) -> Fitted:
    """Choose the weight decay on images held out of train, refit on all of train.

    Of many labels one stratified tenth is held out. Of few a tenth is a handful, and the choice luck: several `folds` hold out each
    image once. None: as many as the labels ask for.
    """
    if len(train.x) < 10:
        raise UserError(f"A linear probe needs at least 10 labelled training images, and there are {len(train.x)}. Give it more labels.")
    if folds is None:
        folds = FOLDS if len(train.x) < FEW else 1
    mean, std = scales(train.x)
    x = (train.x - mean).div_(std)
    regression = Regression(x, train.y, classes)

    places, scores = [], []
    for held in [held_out(train.y, seed)] if folds == 1 else in_folds(train.y, folds, seed):
        share = torch.ones(len(x), device=x.device)
        share[held] = 0
        tried = regression.fit(WEIGHT_DECAYS, share, SEARCH_STEPS)
        places.append(held)
        scores.append(regression.scores(x[held], WEIGHT_DECAYS, tried))
    unseen, scores = train.y[torch.cat(places)], torch.cat(scores, 1)
    validation = dict(zip(WEIGHT_DECAYS, (100 * (scores.argmax(2) == unseen).float().mean(1)).tolist(), strict=True))
    best = max(range(len(WEIGHT_DECAYS)), key=lambda i: validation[WEIGHT_DECAYS[i]])  # of equals the strongest: they go down

    chosen = WEIGHT_DECAYS[best : best + 1]
    start = tuple(part[best : best + 1] for part in tried)
    v, bias = regression.fit(chosen, torch.ones_like(share), FINAL_STEPS, start)
    return Fitted(mean, std, regression.weights(chosen, v)[0], bias[0, :, 0], chosen[0], validation, folds, _trust(scores[best], unseen))


def _trust(scores, labels) -> float:
    """A classifier fitted on few images or on features that say little is sure of what it does not know."""
    return min((step / 20 for step in range(21)), key=lambda share: float(F.cross_entropy(share * scores, labels)))


def scales(train) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of each feature; one that never changes is not scaled, so that it stays zero."""
    var, mean = torch.var_mean(train, 0)
    std = var.sqrt()
    return mean, torch.where(std > 1e-6 * mean.abs(), std, torch.ones_like(std))


def standardise(train, test):
    """Both with the mean and deviation of train."""
    mean, std = scales(train)
    return (train - mean).div_(std), (test - mean).div_(std)


def held_out(labels, seed: int) -> torch.Tensor:
    """Indices of a stratified tenth of the labels, at most 5,000."""
    step = max(10, -(-len(labels) // HELD_OUT))
    return _by_class(labels, seed)[step // 2 :: step]


def in_folds(labels, folds: int, seed: int) -> list[torch.Tensor]:
    """Indices of the labels in that many stratified parts."""
    by_class = _by_class(labels, seed)
    return [by_class[place::folds] for place in range(folds)]


def _by_class(labels, seed: int) -> torch.Tensor:
    """Indices of the labels, shuffled and then sorted by class: every n-th of them is stratified."""
    order = torch.randperm(len(labels), generator=generator("cpu", seed, "held-out")).to(labels.device)
    return order[labels[order].argsort(stable=True)]


def _axes(matrix) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues and vectors. Many features that never change can keep single precision from converging, with an error or with
    values that are not numbers; double does converge."""
    try:
        values, vectors = torch.linalg.eigh(matrix)
        if values.isfinite().all() and vectors.isfinite().all():
            return values, vectors
    except torch.linalg.LinAlgError:
        pass
    values, vectors = torch.linalg.eigh(matrix.double())
    return values.to(matrix.dtype), vectors.to(matrix.dtype)


class Regression:
    """Logistic regressions with several weight decays on the same features, fitted as one problem by L-BFGS.

    The weights are sought along the features' principal axes, each scaled by its curvature at zero, since raw
    features are so ill-conditioned that L-BFGS needs hundreds of passes instead of tens. The optimum stays the same.
    """

    def __init__(self, x, y, classes: int):
        self.x, self.y, self.classes = x, y, classes
        values, self.axes = _axes(x.T @ x / len(x))
        self.curvature = values.clamp(min=0) / classes

    def weights(self, decays, v) -> torch.Tensor:
        """Weights [G, D, C] from coefficients along the scaled axes."""
        decays = torch.as_tensor(decays, device=v.device)[:, None]
        return self.axes @ ((self.curvature + decays).rsqrt()[:, :, None] * v)

    @torch.enable_grad()
    def fit(self, decays, share, steps: int, start=None):
        """Coefficients and biases at the minimum of mean cross-entropy + decay / 2 * |weights|^2; `share` weighs the images."""
        groups, (count, width) = len(decays), self.x.shape
        v, bias = start or (self.x.new_zeros(groups, width, self.classes), self.x.new_zeros(groups, self.classes, 1))
        v, bias = v.clone().requires_grad_(), bias.clone().requires_grad_()
        share, targets = share / share.sum(), self.y.expand(groups, count)
        decays = torch.tensor(decays, device=v.device)  # once: sending them at every pass would wait for the device
        penalty = decays / 2
        optimizer = torch.optim.LBFGS(
            [v, bias], max_iter=steps, history_size=20, line_search_fn="strong_wolfe", tolerance_grad=1e-5, tolerance_change=1e-6
        )

        def loss():
            optimizer.zero_grad()
            weights = self.weights(decays, v)
            # classes before images: softmax then runs along whole rows, several times faster on a CPU; and weights laid out
            # row by row, without which this product of few rows is 20 times slower there
            rows = weights.transpose(1, 2).contiguous().view(-1, width)
            scores = (rows @ self.x.T).view(groups, self.classes, count) + bias
            entropy = (F.cross_entropy(scores, targets, reduction="none") * share).sum()
            total = entropy + (penalty * weights.square().sum((1, 2))).sum()
            total.backward()
            return total

        optimizer.step(loss)
        return v.detach(), bias.detach()

    def scores(self, x, decays, fitted) -> torch.Tensor:
        """Scores [G, n, C] of standardised features."""
        v, bias = fitted
        return x @ self.weights(decays, v) + bias.transpose(1, 2)
