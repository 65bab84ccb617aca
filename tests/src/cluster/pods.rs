//! What a kubelet and a scheduler would say of pods: there is no node.

use serde_json::{Value, json};

use super::Operator;

impl Operator {
    /// Says of all pods of a component that they are ready, as the kubelet would: there is no node.
    pub async fn pods_become_ready(&self, stack: &str, component: &str) {
        self.say_of_pods(
            stack,
            component,
            json!({
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            }),
        )
        .await;
    }

    /// Says of all pods of a component that they have a node, as the scheduler would if there were one.
    pub async fn pods_have_a_node(&self, stack: &str, component: &str) {
        let condition =
            json!({"type": "PodScheduled", "status": "True", "message": "", "reason": ""});
        self.say_of_pods(stack, component, json!({"conditions": [condition]}))
            .await;
    }

    async fn say_of_pods(&self, stack: &str, component: &str, status: Value) {
        let status = json!({"status": status});
        let selector =
            format!("app.kubernetes.io/instance={stack},app.kubernetes.io/component={component}");
        let listed = self
            .in_namespace(&["get", "pods", "-l", &selector, "-o", "json"], "")
            .await;
        let listed = serde_json::from_str::<Value>(&listed).unwrap();
        for pod in listed["items"].as_array().unwrap() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let arguments = [
                "--namespace",
                &self.namespace,
                "patch",
                "pod",
                name,
                "--subresource=status",
                "-p",
                &status.to_string(),
            ];
            // It may be gone meanwhile, for another one.
            self.plane.kubectl(&arguments, "").await;
        }
    }
}
