"""Views that grow: small ones early, where a step costs a fraction and shapes are learned as well, the full size late."""

from helpers.core.errors import UserError
from helpers.methods import Method


class Growing:
    """A method's views by epoch. They change between epochs alone, so that shapes are few and a resumed run is the same run."""

    def __init__(self, method: Method, sizes: tuple[tuple[float, int], ...], epochs: int):
        self.method, self.sizes, self.epochs = method, sizes, epochs
        if sizes and not method.encoder.takes_any_size:
            raise UserError(f"{method.encoder.name} takes one image size, so its views cannot grow: leave training.sizes out.")
        self.made = {side: method.views.at(side) for _, side in sizes if side != method.views.size}
        for views in self.made.values():
            method.encoder.width_at(min(views.sizes))  # an error where a view is too small for the net

    def at(self, epoch: int):
        """The views of an epoch, counted from 0; asked of the method each time where they do not grow, as somebody may have replaced them."""
        side = side_at(self.sizes, epoch, self.epochs)
        return self.made.get(side, self.method.views)


def side_at(sizes: tuple[tuple[float, int], ...], epoch: int, epochs: int) -> int | None:
    """The side of an epoch's views, None where it is the recipe's."""
    begun = [side for share, side in sizes if epoch >= share * epochs]
    return begun[-1] if begun else None


def mean_area(sizes: tuple[tuple[float, int], ...], epochs: int, full: int) -> float:
    """What a step costs on average over the run, as a share of one at full size: a convolution's work goes by the area."""
    sides = [side_at(sizes, epoch, epochs) or full for epoch in range(epochs)]
    return sum((side / full) ** 2 for side in sides) / epochs
