"""Which makers of real photos are held out of training: a YAML file, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from handmesh.errors import HandMeshError, reason_of

DEFAULT = Path(__file__).resolve().parent.parent / "assets" / "held_out.yaml"


@dataclass(frozen=True)
class HeldOut:
    """Makers that are never trained on.

    Attributes:
        makers: of whom every photo is held out.
        sources: of whom those photos are whose source's file name begins with one of the words.
    """

    makers: frozenset[str]
    sources: dict[str, tuple[str, ...]]

    def __contains__(self, maker: object) -> bool:
        """Whether some photo of the maker is held out."""
        return maker in self.makers or maker in self.sources

    def holds(self, maker: str, source: str) -> bool:
        """Whether the photo made of the file ``source`` (a path) of a maker is held out."""
        return maker in self.makers or Path(source).name.startswith(self.sources.get(maker, ()))


def read_held_out(path: str | Path = DEFAULT) -> HeldOut:
    """The makers that a YAML file holds out under ``held_out``: for each ``all``, or a list of beginnings of names.

    Raises:
        HandMeshError: no such file, not YAML, or something else under a maker's name.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HandMeshError(
            f"expected a YAML file of held-out makers at {path}, could not read it ({reason_of(error)})"
        ) from None
    entries = content.get("held_out") if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        raise HandMeshError(f"expected 'held_out:' with a line for each maker in {path}; see {DEFAULT.name}")
    makers, sources = set(), {}
    for maker, value in entries.items():
        if value == "all":
            makers.add(str(maker))
        elif isinstance(value, list) and value and all(isinstance(word, str) and word for word in value):
            sources[str(maker)] = tuple(value)
        else:
            raise HandMeshError(
                f"{path}: expected all, or a list of beginnings of file names, at {maker}; got {value!r}"
            )
    return HeldOut(frozenset(makers), sources)
