"""The typed clients: core kinds, and objects of our kinds as dictionaries."""

import base64

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from expect import equal, refused, until

config.load_kube_config()
core = client.CoreV1Api()
custom = client.CustomObjectsApi()
GROUP, VERSION, NAMESPACE = "kelos.dev", "v1alpha1", "typed"

# The server says what it is, with and without the slash that this client appends.
equal(client.VersionApi().get_code().major, "1")
equal(sorted(group.name for group in client.ApisApi().get_api_versions().groups if "kelos" in group.name),
      ["gitops.kelos.dev", "kelos.dev"])

# Namespaces.
namespace = core.create_namespace({"metadata": {"name": NAMESPACE, "labels": {"team": "blue"}}})
equal(namespace.status.phase, "Active")
refused(409, "AlreadyExists", core.create_namespace, {"metadata": {"name": NAMESPACE}})
equal([item.metadata.name for item in core.list_namespace(label_selector="team=blue").items], [NAMESPACE])

# Secrets: without apiVersion and kind in the body, and with a plain text that becomes bytes.
secret = client.V1Secret(metadata=client.V1ObjectMeta(name="token"), string_data={"value": "one"})
made = core.create_namespaced_secret(NAMESPACE, secret)
equal(base64.b64decode(made.data["value"]), b"one")
equal((made.type, made.string_data), ("Opaque", None))
made.data["value"] = base64.b64encode(b"two").decode()
replaced = core.replace_namespaced_secret("token", NAMESPACE, made)
equal(base64.b64decode(replaced.data["value"]), b"two")
# What was read before is too old to be written now.
refused(409, "Conflict", core.replace_namespaced_secret, "token", NAMESPACE, made)

# ConfigMaps: a patch of a core kind is a strategic one.
core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(
    metadata=client.V1ObjectMeta(generate_name="settings-"), data={"a": "1", "b": "2"}))
(settings,) = core.list_namespaced_config_map(NAMESPACE).items
equal(settings.metadata.name.startswith("settings-"), True)
patched = core.patch_namespaced_config_map(settings.metadata.name, NAMESPACE, {"data": {"a": None, "c": "3"}})
equal(patched.data, {"b": "2", "c": "3"})
patched = core.patch_namespaced_config_map(
    settings.metadata.name, NAMESPACE, [{"op": "replace", "path": "/data/b", "value": "4"}],
    _content_type="application/json-patch+json")
equal(patched.data, {"b": "4", "c": "3"})

# Lists in pages.
for number in range(5):
    core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": f"page-{number}", "labels": {"paged": "yes"}}})
first = core.list_namespaced_config_map(NAMESPACE, label_selector="paged=yes", limit=2)
equal((len(first.items), first.metadata.remaining_item_count), (2, None))
rest = core.list_namespaced_config_map(NAMESPACE, label_selector="paged=yes", _continue=first.metadata._continue)
equal([item.metadata.name for item in rest.items], ["page-2", "page-3", "page-4"])

# Events are written in one API and read in both.
core.create_namespaced_event(NAMESPACE, client.CoreV1Event(
    metadata=client.V1ObjectMeta(name="seen"), reason="Seen", message="it was seen", type="Normal",
    involved_object=client.V1ObjectReference(kind="Secret", name="token", namespace=NAMESPACE, api_version="v1")))
(event,) = core.list_namespaced_event(NAMESPACE, field_selector="involvedObject.name=token").items
equal((event.reason, event.message), ("Seen", "it was seen"))
# The typed client of the newer API wants a time that Events of the older one do not have.
newer = custom.get_namespaced_custom_object("events.k8s.io", "v1", NAMESPACE, "events", "seen")
equal((newer["regarding"]["name"], newer["note"]), ("token", "it was seen"))

# Our kinds as dictionaries.
body = {
    "apiVersion": f"{GROUP}/{VERSION}",
    "kind": "Workspace",
    "metadata": {"name": "app"},
    "spec": {"repo": "https://example.com/team/app.git"},
}
place = (GROUP, VERSION, NAMESPACE, "workspaces")
created = custom.create_namespaced_custom_object(*place, body)
equal(created["metadata"]["generation"], 1)
equal(custom.get_namespaced_custom_object(*place, "app"), created)
equal([item["metadata"]["name"] for item in custom.list_namespaced_custom_object(*place)["items"]], ["app"])
equal(len(custom.list_cluster_custom_object(GROUP, VERSION, "workspaces")["items"]), 1)
patched = custom.patch_namespaced_custom_object(*place, "app", {"spec": {"ref": "main"}})
equal((patched["spec"]["ref"], patched["metadata"]["generation"]), ("main", 2))
patched["spec"]["ref"] = "next"
replaced = custom.replace_namespaced_custom_object(*place, "app", patched)
equal(replaced["spec"]["ref"], "next")
created["spec"]["ref"] = "old"
refused(409, "Conflict", custom.replace_namespaced_custom_object, *place, "app", created)
refused(404, "NotFound", custom.get_namespaced_custom_object, *place, "absent")
refused(422, "Invalid", custom.patch_namespaced_custom_object, *place, "app", {"spec": {"repo": None}})
refused(400, "BadRequest", custom.create_namespaced_custom_object, *place,
        body | {"metadata": {"name": "typo"}, "spec": body["spec"] | {"branch": "main"}}, field_validation="Strict")
refused(422, "Invalid", custom.create_namespaced_custom_object, *place, body | {"kind": "Task"})

# A Task of its own, whose status is another resource.
place = (GROUP, VERSION, NAMESPACE, "tasks")
custom.create_namespaced_custom_object(*place, {
    "apiVersion": f"{GROUP}/{VERSION}",
    "kind": "Task",
    "metadata": {"name": "hello"},
    "spec": {"type": "shell", "prompt": "echo hello", "credentials": {"type": "none"}},
})
until(lambda: custom.get_namespaced_custom_object_status(*place, "hello").get("status", {}).get("phase") == "Succeeded")
patched = custom.patch_namespaced_custom_object_status(
    *place, "hello", {"status": {"message": "by hand"}, "spec": {"prompt": "not written"}})
equal((patched["status"]["message"], patched["spec"]["prompt"]), ("by hand", "echo hello"))
patched["status"]["message"] = "by hand again"
replaced = custom.replace_namespaced_custom_object_status(*place, "hello", patched)
equal(replaced["status"]["message"], "by hand again")

# Deletion, one by one, many at once, and of everything.
gone = custom.delete_namespaced_custom_object(GROUP, VERSION, NAMESPACE, "workspaces", "app")
equal((gone["status"], gone["details"]["name"]), ("Success", "app"))
# A Task is held until its run is put away, so the answer is the Task.
going = custom.delete_namespaced_custom_object(*place, "hello")
equal((going["kind"], bool(going["metadata"]["deletionTimestamp"])), ("Task", True))
until(lambda: custom.list_namespaced_custom_object(*place)["items"] == [])
core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="paged=yes")
equal(core.list_namespaced_config_map(NAMESPACE, label_selector="paged=yes").items, [])
equal(core.delete_namespaced_secret("token", NAMESPACE)["status"], "Success")
core.delete_namespace(NAMESPACE)


def is_gone():
    try:
        core.read_namespace(NAMESPACE)
    except ApiException as error:
        return error.status == 404
    return False


until(is_gone)
print("typed: done")
