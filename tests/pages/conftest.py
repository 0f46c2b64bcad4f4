import pytest

from helpers.judging import competence


@pytest.fixture(autouse=True)
def learned(monkeypatch):
    """Who has learned is tested where it is judged: runs made up for pages have."""
    monkeypatch.setattr(competence, "doubts", lambda *given: [])
