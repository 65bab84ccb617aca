//! Kubernetes, started by hand on this machine.

pub mod binaries;
pub mod certificates;
pub mod control_plane;
pub mod folder;
pub mod kubeconfig;
pub mod kubectl;
pub mod metrics_server;
pub mod node;

pub use control_plane::ControlPlane;
pub use node::Node;
