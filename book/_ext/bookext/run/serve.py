"""``make serve``: the built site on this machine alone, until Ctrl-C.

python -m bookext.run.serve [PORT]
"""

import errno
import functools
import http.server
import sys

from .build import SITE


def main(arguments: list[str]) -> int:
    """Serve ``_build/html`` on 127.0.0.1."""
    given = arguments[0] if arguments else "8000"
    if not given.isdecimal() or not 0 < int(given) < 65536:
        print(f"PORT={given}: a port is a number from 1 to 65535, as in make serve PORT=8001", file=sys.stderr)
        return 2
    port, handler = int(given), functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(SITE))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        taken = {errno.EADDRINUSE: "is taken by another program", errno.EACCES: "is kept for the system"}
        why = taken.get(error.errno or 0, f"cannot be used: {error.strerror}")
        print(f"Port {port} {why}; take another: make serve PORT={port + 1 if port > 1023 else 8000}", file=sys.stderr)
        return 1
    print(f"The site: http://127.0.0.1:{port}/ (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
