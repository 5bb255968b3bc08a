"""Names as the API allows them; every function gives the complaints, in the API's words, and none where all is well.

Source: k8s.io/apimachinery `pkg/util/validation`, RFC 1123 and RFC 1035.
"""

from __future__ import annotations

import re

_LABEL_1123 = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL_1123}(\.{_LABEL_1123})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"

LONGEST_LABEL = 63
LONGEST_SUBDOMAIN = 253
_LONGEST_PORT_NAME = 15


def _too_long(maximum: int) -> str:
    return f"must be no more than {maximum} bytes"


def _regex_complaint(words: str, pattern: str, *examples: str) -> str:
    # The two blanks are the original's own; people compare these texts.
    shown = ",  or ".join(f"'{example}'" for example in examples)
    return f"{words} (e.g. {shown}, regex used for validation is '{pattern}')"


def dns_label_errors(name: str) -> list[str]:
    """Check an RFC 1123 label."""
    errors = [_too_long(LONGEST_LABEL)] if len(name) > LONGEST_LABEL else []
    if not re.fullmatch(_LABEL_1123, name):
        words = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
            "and must start and end with an alphanumeric character"
        )
        errors.append(_regex_complaint(words, _LABEL_1123, "my-name", "123-abc"))
    return errors


def dns_subdomain_errors(name: str) -> list[str]:
    """Check an RFC 1123 subdomain."""
    errors = [_too_long(LONGEST_SUBDOMAIN)] if len(name) > LONGEST_SUBDOMAIN else []
    if not re.fullmatch(_SUBDOMAIN, name):
        words = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character"
        )
        errors.append(_regex_complaint(words, _SUBDOMAIN, "example.com"))
    return errors


def dns_1035_label_errors(name: str) -> list[str]:
    """Check an RFC 1035 label, as Services must be named."""
    errors = [_too_long(LONGEST_LABEL)] if len(name) > LONGEST_LABEL else []
    if not re.fullmatch(_LABEL_1035, name):
        words = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
            "start with an alphabetic character, and end with an alphanumeric character"
        )
        errors.append(_regex_complaint(words, _LABEL_1035, "my-name", "abc-123"))
    return errors


def qualified_name_errors(key: str) -> list[str]:
    """Check the key of a label or annotation, with or without a prefix."""
    prefix, slash, name = key.rpartition("/")
    words = (
        "must consist of alphanumeric characters, '-', '_' or '.', "
        "and must start and end with an alphanumeric character"
    )
    if slash and "/" in prefix:
        complaint = _regex_complaint(f"a qualified name {words}", _QUALIFIED, "MyName", "my.name", "123-abc")
        return [f"{complaint} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    errors: list[str] = []
    if slash and not prefix:
        errors.append("prefix part must be non-empty")
    elif slash:
        errors.extend(f"prefix part {error}" for error in dns_subdomain_errors(prefix))
    if not name:
        errors.append("name part must be non-empty")
    elif len(name) > LONGEST_LABEL:
        errors.append(f"name part {_too_long(LONGEST_LABEL)}")
    if not re.fullmatch(_QUALIFIED, name):
        errors.append(f"name part {_regex_complaint(words, _QUALIFIED, 'MyName', 'my.name', '123-abc')}")
    return errors


def label_value_errors(value: str) -> list[str]:
    """Check the value of a label."""
    errors = [_too_long(LONGEST_LABEL)] if len(value) > LONGEST_LABEL else []
    if not re.fullmatch(_LABEL_VALUE, value):
        words = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
        errors.append(_regex_complaint(words, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return errors


def port_name_errors(name: str) -> list[str]:
    """Check an IANA service name (RFC 6335), as named ports of Pods are."""
    errors = []
    if len(name) > _LONGEST_PORT_NAME:
        errors.append(f"must be no more than {_LONGEST_PORT_NAME} characters")
    if not re.fullmatch("[-a-z0-9]+", name):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        errors.append("must contain at least one letter (a-z)")
    if "--" in name:
        errors.append("must not contain consecutive hyphens")
    if name and (name[0] == "-" or name[-1] == "-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def config_key_errors(key: str) -> list[str]:
    """Check a key of a ConfigMap or Secret."""
    errors = [_too_long(LONGEST_SUBDOMAIN)] if len(key) > LONGEST_SUBDOMAIN else []
    if not re.fullmatch("[-._a-zA-Z0-9]+", key):
        words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        errors.append(_regex_complaint(words, "[-._a-zA-Z0-9]+", "key.name", "KEY_NAME", "key-name"))
    if key == ".":
        errors.append("must not be '.'")
    elif key == "..":
        errors.append("must not be '..'")
    elif key.startswith(".."):
        errors.append("must not start with '..'")
    return errors
