"""What every group of settings is: frozen, checked, and kind about what is wrong with it."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from helpers.core.errors import UserError, nearest, pick

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


def known(look_up: Callable[[str], object]):
    """The type of a name that can be looked up; the error says which there are."""

    def looked_up(name: str) -> str:
        look_up(name)
        return name

    return Annotated[str, AfterValidator(looked_up)]


def one_of(kind: str, choices: Iterable[str]):
    """The type of one name among these."""
    return known(lambda name: pick(kind, name, dict.fromkeys(choices)))


class Section(BaseModel):
    """Frozen, and an unknown field is an error that names the nearest known ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in values:
                if key not in cls.model_fields:
                    raise ValueError(f"there is no field {key!r}. Nearest: {', '.join(nearest(key, cls.model_fields))}.")
        return values

    def __init__(self, **values):
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = "; ".join(_problem(p) for p in error.errors())
            raise UserError(f"{type(self).__name__}: {problems}") from error

    def changes(self) -> dict:
        """What differs from the defaults, as plain JSON."""
        return self.model_dump(mode="json", exclude_defaults=True)


def _problem(error: dict) -> str:
    # What is neither a field nor a place in a list is pydantic's own, of unions.
    where = ".".join(str(part) for part in error["loc"] if isinstance(part, int) or part.isidentifier())
    text = error["msg"].removeprefix("Value error, ")
    section, _, inner = text.partition(": ")
    if where and isinstance(error["input"], dict) and section.isidentifier():  # a section has already said which of its fields it is
        return f"{where}.{inner}" if " = " in inner.partition(":")[0] else f"{where}: {inner}"
    return f"{where} = {error['input']!r}: {text}" if where else text
