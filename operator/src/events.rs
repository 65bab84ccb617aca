//! Tells what happened to a stack by Events, each change once: what the operator did, and how the stack is since.
//!
//! Events are for people who look on. When one cannot be told, nothing else waits for it.

use std::collections::BTreeMap;

use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tracing::warn;

use crate::api::TranscriptionStack;
use crate::conditions::Verdicts;
use crate::context::Context;
use crate::names;
use crate::reason::{ConditionType, Deed};

/// What the API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// Tells what was done, and how the stack is, if that is other than it was.
pub async fn tell(
    context: &Context,
    stack: &TranscriptionStack,
    deeds: &BTreeMap<Deed, Vec<String>>,
    verdicts: Option<&Verdicts>,
) {
    let done = deeds.iter().map(|(deed, notes)| Event {
        type_: type_of(deed.is_trouble()),
        reason: deed.name().to_owned(),
        note: Some(shortened(&sentence(*deed, notes))),
        action: "Apply".to_owned(),
        secondary: None,
    });
    let is = verdicts.and_then(|verdicts| change(stack, verdicts));
    // Of its own for each time: it would tell two changes of the same reason as one, in the words of the first.
    let reporter = Reporter {
        controller: names::FIELD_MANAGER.to_owned(),
        instance: Some(context.shared.reporter.clone()),
    };
    for event in done.chain(is) {
        let recorder = Recorder::new(context.client.clone(), reporter.clone());
        let about = stack.object_ref(&());
        let told = context.request("telling an event", recorder.publish(&event, &about));
        if let Err(error) = told.await {
            warn!(
                stack.namespace = about.namespace,
                stack.name = about.name,
                reason = event.reason,
                "the event could not be told: {}",
                error.sentence()
            );
            // The next one would wait as long.
            return;
        }
    }
}

/// How the stack is, if that is other than it was.
fn change(stack: &TranscriptionStack, verdicts: &Verdicts) -> Option<Event> {
    let ready = verdicts.of(ConditionType::Ready);
    let before = stack.status.iter().flat_map(|status| &status.conditions);
    let is_known = before.into_iter().any(|known| {
        known.type_ == ConditionType::Ready.name()
            && known.status == ready.status.name()
            && known.reason == ready.reason.name()
    });
    (!is_known).then(|| Event {
        type_: type_of(ready.reason.is_trouble()),
        reason: ready.reason.name().to_owned(),
        note: Some(shortened(&ready.message)),
        action: "Observe".to_owned(),
        secondary: None,
    })
}

fn sentence(deed: Deed, notes: &[String]) -> String {
    let all = notes.join(", ");
    match deed {
        Deed::ResourcesMade => format!("made {all}"),
        Deed::ResourcesChanged => format!("changed {all}"),
        Deed::DriftCorrected => {
            format!("set back {all}: somebody had changed it; change the spec of the stack instead")
        }
        Deed::ResourcesDeleted => format!("deleted {all}: no longer asked for"),
        Deed::StorageReplaced => {
            format!("{all} was gone, and an empty one was made in its place, as asked")
        }
        Deed::Scaled | Deed::SigningKeyMade | Deed::SigningKeyRemade => all,
    }
}

const fn type_of(is_trouble: bool) -> EventType {
    if is_trouble {
        EventType::Warning
    } else {
        EventType::Normal
    }
}

fn shortened(note: &str) -> String {
    let mut end = note.len().min(LONGEST_NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note[..end].to_owned()
}
