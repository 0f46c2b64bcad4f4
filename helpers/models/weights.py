"""Weights in and out: safetensors that plain timm or torchvision load, and local files as initial weights. Nothing is unpickled."""

import json
import pickle
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from helpers.core.errors import DataError, UserError
from helpers.core.files import shown, write_bytes
from helpers.models.catalogue import find
from helpers.models.encoders import Encoder
from helpers.models.nets import library_of, timm_arguments

# What a classifier's keys start with in timm and torchvision; a ViT that concatenates adds keys of its own under FEATURE.
_CLASSIFIERS = ("fc.", "head.", "heads.", "classifier.", "AuxLogits.", "aux1.", "aux2.")
FEATURE = "feature."


def export(encoder: Encoder, path: str | Path) -> Path:
    """Writes the weights under timm's (or torchvision's) own keys; the metadata says how to build the net that takes them."""
    state = {key: value.detach().cpu().contiguous() for key, value in _state(encoder).items()}
    spec = find(encoder.name)
    library = library_of(spec, encoder.options)
    arguments = timm_arguments(encoder.name, spec, encoder.image_size, encoder.stem, encoder.options) if library == "timm" else {}
    facts = {
        "name": encoder.name,
        "stem": encoder.stem,
        "image_size": str(encoder.image_size),
        "options": json.dumps(encoder.options),
        "library": library,
        "architecture": spec.base,
        "arguments": json.dumps(arguments),
        "first_layer": str(encoder.first_layer),
        "width": str(encoder.width),
    }
    return write_bytes(Path(path), _in_order(save(state, facts)))


def _in_order(file: bytes) -> bytes:
    """The same file with its header sorted: safetensors writes the metadata in another order in every process."""
    size = int.from_bytes(file[:8], "little")
    header = json.dumps(json.loads(file[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + file[8 + size :]


def load_weights(encoder: Encoder, path: str | Path) -> Encoder:
    """Fills the encoder from a safetensors or torch file; every key must fit, but for a classifier's, which are ignored."""
    path = existing(path)
    state = _state(encoder)
    found = {key: value for key, value in _read(path).items() if key in state or not key.startswith(_CLASSIFIERS)}
    _compare(encoder, state, found, path)
    with torch.no_grad():
        for key, value in found.items():
            state[key].copy_(value)
    return encoder


def _state(encoder: Encoder) -> dict[str, torch.Tensor]:
    """The net's tensors under its own keys, and the map of concatenated tokens; they share memory with the encoder."""
    return encoder.net.state_dict() | {FEATURE + key: value for key, value in encoder.feature.state_dict().items()}


def existing(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"No weights at {shown(path)}. Give the path of a local safetensors or torch file.")
    return path


def metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file, under their keys."""
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{shown(path)} holds more than tensors, or is cut short, and is not opened: only safe files are. Save the state dict alone."
        ) from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{shown(path)} is not a state dict: it must map names to tensors. Save model.state_dict() alone.")
    return state


def _damaged(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0].replace(str(path), shown(path)) if str(error) else type(error).__name__
    return DataError(f"{shown(path)} is cut short, damaged or not a weights file ({reason}). Copy or export it again.")


def _compare(encoder: Encoder, state: dict, found: dict, path: Path) -> None:
    """Refuses a file that does not fit, naming the first few keys and, when the file says it, what it was made for."""
    # Files older than the counter of batch normalisation lack it; it decides nothing at a fixed momentum.
    missing = [key for key in state if key not in found and not key.endswith("num_batches_tracked")]
    extra = [key for key in found if key not in state]
    shapes = [key for key in found if key in state and found[key].shape != state[key].shape]
    problems = [f"{_few(missing)} missing", f"{_few(extra)} unknown"] if missing or extra else []
    if shapes:
        problems.append(
            f"{_few(shapes)} of another shape ({tuple(found[shapes[0]].shape)} in the file, {tuple(state[shapes[0]].shape)} in the encoder)"
        )
    if not problems:
        return
    if any(key.startswith(("lightness.", "colour.")) for key in found):
        raise UserError(
            f"{shown(path)} holds the two halves of a Split-Brain encoder, which is no single net. Build a SplitEncoder "
            "(helpers/methods/split_encoder.py) as its run did and load the file into that."
        )
    facts = metadata(path) if path.suffix == ".safetensors" else {}
    made = (
        f" The file was made for {facts['name']}, stem {facts['stem']}, {facts['image_size']} px."
        if {"name", "stem", "image_size"} <= set(facts)
        else ""
    )
    raise UserError(
        f"{shown(path)} does not fit {encoder.name} (stem {encoder.stem}, {encoder.image_size} px): {'; '.join(problems)}.{made}"
        " Build the encoder the file was made for, with its stem and image size."
    )


def _few(keys: list[str]) -> str:
    return f"{', '.join(keys[:3])}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}" if keys else "nothing"
