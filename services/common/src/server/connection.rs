//! One connection, with the time limits that the HTTP library does not have.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONNECTION, HOST};
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::Response;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};
use tower::ServiceExt;
use tracing::debug;

/// A request head is complete by then, counted from its first byte (or from the start of the connection). One that begins to
/// arrive while the request before it is still being answered has [`IDLE_LIMIT`] instead.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// A connection without a request is closed after this.
const IDLE_LIMIT: Duration = Duration::from_mins(1);
/// A client that takes no byte of its answer for so long is gone.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// The shortest of the three.
const SHORTEST_LIMIT: Duration = HEAD_LIMIT;

/// A client that was answered before it had sent its whole body may go on sending for so long: closing at once would throw the
/// answer away that it has not read yet (RFC 9112, section 9.6). It is the half of what the contract allows; the other half is for
/// what a handler reads on before it answers. So short a time need not be cut when the service stops.
const LINGER_LIMIT: Duration = Duration::from_secs(1);
/// What is read and thrown away of what such a client still sends, at most.
const LINGER_BYTES: usize = 512 * 1024;
/// The same at a time.
const LINGER_PIECE_BYTES: usize = 16 * 1024;

/// Bytes of a connection that wait to be read or written: thousands of connections must fit into a small container.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// So many connections make room at once: finding those that have waited longest takes a look at each.
const ROOM: usize = 32;

/// Who sent a request: the other end of the connection, which may be a proxy.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Answers the requests of one connection until it ends or a time limit passes.
pub fn attend(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    connections: &GracefulShutdown,
    waiting: &Waiting,
) -> impl Future<Output = ()> + Send + use<> {
    let activity = Arc::new(Activity::new());
    let entry = waiting.enter(&activity);
    let io = TokioIo::new(Watched {
        stream,
        activity: Arc::clone(&activity),
        linger: None,
    });
    let of_service = Arc::clone(&activity);
    let service = service_fn(move |mut request: Request<Incoming>| {
        of_service.set(Phase::Busy);
        let is_clear = names_one_host(&request);
        let idle_after = IdleAfter(Arc::clone(&of_service));
        request.extensions_mut().insert(Peer(peer));
        let router = router.clone();
        let activity = Arc::clone(&of_service);
        let request = request.map(|body| {
            Body::new(Sent {
                body,
                ended: false,
                activity,
            })
        });
        async move {
            let response = if is_clear {
                router.oneshot(request).await?
            } else {
                unclear()
            };
            Ok::<_, Infallible>(response.map(|body| Answer {
                body,
                _idle_after: idle_after,
            }))
        }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(io, service);
    let connection = connections.watch(connection);
    async move {
        let _entry = entry;
        tokio::select! {
            result = connection => if let Err(error) = result {
                debug!(%error, "a connection ended early");
            },
            () = activity.overdue() => debug!("a connection was closed after its time limit, or to make room"),
        }
    }
}

/// The connections of a server, so that those that only wait can make room for others.
#[derive(Clone, Default)]
pub struct Waiting(Arc<Entries>);

#[derive(Default)]
struct Entries {
    by_number: Mutex<HashMap<u64, Arc<Activity>>>,
    next_number: AtomicU64,
}

/// A connection in [`Waiting`], until it is dropped.
struct Entry {
    entries: Arc<Entries>,
    number: u64,
}

impl Waiting {
    fn enter(&self, activity: &Arc<Activity>) -> Entry {
        let number = self.0.next_number.fetch_add(1, Ordering::Relaxed);
        self.0.lock().insert(number, Arc::clone(activity));
        Entry {
            entries: Arc::clone(&self.0),
            number,
        }
    }

    /// Closes the connections that have waited longest for a request, or for the rest of its head.
    pub fn make_room(&self) {
        let mut waiting = Vec::new();
        for activity in self.0.lock().values() {
            if let Some(since) = activity.waits_since() {
                waiting.push((since, Arc::clone(activity)));
            }
        }
        waiting.sort_unstable_by_key(|(since, _)| *since);
        for (_, activity) in waiting.iter().take(ROOM) {
            activity.dismiss();
        }
    }
}

impl Entries {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.by_number
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.entries.lock().remove(&self.number);
    }
}

/// Whether it is clear to everybody on the way whom the request is for (RFC 9112 §3.2). A proxy that takes another name of two than
/// whoever is behind it can be made to do what it should not.
fn names_one_host(request: &Request<Incoming>) -> bool {
    match request.headers().get_all(HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        count => count == 1,
    }
}

/// As what the parser refuses: nothing in it, and nothing after it.
fn unclear() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It waits for a request.
    Idle,
    /// It reads a request's head.
    Head,
    /// A request is being answered. What limits the body and the work is up to the handler.
    Busy,
}

struct Activity {
    state: Mutex<State>,
    dismissed: Notify,
    /// A request's body was not read to its end.
    left_unread: AtomicBool,
}

struct State {
    phase: Phase,
    since: Instant,
    /// Since when the client takes nothing, if there is something for it to take.
    blocked_since: Option<Instant>,
    /// It is to make room, unless a request comes first.
    is_dismissed: bool,
}

impl State {
    /// No request is being answered, and no answer on its way.
    fn is_waiting(&self) -> bool {
        self.phase != Phase::Busy && self.blocked_since.is_none()
    }
}

impl Activity {
    fn new() -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Head,
                since: Instant::now(),
                blocked_since: None,
                is_dismissed: false,
            }),
            dismissed: Notify::new(),
            left_unread: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        let mut state = self.state();
        state.phase = phase;
        state.since = Instant::now();
        state.is_dismissed = false;
    }

    /// Since when it waits for the client, if that is all that it does.
    fn waits_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.is_waiting() && !state.is_dismissed).then_some(state.since)
    }

    fn dismiss(&self) {
        self.state().is_dismissed = true;
        self.dismissed.notify_one();
    }

    fn read_something(&self) {
        if self.state().phase == Phase::Idle {
            self.set(Phase::Head);
        }
    }

    fn wrote(&self, pending: bool) {
        let mut state = self.state();
        // The answer's last bytes are still going out: the connection is idle from the last of them on.
        if !pending && state.phase == Phase::Idle {
            state.since = Instant::now();
        }
        if state.blocked_since.is_some() != pending {
            state.blocked_since = pending.then(Instant::now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        if state.is_dismissed && state.is_waiting() {
            return Some(state.since);
        }
        let of_phase = match state.phase {
            Phase::Idle => Some(state.since + IDLE_LIMIT),
            Phase::Head => Some(state.since + HEAD_LIMIT),
            Phase::Busy => None,
        };
        let of_write = state.blocked_since.map(|since| since + WRITE_LIMIT);
        of_phase.into_iter().chain(of_write).min()
    }

    /// Ends when a time limit has passed.
    ///
    /// A limit that begins after a look is not over before the next one: so no request need tell that its limit has begun. To be woken for
    /// that, and to set a timer, would take longer than many a request.
    async fn overdue(&self) {
        let next_look = sleep(Duration::ZERO);
        tokio::pin!(next_look);
        loop {
            let now = Instant::now();
            let deadline = self.deadline();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            let later = now + SHORTEST_LIMIT;
            let next = deadline.map_or(later, |deadline| deadline.min(later));
            next_look.as_mut().reset(next);
            tokio::select! {
                () = &mut next_look => {}
                () = self.dismissed.notified() => {}
            }
        }
    }
}

/// Says that the connection is idle again, when the answer is out or was given up.
struct IdleAfter(Arc<Activity>);

impl Drop for IdleAfter {
    fn drop(&mut self) {
        self.0.set(Phase::Idle);
    }
}

/// The body of a request. Tells when it was not read to its end.
struct Sent {
    body: Incoming,
    ended: bool,
    activity: Arc<Activity>,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.ended = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.activity.left_unread.store(true, Ordering::Relaxed);
        }
    }
}

/// The body of an answer.
struct Answer {
    body: Body,
    _idle_after: IdleAfter,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that tells what happens on it.
struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
    linger: Option<Linger>,
}

/// What is still read though nobody wants it any more.
struct Linger {
    limit: Pin<Box<Sleep>>,
    left_bytes: usize,
}

impl Watched {
    fn told<T>(&self, write: Poll<T>) -> Poll<T> {
        self.activity.wrote(write.is_pending());
        write
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.read_something();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.told(write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.told(write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            stream,
            activity,
            linger,
        } = &mut *self;
        if linger.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
            if !activity.left_unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let Linger { limit, left_bytes } = linger.get_or_insert_with(|| Linger {
            limit: Box::pin(sleep(LINGER_LIMIT)),
            left_bytes: LINGER_BYTES,
        });
        while *left_bytes > 0 && limit.as_mut().poll(context).is_pending() {
            let mut bytes = [0; LINGER_PIECE_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer));
            // The client has closed its side, by intention or not.
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            *left_bytes = left_bytes.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}
