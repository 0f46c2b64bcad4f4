"""Checking committed results against their records."""

from helpers.commands import verify


def test_what_another_library_reached_is_there_to_be_drawn_from(tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    for name in ("cpu1", "lightly"):
        (tmp_path / "results" / "speedrun" / name).mkdir(parents=True)
    verify._link_measured(tmp_path / "fresh")
    assert [path.name for path in (tmp_path / "fresh" / "speedrun").iterdir()] == ["lightly"], "variants are drawn anew"
