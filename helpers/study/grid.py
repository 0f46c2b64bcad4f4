"""The runs a study asks for, read from its notebook without Jupyter: its grid stands there and nowhere else.

Of the notebook only that is executed which the argument of its one sweep(...) depends on. Tables, figures and forecasts do
not, so neither IPython nor matplotlib has to be there.
"""

import ast
import json
from pathlib import Path

from helpers.core.errors import DataError, RecordError, UserError, pick, unknown
from helpers.core.files import shown
from helpers.study.config import RunConfig

CHANGING = ("append", "extend", "insert", "update", "setdefault")  # methods that change what they are called on


def notebook_of(study: str, notebooks: Path) -> Path:
    return pick("study", study, {path.stem: path for path in sorted(notebooks.glob("*.ipynb"))})


def configs_of(notebook: Path, values: dict) -> list[RunConfig]:
    """The configs that the notebook hands to its sweep, in its order, with these values of its parameters."""
    parameters, body = code_of(notebook)
    known = sorted(set().union(*(_changed(node) for node in ast.parse(parameters).body)))
    for name in values:
        if name not in known:
            raise unknown(f"parameter of {notebook.stem}", name, known)
    injected = "\n".join(["# Parameters", *(f"{name} = {value!r}" for name, value in values.items())])
    _refuse_races(notebook, body)
    asked = _asked(notebook, body)
    steps = [*ast.parse(parameters).body, *ast.parse(injected).body, *needed(body, asked)]
    namespace = {"__name__": notebook.stem, "In": ["", parameters, injected]}  # In: where open_study looks for mistyped names
    try:
        exec(compile(ast.Module(steps, type_ignores=[]), notebook.name, "exec"), namespace)
        configs = list(eval(compile(ast.Expression(asked), notebook.name, "eval"), namespace))
    except (UserError, DataError, RecordError):
        raise
    except Exception as error:  # as many kinds as a cell can raise
        raise UserError(f"The grid of {shown(notebook)} cannot be built: {type(error).__name__}: {error}.") from error
    if wrong := [type(c).__name__ for c in configs if not isinstance(c, RunConfig)]:
        raise UserError(f"{shown(notebook)} hands {wrong[0]} to its sweep, where a RunConfig is meant.")
    return configs


def code_of(notebook: Path) -> tuple[str, list[ast.stmt]]:
    """The parameters cell, and the statements of all code cells after it."""
    try:
        cells = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        sources = [_python("".join(cell["source"])) for cell in cells]
        at = next((n for n, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", [])), None)
        if at is None:
            raise UserError(f"{shown(notebook)} has no cell tagged 'parameters'.")
        return sources[at], [node for source in sources[at + 1 :] for node in ast.parse(source).body]
    except (OSError, KeyError, TypeError, SyntaxError, json.JSONDecodeError) as error:
        raise UserError(f"Cannot read the notebook {shown(notebook)}: {type(error).__name__}: {error}.") from error


def _python(source: str) -> str:
    """A cell without its magics."""
    return "" if source.startswith("%%") else "\n".join(line for line in source.splitlines() if not line.startswith(("%", "!")))


def _refuse_races(notebook: Path, body: list[ast.stmt]) -> None:
    """A race times each run in a process of its own, which a campaign does not: with its sweep alone a study would be half trained."""
    called = [node.func for statement in body for node in ast.walk(statement) if isinstance(node, ast.Call)]
    if any("race" in (getattr(func, "id", None), getattr(func, "attr", None)) for func in called):
        raise UserError(f"{shown(notebook)} also calls race(...), whose runs no campaign trains: use `make speedrun` for it.")


def _asked(notebook: Path, body: list[ast.stmt]) -> ast.expr:
    """What the notebook's one sweep is called with; `body` is cut off there."""
    found = [
        (n, node)
        for n, statement in enumerate(body)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sweep"
    ]
    if len(found) != 1 or not found[0][1].args:
        raise UserError(
            f"{shown(notebook)} calls sweep(...) {len(found)} times; a campaign reads its grid from one call, sweep(configs, ...)."
        )
    at, call = found[0]
    del body[at:]
    return call.args[0]


def needed(body: list[ast.stmt], asked: ast.expr) -> list[ast.stmt]:
    """The statements that `asked` depends on, in order: each that binds or changes a name which a later needed one reads."""
    wanted, kept = _names(asked), []
    for statement in reversed(body):
        if _changed(statement) & wanted:
            wanted |= _names(statement)
            kept.insert(0, statement)
    return kept


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _changed(statement: ast.stmt) -> set[str]:
    """The names a statement binds, or whose contents it changes; what a comprehension counts with is its own."""
    changed = set()
    own = {id(part) for node in ast.walk(statement) if isinstance(node, ast.comprehension) for part in ast.walk(node.target)}
    for node in ast.walk(statement):
        if id(node) in own:
            continue
        if isinstance(node, ast.alias):
            changed.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            changed |= _root(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
            changed |= _root(node.func)
    return changed


def _root(node: ast.expr) -> set[str]:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()
