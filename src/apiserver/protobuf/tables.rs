//! Numbers, names and types of the fields, from the `generated.proto` files of Kubernetes 1.37.

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u64,
    /// The name in JSON.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    Time,
    MicroTime,
    /// JSON inside of a message.
    FieldsV1,
    TextMap,
    /// Values become base64.
    BytesMap,
    Message(&'static [Field]),
}

/// Returns the fields of a kind that is read.
pub(super) fn message(api_version: &str, kind: &str) -> Option<&'static [Field]> {
    Some(match (api_version, kind) {
        ("v1", "ConfigMap") => CONFIG_MAP,
        ("v1", "Secret") => SECRET,
        ("v1", "Namespace") => NAMESPACE,
        ("v1", "Event") => CORE_EVENT,
        ("events.k8s.io/v1", "Event") => EVENT,
        ("coordination.k8s.io/v1", "Lease") => LEASE,
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => ACCESS_REVIEW,
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => RULES_REVIEW,
        ("authentication.k8s.io/v1", "SelfSubjectReview") => SUBJECT_REVIEW,
        // Clients state the version of the deleted object's group.
        (_, "DeleteOptions") => DELETE_OPTIONS,
        _ => return None,
    })
}

const fn one(number: u64, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, repeated: false }
}

const fn many(number: u64, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, repeated: true }
}

use Kind::{Boolean, BytesMap, FieldsV1, Integer, Message, MicroTime, Text, TextMap, Time};

const OBJECT_META: &[Field] = &[
    one(1, "name", Text),
    one(2, "generateName", Text),
    one(3, "namespace", Text),
    one(4, "selfLink", Text),
    one(5, "uid", Text),
    one(6, "resourceVersion", Text),
    one(7, "generation", Integer),
    one(8, "creationTimestamp", Time),
    one(9, "deletionTimestamp", Time),
    one(10, "deletionGracePeriodSeconds", Integer),
    one(11, "labels", TextMap),
    one(12, "annotations", TextMap),
    many(13, "ownerReferences", Message(OWNER_REFERENCE)),
    many(14, "finalizers", Text),
    many(17, "managedFields", Message(MANAGED_FIELDS)),
];

const OWNER_REFERENCE: &[Field] = &[
    one(1, "kind", Text),
    one(3, "name", Text),
    one(4, "uid", Text),
    one(5, "apiVersion", Text),
    one(6, "controller", Boolean),
    one(7, "blockOwnerDeletion", Boolean),
];

const MANAGED_FIELDS: &[Field] = &[
    one(1, "manager", Text),
    one(2, "operation", Text),
    one(3, "apiVersion", Text),
    one(4, "time", Time),
    one(6, "fieldsType", Text),
    one(7, "fieldsV1", FieldsV1),
    one(8, "subresource", Text),
];

const CONFIG_MAP: &[Field] = &[
    one(1, "metadata", Message(OBJECT_META)),
    one(2, "data", TextMap),
    one(3, "binaryData", BytesMap),
    one(4, "immutable", Boolean),
];

const SECRET: &[Field] = &[
    one(1, "metadata", Message(OBJECT_META)),
    one(2, "data", BytesMap),
    one(3, "type", Text),
    one(4, "stringData", TextMap),
    one(5, "immutable", Boolean),
];

const NAMESPACE: &[Field] = &[
    one(1, "metadata", Message(OBJECT_META)),
    one(2, "spec", Message(&[many(1, "finalizers", Text)])),
    one(3, "status", Message(&[one(1, "phase", Text), many(2, "conditions", Message(NAMESPACE_CONDITION))])),
];

const NAMESPACE_CONDITION: &[Field] = &[
    one(1, "type", Text),
    one(2, "status", Text),
    one(4, "lastTransitionTime", Time),
    one(5, "reason", Text),
    one(6, "message", Text),
];

const LEASE: &[Field] = &[one(1, "metadata", Message(OBJECT_META)), one(2, "spec", Message(LEASE_SPEC))];

const LEASE_SPEC: &[Field] = &[
    one(1, "holderIdentity", Text),
    one(2, "leaseDurationSeconds", Integer),
    one(3, "acquireTime", MicroTime),
    one(4, "renewTime", MicroTime),
    one(5, "leaseTransitions", Integer),
    one(6, "strategy", Text),
    one(7, "preferredHolder", Text),
];

const CORE_EVENT: &[Field] = &[
    one(1, "metadata", Message(OBJECT_META)),
    one(2, "involvedObject", Message(OBJECT_REFERENCE)),
    one(3, "reason", Text),
    one(4, "message", Text),
    one(5, "source", Message(EVENT_SOURCE)),
    one(6, "firstTimestamp", Time),
    one(7, "lastTimestamp", Time),
    one(8, "count", Integer),
    one(9, "type", Text),
    one(10, "eventTime", MicroTime),
    one(11, "series", Message(EVENT_SERIES)),
    one(12, "action", Text),
    one(13, "related", Message(OBJECT_REFERENCE)),
    one(14, "reportingComponent", Text),
    one(15, "reportingInstance", Text),
];

const EVENT: &[Field] = &[
    one(1, "metadata", Message(OBJECT_META)),
    one(2, "eventTime", MicroTime),
    one(3, "series", Message(EVENT_SERIES)),
    one(4, "reportingController", Text),
    one(5, "reportingInstance", Text),
    one(6, "action", Text),
    one(7, "reason", Text),
    one(8, "regarding", Message(OBJECT_REFERENCE)),
    one(9, "related", Message(OBJECT_REFERENCE)),
    one(10, "note", Text),
    one(11, "type", Text),
    one(12, "deprecatedSource", Message(EVENT_SOURCE)),
    one(13, "deprecatedFirstTimestamp", Time),
    one(14, "deprecatedLastTimestamp", Time),
    one(15, "deprecatedCount", Integer),
];

const OBJECT_REFERENCE: &[Field] = &[
    one(1, "kind", Text),
    one(2, "namespace", Text),
    one(3, "name", Text),
    one(4, "uid", Text),
    one(5, "apiVersion", Text),
    one(6, "resourceVersion", Text),
    one(7, "fieldPath", Text),
];

const EVENT_SOURCE: &[Field] = &[one(1, "component", Text), one(2, "host", Text)];

const EVENT_SERIES: &[Field] = &[one(1, "count", Integer), one(2, "lastObservedTime", MicroTime)];

const DELETE_OPTIONS: &[Field] = &[
    one(1, "gracePeriodSeconds", Integer),
    one(2, "preconditions", Message(&[one(1, "uid", Text), one(2, "resourceVersion", Text)])),
    one(3, "orphanDependents", Boolean),
    one(4, "propagationPolicy", Text),
    many(5, "dryRun", Text),
    one(6, "ignoreStoreReadErrorWithClusterBreakingPotential", Boolean),
];

const ACCESS_REVIEW: &[Field] =
    &[one(1, "metadata", Message(OBJECT_META)), one(2, "spec", Message(ACCESS_REVIEW_SPEC))];

const ACCESS_REVIEW_SPEC: &[Field] = &[
    one(1, "resourceAttributes", Message(RESOURCE_ATTRIBUTES)),
    one(2, "nonResourceAttributes", Message(&[one(1, "path", Text), one(2, "verb", Text)])),
];

const RESOURCE_ATTRIBUTES: &[Field] = &[
    one(1, "namespace", Text),
    one(2, "verb", Text),
    one(3, "group", Text),
    one(4, "version", Text),
    one(5, "resource", Text),
    one(6, "subresource", Text),
    one(7, "name", Text),
];

const RULES_REVIEW: &[Field] =
    &[one(1, "metadata", Message(OBJECT_META)), one(2, "spec", Message(&[one(1, "namespace", Text)]))];

const SUBJECT_REVIEW: &[Field] = &[one(1, "metadata", Message(OBJECT_META))];
