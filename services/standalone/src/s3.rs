//! An S3 store in the process, on the local disk, reached over a loopback port like any other.

use std::path::Path;

use anyhow::Context;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tracing::error;
use transcription_service::config::S3Settings;
use url::Url;
use uuid::Uuid;

/// The name of the bucket, and of its folder.
pub const BUCKET: &str = "recordings";

/// A store that listens, and how to reach it.
pub struct Store {
    /// Where it listens: a free loopback port.
    pub listener: TcpListener,
    /// What it answers.
    pub router: Router,
    /// What a client needs: its keys are made anew at each start.
    pub settings: S3Settings,
}

impl Store {
    /// Opens the store in `folder`.
    pub async fn open(folder: &Path) -> anyhow::Result<Self> {
        let bucket = folder.join(BUCKET);
        tokio::fs::create_dir_all(&bucket)
            .await
            .with_context(|| format!("the bucket's folder {} cannot be made", bucket.display()))?;
        let files = FileSystem::new(folder).map_err(|error| {
            anyhow::anyhow!(
                "the store in {} cannot be opened: {error:?}",
                folder.display()
            )
        })?;
        let access_key = Uuid::new_v4().simple().to_string();
        let secret_key = Uuid::new_v4().simple().to_string();
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(&access_key, secret_key.as_str()));
        let service = builder.build();
        let router = Router::new().fallback(move |request: Request| {
            let service = service.clone();
            async move {
                match service.call(request.map(s3s::Body::http_body_unsync)).await {
                    Ok(response) => response.map(axum::body::Body::new),
                    Err(error) => refuse(&format!("{error:?}")),
                }
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("the store finds no free port")?;
        let address = listener
            .local_addr()
            .context("reading the store's address")?;
        let endpoint =
            Url::parse(&format!("http://{address}")).context("naming the store's address")?;
        Ok(Self {
            listener,
            router,
            settings: S3Settings {
                s3_bucket_name: BUCKET.to_owned(),
                aws_access_key_id: Some(access_key),
                aws_secret_access_key: Some(SecretString::from(secret_key)),
                aws_session_token: None,
                aws_region: Some("us-east-1".to_owned()),
                aws_endpoint_url_s3: Some(endpoint),
                s3_force_path_style: true,
            },
        })
    }
}

fn refuse(cause: &str) -> Response {
    error!(
        cause,
        "the store on the local disk failed: look at the data folder and the space on the disk"
    );
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
