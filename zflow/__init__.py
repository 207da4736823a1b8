"""zflow: a ZeroMQ peer-to-peer runtime for Python.

Write an `Executor` class with `@requests` methods, compose Executors into a `Flow`, call it with a `Client`.
"""

from typing import Any

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
    ZflowError,
)
from zflow.executor import Executor, requests
from zflow.flow import Flow
from zflow.response import Response
from zflow.version import __version__

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
    "ZflowError",
    "__version__",
    "dynamic_batching",
    "requests",
]


def __getattr__(name: str) -> Any:
    """`AsyncClient` when it is asked for: it brings asyncio with it, which few scripts need."""
    if name == "AsyncClient":
        from zflow.asynchronous import AsyncClient

        return AsyncClient
    raise AttributeError(f"module 'zflow' has no attribute {name!r}")
