"""The Content-Security-Policy of a page: what may run on it, and whom it may talk to.

Every page carries its own as a `meta` element; a server can send one for all pages as a header.
"""

import base64
import hashlib
import re
from collections.abc import Iterable

#: Inline scripts that run: not JSON, and nothing that has an address.
INLINE = re.compile(r"<script(?![^>]*(?:\bsrc=|type=\"application/))[^>]*>(.+?)</script>", re.S)
#: What stands for the policy of the whole site on the page that tells how to host it.
PLACE = "THE-POLICY-OF-THIS-SITE"


def hashes(html: str) -> set[str]:
    """Give the hash of each inline script of a page, as a policy names it."""
    digests = (hashlib.sha256(found.encode()).digest() for found in INLINE.findall(html))
    return {f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests}


def policy(scripts: Iterable[str] = (), hosts: Iterable[str] = ()) -> str:
    """Write a policy.

    Parameters
    ----------
    scripts : iterable of str
        Hashes of inline scripts.
    hosts : iterable of str
        Whom scripts may talk to, besides the site itself: the servers of live code.

    Returns
    -------
    str
        The value of the header. The style of formulas is inline, outputs of cells that were run
        in the page are images in `data:`, and exhibits start their samplers from a `blob:`, which
        is under the same policy.
    """
    parts = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *sorted(scripts)],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'", *hosts],
        "worker-src": ["'self'", "blob:"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(values)}" for name, values in parts.items())
