"""The dynamic client: it finds the kinds by discovery, applies on the server, and watches."""

from kubernetes import client, config, dynamic
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, ResourceNotFoundError, UnprocessibleEntityError

from expect import equal

NAMESPACE = "default"
found = dynamic.DynamicClient(config.new_client_from_config())

# Discovery.
workspaces = found.resources.get(api_version="kelos.dev/v1alpha1", kind="Workspace")
equal((workspaces.name, workspaces.namespaced, workspaces.short_names), ("workspaces", True, ["ws"]))
equal(found.resources.get(api_version="v1", kind="Secret").name, "secrets")
equal({resource.kind for resource in found.resources.search(group="kelos.dev") if "List" not in resource.kind},
      {"AgentConfig", "Task", "TaskSpawner", "Workspace"})
try:
    found.resources.get(api_version="kelos.dev/v1alpha1", kind="Absent")
except ResourceNotFoundError:
    pass
else:
    raise AssertionError("a kind that is not served was found")
definitions = found.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
equal("tasks.kelos.dev" in [item.metadata.name for item in definitions.get().items], True)


def workspace(**spec):
    return {
        "apiVersion": "kelos.dev/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "dynamic"},
        "spec": {"repo": "https://example.com/team/app.git"} | spec,
    }


def owners(thing):
    return sorted((entry.manager, entry.operation) for entry in thing.metadata.managedFields)


# Apply on the server: fields belong to their manager, another manager is refused, and force takes them over.
applied = workspaces.server_side_apply(
    body=workspace(ref="main"), name="dynamic", namespace=NAMESPACE, field_manager="first")
equal(owners(applied), [("first", "Apply")])
again = workspaces.server_side_apply(
    body=workspace(ref="main"), name="dynamic", namespace=NAMESPACE, field_manager="first")
equal(again.metadata.resourceVersion, applied.metadata.resourceVersion)
try:
    workspaces.server_side_apply(
        body=workspace(ref="next"), name="dynamic", namespace=NAMESPACE, field_manager="second")
except ConflictError as error:
    equal(".spec.ref" in str(error.body), True)
else:
    raise AssertionError("the field of another manager was taken")
forced = workspaces.server_side_apply(
    body=workspace(ref="next"), name="dynamic", namespace=NAMESPACE, field_manager="second", force_conflicts=True)
equal((forced.spec.ref, owners(forced)), ("next", [("first", "Apply"), ("second", "Apply")]))
# What a manager no longer applies goes, and what the other one holds too stays.
dropped = workspaces.server_side_apply(
    body=workspace(), name="dynamic", namespace=NAMESPACE, field_manager="second")
equal((dropped.spec.ref, dropped.spec.repo), (None, "https://example.com/team/app.git"))

# The other verbs.
equal(workspaces.get(name="dynamic", namespace=NAMESPACE).spec.repo, "https://example.com/team/app.git")
patched = workspaces.patch(
    body={"metadata": {"labels": {"team": "blue"}}}, name="dynamic", namespace=NAMESPACE,
    content_type="application/merge-patch+json")
equal(patched.metadata.labels.team, "blue")
equal(len(workspaces.get(namespace=NAMESPACE, label_selector="team=blue").items), 1)
changed = patched.to_dict()
changed["spec"]["ref"] = "replaced"
equal(workspaces.replace(body=changed, namespace=NAMESPACE).spec.ref, "replaced")
try:
    workspaces.patch(body={"spec": {"repo": 7}}, name="dynamic", namespace=NAMESPACE,
                     content_type="application/merge-patch+json")
except UnprocessibleEntityError as error:
    equal("spec.repo in body must be of type string" in str(error.body), True)
else:
    raise AssertionError("an invalid object was taken")

# A watch by name: what is there, then each change, then the end.
seen = []
for event in workspaces.watch(namespace=NAMESPACE, name="dynamic", timeout=30):
    seen.append((event["type"], event["object"].spec.ref))
    if len(seen) == 1:
        workspaces.patch(body={"spec": {"ref": "watched"}}, name="dynamic", namespace=NAMESPACE,
                         content_type="application/merge-patch+json")
    elif len(seen) == 2:
        workspaces.delete(name="dynamic", namespace=NAMESPACE)
    else:
        break
equal(seen, [("ADDED", "replaced"), ("MODIFIED", "watched"), ("DELETED", "watched")])
try:
    workspaces.get(name="dynamic", namespace=NAMESPACE)
except NotFoundError:
    pass
else:
    raise AssertionError("the deleted object is still there")

# A token that is not known is refused.
known = client.Configuration.get_default_copy()
config.load_kube_config(client_configuration=known)
stranger = client.Configuration(host=known.host, api_key={"authorization": "Bearer no-token"})
stranger.ssl_ca_cert = known.ssl_ca_cert
try:
    client.CoreV1Api(client.ApiClient(stranger)).list_namespace()
except ApiException as error:
    equal(error.status, 401)
else:
    raise AssertionError("a stranger was let in")
print("dynamic: done")
