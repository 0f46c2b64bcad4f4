import numpy as np
import pytest
import torch

from helpers.core.errors import UserError
from helpers.insight import linear_cka


def noise(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns))


@pytest.mark.parametrize("debiased", [False, True])
def test_blind_to_rotation_scale_and_shift_but_not_to_stretching(debiased):
    x, y = noise(80, 12), noise(80, 12)[:, :5] + noise(80, 5, 1)
    rotation, _ = np.linalg.qr(noise(12, 12, 2))
    value = linear_cka(x, y, debiased)
    assert linear_cka(x, x, debiased) == pytest.approx(1)
    assert linear_cka(3.7 * x @ rotation + 5, y, debiased) == pytest.approx(value, abs=1e-9)
    assert linear_cka(y, x, debiased) == pytest.approx(value, abs=1e-12)
    assert 0.2 < value < 0.9
    assert abs(linear_cka(x * np.linspace(0.01, 5, 12), y, debiased) - value) > 0.02


def test_equals_the_gram_form():
    x, y = noise(60, 9), noise(60, 9)[:, ::-1] ** 3
    centre = np.eye(60) - 1 / 60
    k, kk = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    expected = np.trace(k @ kk) / np.sqrt(np.trace(k @ k) * np.trace(kk @ kk))
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-12)


def test_debiased_equals_the_mean_over_distinct_quadruples():
    """The unbiased HSIC estimate is the average of a kernel over all quadruples of different images."""
    x, y = noise(6, 3), noise(6, 3)[:, :2] + 0.5 * noise(6, 2, 1)

    def hsic(a, b):
        k, kk = a @ a.T, b @ b.T
        total, count = 0.0, 0
        for i in range(6):
            for j in range(6):
                for q in range(6):
                    for r in range(6):
                        if len({i, j, q, r}) == 4:
                            total += k[i, j] * (kk[i, j] + kk[q, r] - 2 * kk[i, q])
                            count += 1
        return total / count

    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert linear_cka(x, y, debiased=True) == pytest.approx(expected, abs=1e-9)


def test_width_flatters_the_plain_form_and_not_the_debiased():
    plain = [linear_cka(noise(100, d), noise(100, d, 1)) for d in (5, 100, 1000)]
    assert plain[0] < 0.15 and plain[1] > 0.4 and plain[2] > 0.85
    debiased = [linear_cka(noise(100, d, s), noise(100, d, s + 50), debiased=True) for d in (5, 100, 1000) for s in range(4)]
    assert max(map(abs, debiased)) < 0.1
    assert abs(np.mean(debiased)) < 0.03


def test_takes_tensors_and_half_floats_as_records_keep_them():
    x, y = noise(200, 20), noise(200, 20)[:, :8] + noise(200, 8, 1)
    half = linear_cka((300 * x).astype(np.float16), torch.tensor(y, dtype=torch.float16), debiased=True)
    assert half == pytest.approx(linear_cka(x, y, debiased=True), abs=2e-3)


def test_collapsed_features_have_no_cka_and_other_images_are_an_error():
    assert np.isnan(linear_cka(np.ones((10, 3)), noise(10, 3)))
    with pytest.raises(UserError, match="10 rows .* 11"):
        linear_cka(noise(10, 3), noise(11, 3))
    with pytest.raises(UserError, match="at least 4"):
        linear_cka(noise(3, 3), noise(3, 3), debiased=True)
