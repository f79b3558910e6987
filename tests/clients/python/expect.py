"""What the scripts beside this file expect of the server."""

import json
import time

from kubernetes.client.exceptions import ApiException


def equal(found, wanted):
    """Fails unless both are the same."""
    assert found == wanted, f"found {found!r}, wanted {wanted!r}"


def refused(code, reason, call, *arguments, **options):
    """Fails unless the server refuses the call with this code and reason; returns the whole answer."""
    try:
        answer = call(*arguments, **options)
    except ApiException as error:
        status = json.loads(error.body)
        equal((error.status, status["code"], status["reason"], status["kind"]), (code, code, reason, "Status"))
        return status
    raise AssertionError(f"the server took what it had to refuse: {answer}")


def until(is_so, patience=60):
    """Waits until the function says yes."""
    end = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < end, f"never: {is_so}"
        time.sleep(0.05)
