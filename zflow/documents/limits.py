"""How large a table of documents may be on the wire: the limits of protocol/SPEC.md, for encoder and decoder alike.

The decoder enforces them on foreign bytes before it allocates; the encoder refuses the same things, so that a sender
learns of them at home, with the name of the value at fault.
"""

from __future__ import annotations

MAX_DOCUMENTS = 65_536  # rows of one request; rows of nested tables are bounded by MAX_ITEMS
MAX_NESTING = 4  # chunks of chunks of ...
MAX_BODY = 64 << 20  # bytes of the msgpack body
MAX_CONDITION = 16 << 10  # bytes of one condition on documents
MAX_CONDITIONS = 32 << 10  # bytes of all that one request carries: they travel in its header
MAX_ITEMS = 1_000_000  # array elements and, twice, map entries of one body
MAX_DEPTH = 16  # containers within containers in tags, parameters and results
MAX_STRING = 16 << 20  # bytes of one str
MAX_INLINE = 64 << 10  # bytes of one bin inside a body
MAX_KEY = 256  # bytes of a map's key
MAX_ID = 256  # bytes of a document's id
MAX_DIMENSIONS = 16  # of one row's array
MAX_ARRAY_BYTES = 1 << 30  # of one matrix: more than a whole request may hold
MAX_BUFFERS = 1_024  # out-of-band values of one table: with frames cut at 1 MiB they fit the 2,048 of a message

INLINE = 4 << 10  # what the encoder keeps in the body: below this a frame of its own costs more than the copy
COUNT_FROM = 1 << 20  # bytes of a body from which its items are counted: a smaller one cannot hold too many
PROBE_FROM = 512  # bytes of a body from which its structure is proved complete before anything is built
