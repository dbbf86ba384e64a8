"""The doctor says what works here, and the exact words that bring what does not."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ai_scientist.commands.doctor import lines_of_trials
from ai_scientist.commands.doctor_full import lines_of_machine
from ai_scientist.inputs.templates import load_template
from ai_scientist.sandbox.choice import Trial
from ai_scientist.sandbox.tiers import all_tiers
from tests.doors import PROJECT, ai_scientist

KEY = "sk-ant-" + "not-for-any-screen-0123456789"


def examine(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return ai_scientist("doctor", *options, **variables)


def line_of(page: str, name: str) -> str:
    """The first line about `name`."""
    return next(line for line in page.splitlines() if line[8:].startswith(name))


def test_where_the_tests_run_the_main_job_can_run() -> None:
    """Every part is named with its state, and the page ends with the verdict: exit 0."""
    done = examine(HF_HOME="/nowhere")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The main job can run: python launch_scientist.py" in done.stdout
    assert line_of(done.stdout, "sae environment").startswith("ok")
    assert "; this one is used" in done.stdout
    for name in ("git", "TeX", "GPU", "openai key", "Slurm", "disk: runs", "disk: cache"):
        assert line_of(done.stdout, name)
    assert line_of(done.stdout, "gemma-2-2b").startswith("-")
    assert "hf download google/gemma-2-2b" in done.stdout


def test_an_environment_that_is_not_built_comes_with_its_command(tmp_path: Path) -> None:
    """What the main job needs and lacks: exit 1, and the command that brings it."""
    done = examine(AI_SCIENTIST_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert line_of(done.stdout, "sae environment").startswith("MISSING")
    assert line_of(done.stdout, "digits environment").startswith("-")
    assert "make environments TEMPLATES=sae\n" in done.stdout
    assert "cannot run here yet: sae environment" in done.stdout


@pytest.fixture
def refusing_server() -> Iterator[str]:
    """A server that refuses every key, as base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Refuse."""
            body = b'{"type": "error", "error": {"type": "auth", "message": "bad key ' + (
                KEY.encode() + b'"}}'
            )
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_key_is_tried_on_request_and_never_shown(refusing_server: str) -> None:
    """Without --call a key is only seen; with it, a refused one is told, without its letters."""
    silent = examine(ANTHROPIC_API_KEY=KEY)
    assert line_of(silent.stdout, "anthropic key").startswith("ok      anthropic key         set")
    called = examine("--call", f"--base-url={refusing_server}", ANTHROPIC_API_KEY=KEY)
    assert line_of(called.stdout, "anthropic key").startswith("-")
    assert "refused the API key" in line_of(called.stdout, "anthropic key")
    assert KEY not in silent.stdout + silent.stderr + called.stdout + called.stderr
    assert called.returncode == 0


def test_ubuntu_gets_the_text_of_its_profile() -> None:
    """Where AppArmor stands in the way, the page holds the file to write, whole."""
    tiers = all_tiers()
    trials = (
        *(Trial(sandbox=tier, passed=False, problem="setting up uid map") for tier in tiers[:-1]),
        Trial(sandbox=tiers[-1], passed=True),
    )
    lines = list(lines_of_trials(trials, restricted=True))
    assert lines[-1].state == "missing"
    assert "profile bwrap /usr/bin/bwrap flags=(unconfined) {" in lines[-1].text()
    assert "systemctl reload apparmor" in lines[-1].text()
    assert [line.state for line in lines[:-1]] == ["absent"] * (len(tiers) - 1) + ["ok"]


def test_what_profile_full_needs_is_looked_at(tmp_path: Path) -> None:
    """GPU memory, memory and disk are held against what the template asks for; so are the texts."""
    profile = load_template(PROJECT / "templates" / "sae").profiles["full"]
    large = {"gpu": "a large one", "gpu_memory_gb": 80.0, "memory_gb": 128.0}
    small = {"gpu": "a small one", "gpu_memory_gb": 24.0, "memory_gb": 16.0}
    assert [line.state for line in lines_of_machine(profile, large, 500.0)] == ["ok"] * 3
    pages = [line.text() for line in lines_of_machine(profile, small, 20.0)]
    assert [page.split()[0] for page in pages] == ["-"] * 3
    assert "a small one with 24 GB; 40 GB are needed" in pages[0]
    assert "16.0 GB; 64 GB are needed" in pages[1]
    assert "20 GB free in the cache; 48 GB are needed" in pages[2]
    assert "AI_SCIENTIST_CACHE" in pages[2]
    (tmp_path / "train").mkdir()
    done = examine(SAE_TEXTS=str(tmp_path))
    assert "no forget, no retain" in line_of(done.stdout, "SAE_TEXTS")
    for name in ("forget", "retain"):
        (tmp_path / name).mkdir()
    assert line_of(examine(SAE_TEXTS=str(tmp_path)).stdout, "SAE_TEXTS").startswith("ok")


def add_to_hub(home: Path, *names: str) -> None:
    """Lay out what `hf download` leaves of models and data sets."""
    for name in names:
        snapshot = home / "hub" / name / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").write_text("")


@pytest.mark.slow
def test_what_the_evaluations_of_full_read_is_looked_for(tmp_path: Path) -> None:
    """Each evaluation has a line with what it lacks of HF_HOME, by the names its code reads."""
    add_to_hub(
        tmp_path,
        "models--google--gemma-2-2b",
        "datasets--Skylion007--openwebtext",
        "datasets--cais--wmdp",
        "datasets--cais--mmlu",
    )
    page = examine(HF_HOME=str(tmp_path)).stdout
    assert line_of(page, "gemma-2-2b").startswith("ok")
    assert line_of(page, "full: core").startswith("ok")
    for name, lacking in {
        "mdl": "HuggingFaceFW/fineweb",
        "unlearning": "google/gemma-2-2b-it",
        "ravel": "adamkarvonen/ravel_prompts",
        "scr": "LabHC/bias_in_bios, canrager/amazon_reviews_mcauley_1and5",
    }.items():
        line = line_of(page, f"full: {name}")
        assert line.startswith("-")
        assert line.endswith(f"not in {tmp_path / 'hub'}: {lacking}")
    assert "hf download google/gemma-2-2b-it\n" in page
    assert "hf download --repo-type dataset HuggingFaceFW/fineweb\n" in page


def test_weights_that_no_run_would_read_are_not_ok(tmp_path: Path) -> None:
    """A run reads HF_HOME alone: weights in Hugging Face's own place come with what names it."""
    home = tmp_path / ".cache" / "huggingface"
    add_to_hub(home, "models--google--gemma-2-2b")
    page = examine(HOME=str(tmp_path), HF_HOME="").stdout
    assert line_of(page, "gemma-2-2b").startswith("-")
    assert "HF_HOME is not set" in line_of(page, "gemma-2-2b")
    assert f"export HF_HOME={home}\n" in page
