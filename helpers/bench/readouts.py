"""Linear probe and kNN beside scikit-learn and the bare matrix product.

Ours runs on the device, scikit-learn on the CPU of the same machine; the features lie ready for both.
"""

import argparse
import resource
import statistics
import time
import warnings

import numpy as np
import sklearn
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from helpers.bench.rows import file_of, lines, written
from helpers.core.devices import describe, device_words, pick_device, wait
from helpers.core.errors import UserError
from helpers.core.seeds import generator
from helpers.evaluation import Features, knn, linear

CLASSES, K, SEED = 10, 10, 0
MOST_ITERATIONS = 5000  # of scikit-learn's solver: enough to reach its own default tolerance
WHAT = {
    "fit": "linear: one fit at the chosen weight decay, from nothing",
    "fit_sklearn": "linear: the same fit, scikit-learn's LogisticRegression",
    "probe": "linear: the whole probe (standardise, search over {decays} weight decays, refit, score)",
    "knn": "kNN: the whole of it (normalise, search, vote)",
    "product": "kNN: the bare float32 matrix product, normalised features given",
    "knn_sklearn": "kNN: scikit-learn's KNeighborsClassifier, cosine",
}
RATIOS = {
    "fit_times_sklearn": ("fit_sklearn", "fit"),
    "probe_times_sklearn": ("fit_sklearn", "probe"),
    "knn_over_product": ("knn", "product"),
    "knn_times_sklearn": ("knn_sklearn", "knn"),
}


def make_features(count: int, test: int, width: int, device: torch.device) -> tuple[Features, Features]:
    """Overlapping classes in features as an encoder's are: not negative, correlated, variances along their axes over four decades."""
    draw = generator("cpu", SEED, "readouts", count, test, width)
    rank = torch.arange(1.0, width + 1)
    centres = torch.randn(CLASSES, width, generator=draw) * rank**-0.5
    mix = torch.randn(width, width, generator=draw)
    y = torch.randint(CLASSES, (count + test,), generator=draw)
    x = (((centres[y] + torch.randn(count + test, width, generator=draw)) * rank**-0.9) @ mix).relu_().to(device)
    y = y.to(device)
    return Features(x[:count], y[:count]), Features(x[count:], y[count:])


def measure(count: int, test: int, width: int, rounds: int, device: torch.device) -> dict:
    """Everything once a round, round after round, so that what else the machine does hits all of it alike."""
    train, other = make_features(count, test, width, device)
    chosen = linear.probe(train, other, CLASSES).weight_decay  # this first one pays for allocations and kernel choices
    x, test_x = linear.standardise(train.x, other.x)
    one, two = F.normalize(other.x, dim=1), F.normalize(train.x, dim=1)
    theirs = {
        name: array.cpu().numpy() for name, array in (("x", x), ("y", train.y), ("test", test_x), ("raw", train.x), ("asked", other.x))
    }
    share = torch.ones(count, device=device)
    chunk = knn.rows_at_once(count, device)
    out = torch.empty(min(chunk, test), count, device=device)

    def fit():
        regression = linear.Regression(x, train.y, CLASSES)
        v, bias = regression.fit((chosen,), share, linear.FINAL_STEPS)
        models["fit"] = regression.weights((chosen,), v)[0], bias[0, :, 0]
        return regression.scores(test_x, (chosen,), (v, bias))[0].argmax(1)

    def fit_sklearn():
        model = LogisticRegression(C=1 / (chosen * count), max_iter=MOST_ITERATIONS).fit(theirs["x"], theirs["y"])
        models["fit_sklearn"] = tuple(torch.tensor(part, dtype=torch.float32, device=device) for part in (model.coef_.T, model.intercept_))
        iterations.append(int(model.n_iter_[0]))
        return model.predict(theirs["test"])

    def product():
        for part in one.split(chunk):
            torch.mm(part, two.T, out=out[: len(part)])

    def knn_sklearn():
        return KNeighborsClassifier(K, metric="cosine").fit(theirs["raw"], theirs["y"]).predict(theirs["asked"])

    work = {
        "fit": fit,
        "probe": lambda: linear.probe(train, other, CLASSES).predictions,
        "product": product,
        "knn": lambda: knn.predict(train.x, train.y, other.x, K, classes=CLASSES),
        "fit_sklearn": fit_sklearn,
        "knn_sklearn": knn_sklearn,
    }
    seconds, answers, models, iterations = {name: [] for name in WHAT}, {}, {}, []
    for name in ("fit", "product", "knn"):
        work[name]()
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        for name, turn in work.items():
            wait(device)
            started = time.perf_counter()
            answers[name] = turn()
            wait(device)
            seconds[name].append(time.perf_counter() - started)
    answers = {name: torch.as_tensor(found).cpu().numpy() for name, found in answers.items() if found is not None}
    return {
        "count": count,
        "test": test,
        "width": width,
        "classes": CLASSES,
        "k": K,
        "seed": SEED,
        "weight_decay": chosen,
        "sklearn_iterations": iterations[-1],
        "objective": {name: round(objective(*model, x, train.y, chosen), 6) for name, model in models.items()},
        **row(seconds, answers, other.y.cpu().numpy()),
        "peak_memory": peak,
        "device": describe(device),
        "versions": {"torch": torch.__version__, "scikit-learn": sklearn.__version__},
    }


def objective(weights, bias, x, y, decay: float) -> float:
    """What both fits minimise; the lower of two is nearer to the optimum."""
    return float(F.cross_entropy(x @ weights + bias, y) + decay / 2 * weights.square().sum())


def row(seconds: dict[str, list[float]], answers: dict[str, np.ndarray], labels: np.ndarray) -> dict:
    """Medians, spreads (largest minus smallest over the median), ratios taken round by round, accuracies and agreement in percent."""
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    accuracy = {name: 100 * float((found == labels).mean()) for name, found in answers.items()}
    return {
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "spread": {name: round((max(taken) - min(taken)) / medians[name], 3) for name, taken in seconds.items()},
        **{
            name: round(statistics.median(a / b for a, b in zip(seconds[p], seconds[q], strict=True)), 3) for name, (p, q) in RATIOS.items()
        },
        "accuracy": {name: round(value, 2) for name, value in accuracy.items()},
        "points_from_sklearn": {
            name: round(accuracy[name] - accuracy[other], 2)
            for name, other in (("fit", "fit_sklearn"), ("probe", "fit_sklearn"), ("knn", "knn_sklearn"))
        },
        "same_answers": {name: round(100 * float((answers[name] == answers[f"{name}_sklearn"]).mean()), 2) for name in ("fit", "knn")},
        "rounds": len(seconds["fit"]),
    }


def page(r: dict) -> str:
    """The row as Markdown."""
    table = [
        {
            "what": text.format(decays=len(linear.WEIGHT_DECAYS)),
            "seconds": f"{r['seconds'][name]:.3f}",
            "spread": f"{r['spread'][name]:.0%}",
            "accuracy": f"{r['accuracy'][name]:.2f} %" if name in r["accuracy"] else "",
        }
        for name, text in WHAT.items()
    ]
    device, points = r["device"], r["points_from_sklearn"]
    packages = ", ".join(f"{name} {number}" for name, number in r["versions"].items())
    return "\n\n".join(
        [
            f"# Linear probe and kNN beside scikit-learn on {device_words(device)}",
            f"Written by `make bench-readouts`. {r['count']:,} x {r['width']} features to learn from, {r['test']:,} to "
            f"judge, {r['classes']} classes, made by seed {r['seed']}: overlapping classes, correlated, never negative. Medians over "
            f"{r['rounds']} rounds in which all took turns; {packages}.",
            lines(table),
            f"**Linear.** One fit is {r['fit_times_sklearn']:.1f} times as fast as scikit-learn's at the same weight decay "
            f"({r['weight_decay']:g}; {r['sklearn_iterations']} of its iterations, default tolerance), {points['fit']:+.2f} points from its "
            f"accuracy, {r['same_answers']['fit']:.2f} % of the answers the same; the objective ends at "
            f"{r['objective']['fit']:.5f}, scikit-learn's at {r['objective']['fit_sklearn']:.5f}. Our whole probe is {r['probe_times_sklearn']:.1f} times as "
            f"fast as that one fit of scikit-learn, which was given the weight decay and standardised features ({points['probe']:+.2f} points).",
            f"**kNN, k = {r['k']}, cosine.** The whole of it takes {r['knn_over_product']:.2f} times as long as the bare matrix product and is "
            f"{r['knn_times_sklearn']:.1f} times as fast as scikit-learn; {points['knn']:+.2f} points, {r['same_answers']['knn']:.2f} % of the "
            "answers the same (of tied classes, ours takes the one whose member is nearest, scikit-learn the lowest label).",
            f"Peak memory of ours, features and everything loaded included: {r['peak_memory'] / 1e9:.2f} GB.",
        ]
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=50_000, help="features to learn from")
    parser.add_argument("--test", type=int, default=10_000, help="features to judge")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--device", default="auto")


def run(given: argparse.Namespace) -> int:
    if given.count < 100 or min(given.test, given.width, given.repeats) < 1:
        raise UserError("Give --count of at least 100, and --test, --width and --repeats of at least 1.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)  # a time before its optimum would be no time to compare with
            measured = measure(given.count, given.test, given.width, given.repeats, pick_device(given.device))
    except ConvergenceWarning as error:
        raise UserError(f"scikit-learn did not converge in {MOST_ITERATIONS} iterations. Give more images: --count.") from error
    text = page(measured) + "\n"
    print(text)
    print("Read it:", *written(file_of(measured["device"], "-readouts"), measured, text))
    return 0
