"""TLS with certificates of one's own: the files are read again when they changed, without a restart."""

from __future__ import annotations

import logging
import ssl

from ampacity.model.errors import UserError

from .options import Tls

log = logging.getLogger(__name__)

_Mark = tuple[tuple[int, int, int], ...]


class Certificate:
    """``context`` is the live one: what it is given later is what later handshakes show.

    Raises:
        UserError: the files cannot be read, or do not belong together.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._trouble = ""
        try:
            self._seen = self._mark()
            self.context = self._fresh()
        except (OSError, ssl.SSLError) as error:
            raise UserError(f"The certificate {tls.certificate} with {tls.key} cannot be used: {error}.") from error

    def refresh(self) -> bool:
        """Look at the files; ``True`` = another certificate is in force. Files that do not belong together (one of the
        two has been replaced so far) leave the last one in force."""
        try:
            mark = self._mark()
            if mark == self._seen:
                return False
            self._fresh()
            self.context.load_cert_chain(self._tls.certificate, self._tls.key)
        except (OSError, ssl.SSLError) as error:
            if str(error) != self._trouble:
                log.warning("the certificate cannot be read, going on with the last one: %s", error)
            self._trouble = str(error)
            return False
        self._seen, self._trouble = mark, ""
        log.info("the certificate was read again")
        return True

    def _fresh(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._tls.certificate, self._tls.key)
        return context

    def _mark(self) -> _Mark:
        stats = [path.stat() for path in (self._tls.certificate, self._tls.key)]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)
