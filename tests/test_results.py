from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_scientist.errors import ReplyError, ResultError
from ai_scientist.judging.statistics import compare
from ai_scientist.records import MetricSpec, Results
from ai_scientist.results.files import results_from_json, results_to_json
from ai_scientist.results.naming import metric_names
from ai_scientist.results.reading import combine, config_diff, read_results, resolve, short_name

SEED_SHAPE: dict[str, Any] = {
    "training results for layer 12": {
        "config": {"lr": 0.0003, "k": 320, "wandb_name": "x", "betas": [0.9, 0.99]},
        "final_info": {"final_loss": 701.5, "layer": 12},
        "stderr": {"final_loss": 0.5},
        "per_seed": {"final_loss": [701.0, 702.0]},
    },
    "core evaluation results": {
        "eval_cfg": {"batch": 16},
        "datetime_epoch_millis": 1737884773606,
        "metrics": {"sparsity": {"l0": 85.2}, "quality": {"cossim": None}},
        "measured": {"weights": "ab12", "d_sae": 2304},
        "details": [{"letter": "a", "rate": 0.5}, {"letter": "b", "rate": 0.25}],
    },
    "not run": {"unlearning": "no weights here"},
}


def written(folder: Path, content: object) -> Path:
    """Write final_info.json into `folder`."""
    path = folder / "final_info.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def required(*names: str) -> dict[str, MetricSpec]:
    """Return specifications of required metrics."""
    return {name: MetricSpec(name=name, required=True) for name in names}


def test_nested_shape_is_read_down_to_its_numbers(tmp_path: Path) -> None:
    """Values, errors and seeds of a metric share one path; configuration is kept apart."""
    results = read_results(written(tmp_path, SEED_SHAPE), {})
    loss = "training results for layer 12/final_loss"
    assert results.metrics[loss] == 701.5
    assert results.stderr[loss] == 0.5
    assert results.seeds[loss] == (701.0, 702.0)
    assert results.metrics["core evaluation results/metrics/sparsity/l0"] == 85.2
    assert results.metrics["core evaluation results/details[b]/rate"] == 0.25
    assert results.config["training results for layer 12/config/lr"] == 0.0003
    assert results.config["core evaluation results/eval_cfg/batch"] == 16
    assert results.measured["core evaluation results"] == {"weights": "ab12", "d_sae": 2304}
    assert results.not_run == {
        "unlearning": "no weights here",
        "core evaluation results/metrics/quality/cossim": "no value (null)",
    }
    assert not any("datetime" in path for path in results.metrics)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"d": {"means": {"a": 1}, "stderrs": {"a": 0.1}, "solution": [1, 2]}}, {"d/a": 1.0}),
        ({"d": {"means": 0.5}}, {"d": 0.5}),
        ({"M": {"means": {"water": {"mae": 0.1}}}}, {"M/water/mae": 0.1}),
        ({"d": {"means": {"a_mean": 2.0}, "final_info_dict": {"a": [1, 3]}}}, {"d/a_mean": 2.0}),
        ({"x": {"final_info": {"y": 3}}, "note": "text", "ok": True}, {"x/y": 3.0}),
    ],
)
def test_deviants_of_the_first_shape(
    tmp_path: Path, content: object, expected: dict[str, float]
) -> None:
    """Every shape that a template of AI-Scientist writes gives one path per number."""
    assert read_results(written(tmp_path, content), {}).metrics == expected


def test_seed_lists_join_the_mean_they_belong_to(tmp_path: Path) -> None:
    """X_mean, X_stderr and X per seed, as nanoGPT writes them, end at one path."""
    content = {
        "d": {
            "means": {"a_mean": 2.0},
            "stderrs": {"a_stderr": 0.2},
            "final_info_dict": {"a": [1, 3]},
        }
    }
    results = read_results(written(tmp_path, content), {})
    assert (results.stderr, results.seeds) == ({"d/a_mean": 0.2}, {"d/a_mean": (1.0, 3.0)})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"d": {"means": {"loss": 1.0', "not valid JSON"),
        ("[1, 2]", "must hold a JSON object"),
        ("{}", "holds no number"),
        ('{"d": "text"}', "holds no number"),
        ('{"loss": NaN}', "not a finite number"),
        ('{"loss": -Infinity}', "not a finite number"),
        ('{"loss": true}', "it is: true or false"),
        ('{"loss": "0.93"}', "it is: the text '0.93'"),
        ('{"loss": null}', "no value"),
        ('{"loss": [1.0]}', "it is: a list"),
        ('{"loss": 1, "loss": 2}', "twice in one object"),
        ('{"means": {"loss": 1}, "loss": 2}', "two numbers"),
        ('{"a": {"loss": 1}, "b": {"loss": 2}}', "could mean any of 'a/loss', 'b/loss'"),
        ('{"train_loss": 1}', "is missing. The numbers found there are: train_loss"),
        ('{"loss": 1' + "0" * 5000 + "}", "too long"),
        ('{"loss": 1' + "0" * 400 + "}", "not a finite number"),
        ('{"a":' * 200_000, "nested too deeply"),
        ('{"a":' * 60 + "1" + "}" * 60, "nested too deeply"),
        ('{"' + "k" * 500 + '": 1}', "a key of 500 characters"),
        ("\x80", "not valid JSON"),
    ],
)
def test_a_bad_file_is_a_worded_failure(tmp_path: Path, content: str, words: str) -> None:
    """Whatever generated code leaves behind, the coder is told what is wrong with it."""
    path = written(tmp_path, content)
    with pytest.raises(ResultError) as caught:
        read_results(path, required("loss"))
    assert words in caught.value.message
    assert "final_info.json" in caught.value.message
    assert len(caught.value.message) < 700


def test_missing_huge_and_binary_files(tmp_path: Path) -> None:
    """No file, fifty megabytes and bytes that are no text are failures, never a crash."""
    path = tmp_path / "final_info.json"
    with pytest.raises(ResultError, match="without writing"):
        read_results(path, {})
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ResultError, match="UTF-8"):
        read_results(path, {})
    with path.open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(ResultError, match="50 MB"):
        read_results(path, {})
    path.unlink()
    path.mkdir()
    with pytest.raises(ResultError, match="cannot be read"):
        read_results(path, {})


def test_optional_values_that_are_not_finite_are_not_run(tmp_path: Path) -> None:
    """A NaN that nobody requires is printed as not run and never as a number."""
    results = read_results(written(tmp_path, '{"loss": 1, "kl": NaN, "big": 1e999}'), {})
    assert results.metrics == {"loss": 1.0}
    assert set(results.not_run) == {"kl", "big"}


def test_numbers_too_large_to_compare_are_not_run(tmp_path: Path) -> None:
    """A loss that diverged can be combined and compared whatever its size, or is not run."""
    results = [
        read_results(written(tmp_path, json.dumps({"kept": size, "left": size * 1e8})), {})
        for size in (-1e75, 3e74, 1e75, 2e74, 9e74)
    ]
    pair, three = combine(results[:2]), combine(results[2:])
    assert compare(pair, three, "kept").verdict == "not distinguishable"
    assert pair.not_run == {"left": "too large to compare (3e+82)"}
    listed = '{"d": {"means": {"a": 1.0}, "final_info_dict": {"a": [1e300, 1e300]}}}'
    assert read_results(written(tmp_path, listed), {}).seeds == {}


@pytest.mark.parametrize(
    "content", ['{"means": 3}', '{"means": null}', '{"final_info": [{"a": 1}]}']
)
def test_a_number_without_a_name_is_none(tmp_path: Path, content: str) -> None:
    """What no key names could be shown nowhere, so it makes no run valid."""
    with pytest.raises(ResultError, match="holds no number"):
        read_results(written(tmp_path, content), {})


def test_what_is_stored_is_what_was_read(tmp_path: Path) -> None:
    """Half a surrogate pair, which no file can hold, is replaced before anything is named by it."""
    half = r"\ud800"
    content = f'{{"l{half}": 1, "config": {{"k": "v{half}"}}, "not run": {{"m": "w{half}"}}}}'
    results = read_results(written(tmp_path, content), {})
    (tmp_path / "stored.json").write_text(json.dumps(results_to_json(results), ensure_ascii=False))
    stored = json.loads((tmp_path / "stored.json").read_text())
    assert results_from_json(stored) == results


@pytest.mark.parametrize("form", ["{}", "[{}, 1]"], ids=["text", "list"])
def test_a_change_at_the_end_of_a_long_value_is_drift(tmp_path: Path, form: str) -> None:
    """A configuration value is cut, and two that differ beyond the cut still differ."""
    values = [
        json.dumps({"a": 1, "config": {"k": json.loads(form.format(f'"{"x" * 3000}{end}"'))}})
        for end in "ab"
    ]
    old, new = (read_results(written(tmp_path, value), {}) for value in values)
    assert list(config_diff(old, new)) == ["config/k"]
    assert len(str(new.config["config/k"])) < 2100


def test_hostile_keys_become_harmless_names(tmp_path: Path) -> None:
    """No newline reaches a path, and no TeX or template syntax reaches a name."""
    content = {"a\nb": {"\\input{x}": 1.0}, "{{y}}": {"%z": 2}, "d": {"": 3}}
    results = read_results(written(tmp_path, content), {})
    assert not any("\n" in path for path in results.metrics)
    names = metric_names(results.metrics)
    assert len(set(names.values())) == 3
    for path, name in names.items():
        assert not set(name) & set("{}\\%$#&~^\n")
        assert resolve(name, results.metrics) == path


def test_names_are_the_shortest_unique_suffixes() -> None:
    """A name is as short as it can be, and what is ambiguous is an error with the candidates."""
    paths = ["a/loss", "b/loss", "b/acc", "b/details[x]/acc", "b/details[y]/acc"]
    assert short_name("b/acc", paths) == "acc"
    assert short_name("a/loss", paths) == "a/loss"
    assert short_name("b/details[x]/acc", paths) == "details-x-/acc"
    assert resolve("b/acc", paths) == resolve("acc", paths) == "b/acc"
    assert resolve("details-y-/acc", paths) == "b/details[y]/acc"
    with pytest.raises(ReplyError, match=r"any of 'a/loss', 'b/loss'"):
        resolve("loss", paths)
    with pytest.raises(ReplyError, match=r"nearest are: 'a/loss'"):
        resolve("a/los", paths)
    with pytest.raises(ReplyError):
        resolve("", paths)


PARTS = st.text("a$-[] 2", max_size=3).map(lambda part: part.strip() or "-")
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@given(st.sets(PATHS, min_size=1, max_size=6))
def test_a_name_means_its_path_whatever_the_keys(paths: set[str]) -> None:
    """What the table calls a metric is read as that one and no other, also where keys are odd."""
    for path, name in metric_names(paths).items():
        assert resolve(name, paths) == path


def test_combine_seeds() -> None:
    """Executions with one value each, or with seeds of their own, give one mean over all."""
    one = Results(metrics={"a": 1.0, "b": 5.0}, config={"config/lr": 1})
    two = Results(metrics={"a": 3.0}, config={"config/lr": 2})
    both = combine([one, two])
    assert both.config == {"config/lr": 1}
    assert both.metrics == {"a": 2.0}
    assert both.stderr == {"a": pytest.approx(1.0)}
    assert both.seeds == {"a": (1.0, 3.0)}
    assert both.not_run == {"b": "measured with 1 of 2 seeds only"}
    inside = Results(metrics={"a": 2.0}, seeds={"a": (1.0, 3.0)})
    assert combine([inside, inside]).seeds == {"a": (1.0, 3.0, 1.0, 3.0)}
    assert combine([one]).metrics == one.metrics


def test_combine_keeps_all_weights() -> None:
    """Combined executions carry the hashes of all weights, and no facts of what some lack."""
    one = Results(metrics={"a": 1.0}, measured={"core": {"weights": "ab", "d_sae": 8}, "mdl": {}})
    two = Results(metrics={"a": 3.0}, measured={"core": {"weights": "cd", "d_sae": 8}})
    assert combine([one, two]).measured == {"core": {"weights": "ab, cd", "d_sae": 8}}
    assert combine([one]).measured == one.measured


def test_config_diff_compares_only_what_both_hold(tmp_path: Path) -> None:
    """A moved value, an added and a removed key are drift; a missing evaluation is not."""
    baseline = read_results(written(tmp_path, SEED_SHAPE), {})
    changed = json.loads(json.dumps(SEED_SHAPE))
    training = changed["training results for layer 12"]["config"]
    training.update(k=20, penalty=0.1, wandb_name="y")
    del training["lr"], changed["core evaluation results"]
    moved = config_diff(baseline, read_results(written(tmp_path, changed), {}))
    prefix = "training results for layer 12/config/"
    assert moved == {
        prefix + "k": (320, 20),
        prefix + "penalty": (None, 0.1),
        prefix + "lr": (0.0003, None),
    }


def nested(levels: int, *, within: str = "") -> str:
    """A number so many levels below the top."""
    text = '{"a":' * levels + "1" + "}" * levels
    return f'{{"b": 1, "{within}": {text}}}' if within else text


def lists_of_records(levels: int) -> str:
    """A number below so many lists, each of one record."""
    return '{"x":[' * levels + '{"y":1}' + "]}" * levels


LIMITS = [
    (nested(40), nested(41), "nested too deeply (over 40 levels)"),
    (nested(40, within="config"), nested(41, within="config"), "nested too deeply"),
    (lists_of_records(19), lists_of_records(20), "nested too deeply"),
    (f'{{"{"k" * 200}": 1}}', f'{{"{"k" * 201}": 1}}', f"a key of 201 characters ('{'k' * 40}'…)"),
    (
        json.dumps({str(number): number for number in range(50_000)}),
        json.dumps({str(number): number for number in range(50_001)}),
        "holds over 50000 numbers",
    ),
    (
        '{"a": 1' + " " * (16_000_000 - 8) + "}",
        '{"a": 1' + " " * (16_000_000 - 7) + "}",
        "is 16 MB; at most 16 MB are read",
    ),
]


@pytest.mark.parametrize(
    ("fits", "too_much", "words"),
    LIMITS,
    ids=["depth", "config", "lists", "key", "leaves", "bytes"],
)
def test_each_limit_holds_at_its_number(
    tmp_path: Path, fits: str, too_much: str, words: str
) -> None:
    """What reaches a limit is read, what passes it by one is refused in words."""
    assert read_results(written(tmp_path, fits), {}).metrics
    with pytest.raises(ResultError) as caught:
        read_results(written(tmp_path, too_much), {})
    assert words in caught.value.message


def test_long_texts_are_cut_before_they_are_told(tmp_path: Path) -> None:
    """Reasons, keys and texts that a script wrote are shown to a fixed length."""
    reasons = read_results(written(tmp_path, {"a": 1, "not run": {"b": "r" * 600}}), {}).not_run
    assert reasons == {"b": "r" * 500}
    twice = "k" * 90
    with pytest.raises(ResultError, match=f"the key '{'k' * 80}' twice"):
        read_results(written(tmp_path, f'{{"x": 0, "{twice}": 1, "{twice}": 2}}'), {})
    with pytest.raises(ResultError, match=f"it is: the text '{'t' * 40}'\\."):
        read_results(written(tmp_path, {"loss": "t" * 50}), required("loss"))


@pytest.mark.parametrize("seeds", [[], [1.0, None], [1.0, "2"], 1.0, {"x": 1.0}])
def test_values_per_seed_are_all_numbers_or_left_out(tmp_path: Path, seeds: object) -> None:
    """A list per seed with a hole in it, or none at all, says nothing of the spread."""
    content = {"d": {"means": {"a": 1.0}, "final_info_dict": {"a": seeds}}}
    assert read_results(written(tmp_path, content), {}).seeds == {}


@pytest.mark.parametrize(
    ("rows", "paths"),
    [
        ([{"name": "x", "v": 1}, {"name": "y", "v": 2}], ["d[x]/v", "d[y]/v"]),
        ([{"name": "x", "v": 1}, {"name": "x", "v": 2}], ["d[0]/v", "d[1]/v"]),
        ([{"v": 1}, {"name": "y", "v": 2}], ["d[0]/v", "d[1]/v"]),
        ([{"name": "n" * 90, "v": 1}], [f"d[{'n' * 80}]/v"]),
        ([{"v": 1}, 2], []),
        ([], []),
    ],
)
def test_records_are_named_by_their_first_text(
    tmp_path: Path, rows: list[object], paths: list[str]
) -> None:
    """Distinct texts name the records of a list, else their places; a series is no metric."""
    results = read_results(written(tmp_path, {"a": 0, "d": rows}), {})
    assert list(results.metrics) == ["a", *paths]


def test_a_list_without_a_name_is_no_metric(tmp_path: Path) -> None:
    """Records right below `means` have nothing to be named after."""
    assert read_results(written(tmp_path, {"a": 0, "means": [{"v": 1}]}), {}).metrics == {"a": 0}
