"""What becomes of a result: printed for people or machines, saved, and an exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .console import escape, stderr
from .options import Show


def shown(command: str, show: Show, options: dict[str, Any], work: Callable[[], Any]) -> int:
    """Do the work, whose `Result` is shown and saved as was asked; 1 where it is an alarm. A place that nothing can be
    written to is refused before the work. A result of a figure alone, without --out, is drawn in COMMAND.png."""
    from ..data.skips import heard
    from ..studies.result import Result, check_place
    from ..studies.verb import Unfinished

    if show.out is not None:
        check_place(show.out)
    try:
        with heard() as skipped:
            result = work()
    except Unfinished as stopped:
        place = Path(command) if show.out is None or show.out.suffix else show.out
        stopped.result.save(place)
        stderr.print(f"what was found before it stopped: {escape(str(place.resolve()))}", soft_wrap=True)
        raise
    if not isinstance(result, Result):
        return 0
    result.command = command  # type: ignore[misc]
    result.tell_skipped(skipped)
    place = show.out if show.out is not None or show.json else _default(command, result)
    written = {} if place is None else result.save(place)
    if show.json:
        record = result.record()
        files = {"files": {what: str(path) for what, path in written.items()}} if written else {}
        print(json.dumps({**record, "options": {**_plain(options), **record["options"]}, **files}, ensure_ascii=False))
    else:
        from ..report.terminal import show as show_result

        show_result(result, written)
    for note in result.notes:
        stderr.print(f"[bold yellow]note:[/] {escape(note)}", soft_wrap=True)
    return 1 if result.alarm else 0


def _default(command: str, result: Any) -> Path | None:
    return None if result.drawn_by is None else Path(result.drawn_in or f"{command}.png")


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
