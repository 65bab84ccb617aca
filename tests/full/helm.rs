//! All charts on a node, by both versions of Helm. What `make e2e` shows with Helm 4 first, this shows with Helm 3 first.

use std::time::Instant;

use transcription_lab::kubernetes::Node;

use crate::release::{Helm, tag_as_former};
use crate::{helm_operator, helm_services, images};

/// One story for each chart, on a node that they share. What one version of Helm left is taken up by the other.
#[tokio::test]
async fn charts_bring_what_they_promise_and_leave_what_was_asked_to_stay() {
    let began = Instant::now();
    let node = Node::start().await;
    images::bring(&node).await;
    tag_as_former(&node).await;
    println!("it has all images after {:.1} s", seconds(began));
    let (helm3, helm4) = (Helm::new(3), Helm::new(4));

    helm_operator::story(&node, &helm4, &helm3).await;
    println!("the operator took until {:.1} s", seconds(began));
    helm_services::story(&node, &helm3, &helm4).await;
    println!("the services took until {:.1} s", seconds(began));
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
