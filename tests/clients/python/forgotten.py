"""A watch from before the server forgot its history: 410, a new list, and a watch from there.

Without an argument it makes an object and prints its version; with that version it goes on after the server was killed.
"""

import sys

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

from expect import equal

config.load_kube_config()
core = client.CoreV1Api()
NAMESPACE = "default"


def make(name):
    return core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": name, "labels": {"kept": "yes"}}})


if len(sys.argv) == 1:
    print(make("before").metadata.resource_version)
    sys.exit()

old = sys.argv[1]
try:
    for event in watch.Watch().stream(
            core.list_namespaced_config_map, NAMESPACE, resource_version=old, timeout_seconds=10):
        raise AssertionError(f"a forgotten version was taken; it showed {event}")
except ApiException as error:
    equal(error.status, 410)
    equal(error.reason.startswith(f"Expired: too old resource version: {old} ("), True)
else:
    raise AssertionError("a forgotten version was taken")

listed = core.list_namespaced_config_map(NAMESPACE, label_selector="kept=yes")
equal([item.metadata.name for item in listed.items], ["before"])
# Versions only ever grow, so that no client takes an older object for a newer one.
equal(int(listed.metadata.resource_version) > int(old), True)
make("after")
watcher = watch.Watch()
for event in watcher.stream(core.list_namespaced_config_map, NAMESPACE,
                            resource_version=listed.metadata.resource_version, timeout_seconds=30):
    equal((event["type"], event["object"].metadata.name), ("ADDED", "after"))
    watcher.stop()
    break
else:
    raise AssertionError("the watch showed nothing")
print("forgotten: done")
