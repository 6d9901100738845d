"""What an attack leaves in its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..errors import SummandError
from ..studies.attack.loop import Attack
from ..studies.attack.mining import Words
from .contact_sheet import contact_sheet


def check_folder(folder: Path) -> None:
    """Raise `SummandError` where the folder cannot be made. Writes nothing."""
    if folder.exists() and not folder.is_dir():
        raise SummandError(f"{folder} is a file; give another folder with --out")


def write_words(folder: Path, words: Words, instruction: str, filtered_by: str) -> None:
    """words.json (words, scores, units), and instruction.txt, what to ask a language model of one's own."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**asdict(words), "names_of_the_target_left_out_by": filtered_by}, indent=1)
        (folder / "words.json").write_text(text + "\n", encoding="utf-8")
        (folder / "instruction.txt").write_text(instruction + "\n", encoding="utf-8")
    except OSError as error:
        raise SummandError(f"cannot write to {folder}: {error.strerror or error}; give another --out") from error


def write_pictures(folder: Path, attacks: Sequence[Attack], most: int) -> None:
    """prompts.txt of the first attack, and contact-sheet.png: for each the pictures that mislead most."""
    prompts = [prompt for some in attacks[0].prompts for prompt in some]
    (folder / "prompts.txt").write_text("\n".join(dict.fromkeys(prompts)) + "\n", encoding="utf-8")
    rows = []
    for each in attacks:
        best = sorted(each.pictures, key=lambda picture: -picture.score)[:most]
        title = f"words from {each.words.method}: {each.mean:.1%} ± {each.std:.1%} fooled; the strongest"
        rows.append((title, [(picture.image, f"{picture.score:+.3f}{' fooled' * picture.fooled}") for picture in best]))
    contact_sheet(folder / "contact-sheet.png", rows)
