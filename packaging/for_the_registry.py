"""Make README and pyproject.toml fit for the registry, which shows them away from the repository: links and pictures
get the address of the released version, and the project's addresses are added.

    python packaging/for_the_registry.py https://github.com/OWNER/NAME v1.2.3
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"(!?)(\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)")


def absolute(text: str, address: str, tag: str) -> str:
    """The same with no relative link: pages as the host shows them, pictures as files.

    >>> absolute("[a](docs/a.md#b), ![c](docs/c.png), [d](https://e.org), [f](#g)", "https://h.org/o/n", "v1")
    '[a](https://h.org/o/n/blob/v1/docs/a.md#b), ![c](https://h.org/o/n/raw/v1/docs/c.png), [d](https://e.org), [f](#g)'
    """
    return _LINK.sub(lambda one: f"{one[1]}{one[2]}({address}/{'raw' if one[1] else 'blob'}/{tag}/{one[3]})", text)


def with_addresses(project: str, address: str, tag: str) -> str:
    """pyproject.toml with the addresses that the registry lists."""
    urls = f'[project.urls]\nSource = "{address}"\nIssues = "{address}/issues"\n'
    urls += f'Documentation = "{address}/tree/{tag}/docs"\nChanges = "{address}/blob/{tag}/CHANGELOG.md"\n\n'
    return project.replace("[project.scripts]\n", f"{urls}[project.scripts]\n", 1)


def main(address: str, tag: str) -> None:
    for name, change in (("README.md", absolute), ("pyproject.toml", with_addresses)):
        path = ROOT / name
        path.write_text(change(path.read_text(encoding="utf-8"), address, tag), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
