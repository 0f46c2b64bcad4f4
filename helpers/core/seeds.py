"""Random numbers as a pure function of what they are for, so that a resumed run draws what the undisturbed one drew."""

import hashlib

import torch


def derive(*keys: object) -> int:
    """A 63-bit seed from any keys, the same on every machine: derive(seed, "views", step)."""
    digest = hashlib.sha256(repr(keys).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(device: torch.device | str, *keys: object) -> torch.Generator:
    """A generator on the device, seeded from the keys."""
    return torch.Generator(device=device).manual_seed(derive(*keys))


def generator_states(device: torch.device) -> dict:
    """Where torch's own generators stand, for a checkpoint."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None}


def restore_generators(states: dict, device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)
