"""zflow: a ZeroMQ peer-to-peer runtime for Python.

Write an `Executor` class with `@requests` methods, compose Executors into a `Flow`, call it with a `Client`.

The front door opens the room of a name when the name is asked for: who only wants `zflow --help`, or Documents, does
not pay for sockets and supervisors.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zflow.version import __version__

if TYPE_CHECKING:
    from zflow.asynchronous import AsyncClient
    from zflow.batching import dynamic_batching
    from zflow.client import Client
    from zflow.deployment import Deployment
    from zflow.documents import Document, DocumentArray
    from zflow.errors import (
        AuthError,
        CallbackError,
        Cancelled,
        ConfigError,
        DeadlineExceeded,
        ExecutorError,
        HubError,
        InvalidDocument,
        InvalidRequest,
        PoisonRequest,
        PortInUse,
        ProtocolError,
        RemoteError,
        ResourceExhausted,
        StartError,
        TopologyError,
        Unavailable,
        UnsupportedRequest,
        WorkspaceError,
        ZflowError,
    )
    from zflow.executor import Executor, requests
    from zflow.flow import Flow
    from zflow.response import Response

__all__ = [
    "AsyncClient",
    "AuthError",
    "CallbackError",
    "Cancelled",
    "Client",
    "ConfigError",
    "DeadlineExceeded",
    "Deployment",
    "Document",
    "DocumentArray",
    "Executor",
    "ExecutorError",
    "Flow",
    "HubError",
    "InvalidDocument",
    "InvalidRequest",
    "PoisonRequest",
    "PortInUse",
    "ProtocolError",
    "RemoteError",
    "ResourceExhausted",
    "Response",
    "StartError",
    "TopologyError",
    "Unavailable",
    "UnsupportedRequest",
    "WorkspaceError",
    "ZflowError",
    "__version__",
    "dynamic_batching",
    "requests",
]

_ROOMS = {  # of each name that is no error
    "AsyncClient": "asynchronous",
    "Client": "client",
    "Deployment": "deployment",
    "Document": "documents",
    "DocumentArray": "documents",
    "Executor": "executor",
    "Flow": "flow",
    "Response": "response",
    "dynamic_batching": "batching",
    "requests": "executor",
}


def __getattr__(name: str) -> Any:
    """A public name, when it is asked for the first time."""
    if name not in __all__:
        raise AttributeError(f"module 'zflow' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"zflow.{_ROOMS.get(name, 'errors')}"), name)
    return value


def __dir__() -> list[str]:
    """The public names, for who completes them."""
    return sorted({*globals(), *__all__})
