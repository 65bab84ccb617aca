//! What a hundred thousand users cost those who log in and register.

use std::time::Instant;

use sqlx::{Connection, SqliteConnection};
use transcription_tests::auth::{Auth, account, credentials};
use transcription_tests::client::PASSWORD;

use crate::ROUNDS;
use crate::table::{Goal, Row, median};

const FEW: u32 = 100;
const MANY: u32 = 100_000;
const LOG_INS: u32 = 200;
const REGISTRATIONS: u32 = 100;

/// Measures. At the least cost of bcrypt: at the usual one a log-in would take as long whatever the database did.
pub async fn measure() -> Vec<Row> {
    let (few, many) = (with_users(FEW).await, with_users(MANY).await);
    let mut log_ins = (Vec::new(), Vec::new());
    let mut registrations = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        log_ins.0.push(log_in(&few).await);
        log_ins.1.push(log_in(&many).await);
        registrations.0.push(register(&few, round).await);
        registrations.1.push(register(&many, round).await);
    }
    vec![row("log-in", log_ins), row("register", registrations)]
}

fn row(what: &str, (few, many): (Vec<f64>, Vec<f64>)) -> Row {
    let ratios = many.iter().zip(&few).map(|(many, few)| many / few);
    let figure = median(ratios.collect());
    Row {
        case: format!("{what} among {MANY} users, bcrypt cost 4, p50"),
        ours: format!("{:.2} ms", median(many)),
        against: format!("among {FEW}: {:.2} ms", median(few)),
        figure,
        goal: Goal::AtMost(1.1),
        unit: "",
    }
}

/// A service whose database had so many users when it was started.
async fn with_users(count: u32) -> Auth {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.process.terminate().await;
    let url = format!("sqlite://{}", auth.database().display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    // As the old backend would have left them; the service makes their keys when it starts.
    let filled = sqlx::query(
        "WITH RECURSIVE numbers (number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?)
         INSERT INTO users (id, username, email, hashed_password)
         SELECT number, 'user' || number, 'user' || number || '@example.com', hashed_password FROM numbers, users WHERE users.id = 1",
    );
    filled.bind(count).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    auth.restart([]).await;
    auth
}

async fn log_in(auth: &Auth) -> f64 {
    let mut took = Vec::new();
    for _ in 0..LOG_INS {
        let start = Instant::now();
        let answer = auth.post("/login", &credentials("ada", PASSWORD)).await;
        took.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    median(took)
}

async fn register(auth: &Auth, round: usize) -> f64 {
    let mut took = Vec::new();
    for number in 0..REGISTRATIONS {
        let start = Instant::now();
        let answer = auth
            .post("/register", &account(&format!("new-{round}-{number}")))
            .await;
        took.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    median(took)
}
