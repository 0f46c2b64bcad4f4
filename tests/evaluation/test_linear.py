import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from helpers.core.errors import UserError
from helpers.evaluation import Features, linear, probe


def features(count, seed, classes=10, width=48, noise=2.0):
    """Overlapping classes in features that are correlated, badly scaled and far from zero, as an encoder's are."""
    fixed, draw = torch.Generator().manual_seed(7), torch.Generator().manual_seed(seed)
    centres, mix = torch.randn(classes, width, generator=fixed), torch.randn(width, width, generator=fixed)
    scale = torch.logspace(-2, 2, width)
    labels = torch.randint(classes, (count,), generator=draw)
    x = (centres[labels] + noise * torch.randn(count, width, generator=draw)) @ mix
    return Features((x * scale + 5 * scale), labels)


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other on a busy machine cost more than these small matrices."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def sets():
    return features(2000, 1), features(2000, 2)


def test_reaches_the_optimum_of_scikit_learn_at_every_weight_decay(sets):
    train, test = sets
    x, test_x = linear.standardise(train.x, test.x)
    regression = linear.Regression(x, train.y, 10)
    share = torch.ones(len(x))
    decays = (1e-1, 1e-3)
    joint = regression.fit(decays, share, linear.SEARCH_STEPS)
    for i, decay in enumerate(decays):
        reference = LogisticRegression(C=1 / (decay * len(x)), max_iter=1000, tol=1e-5).fit(x.numpy(), train.y.numpy())
        theirs = objective(torch.tensor(reference.coef_.T), torch.tensor(reference.intercept_), x, train.y, decay)
        alone = regression.fit((decay,), share, linear.FINAL_STEPS)
        for fitted, tolerance in ((tuple(part[i : i + 1] for part in joint), 1e-2), (alone, 1e-3)):
            scores = regression.scores(test_x, (decay,), fitted)[0]
            accuracy = (scores.argmax(1) == test.y).float().mean().item()
            assert abs(accuracy - reference.score(test_x.numpy(), test.y.numpy())) < 0.005
            ours = objective(regression.weights((decay,), fitted[0])[0], fitted[1][0, :, 0], x, train.y, decay)
            assert theirs * (1 - 1e-5) < ours < theirs * (1 + tolerance)


def test_few_features_agree_with_scikit_learn_coefficient_by_coefficient():
    train = features(1500, 5, classes=4, width=6)
    x, _ = linear.standardise(train.x, train.x)
    reference = LogisticRegression(C=1 / (1e-2 * len(x)), max_iter=1000, tol=1e-7).fit(x.double().numpy(), train.y.numpy())
    regression = linear.Regression(x, train.y, 4)
    v, bias = regression.fit((1e-2,), torch.ones(len(x)), linear.FINAL_STEPS)
    torch.testing.assert_close(regression.weights((1e-2,), v)[0], torch.tensor(reference.coef_.T).float(), atol=2e-2, rtol=0)
    theirs = torch.tensor(reference.intercept_).float()  # a number added to every bias changes nothing
    torch.testing.assert_close(bias[0, :, 0] - bias.mean(), theirs - theirs.mean(), atol=2e-2, rtol=0)


def test_one_decay_alone_takes_no_slower_product_than_many(sets):
    """The weights of a single decay came as a transposed view once, for which the CPU's product of few rows is very slow."""
    seen = []

    class Watched(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.Tensor.__matmul__ or function is torch.Tensor.matmul:
                if args[0].shape[-1] == args[1].shape[0] and args[1].shape[-1] == len(sets[0].x):
                    seen.append(args[0].is_contiguous())
            return function(*args, **(kwargs or {}))

    x, _ = linear.standardise(sets[0].x, sets[0].x)
    regression = linear.Regression(x, sets[0].y, 10)
    with Watched():
        regression.fit((1e-3,), torch.ones(len(x)), 3)
    assert seen and all(seen)


def test_one_class_and_a_tiny_set():
    few = features(12, 1, classes=3, width=4)
    assert 0 <= probe(few, few, 3).top1 <= 100
    single = Features(few.x, torch.zeros(12, dtype=torch.int64))
    assert probe(single, single, 1).top1 == 100


def test_standardising_leaves_the_features_as_they_were(sets):
    train, test = (part.x.clone() for part in sets)
    x, _ = linear.standardise(train, test)
    assert torch.equal(train, sets[0].x) and torch.equal(test, sets[1].x)
    torch.testing.assert_close(x.std(0), torch.ones(48))
    torch.testing.assert_close(x.mean(0), torch.zeros(48), atol=1e-3, rtol=0)


def objective(weights, bias, x, y, decay):
    return float(F.cross_entropy(x @ weights.float() + bias.float(), y) + decay / 2 * weights.square().sum())


def test_a_held_out_image_teaches_nothing(sets):
    train, _ = sets
    x, _ = linear.standardise(train.x, train.x)
    share = torch.ones(len(x))
    share[::10] = 0
    lied = train.y.clone()
    lied[::10] = (lied[::10] + 1) % 10
    honest, fooled = (linear.Regression(x, y, 10).fit((1e-3,), share, 20) for y in (train.y, lied))
    assert torch.equal(honest[0], fooled[0])


def test_held_out_slice_is_a_stratified_tenth_and_seeded():
    labels = torch.cat([torch.zeros(500), torch.ones(300), torch.full((200,), 2)]).long()
    held = linear.held_out(labels, 0)
    assert len(held.unique()) == len(held) == 100
    assert labels[held].bincount().tolist() == [50, 30, 20]
    assert torch.equal(held, linear.held_out(labels, 0))
    assert not torch.equal(held, linear.held_out(labels, 1))
    assert len(linear.held_out(torch.zeros(80_000, dtype=torch.int64), 0)) == linear.HELD_OUT


def test_folds_hold_out_every_image_once_and_each_class_in_each():
    labels = torch.cat([torch.zeros(50), torch.ones(30), torch.full((20,), 2)]).long()
    parts = linear.in_folds(labels, 5, 0)
    assert torch.cat(parts).sort().values.tolist() == list(range(100))
    assert [labels[part].bincount().tolist() for part in parts] == [[10, 6, 4]] * 5
    assert not torch.equal(parts[0], linear.in_folds(labels, 5, 1)[0])


def test_with_few_labels_folds_choose_better_than_a_handful_of_images(sets):
    """Over 8 draws of 60 labels: a tenth of them are six images."""
    found = {folds: [] for folds in (1, 5)}
    for draw in range(8):
        few = features(60, 100 + draw)
        for folds, accuracies in found.items():
            result = probe(few, sets[1], 10, folds=folds)
            accuracies.append(result.top1)
            assert result.validation[result.weight_decay] == max(result.validation.values())
    gain = [five - one for one, five in zip(found[1], found[5], strict=True)]
    assert sum(gain) / len(gain) > 0.5, gain


def test_probe_reports_what_it_measured(sets):
    train, test = sets
    result = probe(train, test, 10)
    assert 50 < result.top1 < result.top3 < result.top5 <= 100
    assert result.top1 == pytest.approx(100 * (result.predictions == test.y).float().mean().item(), abs=1e-3)
    assert result.predictions.dtype == torch.int64
    assert set(result.validation) == set(linear.WEIGHT_DECAYS)
    assert result.validation[result.weight_decay] == max(result.validation.values())
    counts = test.y.bincount(minlength=10).numpy()
    assert (result.per_class * counts).sum() / counts.sum() == pytest.approx(result.top1, abs=1e-3)
    assert torch.equal(result.predictions, probe(train, test, 10).predictions)


def test_the_choice_of_weight_decay_never_sees_the_test_set(sets):
    train, test = sets
    shuffled = Features(test.x.flip(0) * 3, test.y)
    one, other = probe(train, test, 10), probe(train, shuffled, 10)
    assert (one.weight_decay, one.validation) == (other.weight_decay, other.validation)
    assert one.top1 > other.top1 + 20


def test_strong_weight_decay_wins_where_features_are_many_and_labels_few():
    """In three draws of four at least: of 120 labels one image more decides between neighbouring decays."""
    chosen = []
    for seed in range(4):
        draw = torch.Generator().manual_seed(seed)
        train, test = features(120, 3 + 2 * seed, classes=3, noise=3.0), features(500, 4 + 2 * seed, classes=3, noise=3.0)
        noisy = [
            Features(torch.cat([part.x, part.x.std() * torch.randn(len(part.x), 200, generator=draw)], 1), part.y) for part in (train, test)
        ]
        chosen.append(probe(*noisy, 3).weight_decay)
    assert sorted(chosen)[1] >= 1e-2, chosen


@pytest.mark.parametrize(("count", "folds"), [(200, 5), (linear.FEW, 1)])
def test_of_few_labels_each_is_held_out_once_and_of_many_a_tenth(monkeypatch, count, folds):
    held = []
    real = linear.Regression.scores
    monkeypatch.setattr(linear.Regression, "scores", lambda self, x, *rest: held.append(len(x)) or real(self, x, *rest))
    result = probe(features(count, 1, width=6), features(100, 2, width=6), 10)
    assert result.folds == folds and held == ([count // 5] * 5 if folds == 5 else [count // 10])


def test_a_classifier_is_trusted_as_far_as_it_holds_on_images_held_out(sets):
    train, _ = sets
    guessed = Features(train.x[:200], train.y[torch.randperm(200, generator=torch.Generator().manual_seed(0))])
    assert linear.fit(train, 10).trust > 0.5 and linear.fit(guessed, 10).trust < 0.3


def test_a_fit_scores_what_it_was_fitted_on(sets):
    train, test = sets
    found, result = linear.fit(train, 10), probe(train, test, 10)
    right = (found.scores(train.x).argmax(1) == train.y).float().mean().item()
    assert result.train_top1 == pytest.approx(100 * right) and result.train_top1 > result.top1
    assert torch.equal(found.scores(test.x).argmax(1), result.predictions)


def test_dead_and_constant_features_do_no_harm(sets):
    train, test = sets
    dead = [Features(torch.cat([part.x, torch.zeros(len(part.x), 3), torch.full((len(part.x), 1), 0.3)], 1), part.y) for part in sets]
    assert probe(*dead, 10).top1 == pytest.approx(probe(train, test, 10).top1, abs=0.5)
    collapsed = [Features(torch.full((len(part.x), 8), 0.7), part.y) for part in sets]
    assert probe(*collapsed, 10).top1 == pytest.approx(10, abs=5)


def test_impossible_inputs_are_named(sets):
    train, test = sets
    with pytest.raises(UserError, match="at least 10 .* 4"):
        probe(Features(train.x[:4], train.y[:4]), test, 10)
    with pytest.raises(UserError, match="up to 9, but there are 5"):
        probe(train, test, 5)


def test_the_classifier_works_on_raw_features(sets):
    train, test = sets
    result = probe(train, test, 10)
    weights, bias = result.classifier
    agree = ((test.x @ weights + bias).argmax(1) == result.predictions).float().mean()
    assert agree > 0.995  # rounding decides ties


@pytest.mark.parametrize("silently", [False, True])
def test_axes_that_single_precision_cannot_find_are_found_in_double(monkeypatch, silently):
    """Both happen on a CPU: an error, and values that are not numbers."""
    matrix, found = torch.diag(torch.tensor([2.0, 0.0, 1.0])), torch.linalg.eigh

    def stubborn(asked):
        if asked.dtype == torch.float64:
            return found(asked)
        if silently:
            return tuple(part * torch.nan for part in found(asked))
        raise torch.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(torch.linalg, "eigh", stubborn)
    values, vectors = linear._axes(matrix)
    assert values.dtype == torch.float32
    assert torch.allclose(vectors @ torch.diag(values) @ vectors.T, matrix)
