import pytest

from helpers.core.files import cache_dir


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Records and checkpoints of this test alone; packs are shared, for they depend on nothing here."""
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))
    packs = tmp_path / "cache" / "packs"
    packs.parent.mkdir()
    (cache_dir() / "packs").mkdir(parents=True, exist_ok=True)
    packs.symlink_to(cache_dir() / "packs")
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path
