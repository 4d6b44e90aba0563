"""The workers of a training run on several machines: their addresses, from TF_CONFIG, and waiting for them."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any, NamedTuple

TYPES = ("chief", "worker")
EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'
WAIT = 50  # seconds to wait for the other workers; with start-up, less than a minute


class Cluster(NamedTuple):
    """The workers of a training run.

    Attributes:
        addresses: "host:port" of each worker, the chief's first.
        position: index of this worker among them.
    """

    addresses: tuple[str, ...]
    position: int


def read_cluster(text: str | None = None) -> Cluster:
    """The cluster that TF_CONFIG describes.

    Args:
        text: its JSON; `None` for the environment variable.

    Returns:
        A `Cluster`.

    Raises:
        ValueError: if it is missing, is not JSON, or does not name the workers and this one among them.
    """
    text = os.environ.get("TF_CONFIG") if text is None else text

    def must(condition: Any, what: str, received: Any = text) -> None:
        if not condition:
            raise ValueError(f"TF_CONFIG must {what}, such as '{EXAMPLE}'. Received: {received}")

    must(text, "be set for multiworker", "none" if text is None else "an empty text")
    try:
        config = json.loads(text or "")
    except ValueError:
        config = None
    must(isinstance(config, dict), "be a JSON object")
    cluster, task = config.get("cluster"), config.get("task")
    must(isinstance(cluster, dict) and cluster, "have a `cluster` of workers")
    must(isinstance(task, dict), "have a `task` that says which worker this is")
    must(set(cluster) <= set(TYPES), f"have a `cluster` of only {' and '.join(TYPES)}", sorted(cluster))
    for addresses in cluster.values():
        must(isinstance(addresses, list) and addresses and all(map(_is_address, addresses)), "list host:port addresses")
    addresses = [address for kind in TYPES for address in cluster.get(kind, [])]
    must(len(set(addresses)) == len(addresses), "name each address once")
    kind, index = task.get("type"), task.get("index")
    must(isinstance(kind, str) and kind in cluster, f"have a task `type` among {sorted(cluster)}", repr(kind))
    last = len(cluster[kind]) - 1
    must(type(index) is int and 0 <= index <= last, f"have a task `index` from 0 to {last}", repr(index))
    return Cluster(tuple(addresses), addresses.index(cluster[kind][index]))


def wait_for_others(cluster: Cluster, seconds: float = WAIT) -> None:
    """Return once every other worker of a cluster listens at its address.

    Meanwhile this worker listens at its own address, so that workers find each other in whatever order they start.

    Args:
        cluster: a `Cluster`.
        seconds: how long to wait for all of them.

    Raises:
        ValueError: if this worker's port is taken, or another worker does not answer in time.
    """
    deadline = time.monotonic() + seconds
    own = cluster.addresses[cluster.position]
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:  # connections are never accepted: the system completes them by itself
        listener = socket.create_server(("", _host_and_port(own)[1]), family=family, backlog=128, dualstack_ipv6=dual)
    except OSError as error:
        raise ValueError(
            f"TF_CONFIG must give this worker a port that is free: stop what listens there, or choose another. "
            f"Received: {own} ({error.strerror})"
        ) from error
    with listener:
        for address in cluster.addresses:
            if address != own:
                _reach(address, deadline, seconds)


def _reach(address, deadline, seconds):
    while True:
        try:
            socket.create_connection(_host_and_port(address), timeout=max(0.1, deadline - time.monotonic())).close()
            return
        except (OSError, UnicodeError) as error:  # the latter for an invalid host name
            if time.monotonic() > deadline:
                raise ValueError(
                    f"TF_CONFIG must name workers that can be reached: start the one at {address}, or correct its "
                    f"address or firewall. Received: no answer within {seconds:g} seconds ({error})"
                ) from error
            time.sleep(0.2)


def _is_address(text):
    host, _, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16


def _host_and_port(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
