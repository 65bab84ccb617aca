//! The services, what they need, and the clients at work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use transcription_tests::auth::Auth;
use transcription_tests::traffic::Addresses;
use transcription_tests::transcription::Transcription;

use crate::metrics::Metrics;
use crate::notes::{Route, Service};
use crate::people::{Person, Shared, Worker};
use crate::recordings::MAX_UPLOAD_BYTES;
use crate::{accounts, leavers, recordings};

const SENDERS: usize = 4;
const PLACES: usize = 24;
/// More than there are places.
const CROWD: usize = 32;
const LEAVERS: usize = 12;
/// All large recordings together, refused ones too: the lab's S3 server has room for a gigabyte.
const LARGE_BYTES_IN_ALL: u64 = 600 * 1024 * 1024;
/// As much as two large ones of one round, and half of a third.
const LARGE_BYTES_A_TURN: u64 = 27 * 1024 * 1024;
const SHORTEST_TURN: Duration = Duration::from_secs(4);

/// Everything that runs.
pub struct Lab {
    pub auth: Auth,
    pub transcription: Transcription,
    pub shared: Arc<Shared>,
    people: People,
    seed: u64,
    /// From the start of a large recording to that of the next.
    large_every: Duration,
}

struct People {
    senders: Vec<Person>,
    others: Vec<Person>,
    crowd: Vec<Person>,
    leavers: Vec<Person>,
}

impl Lab {
    /// Starts all servers for a run of so long.
    pub async fn start(seed: u64, lasts: Duration) -> Self {
        let (places, largest) = (PLACES.to_string(), MAX_UPLOAD_BYTES.to_string());
        let (auth, transcription) = tokio::join!(
            Auth::start_with([
                ("ACCESS_TOKEN_EXPIRE_MINUTES", "10000"),
                ("RUST_LOG", "warn")
            ]),
            Transcription::start_with([
                ("MAX_CONCURRENT_TRANSCRIPTIONS", &*places),
                ("MAX_UPLOAD_BYTES", &*largest),
                ("ENGINE_TIMEOUT_SECONDS", "8"),
                ("RUST_LOG", "warn"),
            ]),
        );
        let shared = Arc::new(Shared::new(Addresses {
            auth: auth.url.clone(),
            transcription: transcription.url.clone(),
        }));
        let turns = LARGE_BYTES_IN_ALL / LARGE_BYTES_A_TURN;
        let large_every = lasts / u32::try_from(turns).unwrap();
        Self {
            auth,
            transcription,
            shared,
            people: People {
                senders: Vec::new(),
                others: Vec::new(),
                crowd: Vec::new(),
                leavers: Vec::new(),
            },
            seed,
            large_every: large_every.max(SHORTEST_TURN),
        }
    }

    /// Registers those who send recordings.
    pub async fn gather(&mut self) {
        let shared = &self.shared;
        self.people = People {
            senders: shared.people("speaker", SENDERS).await,
            others: shared.people("other", 6).await,
            crowd: shared.people("crowd", 10).await,
            leavers: shared.people("leaver", LEAVERS).await,
        };
    }

    /// Lets all clients work until a moment; each of them ends by itself soon after.
    pub fn work(&self, episode: u64, until: Instant) -> Vec<JoinHandle<()>> {
        let People {
            senders,
            others,
            crowd,
            leavers,
        } = &self.people;
        let mut seed = self.seed.wrapping_add(episode * 1007);
        let mut worker = |keeps| {
            seed += 1;
            Worker::new(&self.shared, seed, until, keeps)
        };
        let [large, refused, slow, goner, stalling, stranger] = &others[..] else {
            unreachable!("six of them were registered");
        };
        let mut tasks = Vec::new();
        for (number, sender) in senders.iter().enumerate() {
            let worker = worker(number % 2 == 0);
            let task = recordings::send_small(worker, sender.clone(), stranger.clone());
            tasks.push(tokio::spawn(task));
        }
        for keeps in [true, false] {
            tasks.push(tokio::spawn(accounts::make_accounts(worker(keeps))));
            let token = senders[0].token.clone();
            tasks.push(tokio::spawn(accounts::log_in(worker(keeps), token)));
        }
        let every = self.large_every;
        let hang_up = leavers::hang_up(worker(true), goner.clone(), leavers.clone());
        tasks.extend([
            tokio::spawn(recordings::send_large(worker(true), large.clone(), every)),
            tokio::spawn(recordings::send_refused(worker(false), refused.clone())),
            tokio::spawn(recordings::send_slowly(worker(true), slow.clone())),
            tokio::spawn(recordings::come_in_crowds(
                worker(true),
                crowd.clone(),
                CROWD,
            )),
            tokio::spawn(hang_up),
            tokio::spawn(accounts::leave(worker(true))),
            tokio::spawn(accounts::come_in_crowds(worker(false))),
            tokio::spawn(leavers::only_connect(worker(true))),
            tokio::spawn(leavers::read_pages(worker(true))),
        ]);
        if until.saturating_duration_since(Instant::now()) > leavers::STALL_LIMIT {
            let task = leavers::stall(worker(true), stalling.clone());
            tasks.push(tokio::spawn(task));
        }
        tasks
    }

    /// The metrics of a service. They are asked for like everything else, and counted.
    pub async fn metrics(&self, service: Service) -> Metrics {
        let (route, address) = match service {
            Service::Auth => (Route::auth("GET", "/metrics"), self.shared.auth()),
            Service::Transcription => {
                let route = Route::transcription("GET", "/metrics");
                (route, self.shared.transcription())
            }
        };
        let worker = Worker::new(&self.shared, 0, Instant::now(), false);
        let request = worker.http.get(format!("{address}/metrics"));
        Metrics::parse(&worker.read(route, request).await)
    }
}
