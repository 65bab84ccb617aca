//! Input that nobody sends by intention, tried until a time is over.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// Tries inputs until the time is over; each must satisfy `holds`. How many there were.
pub fn try_for_a_while<S: Strategy>(
    time: Duration,
    inputs: &S,
    holds: impl Fn(S::Value) -> Result<(), TestCaseError>,
) -> u32 {
    let start = Instant::now();
    let mut tried = 0;
    while start.elapsed() < time {
        let config = Config {
            cases: 50,
            failure_persistence: None,
            max_shrink_time: 20_000,
            ..Config::default()
        };
        let mut runner = TestRunner::new(config);
        if let Err(error) = runner.run(inputs, &holds) {
            panic!("after {tried} others: {error}");
        }
        tried += 50;
    }
    tried
}

/// What work gives that must not panic and must end within a time. Work that does not end goes on: a thread cannot be stopped.
pub fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TestCaseError> {
    let (done, result) = mpsc::channel();
    thread::spawn(move || drop(done.send(work())));
    result.recv_timeout(limit).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => TestCaseError::fail(format!("it takes over {limit:?}")),
        mpsc::RecvTimeoutError::Disconnected => TestCaseError::fail("it panicked"),
    })
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct RawAnswer {
    /// Its status.
    pub status: u16,
    /// Everything, as text.
    pub text: String,
}

impl RawAnswer {
    /// What is behind the head.
    pub fn body(&self) -> &str {
        self.text
            .split_once("\r\n\r\n")
            .map_or("", |(_, body)| body)
    }
}

/// Sends bytes and gives the answer, if there is one: who hears nonsense may hang up. With `hangs_up` nothing more is sent after them.
pub fn answer_to(address: &str, request: &[u8], hangs_up: bool) -> Option<RawAnswer> {
    let mut stream = TcpStream::connect(address).unwrap();
    let limit = Some(Duration::from_mins(1));
    stream.set_read_timeout(limit).unwrap();
    stream.set_write_timeout(limit).unwrap();
    // It may hang up as soon as it has seen enough.
    let _ = stream.write_all(request);
    if hangs_up {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let too_late = [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
        assert!(
            !too_late,
            "no answer to {:?}",
            String::from_utf8_lossy(request)
        );
    }
    let status = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    Some(RawAnswer {
        status: std::str::from_utf8(status).ok()?.parse().ok()?,
        text: String::from_utf8_lossy(&answer).into_owned(),
    })
}
