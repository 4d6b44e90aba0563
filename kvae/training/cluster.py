"""The workers of a training run on several machines: their addresses, from TF_CONFIG, and waiting for them."""

from __future__ import annotations

import importlib
import json
import os
import socket
import threading
import time
from typing import Any, NamedTuple

from kvae.io import limits

TYPES = ("chief", "worker")
EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'
LONGEST_HELLO = 2**20  # bytes
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
    """Return once every other worker of a cluster has been met at its address and describes the same cluster.

    Workers find each other in whatever order they start: each listens at its own address and calls the others, and the
    two sides of a connection exchange one line that describes their cluster, their position in it and their versions.

    Args:
        cluster: a `Cluster`.
        seconds: how long to wait for all of them.

    Raises:
        ValueError: if this worker's port is taken, another worker does not answer in time, or it describes another
            cluster or has other versions.
    """
    deadline = time.monotonic() + seconds
    own = cluster.addresses[cluster.position]
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        listener = socket.create_server(("", _host_and_port(own)[1]), family=family, backlog=128, dualstack_ipv6=dual)
    except OSError as error:
        raise ValueError(
            f"TF_CONFIG must give this worker a port that is free: stop what listens there, or choose another. "
            f"Received: {own} ({error.strerror})"
        ) from error
    with listener:
        _Meeting(cluster, deadline, seconds).hold(listener)


class _Meeting:
    """The other workers that have been met, by calling them or by being called."""

    def __init__(self, cluster: Cluster, deadline: float, seconds: float) -> None:
        self.cluster = cluster
        self.deadline = deadline
        self.seconds = seconds
        self.hello = {
            "addresses": list(cluster.addresses),
            "position": cluster.position,
            "versions": {name: importlib.import_module(name).__version__ for name in ("kvae", "keras")},
        }
        self.missing = set(range(len(cluster.addresses))) - {cluster.position}
        self.reasons: dict[int, object] = {}
        self.over = threading.Event()
        self.refusal: ValueError | None = None  # of a worker that called

    def hold(self, listener: socket.socket) -> None:
        """Answer calls, and make them, until all workers are met."""
        listener.settimeout(0.1)
        answering = threading.Thread(target=self._answer, args=(listener,), daemon=True)
        answering.start()
        try:
            self._call_all()
        finally:
            self.over.set()
            answering.join()

    def _answer(self, listener):
        while not self.over.is_set():
            try:
                connection, _ = listener.accept()
                with connection:
                    self._exchange(connection)
            except ValueError as refusal:
                self.refusal = refusal
            except OSError:  # nobody called, or not a worker: those are called, too
                pass

    def _call_all(self):
        while self.missing:
            for position in sorted(self.missing):
                self._call(position)
            if self.refusal is not None:
                raise self.refusal
            if self.missing and time.monotonic() > self.deadline:
                position = min(self.missing)
                raise ValueError(
                    "TF_CONFIG must name workers that can be reached: start the one at "
                    f"{self.cluster.addresses[position]}, or correct its address or firewall. Received: no answer "
                    f"within {self.seconds:g} seconds ({self.reasons.get(position)})"
                )
            self.over.wait(0.1)

    def _call(self, position):
        """Call a worker that has not been met; it may not have started yet, or be calling this one."""
        try:
            timeout = max(0.1, min(1.0, self.deadline - time.monotonic()))
            with socket.create_connection(_host_and_port(self.cluster.addresses[position]), timeout) as connection:
                self._exchange(connection, position)
        except (OSError, UnicodeError) as error:  # the latter for an invalid host name
            self.reasons[position] = error

    def _exchange(self, connection, called=None):
        """Say hello, and compare the other side's with it."""
        connection.settimeout(1.0)
        connection.sendall(json.dumps(self.hello).encode() + b"\n")
        with connection.makefile("rb") as lines:
            text = lines.readline(LONGEST_HELLO)
        try:
            other = limits.parse_json(text)
            same = {name: other[name] == self.hello[name] for name in ("addresses", "versions")}
            position = int(other["position"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConnectionError("what answers there is not a worker of kvae") from error
        if not same["addresses"]:
            self._refuse("TF_CONFIG must list the same workers in the same order on all of them", other, "addresses")
        if position == self.cluster.position or called not in (None, position):
            self._refuse("TF_CONFIG must give each worker its own address and index", other, "position")
        if not same["versions"]:
            self._refuse("All workers must have the same versions", other, "versions")
        self.missing.discard(position)

    def _refuse(self, what, other, name):
        raise ValueError(
            f"{what}. Received: {self.hello[name]} here, and {limits.printable(other[name])} on another worker"
        )


def _is_address(text):
    host, _, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16


def _host_and_port(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
