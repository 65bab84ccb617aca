//! The auth service, and everything that can become of log-ins, registrations and tokens.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tokio::time::sleep;
use transcription_tests::auth::{Auth, account, credentials, fail_until_throttled};
use transcription_tests::client::{Answer, PASSWORD};
use transcription_tests::stack::SIGNING_KEY;

/// More than the 128 that may wait and those that are hashed.
const CROWD: usize = 200;

/// The service with its users.
pub struct Accounts {
    /// The service.
    pub auth: Auth,
}

impl Accounts {
    /// Starts the service, with hashes that take long enough for a queue.
    pub async fn start() -> Self {
        let auth = Auth::start_with([("BCRYPT_COST", "9")]).await;
        auth.register("ada").await;
        Self { auth }
    }

    /// Everything happens, and again until it is time.
    pub async fn are_used(&mut self, until: Instant) {
        self.auth.register("disabled").await;
        self.auth
            .succeed(&["user", "disable", "disabled"], "")
            .await;
        let mut round = 0;
        while round < 2 || Instant::now() < until {
            self.usual_things(round).await;
            self.refused_tokens().await;
            match round % 4 {
                0 => self.too_many_at_once().await,
                1 => self.without_its_table().await,
                _ => {}
            }
            if round == 1 {
                self.is_restarted().await;
            }
            round += 1;
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn usual_things(&self, round: usize) {
        let auth = &self.auth;
        let name = format!("user{round}");
        auth.register(&name).await;
        if round.is_multiple_of(4) {
            // Who finds a hundred names taken has to wait.
            auth.try_register(&name).await;
        }
        auth.post(
            "/register",
            &json!({"username": "", "email": "", "password": ""}),
        )
        .await;
        for _ in 0..5 {
            let token = auth.token(&name).await;
            auth.me(&token).await;
            sleep(Duration::from_millis(100)).await;
        }
        auth.login("nobody", PASSWORD).await;
        auth.login("disabled", PASSWORD).await;
        fail_until_throttled(async || auth.login(&name, "wrong").await).await;
        let form = [
            ("grant_type", "password"),
            ("username", "ada"),
            ("password", PASSWORD),
        ];
        let request = auth.http.post(format!("{}/token", auth.url)).form(&form);
        Answer::of(request.send().await.unwrap()).await;
        auth.get("/readyz").await;
    }

    async fn refused_tokens(&self) {
        let sign = |sub: &str, exp: u64, algorithm: Algorithm, key: &str| {
            let claims = json!({"sub": sub, "username": "ada", "exp": exp});
            let key = EncodingKey::from_secret(key.as_bytes());
            jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).unwrap()
        };
        let (past, future) = (1_000_000_000, 4_102_444_800);
        let forged = "another-signing-key-of-enough-bytes-0123456789";
        for token in [
            "malformed".to_owned(),
            sign("1", future, Algorithm::HS256, forged),
            sign("1", future, Algorithm::HS512, SIGNING_KEY),
            sign("1", past, Algorithm::HS256, SIGNING_KEY),
            sign("../1", future, Algorithm::HS256, SIGNING_KEY),
        ] {
            let answer = self.auth.me(&token).await;
            assert_eq!(answer.status, 401, "{answer:?}");
        }
        let answer = self.auth.get("/me").await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }

    async fn too_many_at_once(&self) {
        let answers = join_all((0..CROWD).map(|_| self.auth.login("ada", PASSWORD))).await;

        let busy = answers.iter().filter(|answer| answer.status == 503).count();
        assert!(busy > 0, "the queue was not full");
    }

    async fn without_its_table(&self) {
        let auth = &self.auth;
        auth.sql("ALTER TABLE users RENAME TO lost").await;
        // Long enough for some scrapes.
        for _ in 0..5 {
            let login = auth.post("/login", &credentials("ada", PASSWORD)).await;
            let registration = auth.post("/register", &account("late")).await;
            assert_eq!(
                (login.status.as_u16(), registration.status.as_u16()),
                (503, 503)
            );
            sleep(Duration::from_millis(400)).await;
        }
        auth.sql("ALTER TABLE lost RENAME TO users").await;
    }

    async fn is_restarted(&mut self) {
        assert!(self.auth.process.terminate().await.success());
        self.auth.restart_by("exec \"$0\" serve").await;
    }
}
