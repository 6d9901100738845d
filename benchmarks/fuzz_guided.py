"""The readers of `fuzz.py` again, on inputs of a search for new lines of code: what reaches one is changed further.

    pip install atheris    # Linux
    python benchmarks/fuzz_guided.py tables --seconds 120 --state guided.json

A reader a process, since the search never returns. The first byte of an input chooses the kind of file (its ending),
the others are the file; the seeds are those of `fuzz.py`. The state counts inputs, how many were read and refused, and
every other exception with the first input that raised it (written beside the state as READER-NUMBER.bin). `show` in the
place of a reader prints the table; its exit code is 1 where there is another exception.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import redirect_stderr
from importlib import import_module
from pathlib import Path
from typing import Any


def show(state: dict[str, Any]) -> int:
    print(f"{'reader':12} {'inputs':>8} {'read':>8} {'refused':>8} {'others':>7}")
    for name, at in state.items():
        print(f"{name:12} {at['inputs']:8,} {at['read']:8,} {at['refused']:8,} {len(at['faults']):7,}")
    print(f"{'all':12} {sum(at['inputs'] for at in state.values()):8,}")
    for name, at in state.items():
        for said in at["faults"].values():
            print(f"{name}, {said}")
    return 1 if any(at["faults"] for at in state.values()) else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", help="as fuzz.py calls it, or show")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    state = json.loads(given.state.read_text()) if given.state.is_file() else {}
    if given.reader == "show":
        sys.exit(show(state))
    search(given.reader, given.seconds, given.state, state)


def search(name: str, seconds: int, place: Path, state: dict[str, Any]) -> None:
    atheris: Any = import_module("atheris")
    home = Path(tempfile.mkdtemp())
    with atheris.instrument_imports(include=["summand"]):
        import fuzz
        import torch

        torch.set_num_threads(1)
        target = fuzz.targets(home)[name]
        folder, corpus = home / "inputs", home / "corpus"
        folder.mkdir()
        corpus.mkdir()
        endings = sorted(target.seeds)
        for number, seed in enumerate(endings):  # once before the search, so that what is imported late is seen too
            (folder / seed).write_bytes(target.seeds[seed])
            target.read(folder / seed)
            (corpus / seed).write_bytes(bytes([number]) + target.seeds[seed])
    at = state.setdefault(name, {"inputs": 0, "read": 0, "refused": 0, "faults": {}})
    ends, written = time.monotonic() + seconds, time.monotonic()

    def one(content: bytes) -> None:
        nonlocal written
        path = folder / endings[content[0] % len(endings) if content else 0]
        path.write_bytes(content[1:])
        at["inputs"] += 1
        try:
            with fuzz.not_for_ever(), warnings.catch_warnings(), redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                target.read(path)
            at["read"] += 1
        except TimeoutError as error:  # an OSError, which some readers may raise
            at["faults"].setdefault("TimeoutError", f"input {at['inputs']}: {error}")
        except target.allowed:
            at["refused"] += 1
        except Exception as error:
            ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "summand" in frame.filename]
            where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
            what = f"{type(error).__name__} at {where}"
            if what not in at["faults"]:
                at["faults"][what] = f"input {at['inputs']}: {what}: {str(error)[:100]!r}"
                (place.parent / f"{name}-{at['inputs']}.bin").write_bytes(content)
        if time.monotonic() > min(ends, written + 5):  # the search ends the process without a word to Python
            written = time.monotonic()
            place.write_text(json.dumps(state, indent=1))

    longest = 4 * max(len(seed) for seed in target.seeds.values())
    options = [f"-max_total_time={seconds}", f"-max_len={longest}", "-verbosity=0", f"-timeout={2 * fuzz.SLOW}"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
