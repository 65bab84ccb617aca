//! How the services are reached: Services, Ingresses, NetworkPolicies, and ServiceMonitors for Prometheus.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule,
    IngressServiceBackend, IngressSpec, IngressTLS, NetworkPolicy, NetworkPolicyIngressRule,
    NetworkPolicyPort, NetworkPolicySpec, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::metadata;
use crate::names::{self, Component};
use crate::service_monitor::ServiceMonitor;
use crate::validate::Validated;

/// The Service of a component: its port, and the one for metrics.
pub fn service(stack: &Validated, component: Component) -> Service {
    Service {
        metadata: metadata::owned(stack, component, stack.name_of(component)),
        spec: Some(ServiceSpec {
            ports: Some(vec![
                service_port("http", component.port()),
                service_port(names::MANAGEMENT, names::MANAGEMENT_PORT),
            ]),
            selector: Some(names::selector(&stack.name, component)),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn service_port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}

/// Opens the ports of a component and no other. Whom it may reach is left open, unless the spec says it.
pub fn policy(stack: &Validated, component: Component) -> NetworkPolicy {
    let egress = &stack.spec.network_policy.egress;
    let mut types = vec!["Ingress".to_owned()];
    if !egress.is_empty() {
        types.push("Egress".to_owned());
    }
    let ports = ["http", names::MANAGEMENT].map(|name| NetworkPolicyPort {
        port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    });
    NetworkPolicy {
        metadata: metadata::owned(stack, component, stack.name_of(component)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(metadata::selector(stack, component)),
            policy_types: Some(types),
            ingress: Some(vec![NetworkPolicyIngressRule {
                ports: Some(ports.into()),
                from: None,
            }]),
            egress: Some(egress.clone()).filter(|egress| !egress.is_empty()),
        }),
    }
}

/// An Ingress for each component with a host.
pub fn ingresses(stack: &Validated) -> Vec<Ingress> {
    let asked = &stack.spec.ingress;
    let hosts = [
        (Component::Auth, asked.auth_host()),
        (Component::Transcription, asked.transcription_host()),
    ];
    let hosts = hosts
        .into_iter()
        .filter_map(|(component, host)| Some((component, host?)));
    hosts
        .map(|(component, host)| ingress(stack, component, host))
        .collect()
}

fn ingress(stack: &Validated, component: Component, host: &str) -> Ingress {
    let asked = &stack.spec.ingress;
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: stack.name_of(component),
            port: Some(ServiceBackendPort {
                name: Some("http".to_owned()),
                number: None,
            }),
        }),
        resource: None,
    };
    let path = HTTPIngressPath {
        backend,
        path: Some("/".to_owned()),
        path_type: "Prefix".to_owned(),
    };
    Ingress {
        metadata: ObjectMeta {
            annotations: Some(asked.annotations.clone())
                .filter(|annotations| !annotations.is_empty()),
            ..metadata::owned(stack, component, stack.name_of(component))
        },
        spec: Some(IngressSpec {
            ingress_class_name: Some(asked.class_name.clone()).filter(|name| !name.is_empty()),
            rules: Some(vec![IngressRule {
                host: Some(host.to_owned()),
                http: Some(HTTPIngressRuleValue { paths: vec![path] }),
            }]),
            tls: asked.certificate().map(|secret| {
                vec![IngressTLS {
                    hosts: Some(vec![host.to_owned()]),
                    secret_name: Some(secret.to_owned()),
                }]
            }),
            default_backend: None,
        }),
        status: None,
    }
}

/// Tells Prometheus where a component's metrics are.
pub fn service_monitor(stack: &Validated, component: Component) -> ServiceMonitor {
    ServiceMonitor::new(
        metadata::owned(stack, component, stack.name_of(component)),
        json!({
            "selector": {"matchLabels": names::selector(&stack.name, component)},
            "endpoints": [{"port": names::MANAGEMENT, "path": "/metrics"}],
        }),
    )
}

/// Where a component is reached: by its host, else by its Service.
pub fn endpoint(stack: &Validated, component: Component) -> String {
    let ingress = &stack.spec.ingress;
    let host = match component {
        Component::Auth => ingress.auth_host(),
        Component::Transcription => ingress.transcription_host(),
    };
    match host {
        Some(host) => ingress.url(host),
        None => format!(
            "http://{}.{}.svc:{}",
            stack.name_of(component),
            stack.namespace,
            component.port()
        ),
    }
}
