import pytest

from batch_score.errors import ConfigError
from batch_score.output.encoder import OutputOptions, check_columns
from batch_score.output.forms import encoder_for


@pytest.mark.parametrize(
    ("name", "suffix", "keyed", "spooled"),
    [
        ("parallel_run_step.txt", ".txt", False, False),
        ("predictions.csv", ".csv", True, False),
        ("P.TSV", ".tsv", True, False),
        ("a.b.jsonl", ".jsonl", True, False),
        ("predictions.parquet", ".parquet", True, True),
    ],
)
def test_the_extension_selects_the_form(name, suffix, keyed, spooled):
    encoder = encoder_for(OutputOptions(name))
    assert (encoder.suffix, encoder.keyed, encoder.spooled) == (suffix, keyed, spooled)


@pytest.mark.parametrize("name", ["predictions", "predictions.json", "predictions.csv.gz", ".csv"])
def test_another_extension_is_refused_with_the_five(name):
    with pytest.raises(ConfigError, match=r"end it in one of \.txt, \.csv, \.tsv, \.jsonl, \.parquet"):
        encoder_for(OutputOptions(name))


@pytest.mark.parametrize(("expected", "got"), [(("a", "b"), ("a", "b")), ((), ("a",)), (("a",), ())])
def test_equal_or_unknown_columns_fit(expected, got):
    assert check_columns(expected, got) is None


@pytest.mark.parametrize(
    ("got", "part"),
    [
        (("a",), "without 'b'"),
        (("a", "b", "c"), "with the new 'c'"),
        (("a", "c"), "without 'b' and with the new 'c'"),
        (("b", "a"), "in the order 'b', 'a' instead of 'a', 'b'"),
    ],
)
def test_other_columns_are_described(got, part):
    message = check_columns(("a", "b"), got)
    assert message is not None
    assert part in message


def test_a_form_that_is_asked_for_goes_before_the_extension():
    assert encoder_for(OutputOptions("predictions.csv", form="txt")).suffix == ".txt"
    assert encoder_for(OutputOptions("predictions.out", form="jsonl")).suffix == ".jsonl"
