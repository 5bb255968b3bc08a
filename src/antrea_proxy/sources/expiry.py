"""What is to be said of certificates whose time is over, or has not come: which, since when, and what to do."""

from __future__ import annotations

import datetime as dt
from typing import Final

from antrea_proxy.sources.access import ClientCertificate, ClusterAccess, Pem, PemFile
from antrea_proxy.sources.validity import Validity, validities

_READ_AGAIN: Final = "it is read again as soon as it changes, without a restart"


def client_complaint(access: ClusterAccess, client: ClientCertificate | None, now: dt.datetime) -> str:
    """Say that the certificate we show does not hold now, naming file, field, date and remedy; empty where it does."""
    if client is None or not (found := _validities(client.certificate)):
        return ""
    what = f"the certificate in {_field('client-certificate', client.certificate)} of {access.origin}"
    return _complaint(what, found[0], now)


def ca_complaint(access: ClusterAccess, now: dt.datetime) -> str:
    """Say that no certificate of the CA we trust holds now; empty where one does, and where the CA is the machine's."""
    found = [] if access.ca is None else _validities(access.ca)
    if access.ca is None or not found or any(one.begins <= now <= one.ends for one in found):
        return ""
    what = f"the CA in {_field('certificate-authority', access.ca)} of {access.origin}"
    return _complaint(what, max(found, key=lambda one: one.ends), now)


def _complaint(what: str, validity: Validity, now: dt.datetime) -> str:
    if now > validity.ends:
        return f"{what} expired on {_date(validity.ends)}; put a new one there ({_READ_AGAIN})"
    if now < validity.begins:
        return f"{what} is not valid before {_date(validity.begins)}; correct this machine's clock ({_date(now)} by it)"
    return ""


def _field(key: str, pem: Pem) -> str:
    return f"{key}: {pem}" if isinstance(pem, PemFile) else str(pem)


def _validities(pem: Pem) -> list[Validity]:
    if not isinstance(pem, PemFile):
        return validities(pem.text)
    try:
        return validities(pem.path.read_text())
    except (OSError, UnicodeDecodeError):
        return []


def _date(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
