"""Print the hostile suite's table for docs/security.md: `python -m tests.hostile.report`.

Needs the standard library only, so that an ordinary user's system python can run it as well.
"""

from __future__ import annotations

import os
import platform
import pwd
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from ai_scientist.sandbox.choice import available_tiers, try_tiers
from ai_scientist.sandbox.confine import landlock_abi
from tests.hostile.suite import BOMBS, attempt_all, explode


def machine() -> str:
    """Say where and as whom this ran."""
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    user = pwd.getpwuid(os.getuid()).pw_name
    day = datetime.now(UTC).date().isoformat()
    return (
        f"{day}, {release}, kernel {platform.release()}, Landlock ABI {landlock_abi()}, as {user}"
    )


def main() -> None:
    """Run everything in every tier and print Markdown."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        tiers = available_tiers(folder)
        print(f"{machine()}\n")
        for trial in try_tiers(folder):
            print(f"- {trial.sentence}")
        print(f"\n| attempt | {' | '.join(tier.tier for tier in tiers)} |")
        print("|---|" + "---|" * len(tiers))
        columns = []
        for number, tier in enumerate(tiers):
            columns.append(attempt_all(tier, folder / str(number), sys.executable))
        for attempt in columns[0]:
            cells = ["gets through" if column[attempt] else "stopped" for column in columns]
            print(f"| {attempt} | {' | '.join(cells)} |")
        for bomb in BOMBS:
            cells = []
            for number, tier in enumerate(tiers):
                place = folder / f"{bomb.name}-{number}"
                execution, left = explode(tier, bomb, place, sys.executable)
                rest = f", {len(left)} left" if left else ""
                cells.append(f"`{execution.cause}` {execution.seconds:.2f} s{rest}")
            print(f"| {bomb.name.replace('_', ' ')} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
