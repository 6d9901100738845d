"""Files that someone may put into a data set, in twenty-five ways and more."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

import summand


def pictures(folder: Path, count: int = 24, seed: int = 5) -> Path:
    """A folder of good pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(summand.scenes.sample(count, seed=seed).images):
        Image.fromarray(picture).save(folder / f"good {number:03}.png")
    return folder


def spoil(folder: Path, good: bytes) -> dict[str, str | None]:
    """Put them into a folder; why each cannot be read, None where it can. good: a picture that can be read, as PNG."""
    known: dict[str, str | None] = {}

    def put(name: str, content: bytes, why: str | None) -> None:
        (folder / name).write_bytes(content)
        known[name] = why

    for share in (1, 40, len(good) // 2, len(good) - 30):
        put(f"cut {share}.png", good[:share], "")
    put("zero.jpg", b"", "")
    put("text.jpg", b"not a picture at all", "not an image")
    put("<script>alert(1)<.svg>.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image")
    put("really heic.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "not an image")
    for name in ("-rf.png", "'quotes\".png", "[red]x[red].png", "a\nb.png", "\x1b[31mred.png", "x" * 251 + ".png"):
        put(name, good, None)
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(good)
    os.mkfifo(folder / "pipe.png")
    known["pipe.png"] = "pipe"
    (folder / "device.png").symlink_to("/dev/zero")
    known["device.png"] = "device"
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    known["gone.png"] = "No such file"
    (folder / "round").symlink_to(folder)
    (folder / "loop.png").symlink_to(folder / "loop.png")
    known["loop.png"] = "symbolic links"
    (folder / "folder.png").mkdir()
    for mode in ("CMYK", "LAB", "P", "1", "I;16", "YCbCr", "F"):
        name = f"mode {mode}.tif".replace(";", " of ")
        grey = Image.new("L", (9, 7), 99)
        made = Image.fromarray(np.full((7, 9), 9000, np.uint16)) if mode == "I;16" else None
        (made or (grey if mode in ("F", "1") else grey.convert("RGB")).convert(mode)).save(folder / name)
        known[name] = _fault(folder / name)
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        Image.new("RGB", (9, 7), "teal").save(folder / f"turn {turn}.jpg", exif=exif)
        known[f"turn {turn}.jpg"] = None
    frames = [Image.new("P", (8, 8), shade) for shade in (0, 9)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:], transparency=0)
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.new("RGB", (1, 10_000)).save(folder / "thin.png")
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    return known | {"moving.gif": None, "dot.png": None, "thin.png": None, "bomb.png": "decompression bomb"}


def _fault(path: Path) -> str | None:
    """What Pillow itself cannot read of what it wrote: YCbCr in TIFF, in some versions."""
    try:
        with Image.open(path) as opened:
            opened.load()
    except OSError:
        return "truncated"
    return None


def as_named(name: str) -> str:
    """What a source calls a file of this name."""
    return name.encode("unicode_escape").decode() if not name.isprintable() else name
