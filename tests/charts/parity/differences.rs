//! Where two objects differ, and where they may.

use std::collections::BTreeSet;

use serde_json::{Value, json};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const CHART: &str = "helm.sh/chart";
const KEEP: &str = "helm.sh/resource-policy";

/// A field that is not the same.
#[derive(Debug)]
pub struct Difference {
    /// The case and the object.
    #[expect(dead_code, reason = "it is read by people, when a test fails")]
    object: String,
    kind: String,
    /// Where it is in the object. Things that have names are found by them.
    path: Vec<String>,
    operator: Option<Value>,
    chart: Option<Value>,
}

/// A row of the table in `charts/PARITY.md`, which gives the reason, and how it shows.
pub struct Allowance {
    /// The first cell of the row.
    pub row: &'static str,
    /// Tells whether a difference is that one.
    pub is_met_by: fn(&Difference) -> bool,
}

/// What may differ between what the operator makes of a stack and what the two charts make.
pub const SERVICES: [Allowance; 7] = [
    Allowance {
        row: "`metadata.ownerReferences`",
        is_met_by: |it| it.is_only_of_operator() && it.is_at(&["metadata", "ownerReferences"]),
    },
    Allowance {
        row: "label `app.kubernetes.io/managed-by`, of objects and pods",
        is_met_by: |it| {
            it.is_label(MANAGED_BY)
                && it.operator == Some("transcription-operator".into())
                && it.chart == Some("Helm".into())
        },
    },
    Allowance {
        row: "label `helm.sh/chart`",
        is_met_by: |it| it.is_only_of_chart() && it.is_at(&["metadata", "labels", CHART]),
    },
    Allowance {
        row: "pod annotation",
        is_met_by: |it| {
            let annotation =
                |name| it.is_at(&["spec", "template", "metadata", "annotations", name]);
            it.is_only_of_operator() && annotation("transcription.dev/configuration-hash")
                || it.is_only_of_chart() && annotation("checksum/settings")
        },
    },
    Allowance {
        row: "Secret `<stack>-jwt`",
        is_met_by: |it| it.is_only_of_operator() && it.is_whole("Secret"),
    },
    Allowance {
        row: "annotation `helm.sh/resource-policy: keep` of the claim",
        is_met_by: |it| {
            it.kind == "PersistentVolumeClaim"
                && it.is_only_of_chart()
                && it.is_at(&["metadata", "annotations", KEEP])
        },
    },
    Allowance {
        row: "`spec.replicas` of the Deployment",
        is_met_by: |it| {
            it.kind == "Deployment" && it.is_only_of_chart() && it.is_at(&["spec", "replicas"])
        },
    },
];

/// What may differ between the manifests of the operator and its chart.
pub const OPERATOR: [Allowance; 7] = [
    Allowance {
        row: "Namespace, with `pod-security.kubernetes.io/enforce: restricted`",
        is_met_by: |it| it.is_only_of_operator() && it.is_whole("Namespace"),
    },
    Allowance {
        row: "labels `app.kubernetes.io/managed-by`, `app.kubernetes.io/version`, `helm.sh/chart`",
        is_met_by: |it| {
            let names = [MANAGED_BY, "app.kubernetes.io/version", CHART];
            let is_of_object = names
                .iter()
                .any(|name| it.is_at(&["metadata", "labels", name]));
            it.is_only_of_chart() && (is_of_object || it.is_label(MANAGED_BY))
        },
    },
    Allowance {
        row: "labels and `helm.sh/resource-policy: keep` of the definition",
        is_met_by: |it| {
            let is_there = it.is_below(&["metadata", "labels"])
                || it.is_at(&["metadata", "annotations", KEEP]);
            it.kind == "CustomResourceDefinition" && it.is_only_of_chart() && is_there
        },
    },
    Allowance {
        row: "Lease",
        is_met_by: |it| it.is_only_of_chart() && it.is_whole("Lease"),
    },
    Allowance {
        row: "PodDisruptionBudget, `topologySpreadConstraints`",
        is_met_by: |it| {
            let spread = ["spec", "template", "spec", "topologySpreadConstraints"];
            it.is_only_of_chart() && (it.is_whole("PodDisruptionBudget") || it.is_at(&spread))
        },
    },
    Allowance {
        row: "`LEASE_DURATION_SECONDS`, `LOG_FORMAT`, `MAX_CONCURRENT_RECONCILES`, `RUST_LOG`, `WATCH_STALE_AFTER_SECONDS`",
        is_met_by: |it| {
            let names = [
                "LEASE_DURATION_SECONDS",
                "LOG_FORMAT",
                "MAX_CONCURRENT_RECONCILES",
                "RUST_LOG",
                "WATCH_STALE_AFTER_SECONDS",
            ];
            let environment = ["spec", "template", "spec", "containers", "operator", "env"];
            let is_one = names
                .iter()
                .any(|name| it.is_below(&[&environment[..], &[name]].concat()));
            it.is_only_of_chart() && is_one
        },
    },
    Allowance {
        row: "`spec.type: ClusterIP` of the Service",
        is_met_by: |it| {
            it.is_only_of_chart()
                && it.is_at(&["spec", "type"])
                && it.chart == Some("ClusterIP".into())
        },
    },
];

impl Difference {
    /// Every difference between two objects. One that is missing is one difference.
    pub fn between(object: &str, kind: &str, both: (Option<&Value>, Option<&Value>)) -> Vec<Self> {
        let mut search = Search {
            object,
            kind,
            path: Vec::new(),
            found: Vec::new(),
        };
        match both {
            (Some(operator), Some(chart)) => search.compare(Some(operator), Some(chart)),
            (operator, chart) => search.differ(operator, chart),
        }
        search.found
    }

    fn is_only_of_operator(&self) -> bool {
        self.chart.is_none()
    }

    fn is_only_of_chart(&self) -> bool {
        self.operator.is_none()
    }

    fn is_whole(&self, kind: &str) -> bool {
        self.kind == kind && self.path.is_empty()
    }

    fn is_at(&self, path: &[&str]) -> bool {
        self.path == path
    }

    fn is_below(&self, path: &[&str]) -> bool {
        self.path.len() > path.len() && self.path[..path.len()] == *path
    }

    /// A label of an object, or of its pods.
    fn is_label(&self, name: &str) -> bool {
        self.is_at(&["metadata", "labels", name])
            || self.is_at(&["spec", "template", "metadata", "labels", name])
    }
}

/// A walk through two objects.
struct Search<'a> {
    object: &'a str,
    kind: &'a str,
    path: Vec<String>,
    found: Vec<Difference>,
}

impl Search<'_> {
    fn compare(&mut self, operator: Option<&Value>, chart: Option<&Value>) {
        let nothing = json!({});
        let has_fields = |value: &Value| value.as_object().is_some_and(|fields| !fields.is_empty());
        let (left, right) = match (operator, chart) {
            (Some(left), Some(right)) => (left, right),
            // Field by field too. What has no fields is one difference.
            (Some(left), None) if has_fields(left) => (left, &nothing),
            (None, Some(right)) if has_fields(right) => (&nothing, right),
            _ => return self.differ(operator, chart),
        };
        let (Some(of_left), Some(of_right)) = (fields(left), fields(right)) else {
            return self.differ(operator, chart);
        };
        let are_in_order = || common(&of_left, &of_right) == common(&of_right, &of_left);
        if left.is_array() != right.is_array() || left.is_array() && !are_in_order() {
            return self.differ(operator, chart);
        }
        let names = of_left.iter().chain(&of_right).map(|(name, _)| *name);
        for name in names.collect::<BTreeSet<_>>() {
            self.path.push(name.to_owned());
            self.compare(found(&of_left, name), found(&of_right, name));
            self.path.pop();
        }
    }

    fn differ(&mut self, operator: Option<&Value>, chart: Option<&Value>) {
        if operator != chart {
            self.found.push(Difference {
                object: self.object.to_owned(),
                kind: self.kind.to_owned(),
                path: self.path.clone(),
                operator: operator.cloned(),
                chart: chart.cloned(),
            });
        }
    }
}

/// What a value consists of: fields, or things that have names. `None` for all others.
fn fields(value: &Value) -> Option<Vec<(&str, &Value)>> {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            Some(fields.map(|(name, value)| (name.as_str(), value)).collect())
        }
        Value::Array(values) => {
            let named = values
                .iter()
                .map(|value| Some((value.get("name")?.as_str()?, value)));
            named.collect()
        }
        _ => None,
    }
}

fn found<'a>(fields: &[(&str, &'a Value)], name: &str) -> Option<&'a Value> {
    let field = fields.iter().find(|(known, _)| *known == name);
    field.map(|(_, value)| *value)
}

/// The names that the others have too, in their order.
fn common<'a>(fields: &[(&'a str, &Value)], others: &[(&str, &Value)]) -> Vec<&'a str> {
    let names = fields.iter().map(|(name, _)| *name);
    names.filter(|name| found(others, name).is_some()).collect()
}
