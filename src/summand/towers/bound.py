"""Things that belong to a live model, and cannot be taken away from it."""

from __future__ import annotations

from typing import Any, NoReturn

from ..errors import SummandError


class Bound:
    """Reads its model whenever it is asked, so a deep copy or a pickle of it would go on reading the old one, or need
    the whole of it. A shallow copy is one more view of the same model. keep: what can be kept in its place."""

    keep = "copy or pickle the summand.Model and the pixels, and decompose again there; what it answers can be kept"

    def _refused(self) -> NoReturn:
        raise SummandError(
            f"{type(self).__name__} cannot be copied deeply or pickled, for it reads its model: {self.keep}"
        )

    def __copy__(self) -> Any:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        self._refused()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self._refused()
