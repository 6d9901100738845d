"""Known holes in what an installation brings, and a plain word where nobody could look.

    python packaging/audit.py

Asks pip-audit, which calls a package that it found nothing out about no risk: without a network it says "No known
vulnerabilities found" of all, and exits with 0. Exit code 0: looked, and found none; 1: holes; 2: could not look.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def verdict(report: dict[str, Any]) -> tuple[int, str]:
    """Exit code and text for a report of `pip-audit --format json`.

    >>> verdict({"dependencies": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "local"}]})
    (0, '1 package looked up: no known hole\\n1 not looked up: b (local)')
    """
    packages = report["dependencies"]
    seen = [each for each in packages if "skip_reason" not in each]
    skipped = [each for each in packages if "skip_reason" in each]
    holes = [f"{each['name']} {each['version']}: {hole['id']}, mended in {' or '.join(hole['fix_versions']) or 'none'}"
             for each in seen for hole in each["vulns"]]  # fmt: skip
    if not seen:
        why = f" ({skipped[0]['skip_reason']})" if skipped else ""
        return 2, f"NO VERDICT: none of {len(packages)} packages could be looked up{why}; is there a network?"
    plural = "" if len(seen) == 1 else "s"
    lines = [
        f"{len(seen)} package{plural} looked up: {f'{len(holes)} known holes' if holes else 'no known hole'}",
        *holes,
    ]
    if skipped:
        lines.append(
            f"{len(skipped)} not looked up: " + ", ".join(f"{each['name']} ({each['skip_reason']})" for each in skipped)
        )
    return (1 if holes else 0), "\n".join(lines)


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "--skip-editable", "--format", "json", "--progress-spinner", "off"]
    run = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 (no input of anyone's)
    try:
        code, text = verdict(json.loads(run.stdout))
    except (ValueError, KeyError):
        last = (run.stderr.strip().splitlines() or ["it said nothing"])[-1]
        code, text = 2, f"NO VERDICT: pip-audit did not end with a report: {last}"
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
