from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path

import pytest

from ai_scientist.inputs.templates import load_template
from tests.sae_runs import inside, results_of, smoke

IDEAS = (
    "ratio_ranked_orthogonal_sae",
    "hierarchical_orthogonal_sae",
    "sparsity_guided_orthogonal_sae",
    "frequency_consistency_sae",
)
BLOCK = re.compile(
    r"^(\S+)\n```python\n<<<<<<< SEARCH\n(.*?)=======\n(.*?)>>>>>>> REPLACE\n```", re.M | re.S
)
SAE_RECORDINGS = (
    "frequency_consistency_sae",
    "hierarchical_orthogonal_sae",
    "ratio_ranked_orthogonal_sae",
    "sparsity_guided_orthogonal_sae",
)


def edited(project: Path, name: str) -> tuple[dict[str, str], set[str]]:
    """Return the template's files after an idea's recorded edits, and the steps never mended."""
    files = {path.name: path.read_text() for path in (project / "templates" / "sae").glob("*.py")}
    recording = (project / "ideas" / "recordings" / f"{name}.jsonl").read_text().splitlines()
    refused: set[str] = set()
    for line in (json.loads(line) for line in recording):
        blocks = BLOCK.findall(line["reply"]) if line["purpose"] in {"edit", "plot"} else []
        after = dict(files)
        for file, search, replace in blocks:
            if after[file].count(search) != 1:
                refused.add(line["step"])
                break
            after[file] = after[file].replace(search, replace)
        else:
            files = after
            refused -= {line["step"]} if blocks else set()
    return files, refused


@pytest.mark.parametrize("name", IDEAS)
def test_recorded_edits_fit(project: Path, name: str) -> None:
    """Scripted edits fit the template or are mended in their step, and bring what controls set."""
    files, refused = edited(project, name)
    assert not refused
    compile(files["experiment.py"], "experiment.py", "exec")
    idea = json.loads((project / "ideas" / f"{name}.json").read_text())
    for key in (key for control in idea["Controls"] for key in control["set"]):
        assert f"    {key}: " in files["experiment.py"]


@pytest.mark.slow
def test_processes_change_no_bit(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """Seeds spread over two processes give the bits that one process gives."""
    for run, threads in (("run_0", 1), ("run_1", 2)):
        done = smoke(sae_python, template, smoke_data, run, threads=threads)
        assert (done.returncode, done.stderr) == (0, "")
    assert results_of(template, "run_0") == results_of(template, "run_1")


@pytest.mark.slow
def test_a_process_that_fails_is_heard(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """A crash in one of several processes ends the run, with the traceback of the code's line."""
    script = template / "experiment.py"
    script.write_text(script.read_text().replace("        return {}\n", "        return 1 / 0\n"))
    done = smoke(sae_python, template, smoke_data, threads=2)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "ended early" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_frontier_and_counts(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """Half and twice the k are measured beside k, and tokens and epochs are what was trained on."""
    assert smoke(sae_python, template, smoke_data).returncode == 0
    results = results_of(template, "run_0")
    frontier = results["frontier results"]["final_info"]
    assert frontier["l0_at_half_k"] == 2.0
    assert frontier["l0_at_double_k"] > 5.0
    assert frontier["fvu_at_double_k"] < frontier["fvu_at_half_k"]
    training = results["training results for layer 0"]["final_info"]
    assert training["tokens_seen"] == 60 * 128
    assert training["epochs"] == pytest.approx(60 * 128 / (240 * 31))
    lines = (template / "run_0/metrics.jsonl").read_text().splitlines()
    curve = [line for line in map(json.loads, lines) if (line["repeat"], line["k"]) == (1, 5)]
    assert len(curve) >= 20
    assert curve[-1]["tokens"] == 60 * 128
    assert curve[-1]["fvu"] < curve[0]["fvu"]


@pytest.mark.slow
def test_the_saes_of_a_pass_share_its_time(
    sae_python: Path, template: Path, smoke_data: Path
) -> None:
    """A GPU works off what several SAEs ask of it, so that each is charged the same part."""
    together = json.dumps({"shared_order": True})
    started = time.monotonic()
    done = smoke(sae_python, template, smoke_data, OVERRIDES=together)
    wall_s = time.monotonic() - started
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads((template / "run_0" / "final_info.json").read_text())
    (training,) = (section for name, section in results.items() if "training" in name)
    one, another = training["per_seed"]["seconds"]
    assert one == another
    assert 0 < one < wall_s / 4, "two seeds, and one of them at two more k"


@pytest.mark.slow
def test_frontier_is_read_off_at_the_baselines_l0(
    sae_python: Path, template: Path, smoke_data: Path
) -> None:
    """At another L0 metrics are read off the run's own frontier, in log L0, and never beyond."""
    for run, k in (("run_0", 5), ("run_1", 8), ("run_2", 20)):
        given = {"OVERRIDES": json.dumps({"k": k})}
        assert smoke(sae_python, template, smoke_data, run, **given).returncode == 0
    section = "frontier results"
    base, denser, far = (results_of(template, run) for run in ("run_0", "run_1", "run_2"))
    assert load_template(template).metrics["fvu"].at_matched == "fvu_at_matched_l0"
    first = base["training results for layer 0"]["per_seed"]["fvu"][0]
    assert base[section]["measured"]["matched_l0"] == 5.0
    assert base[section]["final_info"]["fvu_at_matched_l0"] == pytest.approx(first, rel=0.02)
    points = denser[section]["final_info"]
    sparse, dense = points["l0_at_half_k"], denser["training results for layer 0"]["per_seed"]
    low, high = points["fvu_at_half_k"], dense["fvu"][0]
    share = math.log(5 / sparse) / math.log(dense["l0"][0] / sparse)
    assert points["fvu_at_matched_l0"] == pytest.approx(low + share * (high - low))
    assert "fvu_at_matched_l0" not in far[section]["final_info"]
    reason = far["not run"][f"{section}/fvu_at_matched_l0"]
    assert "L0 10 to 4" in reason
    assert reason.endswith("does not reach 5; nothing is extrapolated")


IDLE: dict[str, tuple[dict[str, float], str]] = {
    "nothing": ({"training_tokens": 100}, "nothing would be trained"),
    "auxiliary_too_late": (
        {"dead_after_tokens": 59 * 128, "resamplings": 0},
        "the last look for dead latents comes after 7552 tokens",
    ),
    "auxiliary_of_none": ({"auxiliary_latents": 0}, "the auxiliary loss could never act"),
    "resampling_too_early": (
        {"dead_after_tokens": 21 * 128},
        "the first of 2 resamplings comes after 2688 tokens",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", IDLE)
def test_what_could_never_act_is_refused(
    sae_python: Path, template: Path, smoke_data: Path, case: str
) -> None:
    """A schedule that leaves something out without a word ends the run before its first step."""
    overrides, words = IDLE[case]
    done = smoke(sae_python, template, smoke_data, OVERRIDES=json.dumps(overrides))
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert (template / "run_0" / "metrics.jsonl").read_text() == ""


@pytest.mark.slow
def test_what_can_act_once_is_trained(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """One step inside these bounds, and without what is switched off, a run is valid."""
    last = {"dead_after_tokens": 59 * 128 - 1, "resamplings": 0}
    off = {"dead_after_tokens": 60 * 128, "resamplings": 0, "auxiliary_coefficient": 0.0}
    for run, overrides in (("run_0", last), ("run_1", off)):
        done = smoke(sae_python, template, smoke_data, run, OVERRIDES=json.dumps(overrides))
        assert (done.returncode, done.stderr) == (0, "")


def test_the_time_left_leaves_compiling_out(sae_python: Path, template: Path) -> None:
    """What the first steps take says nothing of the others, nor does one long stop later."""
    got = inside(
        sae_python,
        template,
        """
        import contextlib, io, json
        from pathlib import Path
        from contract import Request
        from training_log import TrainingLog
        now, printed = 0.0, io.StringIO()
        request = Request(out_dir=Path("."), profile="full", seed=0, config=None,
            data_dir=Path("."))
        log = TrainingLog(request, repeat=0, steps=1000, batch_size=1, clock=lambda: now)
        with contextlib.redirect_stdout(printed):
            for number in range(1000):
                now += 30.0 if number in (2, 300) else 0.1
                log.step(number, {})
        print(json.dumps(printed.getvalue().splitlines()))
        """,
    )
    assert got[0].startswith("seed 0: step 3 of 1000")
    assert got[0].endswith("time left not known yet")
    said = [(int(line.split()[3]), float(line.split()[-3])) for line in got[1:]]
    assert len(said) > 15
    assert all(left == pytest.approx(0.1 * (1000 - done), abs=3) for done, left in said)


@pytest.mark.slow
def test_a_store_is_shuffled_as_a_whole(sae_python: Path, template: Path, tmp_path: Path) -> None:
    """All rows are mixed, not those of a chunk, and neither chunks nor memory change a bit."""
    got = inside(
        sae_python,
        template,
        f"""
        import json, torch
        from pathlib import Path
        from activations import read_store, write_store
        rows = torch.randn(1000, 7, generator=torch.Generator().manual_seed(3))
        numbers = torch.arange(1000)
        rows[:, 0], domain = numbers.float(), numbers % 3
        told = {{}}
        for name, chunk, part, seed in (
            ("whole", 1010, 2**30, 0), ("chunks", 130, 28 * 90, 0), ("other", 1010, 2**30, 1)
        ):
            folder = Path({str(tmp_path)!r}, name)
            folder.mkdir()
            first = (rows[:130], domain[:130])  # of one size, for it gives the scale
            more = zip(rows[130:].split(chunk), domain[130:].split(chunk))
            write_store(folder, [first, *more], tokens=960, dtype="float32", seed=seed,
                facts={{}}, part_bytes=part)
            read = read_store(folder)
            raw = read["x"] * read["scale"] + read["mean"]
            came = raw[:, 0].round().long()
            told[name] = {{
                "bytes": (folder / "activations.bin").read_bytes().hex(),
                "came": came.tolist(), "batch": came[:96].float().histc(8, 0, 960).tolist(),
                "with_domain": bool((read["domain"] == came % 3).all()),
                "whole_rows": float((raw - rows[came]).abs().max()),
            }}
        print(json.dumps(told))
        """,
    )
    assert got["whole"]["bytes"] == got["chunks"]["bytes"]
    assert got["whole"]["came"] != got["other"]["came"]
    for store in got.values():
        assert sorted(store["came"]) == list(range(960))
        assert store["with_domain"]
        assert store["whole_rows"] < 1e-3
        assert min(store["batch"]) >= 4  # 12 of each eighth of the text are expected
