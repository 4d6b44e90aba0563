"""A release has one version: what `kvae/__init__.py` says, CHANGELOG.md, CITATION.cff and tests/saved follow."""

import re
from pathlib import Path

import kvae

ROOT = Path(__file__).parents[1]
SAVED = sorted((path.name for path in (ROOT / "tests/saved").glob("*.*.*")), key=lambda v: [*map(int, v.split("."))])
HEADINGS = re.findall(r"^## (.+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
CITATION = (ROOT / "CITATION.cff").read_text()
ENTRY = re.compile(r"(\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)")  # "0.1.0 (2026-01-31)"
RELEASES = [match.groups() for heading in HEADINGS if (match := ENTRY.fullmatch(heading))]  # newest first


def test_the_newest_saved_models_are_of_this_version():
    assert SAVED[-1] == kvae.__version__


def test_the_citation_names_this_version():
    assert re.findall(r"^version: (.+)", CITATION, re.M) == [kvae.__version__]


def test_only_the_newest_entry_of_the_changelog_may_be_unreleased():
    unreleased = HEADINGS[: HEADINGS[0] == "Unreleased"]
    assert len(unreleased) + len(RELEASES) == len(HEADINGS), f"not `Unreleased` or `version (date)`: {HEADINGS}"


def test_the_changelog_has_an_entry_for_each_version_with_saved_models():
    """Before the first release, the current version has only the entry `Unreleased`."""
    versions = [version for version, _ in RELEASES][::-1]
    assert versions == SAVED or (versions == SAVED[:-1] == [] and HEADINGS[0] == "Unreleased")


def test_the_citation_is_dated_once_there_is_a_release():
    dates = [date for _, date in RELEASES[:1]]
    assert re.findall(r"^date-released: (.+)", CITATION, re.M) == dates
