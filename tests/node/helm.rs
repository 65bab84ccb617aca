//! The charts of the services on a node, by both versions of Helm: what they bring, what an upgrade and a rollback keep, and what they leave.

use std::time::Instant;

use transcription_lab::kubernetes::Node;

use crate::release::{Helm, tag_as_former};
use crate::{helm_services, images};

/// What one version of Helm left is taken up by the other. Of the operator's chart, and with both versions in the other order, it is shown by
/// `make e2e-full`.
#[tokio::test]
async fn the_charts_of_the_services_bring_what_they_promise_and_leave_what_was_asked_to_stay() {
    let began = Instant::now();
    let node = Node::start().await;
    println!("the node is ready after {:.1} s", seconds(began));
    images::bring(&node).await;
    tag_as_former(&node).await;
    println!("it has all images after {:.1} s", seconds(began));
    let (helm3, helm4) = (Helm::new(3), Helm::new(4));

    helm_services::story(&node, &helm4, &helm3).await;
    println!("the services took until {:.1} s", seconds(began));
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
