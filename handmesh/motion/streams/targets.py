"""The targets of a stream by their URLs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from handmesh.motion.streams.address import StreamAddress
from handmesh.motion.streams.live import StreamTarget
from handmesh.motion.streams.udp import UdpTarget
from handmesh.motion.streams.vmc import VmcTarget
from handmesh.motion.streams.websocket import WebSocketTarget


@contextmanager
def open_targets(urls: Sequence[str], report: Callable[[str], None]) -> Iterator[list[StreamTarget]]:
    """The targets of these URLs, ready to send; closed at the end of the block.

    Args:
        urls: ``udp://HOST:PORT``, ``ws://HOST:PORT`` or ``osc://HOST:PORT`` each.
        report: gets lines about what cannot be sent.

    Raises:
        HandMeshError: a URL that is none, no such host, a port in use, or a package that is not installed.
    """
    addresses = [StreamAddress.parse(url) for url in urls]
    with ExitStack() as stack:
        targets = []
        for address in addresses:
            target = open_target(address, report)
            stack.callback(target.close)
            targets.append(target)
        yield targets


def open_target(address: StreamAddress, report: Callable[[str], None]) -> StreamTarget:
    """One target; see :func:`open_targets`."""
    if address.scheme == "ws":
        return WebSocketTarget(address)
    return UdpTarget(address, report) if address.scheme == "udp" else VmcTarget(address, report)
