//! Two handlers with nothing around them.

use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Row, SqlitePool};
use tokio::net::TcpListener;
use transcription_tests::stack::SIGNING_KEY;

#[derive(Clone)]
struct Bare {
    users: SqlitePool,
    key: DecodingKey,
    validation: Arc<Validation>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

/// Serves until it is killed.
pub async fn serve(database: &Path) {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .read_only(true);
    // As the service has it.
    let pool = SqlitePoolOptions::new()
        .max_connections(4)
        .test_before_acquire(false);
    let bare = Bare {
        users: pool.connect_with(options).await.unwrap(),
        key: DecodingKey::from_secret(SIGNING_KEY.as_bytes()),
        validation: Validation::new(Algorithm::HS256).into(),
    };
    let router = Router::new()
        .route("/me", get(me))
        .route("/transcribe", post(transcribe))
        .route("/nothing", get(async || StatusCode::NO_CONTENT))
        .with_state(bare);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    println!("listening on http://{address}");
    axum::serve(listener, router).await.unwrap();
}

async fn me(State(bare): State<Bare>, headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    let claims = verified(&bare, &headers).ok_or(StatusCode::UNAUTHORIZED)?;
    let id: i64 = claims.sub.parse().unwrap();
    let row = sqlx::query("SELECT id, username, email, disabled FROM users WHERE id = ?")
        .bind(id)
        .fetch_one(&bare.users)
        .await
        .unwrap();
    let (username, email): (String, String) = (row.get(1), row.get(2));
    Ok(Json(
        json!({"id": id, "username": username, "email": email}),
    ))
}

async fn transcribe(State(bare): State<Bare>, headers: HeaderMap) -> StatusCode {
    verified(&bare, &headers).map_or(StatusCode::UNAUTHORIZED, |_| StatusCode::OK)
}

fn verified(bare: &Bare, headers: &HeaderMap) -> Option<Claims> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let token = header.strip_prefix("Bearer ")?;
    let data = jsonwebtoken::decode(token, &bare.key, &bare.validation).ok()?;
    Some(data.claims)
}
