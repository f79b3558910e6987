"""Watches: what is there, what comes, going on after a break, and a version that is not there yet."""

import threading
import time

from kubernetes import client, config, watch

from expect import equal

config.load_kube_config()
core = client.CoreV1Api()
NAMESPACE = "default"


def make(name, **labels):
    return core.create_namespaced_config_map(
        NAMESPACE, {"metadata": {"name": name, "labels": {"watched": "yes"} | labels}})


def take(count, **options):
    """Returns the next so many events, as pairs of type and name, and the version of the last one."""
    watcher = watch.Watch()
    seen = []
    options = {"label_selector": "watched=yes", "timeout_seconds": 30} | options
    for event in watcher.stream(core.list_namespaced_config_map, NAMESPACE, **options):
        seen.append((event["type"], event["object"].metadata.name))
        version = event["object"].metadata.resource_version
        if len(seen) == count:
            watcher.stop()
            return seen, version
    raise AssertionError(f"the watch ended early; it showed {seen}")


# What is there comes first, then what is made meanwhile.
make("first")
later = threading.Timer(0.5, make, ["second"])
later.start()
seen, version = take(2)
later.join()
equal(seen, [("ADDED", "first"), ("ADDED", "second")])

# Nothing is missed and nothing comes twice when a watch goes on from the version that was seen last.
core.patch_namespaced_config_map("first", NAMESPACE, {"data": {"a": "1"}})
core.delete_namespaced_config_map("second", NAMESPACE)
make("third")
seen, version = take(3, resource_version=version)
equal(seen, [("MODIFIED", "first"), ("DELETED", "second"), ("ADDED", "third")])

# An object that no longer matches goes, and comes back when it matches again.
core.patch_namespaced_config_map("third", NAMESPACE, {"metadata": {"labels": {"watched": "no"}}})
core.patch_namespaced_config_map("third", NAMESPACE, {"metadata": {"labels": {"watched": "yes"}}})
seen, version = take(2, resource_version=version)
equal(seen, [("DELETED", "third"), ("ADDED", "third")])

# Bookmarks are asked for and may come; they are no objects.
watcher = watch.Watch()
begun = time.monotonic()
events = list(watcher.stream(
    core.list_namespaced_config_map, NAMESPACE, resource_version=version, timeout_seconds=1, allow_watch_bookmarks=True))
equal([event["type"] for event in events if event["type"] != "BOOKMARK"], [])
# The watch ended when it was to.
equal(0.5 < time.monotonic() - begun < 15, True)

# From a version that the server has not reached, nothing is shown until the time is over.
equal(list(watch.Watch().stream(
    core.list_namespaced_config_map, NAMESPACE, resource_version="999999999999", timeout_seconds=1)), [])

# Our kinds, by the client that has them as dictionaries.
custom = client.CustomObjectsApi()
place = ("kelos.dev", "v1alpha1", NAMESPACE, "tasks")
custom.create_namespaced_custom_object(*place, {
    "apiVersion": "kelos.dev/v1alpha1",
    "kind": "Task",
    "metadata": {"name": "watched"},
    "spec": {"type": "shell", "prompt": "echo hello", "credentials": {"type": "none"}},
})
phases = []
for event in watch.Watch().stream(custom.list_namespaced_custom_object, *place, timeout_seconds=60):
    phase = event["object"].get("status", {}).get("phase")
    if phase and phase not in phases:
        phases.append(phase)
    if phase in ("Succeeded", "Failed"):
        break
equal(phases[-1], "Succeeded")
print("watching: done")
