"""The 88 bad inputs that nothing may fail over, by number, and which of them no test can have yet, and why.

The tests of this room have the numbers in their ids, as in ``test_port.py::test_...[3 an HTTP POST]``.
"""

from __future__ import annotations

INPUTS = {
    **{1: "nothing", 2: "HTTP GET", 3: "HTTP POST aligned as ZMTP/1.0", 4: "TLS hello", 5: "SSH banner", 6: "random"},
    **{7: "zeros", 8: "0xff", 9: "half a greeting", 10: "version 9.9", 11: "ZMTP/1.0 and 2.0"},
    **{12: "unknown mechanism", 13: "as-server bit", 14: "truncated READY", 15: "READY property of 2^32-1"},
    **{16: "wrong or no socket type", 17: "identity of 300 B", 18: "READY twice", 19: "reserved flag bits"},
    **{20: "PING TTL 0, 65535, 2 kB context", 21: "frame length 2^33 to 2^64-1", 22: "short frame, then silence"},
    **{23: "endless multipart", 24: "300,000 empty frames", 25: "bad CURVE", 26: "a byte now and then"},
    **{27: "no header frame", 28: "empty frame", 29: "extra delimiter", 30: "frames missing, surplus, swapped, twice"},
    **{31: "lengths that lie", 32: "unknown version or kind", 33: "call ids of wrong length", 34: "call id reused"},
    **{35: "attempt -1, 10^9", 36: "budgets that are none", 37: "ids of another session", 38: "wrong direction"},
    **{39: "reply for another's call", 40: "endpoints that are none"},
    **{
        41: "0xc1",
        42: "truncated",
        43: "trailing bytes",
        44: "deep",
        45: "lengths of 2^32-1",
        46: "10 MB of empty maps",
    },
    **{47: "odd and duplicate keys", 48: "bad UTF-8", 49: "extensions", 50: "odd numbers", 51: "type swaps"},
    **{52: "200 unknown fields"},
    **{53: "dtypes that are none", 54: "shapes that are none", 55: "length off by one", 56: "bool bytes of 7"},
    **{57: "misaligned frame", 58: "one frame for two documents"},
    **{59: "65,537 documents", 60: "chunks 5 deep, ids that refer to themselves", 61: "id of 1 MB", 62: "uri to fetch"},
    **{63: "data: URI of 100 MB", 64: "text and blob", 65: "deep tags, dunder names"},
    **{66: "python tags", 67: "unknown tag", 68: "billion laughs", 69: "merge keys", 70: "self anchor", 71: "[ x 5000"},
    **{
        72: "100,000 digits",
        73: "duplicate keys",
        74: "YAML 1.1 words",
        75: "BOM, NUL, UTF-16, CRLF",
        76: "bad graphs",
    },
    **{77: "replicas", 78: "ports", 79: "names", 80: "py_modules outside", 81: "workspaces", 82: "jtype", 83: "with"},
    **{84: "tar", 85: "zip", 86: "nested archives", 87: "wrong hash, truncated, many members"},
    **{88: "key files"},
}

NOT_YET: dict[int, str] = {}
