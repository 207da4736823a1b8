"""Documents: what users hold, `Document` and `DocumentArray`, and how they become bytes and come back."""

from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.documents.scores import NamedScore

__all__ = ["Document", "DocumentArray", "NamedScore"]
