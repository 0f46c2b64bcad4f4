"""Views that grow: small ones early, where a step costs a fraction and shapes are learned as well, the full size late."""

from helpers.core.errors import UserError
from helpers.methods import Method
from helpers.views import Views


class Growing:
    """A method's views by epoch. They change between epochs alone, so that shapes are few and a resumed run is the same run."""

    def __init__(self, method: Method, sizes: tuple[tuple[float, int], ...], epochs: int):
        self.method, self.sizes, self.epochs = method, sizes, epochs
        if sizes and not method.encoder.takes_any_size:
            raise UserError(f"{method.encoder.name} takes one image size, so its views cannot grow: leave training.sizes out.")
        if sizes and not method.takes_growing_views:
            raise UserError(f"{method.card.title} takes views of one size, so they cannot grow: leave training.sizes out.")
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


def mean_area(sizes: tuple[tuple[float, int], ...], epochs: int, views: Views) -> float:
    """What a step costs on average over the run, as a share of one at full size: a convolution's work goes by the area. Small views do
    not shrink in step with large ones: no side is below 12."""
    sides = [side_at(sizes, epoch, epochs) or views.size for epoch in range(epochs)]
    areas = {side: sum(each**2 for each in views.at(side).sizes) for side in {*sides, views.size}}
    return sum(areas[side] for side in sides) / areas[views.size] / epochs
