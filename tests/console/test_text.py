"""Numbers and times as a person would write them."""

from __future__ import annotations

import pytest

from adl.console import text as texts


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (7.6, "8 s"),
        (59.4, "59 s"),
        (60, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3600, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (451_000, "125 h 16 min"),
    ],
)
def test_durations_read_as_a_person_would_write_them(seconds, text):
    assert texts.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (8, "8 s"),
        (130, "2.2 min"),
        (5000, "83 min"),
        (36_000, "10 h"),
        (450_000, "125 h"),
        (9e5, "10 days"),
        (1e8, "3.2 years"),
    ],
)
def test_estimates_are_in_one_unit(seconds, text):
    assert texts.rough_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (2_500_000, "2 MB"), (11_000_000_000, "11.0 GB")],
)
def test_sizes_of_files_have_their_unit(count, text):
    assert texts.byte_size(count) == text


def test_nouns_follow_their_number():
    assert [texts.counted(n, "fault") for n in (0, 1, 2)] == ["0 faults", "1 fault", "2 faults"]
    assert texts.counted(1, "process", "processes") == "1 process"
    assert texts.counted(3475, "process", "processes") == "3,475 processes"


def test_missing_value_is_a_dash():
    assert [texts.percentage(value) for value in (None, 47.8)] == ["–", "47.80"]
    assert texts.percentage(47.86, 1) == "47.9"
    assert texts.difference(10.0, 12.5) == "+2.50"
    assert texts.difference(None, 12.5) == texts.difference(12.5, None) == "–"


def test_listing_shows_the_first_few():
    assert texts.listing(["a", "b"], most=2) == "a, b"
    assert texts.listing(["a", "b", "c"], most=2) == "a, b, …"


def test_size_of_an_image_is_width_first():
    assert texts.size(1024, 2048) == "2048×1024"
