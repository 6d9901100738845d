"""What can be asked of `explore`."""

from __future__ import annotations

from dataclasses import dataclass

from ...studies.verb import at_least, between


@dataclass(frozen=True)
class ExploreOptions:
    """Open a live page on your own pictures: what speaks for a text, through which heads, from where; switch units off.

    Serves on this machine alone until it is interrupted (Ctrl-C). Nothing leaves it: no link is shared, no host asked.
    Needs gradio: pip install 'summand-clip[explore]'.

    Examples:

    - summand explore
    - summand explore run --open
    - summand explore --model ViT-B-32 --pretrained openai --port 7870

    Parameters
    ----------
    survey
        A folder of `summand survey`, labelled, which gives heads and neurons their words [default: of a model of scenes
        one is made, of others there is none].
    """

    host: str = "127.0.0.1"
    """Where it listens; 0.0.0.0 lets everybody in who can reach this machine."""
    port: int | None = None
    """The port [default: the first that is free, from 7860]."""
    open: bool = False
    """Open the page in a browser."""
    upload_mb: int = 20
    """Largest picture that can be sent, in megabytes."""
    at_once: int = 2
    """Questions that are answered at the same time."""
    waiting: int = 32
    """Questions that may wait; more are refused."""

    def __post_init__(self) -> None:
        between("port", self.port, 1, 65535)
        for name in ("upload_mb", "at_once", "waiting"):
            at_least(name, getattr(self, name), 1)
