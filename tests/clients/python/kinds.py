"""What the tests run over: a listener and a version of STOMP."""

import pytest

KINDS = [("stomp", "1.0"), ("stomp", "1.1"), ("stomp", "1.2"), ("stomp_tls", "1.0"), ("stomp_tls", "1.2")]


def name_of(kind):
    listener, version = kind
    return f"{'tls' if listener == 'stomp_tls' else 'tcp'}-{version}"


def _since(first):
    kinds = [kind for kind in KINDS if kind[1] >= first]
    return pytest.mark.parametrize("kind", kinds, ids=name_of, indirect=True)


since_1_1 = _since("1.1")
