"""What nobody should be able to do to the front door by a document: each with its name and the answer it gets."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree
from tests.headend.conftest import NETWORK, NS, SUPPLIER, request_xml

from smets1.headend.duis.codes import DS
from smets1.headend.duis.request import MAX_REQUEST_OCTETS
from smets1.headend.duis.signature import Credential, XmlSigner

__all__ = ["CASES", "GOOD_BODY", "Case", "sign", "sign_as_templates_do"]

GOOD_BODY = "<sr:ReadMeterBalance/>"
GOOD = request_xml("4.18", GOOD_BODY)
EVIL = request_xml("7.2", "<sr:DisableSupply/>", counter=666)
_BODY = GOOD_BODY.encode()
_MEGABYTE = b" " * 1_000_000

Credentials = dict[int, Credential]


@dataclass(frozen=True)
class Case:
    name: str
    answer: str  # HTTP status, or the response code of a DUIS answer
    make: Callable[[Credentials], bytes | AsyncIterator[bytes]] = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()


def sign(octets: bytes, credential: Credential) -> bytes:
    return etree.tostring(XmlSigner(credential).sign(etree.fromstring(octets)))


# --- documents that are none ----------------------------------------------------------------------


def _in_body(content: bytes) -> bytes:
    return GOOD.replace(_BODY, b"<sr:ReadMeterBalance>" + content + b"</sr:ReadMeterBalance>")


def _typed(declaration: bytes, text: bytes = b"1000") -> bytes:
    """GOOD with a document type, and `text` in its counter."""
    return declaration + GOOD.replace(b":1000<", b":" + text + b"<")


def _laughs() -> bytes:
    rows = [b'<!ENTITY l0 "ha">']
    rows += [b'<!ENTITY l%d "' % n + b"&l%d;" % (n - 1) * 10 + b'">' for n in range(1, 10)]
    return _typed(b"<!DOCTYPE sr:Request [" + b"".join(rows) + b"]>", b"&l9;")


def _nested(levels: int) -> bytes:
    return _in_body(b"<sr:a>" * levels + b"</sr:a>" * levels)


def _utf7() -> bytes:
    hidden = b"+ADwAIQ-DOCTYPE sr:Request+AD4-"
    return b'<?xml version="1.0" encoding="UTF-7"?>' + hidden + GOOD


async def _hundred_megabytes() -> AsyncIterator[bytes]:
    yield GOOD[:200]
    for _ in range(100):
        yield _MEGABYTE


_FILE = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
_NETWORK = b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/evil.dtd">'
_PARAMETER = b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p.dtd"> %p;]>'
_SR = NS["sr"].encode()

_NO_DOCUMENTS: dict[str, bytes] = {
    "nothing": b"",
    "zeros": bytes(1000),
    "JSON": b'{"a": 1}',
    "cut in the middle": GOOD[:-30],
    "two roots": GOOD + GOOD,
    # entities and document types
    "billion laughs": _laughs(),
    "quadratic blow-up": _typed(b'<!DOCTYPE a [<!ENTITY x "' + b"A" * 50_000 + b'">]>', b"&x;" * 20_000),
    "external entity, a file": _typed(_FILE, b"&x;"),
    "external entity, a public one": _typed(_FILE.replace(b"SYSTEM", b'PUBLIC "-//x"'), b"&x;"),
    "external document type": _typed(_NETWORK),
    "parameter entity": _typed(_PARAMETER),
    "document type only": b"<!DOCTYPE sr:Request>" + GOOD,
    "nothing but a document type": b"<!DOCTYPE sr:Request>",
    "default attribute by document type": _typed(b'<!DOCTYPE a [<!ATTLIST a b CDATA "c">]>'),
    "entity that is not declared": GOOD.replace(b":1000<", b":&x;<"),
    "character that is none": GOOD.replace(b":1000<", b":&#0;<"),
    # encodings
    "UTF-16 with a mark": GOOD.decode().encode("utf-16"),
    "UTF-16 with a document type": _typed(_FILE, b"&x;").decode().encode("utf-16"),
    "UTF-16 without a mark": GOOD.decode().encode("utf-16-le"),
    "UTF-16, the other order": b"\xfe\xff" + GOOD.decode().encode("utf-16-be"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "UTF-7 with a document type": _utf7(),
    "UTF-7": b'<?xml version="1.0" encoding="utf-7"?>' + GOOD,
    "EBCDIC": GOOD.decode().encode("cp500"),
    "Latin-1": b'<?xml version="1.0" encoding="ISO-8859-1"?>' + GOOD,
    "two encodings": b'<?xml version="1.0" encoding="UTF-8" encoding="UTF-7"?>' + GOOD,
    "a name no encoding has": b'<?xml version="1.0" encoding="' + b"x" * 100_000 + b'"?>' + GOOD,
    "overlong UTF-8": GOOD.replace(b":1000<", b":1000\xc0\xbc<"),
    "half a character": GOOD.replace(b":1000<", b":1000\xe2\x82<"),
    # size and shape
    "one octet too many": GOOD + b" " * (MAX_REQUEST_OCTETS + 1 - len(GOOD)),
    "33 levels": _nested(33),
    "250 levels": _nested(250),
    "300 000 levels": _in_body(b"<a>" * 150_000 + b"</a>" * 150_000),
    "30 000 elements": _in_body(b"<sr:a/>" * 30_000),
    "half a million elements": _in_body(b"<a/>" * 500_000),
    "100 000 attributes": _in_body(b"<sr:a " + b"".join(b'a%d="" ' % n for n in range(100_000)) + b"/>"),
    "50 000 namespaces": _in_body(b"<sr:a " + b"".join(b'xmlns:a%d="u" ' % n for n in range(50_000)) + b"/>"),
    "the same attribute twice": GOOD.replace(b"<sr:Body>", b'<sr:Body a="1" a="2">'),
    "a RequestID of a megabyte": GOOD.replace(b":1000<", b":" + b"1" * 1_000_000 + b"<"),
    "a version of a megabyte": GOOD.replace(b'"5.4"', b'"' + b"5" * 1_000_000 + b'"'),
    "a name of a megabyte": GOOD.replace(b"sr:Header", b"sr:" + b"H" * 500_000),
    # namespaces
    "another namespace": GOOD.replace(_SR, b"http://www.example.org/"),
    "no namespace": GOOD.replace(b"sr:", b"").replace(b"xmlns:sr", b"xmlns:x"),
    "a namespace like it": GOOD.replace(_SR, _SR + b"/"),
    "a prefix of no namespace": GOOD.replace(b"<sr:Header>", b"<zz:Header>").replace(b"</sr:Header>", b"</zz:Header>"),
    "a body of another namespace": GOOD.replace(b"<sr:ReadMeterBalance/>", b'<b:ReadMeterBalance xmlns:b="b"/>'),
    "a namespace that forges a line of the log": GOOD.replace(_SR, b"x&#10;2026-01-01 ERROR all is lost&#27;[2J"),
    "the response to it": GOOD.replace(b"sr:Request ", b"sr:Response ").replace(b"/sr:Request>", b"/sr:Response>"),
    # structure
    "processing instruction": b'<?xml-stylesheet href="file:///etc/passwd"?>' + GOOD,
    "processing instruction inside": GOOD.replace(b"<sr:Body>", b"<sr:Body><?php evil ?>"),
    "another document included": GOOD.replace(
        _BODY, b'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/>'
    ),
    "two headers": GOOD.replace(b"<sr:Body>", b"<sr:Header/><sr:Body>"),
    "two bodies": GOOD.replace(b"<sr:Body>", b"<sr:Body/><sr:Body>"),
    "two requests in a body": GOOD.replace(_BODY, _BODY + b"<sr:DisableSupply/>"),
    "the same id twice": GOOD.replace(b"<sr:CommandVariant>", b"<sr:RequestID>a</sr:RequestID><sr:CommandVariant>"),
    "two variants": GOOD.replace(b"<sr:CommandVariant>", b"<sr:CommandVariant>1</sr:CommandVariant><sr:CommandVariant>"),
    "a value with a child": GOOD.replace(b":1000<", b":1000<sr:x/><"),
    "a counter too big": GOOD.replace(b":1000<", b":18446744073709551616<"),
    "a counter in Arabic digits": GOOD.replace(b":1000<", b":\xd9\xa1\xd9\xa0<"),
    "a service that is none": GOOD.replace(b">4.18<", b">4.18'; DROP TABLE request<"),
}  # fmt: skip


# --- signatures -----------------------------------------------------------------------------------


def _tree(credentials: Credentials) -> etree._Element:
    return etree.fromstring(sign(GOOD, credentials[SUPPLIER]))


def _moved(credentials: Credentials) -> etree._Element:
    evil = etree.fromstring(EVIL)
    evil.append(_tree(credentials)[-1])
    return evil


def _inside(place: int) -> Callable[[Credentials], etree._Element]:
    """The genuine document inside the header or the body of another one, and its signature at the end."""

    def make(credentials: Credentials) -> etree._Element:
        evil, good = etree.fromstring(EVIL), _tree(credentials)
        evil[place][0].append(good)
        evil.append(deepcopy(good[-1]))
        return evil

    return make


def _in_an_object(credentials: Credentials) -> etree._Element:
    """The genuine document inside the very signature."""
    evil, good = etree.fromstring(EVIL), _tree(credentials)
    signature = deepcopy(good[-1])
    etree.SubElement(signature, f"{{{DS}}}Object").append(good)
    evil.append(signature)
    return evil


def _referring_to(uri: str, part: int | None) -> Callable[[Credentials], etree._Element]:
    """A true signature of the user's own, of one part; the rest is somebody else's."""

    def make(credentials: Credentials) -> etree._Element:
        root = etree.fromstring(GOOD)
        covered = root if part is None else root[part]
        covered.set("Id", "x")
        root.append(_signature(credentials[SUPPLIER], [(uri, _c14n(covered))]))
        root[1][:] = [etree.Element(f"{{{NS['sr']}}}DisableSupply")]
        return root

    return make


def _two_references(credentials: Credentials) -> etree._Element:
    root = etree.fromstring(GOOD)
    digest = _c14n(root)
    root.append(_signature(credentials[SUPPLIER], [("", digest), ("", digest)]))
    return root


def _transform(algorithm: str, content: str = "") -> Callable[[Credentials], etree._Element]:
    """A true signature that covers what a transform leaves of the document."""

    def make(credentials: Credentials) -> etree._Element:
        root = etree.fromstring(GOOD)
        extra = f'<ds:Transform Algorithm="{algorithm}">{content}</ds:Transform>'
        root.append(_signature(credentials[SUPPLIER], [("", _c14n(root))], extra=extra))
        return root

    return make


def _no_references(credentials: Credentials) -> etree._Element:
    root = etree.fromstring(GOOD)
    root.append(_signature(credentials[SUPPLIER], []))
    return root


def _keyed_with_the_public_key(credentials: Credentials) -> etree._Element:
    """HMAC by what everybody knows, in the hope that the verifier takes it for its key."""
    public = credentials[SUPPLIER].certificate.public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    method = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"
    root = etree.fromstring(GOOD)
    signature = _signature(credentials[SUPPLIER], [("", _c14n(root))], method=method)
    info = etree.tostring(signature[0], method="c14n", exclusive=True)
    signature[1].text = base64.b64encode(hmac.digest(der, info, "sha256")).decode()
    root.append(signature)
    return root


def _by_another_key(credentials: Credentials) -> etree._Element:
    """Made with the attacker's key, naming the victim's certificate, the attacker's own beside it."""
    root = etree.fromstring(sign(GOOD, credentials[NETWORK]))
    names = [
        signature[-1].find("{*}X509Data/{*}X509IssuerSerial")
        for signature in (root[-1], _tree(credentials)[-1])
    ]
    assert names[0] is not None
    assert names[1] is not None
    data = names[0].getparent()
    assert data is not None
    data.replace(names[0], names[1])
    der = credentials[NETWORK].certificate.public_bytes(serialization.Encoding.DER)
    etree.SubElement(data, f"{{{DS}}}X509Certificate").text = base64.b64encode(der).decode()
    return root


def _signature(
    credential: Credential,
    references: list[tuple[str, bytes]],
    *,
    extra: str = "",
    last: str = "http://www.w3.org/2001/10/xml-exc-c14n#",
    method: str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
) -> etree._Element:
    """ds:Signature of our own making, where the product's signer would not make such a one."""
    c14n = "http://www.w3.org/2001/10/xml-exc-c14n#"
    tail = last and f'<ds:Transform Algorithm="{last}"/>'
    rows = "".join(
        f'<ds:Reference URI="{uri}"><ds:Transforms>'
        f'<ds:Transform Algorithm="{DS}enveloped-signature"/>{extra}{tail}</ds:Transforms>'
        '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>'
        f"<ds:DigestValue>{base64.b64encode(hashlib.sha256(octets).digest()).decode()}</ds:DigestValue></ds:Reference>"
        for uri, octets in references
    )
    template = etree.fromstring(sign(GOOD, credential))[-1]
    info = etree.fromstring(
        f'<ds:SignedInfo xmlns:ds="{DS}"><ds:CanonicalizationMethod Algorithm="{c14n}"/>'
        f'<ds:SignatureMethod Algorithm="{method}"/>{rows}</ds:SignedInfo>'
    )
    template[0] = info
    assert credential.key is not None
    r, s = decode_dss_signature(credential.key.sign(_c14n(template[0]), ec.ECDSA(hashes.SHA256())))
    template[1].text = base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()
    return template


def _c14n(element: etree._Element, *, exclusive: bool = True) -> bytes:
    return etree.tostring(element, method="c14n", exclusive=exclusive)


def sign_as_templates_do(octets: bytes, credential: Credential) -> bytes:
    """With one transform only, so the document's canonical form is the inclusive one. For who must be let in."""
    root = etree.fromstring(octets)
    digested = _c14n(root, exclusive=False)
    root.append(_signature(credential, [("", digested)], last=""))
    return bytes(etree.tostring(root))


def _edited(old: bytes, new: bytes) -> Callable[[Credentials], bytes]:
    def make(credentials: Credentials) -> bytes:
        good = sign(GOOD, credentials[SUPPLIER])
        assert old in good, old
        return good.replace(old, new, 1)

    return make


_SERIAL = b"<ds:X509SerialNumber>"
_MALFORMED = "http://www.w3.org/TR/1999/REC-xpath-19991116"
_TREES: dict[str, Callable[[Credentials], etree._Element | bytes]] = {
    "no signature": lambda _: GOOD,
    "an empty signature": lambda _: GOOD.replace(b"</sr:Request>", f'<ds:Signature xmlns:ds="{DS}"/></sr:Request>'.encode()),
    # wrapping
    "the signature of another document": _moved,
    "the genuine one inside a forged header": _inside(0),
    "the genuine one inside a forged body": _inside(1),
    "the genuine one inside its signature": _in_an_object,
    "only the header is signed": _referring_to("#x", 0),
    "only the body was signed": _referring_to("#x", 1),
    "the root by its id": _referring_to("#x", None),
    "the root by an XPointer": _referring_to("#xpointer(id('x'))", None),
    "a file is signed": _referring_to("file:///etc/passwd", None),
    "two references": _two_references,
    "no reference": _no_references,
    "an XPath transform": _transform(_MALFORMED, "<ds:XPath>not(ancestor-or-self::node())</ds:XPath>"),
    "an XSLT transform": _transform("http://www.w3.org/TR/1999/REC-xslt-19991116"),
    "a base64 transform": _transform(f"{DS}base64"),
    # algorithms
    "HMAC by the public key": _keyed_with_the_public_key,
    "RSA with SHA-1": _edited(b"ecdsa-sha256", b"rsa-sha1"),
    "ECDSA with SHA-1": _edited(b"ecdsa-sha256", b"ecdsa-sha1"),
    "a digest by SHA-1": _edited(b"http://www.w3.org/2001/04/xmlenc#sha256", f"{DS}sha1".encode()),
    "a digest by SHA-512": _edited(b"xmlenc#sha256", b"xmlenc#sha512"),
    "no canonical form": _edited(b"http://www.w3.org/2001/10/xml-exc-c14n#", b"http://www.example.org/none"),
    # whose it is
    "another user's signature": lambda credentials: sign(GOOD, credentials[NETWORK]),
    "another key, the victim's name": _by_another_key,
    "an issuer of another name": _edited(b"SMETS1 TEST CA", b"ANOTHER CA"),
    "an issuer of 100 kB": _edited(b"SMETS1 TEST CA", b"A" * 100_000),
    "another serial number": _edited(_SERIAL, _SERIAL + b"9"),
    "a serial number of 100 000 digits": _edited(_SERIAL, _SERIAL + b"9" * 100_000),
    "a negative serial number": _edited(_SERIAL, _SERIAL + b"-"),
    "a key of its own": _edited(b"<ds:X509Data>", b"<ds:KeyValue/><ds:X509Datb>"),
    # changed since
    "another counter": _edited(b":1000<", b":1001<"),
    "another body": _edited(_BODY, b"<sr:ReadMeterBalance> </sr:ReadMeterBalance>"),
    "another service": _edited(b">4.18<", b">4.16<"),
    "one attribute more": _edited(b"<sr:Body>", b'<sr:Body a="">'),
    "a body that the transforms do not cover": _transform(
        "http://www.w3.org/2001/10/xml-exc-c14n#", "<ds:XPath>not(ancestor-or-self::sr:Body)</ds:XPath>"
    ),
    "a signature value that is none": _edited(b"<ds:SignatureValue>", b"<ds:SignatureValue>!!"),
    "a signature value of zeros": _edited(b"<ds:SignatureValue>", b"<ds:SignatureValue>" + b"AAAA" * 20),
}  # fmt: skip


_NOT_READ = ("a key of its own", "the genuine one inside a forged header")


def _octets(make: Callable[[Credentials], etree._Element | bytes]) -> Callable[[Credentials], bytes]:
    def made(credentials: Credentials) -> bytes:
        document = make(credentials)
        if isinstance(document, bytes):
            return document
        return bytes(etree.tostring(document))

    return made


def _two_signatures(credentials: Credentials) -> bytes:
    root = _tree(credentials)
    root.append(deepcopy(root[-1]))
    return bytes(etree.tostring(root))


def _cases() -> Iterator[Case]:
    for name, document in _NO_DOCUMENTS.items():
        yield Case(
            name,
            "413" if len(document) > MAX_REQUEST_OCTETS else "400",
            lambda _, document=document: document,
        )  # type: ignore[misc]
    for name, make in _TREES.items():
        yield Case(name, "400" if name in _NOT_READ else "E100", _octets(make))
    yield Case("two signatures", "400", _two_signatures)
    yield Case("100 MB", "413", lambda _: _hundred_megabytes())
    bomb = gzip.compress(b" " * 100_000_000, 9)
    yield Case("100 MB, packed", "413", lambda _: bomb, (("Content-Encoding", "gzip"),))


CASES = tuple(_cases())
