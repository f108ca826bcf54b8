"""The class key: random, long enough, and never seen again."""

import subprocess
import sys

import pytest

from grading import key

KEY = "9a7c1f60d2b84e35a1c09e7f5b6d2384"


def test_a_made_key_can_be_read_and_is_new_each_time():
    made = {key.make() for _ in range(20)}
    assert len(made) == 20
    assert all(len(key.read(text)) == 16 for text in made)


def test_the_command_prints_a_key():
    out = subprocess.run(
        [sys.executable, "-m", "grading.key"], capture_output=True, text=True, check=True
    ).stdout
    assert len(key.read(out)) == 16


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        (KEY[:-2], "has 30 hexadecimal digits, and needs 32"),
        (KEY + "a", "odd number"),
        (KEY[:-1] + "g", "not hexadecimal"),
        ("my secret class in autumn of 2026!", "not hexadecimal"),
        ("0" * 32, "does not look random"),
        ("deadbeef" * 4, "does not look random"),
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(text, fault):
    with pytest.raises(key.ClassKeyError, match=fault) as error:
        key.read(text)
    assert "python -m grading.key" in str(error.value)
    assert not text.strip() or text.strip() not in str(error.value)


def test_longer_keys_and_blanks_around_are_fine():
    assert key.read(f" {KEY.upper()}\n") == key.read(KEY)
    assert len(key.read(KEY * 2)) == 32


def test_the_key_comes_from_the_environment_or_a_file(tmp_path):
    file = tmp_path / "class.key"
    file.write_text(KEY + "\n")
    assert key.from_environment({}) == key.DEMONSTRATION
    assert key.from_environment({"CLASS_KEY": ""}) == key.DEMONSTRATION
    assert key.from_environment({"CLASS_KEY": KEY}) == key.read(KEY)
    assert key.from_environment({"CLASS_KEY_FILE": str(file)}) == key.read(KEY)
    with pytest.raises(key.ClassKeyError, match="not both"):
        key.from_environment({"CLASS_KEY": KEY, "CLASS_KEY_FILE": str(file)})
    with pytest.raises(key.ClassKeyError, match="cannot read the class key from"):
        key.from_environment({"CLASS_KEY_FILE": str(tmp_path / "none")})
    file.write_text("")
    with pytest.raises(key.ClassKeyError, match="is empty"):
        key.from_environment({"CLASS_KEY_FILE": str(file)})


def test_numbers_and_tags_depend_on_key_and_purpose_alone():
    one, two = key.read(KEY), key.read(KEY[::-1])
    assert key.rng(one, "pooling").random() == key.rng(one, "pooling").random()
    draws = {key.rng(k, p).random() for k in (one, two) for p in ("pooling", "funnel")}
    tags = {key.tag(k, p) for k in (one, two) for p in ("pooling", "funnel")}
    assert len(draws) == len(tags) == 4
    assert all(KEY[:4] not in tag for tag in tags)


def test_keys_that_differ_in_one_bit_give_unrelated_numbers():
    near = key.read(KEY[:-1] + "5")
    a, b = (key.rng(k, "pooling").random(200) for k in (key.read(KEY), near))
    assert abs(((a - 0.5) * (b - 0.5)).mean()) < 4 / 12 / 200**0.5
