//! Keeps stacks as they are asked for: five steps for each, whenever something that they are made of has changed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt, stream};
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Config as ControllerConfig};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, info, instrument, warn};

use crate::api::TranscriptionStack;
use crate::apply::{self, Applied};
use crate::build::build;
use crate::conditions::{self, Verdicts};
use crate::context::{Context, Shared};
use crate::dereference::{References, dereference};
use crate::diagnosis::diagnose;
use crate::error::Error;
use crate::events;
use crate::metrics::Outcome;
use crate::reason::Reason;
use crate::status::{self, Written};
use crate::validate::{Surroundings, Validated, validate};
use crate::watches::{self, Stores};

/// Changes that come within this time are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(400);
/// How long one stack may be worked on.
const RECONCILE_LIMIT: Duration = Duration::from_mins(2);
/// A stack is looked at again after this time, whatever the watches tell.
const RESYNC: Duration = Duration::from_mins(10);
/// And after this time when it has changed while it was worked on.
const REFUSED_RESYNC: Duration = Duration::from_secs(2);
/// And after this time when it may be mended where no watch sees it.
const UNSEEN_RESYNC: Duration = Duration::from_secs(30);
/// And after this time when only an edit can mend it.
const STALLED_RESYNC: Duration = Duration::from_mins(5);

/// A scope that is watched.
pub struct Scope {
    context: Arc<Context>,
    triggers: Receiver<ObjectRef<TranscriptionStack>>,
    watches: JoinSet<()>,
    concurrency: u16,
}

impl Scope {
    /// Begins to watch a namespace, or all of them.
    pub fn watch(
        client: &Client,
        watching: &Client,
        namespace: Option<&str>,
        shared: Arc<Shared>,
        concurrency: u16,
    ) -> Self {
        let mut watches = JoinSet::new();
        let (stores, triggers) = watches::watch(watching, namespace, &mut watches);
        Self {
            context: Arc::new(Context::new(client.clone(), stores, shared)),
            triggers,
            watches,
            concurrency,
        }
    }

    /// What is seen of it.
    pub fn stores(&self) -> Stores {
        self.context.stores.clone()
    }

    /// Keeps its stacks until it is told to stop; what is being worked on then is finished.
    pub async fn keep(self, stop: CancellationToken) {
        let Self {
            context,
            triggers,
            watches,
            concurrency,
        } = self;
        tokio::select! {
            () = context.stores.wait_until_ready() => {}
            () = stop.cancelled() => return,
        }
        info!("has seen every stack and what they are made of: begins to work");
        // First this: what is told from here on is told, and what was before is in the stores.
        context.stores.tell_changes();
        let all = context.stores.stacks.state();
        let all = all.into_iter().map(|stack| ObjectRef::from_obj(&*stack));
        // The watches are tasks of their own: this controller only has to be told which stack to look at.
        let nothing = stream::pending::<Result<TranscriptionStack, watcher::Error>>();
        let changed = together(triggers).flat_map(stream::iter);
        Controller::for_stream(nothing, context.stores.stacks.clone())
            .with_config(ControllerConfig::default().concurrency(concurrency))
            .reconcile_on(stream::iter(all).chain(changed))
            .graceful_shutdown_on(stop.cancelled_owned())
            .run(reconcile, after_failure, context)
            .for_each(async |_| ())
            .await;
        drop(watches);
    }
}

/// What is told within a short time, each once.
///
/// Not by kube's own debounce: there each further change puts off the work anew, for ever if they do not end.
fn together(
    triggers: Receiver<ObjectRef<TranscriptionStack>>,
) -> impl Stream<Item = HashSet<ObjectRef<TranscriptionStack>>> {
    stream::unfold(triggers, async |mut triggers| {
        let mut all = HashSet::from([triggers.recv().await?]);
        sleep(DEBOUNCE).await;
        while let Ok(another) = triggers.try_recv() {
            all.insert(another);
        }
        Some((all, triggers))
    })
}

/// Works on a stack.
#[instrument(name = "reconcile", skip_all, fields(stack.namespace = stack.namespace(), stack.name = stack.name_any(), stack.generation = stack.meta().generation, result))]
async fn reconcile(stack: Arc<TranscriptionStack>, context: Arc<Context>) -> Result<Action, Error> {
    let Ok(_place) = context.shared.places.acquire().await else {
        return Ok(Action::await_change());
    };
    if stack.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let began = Instant::now();
    let worked = match timeout(RECONCILE_LIMIT, work_on(&stack, &context)).await {
        Ok(worked) => worked,
        Err(_) => Err(Error::TimedOut {
            doing: "working on the stack".to_owned(),
            limit: RECONCILE_LIMIT,
        }),
    };
    let outcome = match &worked {
        Ok(_) => Outcome::Ok,
        Err(error) if error.is_final() => Outcome::Terminal,
        Err(_) => Outcome::Retry,
    };
    Span::current().record("result", outcome.name());
    let metrics = &context.shared.metrics;
    metrics.reconciled(outcome, began.elapsed().as_secs_f64());
    let look_again = worked?;
    context.succeeded(&ObjectRef::from_obj(&*stack));
    context.contents.tidy(|| context.stores.content_ids());
    debug!("the stack is looked after");
    Ok(Action::requeue(RESYNC.min(look_again)))
}

/// Does all of it, and tells when the stack is to be looked at again.
async fn work_on(stack: &TranscriptionStack, context: &Context) -> Result<Duration, Error> {
    let (references, validated) = match prepare(stack, context).await {
        Ok(prepared) => prepared,
        Err(error) => {
            let verdicts = conditions::of_error(&error, stack.spec.paused);
            let status = status::of_error(stack, &verdicts);
            if status::update_status(context, stack, status).await? == Written::Written {
                events::tell(context, stack, &BTreeMap::new(), Some(&verdicts)).await;
            }
            return Err(error);
        }
    };
    let resources = build(&validated);
    // On the heap: it holds all objects of a stack.
    let applied = Box::pin(apply::apply(
        context,
        &validated,
        resources,
        references.users_claim.clone(),
    ))
    .await;
    let diagnosis = diagnose(context, &validated, &applied).await;
    let verdicts = conditions::of_applied(&validated, &references, &applied, &diagnosis);
    let written = tell(stack, context, &validated, &applied, &verdicts).await?;
    // What is tried again must not wait for what only a person can mend.
    let error = applied
        .errors
        .into_iter()
        .min_by_key(|error| error.is_final());
    match error {
        Some(error) => Err(Error::Several(error)),
        None if written == Written::Refused => Ok(REFUSED_RESYNC),
        None => Ok(diagnosis.look_again.unwrap_or(RESYNC)),
    }
}

async fn prepare(
    stack: &TranscriptionStack,
    context: &Context,
) -> Result<(References, Validated), Error> {
    if let Some(why) = &stack.spec.unreadable {
        return Err(Error::Stalled {
            reason: Reason::SpecUnreadable,
            message: format!(
                "this operator cannot read the spec: {why}: mend that field, or install the operator that knows it"
            ),
        });
    }
    let references = dereference(stack, context).await?;
    let surroundings = Surroundings {
        releases: context.shared.releases.clone(),
        image_prefix: context.shared.image_prefix.clone(),
        has_service_monitors: context.stores.has_service_monitors(),
    };
    let validated = validate(stack, &references, surroundings)?;
    Ok((references, validated))
}

async fn tell(
    stack: &TranscriptionStack,
    context: &Context,
    validated: &Validated,
    applied: &Applied,
    verdicts: &Verdicts,
) -> Result<Written, Error> {
    let newest = context.shared.releases.newest();
    let status = status::of_applied(stack, validated, applied, verdicts, newest);
    let written = status::update_status(context, stack, status).await;
    // What was done is told, whatever becomes of the status.
    let told = matches!(written, Ok(Written::Written)).then_some(verdicts);
    events::tell(context, stack, &applied.deeds, told).await;
    written
}

/// Says when a stack is looked at again after a failure.
#[expect(
    clippy::needless_pass_by_value,
    reason = "kube's controller gives them so"
)]
fn after_failure(stack: Arc<TranscriptionStack>, error: &Error, context: Arc<Context>) -> Action {
    let namespace = stack.namespace().unwrap_or_default();
    let name = stack.name_any();
    let delay = if !error.is_final() {
        context.delay_after_failure(&ObjectRef::from_obj(&*stack))
    } else if error.reason().is_mended_elsewhere() {
        UNSEEN_RESYNC
    } else {
        STALLED_RESYNC
    };
    warn!(
        stack.namespace = namespace,
        stack.name = name,
        reason = error.reason().name(),
        retry_seconds = delay.as_secs_f64(),
        "{}",
        error.sentence()
    );
    Action::requeue(delay)
}
