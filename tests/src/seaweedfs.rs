//! SeaweedFS, an S3 server of its own: what our services meet in production is not our own S3 either.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::operation::create_bucket::CreateBucketError;
use tempfile::TempDir;

use crate::files::cached;
use crate::process::{Process, free_port, is_answered};

/// The access key of the lab's S3 server.
pub const ACCESS_KEY: &str = "lab-access-key";
/// Its secret, which guards nothing: the server listens on loopback and lives as long as a test.
pub const SECRET_KEY: &str = "lab-secret-key";
/// The access key of who may do no more than the README's policy says, and may not list.
pub const LIMITED_ACCESS_KEY: &str = "limited-access-key";
/// Its secret.
pub const LIMITED_SECRET_KEY: &str = "limited-secret-key";
/// The bucket that is there from the start.
pub const BUCKET: &str = "recordings";

/// A running server with one empty bucket.
pub struct SeaweedFs {
    process: Process,
    /// Its address, for `AWS_ENDPOINT_URL_S3`.
    pub endpoint: String,
    /// A client with the server's keys.
    pub client: Client,
    _folder: TempDir,
}

impl SeaweedFs {
    /// Starts a server with its own ports and folder.
    pub async fn start() -> Self {
        Self::start_with("64").await
    }

    /// Starts a server that has room for some gigabytes.
    pub async fn start_roomy() -> Self {
        Self::start_with("1024").await
    }

    async fn start_with(volume_megabytes: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("s3.json");
        let identities = serde_json::json!({"identities": [{
            "name": "lab",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }, {
            "name": "limited",
            "credentials": [{"accessKey": LIMITED_ACCESS_KEY, "secretKey": LIMITED_SECRET_KEY}],
            "actions": [format!("Read:{BUCKET}/private/*"), format!("Write:{BUCKET}/private/*")],
        }]});
        std::fs::write(&config, identities.to_string()).unwrap();
        // It takes nine ports, and another server may be quicker at one of them.
        let mut started = None;
        for _ in 0..5 {
            started = with_bucket(folder.path(), &config, volume_megabytes).await;
            if started.is_some() {
                break;
            }
        }
        let (process, endpoint, client) = started.expect("SeaweedFS starts");
        Self {
            process,
            endpoint,
            client,
            _folder: folder,
        }
    }

    /// The keys of all objects in the bucket, in order.
    pub async fn keys(&self) -> Vec<String> {
        let listed = self
            .client
            .list_objects_v2()
            .bucket(BUCKET)
            .send()
            .await
            .unwrap();
        assert_ne!(
            listed.is_truncated,
            Some(true),
            "more objects than a test makes"
        );
        listed
            .contents
            .unwrap_or_default()
            .into_iter()
            .map(|object| object.key.unwrap())
            .collect()
    }

    /// How many uploads are open in the bucket.
    pub async fn open_uploads(&self) -> usize {
        let listed = self
            .client
            .list_multipart_uploads()
            .bucket(BUCKET)
            .send()
            .await
            .unwrap();
        listed.uploads.unwrap_or_default().len()
    }

    /// An object's bytes and content type.
    pub async fn object(&self, key: &str) -> (Vec<u8>, String) {
        let object = self
            .client
            .get_object()
            .bucket(BUCKET)
            .key(key)
            .send()
            .await
            .unwrap();
        let content_type = object.content_type.clone().unwrap_or_default();
        (object.body.collect().await.unwrap().to_vec(), content_type)
    }

    /// Stops the server at once, as a crash does.
    pub async fn crash(&mut self) {
        self.process.signal("KILL");
        self.process.ended().await;
    }

    /// The server's log.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// A server that has the bucket, unless it ended at its start. Whoever was quicker at its port may answer too, and say yes to a bucket
/// (SeaweedFS's own filer does): only S3 lists it.
async fn with_bucket(
    folder: &Path,
    config: &Path,
    volume_megabytes: &str,
) -> Option<(Process, String, Client)> {
    let port = free_port();
    let mut command = command(folder, config, port);
    command.arg(format!("-master.volumeSizeLimitMB={volume_megabytes}"));
    let mut process = Process::start(&mut command, folder.join("log"));
    let endpoint = format!("http://127.0.0.1:{port}");
    if !is_answered(&endpoint, &mut process).await {
        return None;
    }
    let client = client(&endpoint).await;
    let made = client.create_bucket().bucket(BUCKET).send().await;
    let listed = client.list_buckets().send().await.ok()?;
    let is_there = listed.buckets().iter().any(|it| it.name() == Some(BUCKET));
    // The SDK asks again when the answer was a fault, though the bucket was made: the folder is new, so that nobody else made it.
    let is_made = match &made {
        Ok(_) => true,
        Err(error) => error
            .as_service_error()
            .is_some_and(CreateBucketError::is_bucket_already_owned_by_you),
    };
    assert!(is_made || !is_there, "{made:?}");
    (is_there && process.is_running()).then_some((process, endpoint, client))
}

fn command(folder: &Path, config: &Path, port: u16) -> Command {
    let mut command = Command::new(cached("seaweedfs-4.48/weed"));
    command
        .env_clear()
        .env("HOME", folder)
        // Where it logs, and its sockets: nothing of it is to stay.
        .env("TMPDIR", folder)
        .arg("server")
        .arg("-s3")
        .arg(format!(
            "-filer.localSocket={}",
            folder.join("filer.sock").display()
        ))
        .arg(format!(
            "-s3.localSocket={}",
            folder.join("s3.sock").display()
        ))
        .arg(format!("-dir={}", folder.display()))
        .arg(format!("-s3.config={}", config.display()))
        .arg(format!("-s3.port={port}"))
        .args([
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
        ])
        .arg("-volume.max=20")
        .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"]);
    // Each service listens twice; ports that are not given would be the same for every server on this machine.
    for service in ["master", "volume", "filer"] {
        command
            .arg(format!("-{service}.port={}", free_port()))
            .arg(format!("-{service}.port.grpc={}", free_port()));
    }
    command.arg(format!("-s3.port.grpc={}", free_port()));
    command
}

/// A client with the server's keys.
pub async fn client(endpoint: &str) -> Client {
    let timeouts = TimeoutConfig::builder()
        .operation_timeout(Duration::from_secs(30))
        .build();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "lab"))
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .timeout_config(timeouts)
        .load()
        .await;
    let config = aws_sdk_s3::config::Builder::from(&config)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}
