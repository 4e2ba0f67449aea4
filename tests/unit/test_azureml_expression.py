"""Expressions of v2 files: holes, values, what is optional, how arguments are split."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.azureml.jobs.expression import Expressions, expression_of
from batch_score.azureml.pipeline.task import Data, Hole, Value, filled
from batch_score.errors import ConfigError

INPUTS = {"data": Data(("a.csv",)), "size": Value("7"), "text": Value("two words")}
EXPRESSIONS = Expressions(INPUTS, ["note"], ["out"], "job")
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\ue000\ue001$\0"), max_size=12)


def test_holes_are_left_for_data_and_outputs_values_are_put_in():
    text = EXPRESSIONS.text("--a ${{inputs.data}} --n ${{ inputs.size }}${{outputs.out}}")
    assert text == ("--a ", Hole("inputs", "data"), " --n ", "7", Hole("outputs", "out"))


def test_what_is_optional_stays_only_with_its_inputs():
    text = EXPRESSIONS.text("x $[[--note ${{inputs.note}}]] $[[--size ${{inputs.size}}]] $[[plain]]")
    assert filled(text, {}) == "x  --size 7 plain"


def test_arguments_are_split_but_not_what_an_expression_stands_for():
    arguments = EXPRESSIONS.arguments("--t ${{inputs.text}} 'a b'$[[ --n ${{inputs.note}}]] --o=${{outputs.out}}/x ''")
    assert arguments == (("--t",), ("two words",), ("a b",), ("--o=", Hole("outputs", "out"), "/x"), ("",))
    assert EXPRESSIONS.arguments(["a b", "${{inputs.size}}"]) == (("a b",), ("7",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${{inputs.note}}", "is an optional input that was not given"),
        ("${{inputs.dato}}", "unknown input 'dato'; did you mean 'data'"),
        ("${{outputs.in}}", "unknown output 'in'"),
        ("${{parent.inputs.data}}", "is not known here; use"),
        ("'open", "cannot be split"),
    ],
)
def test_what_means_nothing_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        EXPRESSIONS.arguments(text)


def test_only_a_whole_text_is_one_expression():
    assert expression_of(" ${{ parent.inputs.x }} ") == "parent.inputs.x"
    assert expression_of("${{a}}${{b}}") is None
    assert expression_of("x ${{a}}") is None
    assert expression_of(3) is None


@given(st.lists(WORDS, max_size=6))
def test_without_expressions_arguments_are_what_a_shell_makes_of_them(words):
    assert [filled(text, {}) for text in EXPRESSIONS.arguments(shlex.join(words))] == words


@given(st.lists(st.one_of(WORDS, st.sampled_from(["data", "size", "text", "out"])), max_size=6))
def test_each_expression_stays_one_argument_wherever_it_stands(words):
    """Against a twin that puts quoted values into the text before it is split."""
    ports = {"data": "inputs", "size": "inputs", "text": "inputs", "out": "outputs"}
    places = {Hole("inputs", "data"): "/some where/a.csv", Hole("outputs", "out"): "/out'put"}
    values = {"size": "7", "text": "two words", "data": "/some where/a.csv", "out": "/out'put"}
    text = " ".join(f"${{{{{ports[word]}.{word}}}}}" if word in ports else shlex.quote(word) for word in words)
    twin = shlex.split(" ".join(shlex.quote(values.get(word, word)) for word in words))
    assert [filled(argument, places) for argument in EXPRESSIONS.arguments(text)] == twin
