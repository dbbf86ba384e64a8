from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ai_scientist.errors import InputError, SetupError
from ai_scientist.execution.bench import make_bench, prepare_data
from ai_scientist.execution.laboratory import Bench
from ai_scientist.execution.local import LocalExecutor
from ai_scientist.inputs.templates import load_template
from ai_scientist.machine.shared_cache import trim, use
from ai_scientist.sandbox.tiers import LimitsOnly
from tests.waiting import PATIENCE_S

PREPARE = """
    import argparse, json, os, pathlib, time
    import data
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile")
    parser.add_argument("--out_dir", type=pathlib.Path)
    options = parser.parse_args()
    options.out_dir.mkdir(exist_ok=True)
    (options.out_dir / "made").write_text(str(time.time_ns()))
    (options.out_dir / "inputs").write_text(os.environ.get("AI_SCIENTIST_INPUTS", "{}"))
    (options.out_dir / "large").write_bytes(os.urandom(SIZE))
    time.sleep(0.5)
"""

PREPARE_FOR_EVALUATIONS = """
    import os, pathlib, sys, time
    out = pathlib.Path(sys.argv[2].partition("=")[2])
    (out / "evaluations").mkdir(parents=True)
    (out / "made").write_text(str(time.time_ns()))
    for name in os.environ.get("AI_SCIENTIST_EVALUATIONS", "").split():
        data = pathlib.Path(os.environ["AI_SCIENTIST_DATA"])
        (out / "evaluations" / name).write_text((data / "made").read_text())
"""

MakeBench = Callable[..., Bench]


@pytest.fixture
def folder(tmp_path: Path, project: Path) -> Path:
    """A template whose prepare script takes its time."""
    copy = Path(shutil.copytree(project / "templates" / "digits", tmp_path / "template"))
    (copy / "prepare.py").write_text(textwrap.dedent(PREPARE).replace("SIZE", "100_000"))
    return copy


@pytest.fixture
def bench_of(folder: Path, fresh_cache: Path, digits_python: Path) -> MakeBench:
    """Make a bench at the small profile."""

    def make(**options: object) -> Bench:
        executor = LocalExecutor(LimitsOnly())
        return make_bench(
            load_template(folder),
            "small",
            executor=executor,
            cache=fresh_cache,
            report=lambda line: None,
            **options,  # type: ignore[arg-type]
        )

    return make


def change(path: Path, old: str, new: str) -> None:
    """Replace what stands in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_data_are_named_by_what_determines_them(folder: Path, bench_of: MakeBench) -> None:
    """What prepare.py imports makes other data; what only measures or trains does not."""
    first = bench_of().data
    (folder / "evaluation.py").write_text("ANEW = 1")
    assert bench_of().data == first
    (folder / "data.py").write_text("ANEW = 1")
    assert set(bench_of().data.values()).isdisjoint(first.values())


def test_two_processes_prepare_once(folder: Path, fresh_cache: Path, digits_python: Path) -> None:
    """Of two workers that need the same data one makes them, and both read the same bytes."""
    code = f"""
        from pathlib import Path
        from ai_scientist.execution.bench import make_bench, prepare_data
        from ai_scientist.execution.local import LocalExecutor
        from ai_scientist.inputs.templates import load_template
        from ai_scientist.sandbox.tiers import LimitsOnly
        bench = make_bench(load_template(Path({str(folder)!r})), "small",
            executor=LocalExecutor(LimitsOnly()), cache=Path({str(fresh_cache)!r}), report=print)
        print([(place / "made").read_text() for place in bench.data.values()])
    """
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [worker.communicate(timeout=PATIENCE_S)[0].splitlines() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert said[0][-1] == said[1][-1]
    made = [line for lines in said for line in lines if line.startswith("preparing")]
    assert len(made) == 2, "smoke and small, once each"


def test_what_evaluations_need_is_added_once(
    folder: Path, bench_of: MakeBench, fresh_cache: Path
) -> None:
    """Data that are there stay as they are; what an evaluation needs comes beside them, once."""
    (folder / "prepare.py").write_text(textwrap.dedent(PREPARE_FOR_EVALUATIONS))
    bench = bench_of()
    said: list[str] = []

    def serve(*evaluations: str) -> Path:
        return prepare_data(
            replace(bench, evaluations=evaluations),
            bench.profile,
            executor=LocalExecutor(LimitsOnly()),
            cache=fresh_cache,
            report=said.append,
        )[0]

    place = serve()
    first = (place / "made").read_text()
    assert (serve("probing"), serve("probing", "scr"), serve("scr")) == (place, place, place)
    assert (place / "made").read_text() == first
    added = {path.name: path.read_text() for path in (place / "evaluations").iterdir()}
    assert added == {"probing": first, "scr": first}
    about = "adding to the shared data of template/small what {} need, once"
    assert said == [about.format("probing"), about.format("scr")]


def test_an_edit_of_an_evaluation_leaves_the_data(
    folder: Path, bench_of: MakeBench, fresh_cache: Path
) -> None:
    """With a script of their own, edited evaluations are prepared anew, and nothing else is."""
    change(
        folder / "template.toml",
        "[template]",
        '[template]\nprepare_evaluations = "prepare_evaluations.py"',
    )
    change(folder / "template.toml", "frozen = [", 'frozen = ["evaluation.py", "probing.py", ')
    change(folder / "template.toml", '"evaluation.py"]', '"prepare_evaluations.py"]')
    evaluating = textwrap.dedent(PREPARE_FOR_EVALUATIONS).replace("/ name)", "/ VERSION)")
    (folder / "prepare_evaluations.py").write_text(f"from probing import VERSION\n{evaluating}")
    (folder / "probing.py").write_text('VERSION = "first"')
    bench = bench_of()
    said: list[str] = []

    def serve() -> Path:
        again = replace(bench, template=load_template(folder), evaluations=("probing",))
        options = {"executor": LocalExecutor(LimitsOnly()), "cache": fresh_cache}
        return prepare_data(again, bench.profile, report=said.append, **options)[0]  # type: ignore[arg-type]

    place = serve()
    made = (place / "made").read_text()
    (folder / "probing.py").write_text('VERSION = "second"')
    assert (serve(), serve()) == (place, place)
    assert (place / "made").read_text() == made
    assert {path.name for path in (place / "evaluations").iterdir()} == {"first", "second"}
    assert said == 2 * ["adding to the shared data of template/small what probing need, once"]


def test_least_recently_used_goes_first(bench_of: MakeBench, fresh_cache: Path) -> None:
    """Beyond the cap the longest unused entry goes; what is in use stays, and it is said."""
    bench = bench_of()
    data = fresh_cache / "data"
    for number, name in enumerate(("older", "newer")):
        (data / name).mkdir()
        (data / name / "content").write_bytes(os.urandom(100_000))
        os.utime(data / name, (number + 1, number + 1))
    said: list[str] = []
    trim(fresh_cache, 0.00035, said.append)
    assert not (data / "older").exists()
    assert (data / "newer").exists()
    held = use(data / "newer")
    trim(fresh_cache, 0.0, said.append)
    assert (data / "newer").exists()
    assert all(place.exists() for place in bench.data.values())
    assert "--cache-gb" in said[-1]
    del held
    trim(fresh_cache, 0.0, said.append)
    assert not (data / "newer").exists()
    assert use(data / "newer") is None


def test_two_launchers_trim_at_once(tmp_path: Path) -> None:
    """An entry that another launcher removes meanwhile is not missed."""
    place = tmp_path / "data"
    place.mkdir()
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            for number in range(20):
                (place / f"entry_{number}").mkdir(exist_ok=True)
            for number in range(20):
                (place / f"entry_{number}").rmdir()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(300):
            trim(tmp_path, 1.0, lambda line: None)
    finally:
        over.set()
        other.join()


def test_data_beyond_the_cap_are_refused(bench_of: MakeBench, fresh_cache: Path) -> None:
    """Data that would not fit under the cap are stopped while they are written, with the remedy."""
    with pytest.raises(SetupError) as caught:
        bench_of(cache_gb=0.00005)
    assert "--cache-gb" in str(caught.value.hint)
    assert [path for path in (fresh_cache / "data").iterdir() if path.is_dir()] == []


def test_preparing_may_take_the_memory_of_its_profile(folder: Path, bench_of: MakeBench) -> None:
    """What runs of a profile may hold, its prepare script may hold, and no more."""
    hold = 'held = b"x" * 400_000_000\ntime.sleep(1)'
    change(folder / "prepare.py", "time.sleep(0.5)", hold)
    described = folder / "template.toml"
    change(described, "[profiles.small]", "[profiles.small]\nmemory_gb = 0.2")
    with pytest.raises(SetupError, match="memory"):
        bench_of()
    change(described, "memory_gb = 0.2", "memory_gb = 2.0")
    assert bench_of().data["small"].is_dir()


def test_input_folders(folder: Path, bench_of: MakeBench, tmp_path: Path) -> None:
    """A profile's own folders come from the environment, are told to prepare, and name the data."""
    change(folder / "template.toml", "[profiles.small]", '[profiles.small]\ninputs = ["TEXTS/in"]')
    with pytest.raises(InputError, match="TEXTS is not set"):
        bench_of(variables={})
    texts = tmp_path / "texts"
    with pytest.raises(InputError, match="there is no"):
        bench_of(variables={"TEXTS": str(texts)})
    (texts / "in").mkdir(parents=True)
    first = bench_of(variables={"TEXTS": str(texts)}).data["small"]
    assert str(texts / "in") in (first / "inputs").read_text()
    (texts / "in" / "more.jsonl").write_text("{}")
    assert bench_of(variables={"TEXTS": str(texts)}).data["small"] != first


def test_data_are_named_by_what_they_are_made_from(
    folder: Path, bench_of: MakeBench, tmp_path: Path
) -> None:
    """Of a large folder that runs may read, only the named part makes data anew, marks never.

    A part that is not there is told as what the profile lacks.
    """
    lines = '[profiles.small]\ninputs = ["HUB/all"]\nprepared_from = ["HUB/all/model"]'
    change(folder / "template.toml", "[profiles.small]", lines)
    model = tmp_path / "all" / "model"
    model.parent.mkdir()
    variables = {"HUB": str(tmp_path)}
    with pytest.raises(InputError, match="reads the folder HUB/all/model"):
        bench_of(variables=variables)
    model.mkdir()
    (model / "weights").write_text("1")
    bench = bench_of(variables=variables)
    first = bench.data["small"]
    assert str(tmp_path / "all") in (first / "inputs").read_text()
    (tmp_path / "all" / "another").mkdir()
    (tmp_path / "all" / "another" / "weights").write_text("1")
    (model / ".no_exist").mkdir()
    (model / ".no_exist" / "mark").write_text("")
    later = bench_of(variables=variables)
    assert later.data["small"] == first
    assert later.inputs_sha256 != bench.inputs_sha256
    (model / "weights").write_text("12")
    assert bench_of(variables=variables).data["small"] != first
    change(folder / "template.toml", '["HUB/all/model"]', '["HUB/model"]')
    with pytest.raises(InputError, match="HUB/model, which is in none of its inputs"):
        load_template(folder)
