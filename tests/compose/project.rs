//! A project of Compose: its containers, networks and volumes, which are gone after the test.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use transcription_tests::files::root;
use transcription_tests::process::{free_port, run_within};
use transcription_tests::python::python;

use crate::engine::{Engine, engine};

/// How long a command may take, with all that it builds and waits for.
const LIMIT: Duration = Duration::from_mins(4);
/// What somebody may have set who runs the tests.
const NOT_INHERITED: [&str; 6] = [
    "AUTH_ENV_FILE",
    "TRANSCRIPTION_ENV_FILE",
    "AUTH_DATA_VOLUME",
    "BIND_ADDRESS",
    "COMPOSE_PROFILES",
    "GEMINI_API_KEY",
];

/// A project with ports of its own.
pub struct Project {
    pub engine: Arc<Engine>,
    name: String,
    ports: BTreeMap<&'static str, u16>,
    /// Further variables for Compose.
    pub environment: BTreeMap<&'static str, String>,
}

impl Project {
    /// A project of this name, of which nothing is there yet.
    pub async fn new(name: &str) -> Self {
        let ports = [
            "AUTH_PORT",
            "TRANSCRIPTION_PORT",
            "PROMETHEUS_PORT",
            "GRAFANA_PORT",
            "JAEGER_PORT",
        ];
        Self {
            engine: engine().await,
            name: format!("lab-{}-{name}", std::process::id()),
            ports: ports.map(|name| (name, free_port())).into(),
            environment: BTreeMap::new(),
        }
    }

    /// Where this machine reaches what is published at a port.
    pub fn url(&self, port: &str) -> String {
        format!("http://127.0.0.1:{}", self.ports[port])
    }

    /// Runs commands for a shell in the folder of the project; what they print. Fails the test if they fail.
    pub async fn succeed(&self, script: &str) -> String {
        let output = self.run(script).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs commands for a shell in the folder of the project.
    pub async fn run(&self, script: &str) -> Output {
        run_within(self.shell(script), "", LIMIT).await
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        self.engine.docker.name_to(&mut command);
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        command
            .args(["-ec", script])
            .current_dir(root())
            .env("DOCKER_CONFIG", self.engine.client.path())
            .env("COMPOSE_PROJECT_NAME", &self.name)
            .env("COMPOSE_FILE", "docker-compose.yml:tests/compose/lab.yaml")
            // A file .env beside it is somebody's own.
            .env("COMPOSE_DISABLE_ENV_FILE", "1")
            .env("BUILDER", &self.engine.builder);
        for (name, port) in &self.ports {
            command.env(name, port.to_string());
        }
        command.envs(&self.environment);
        command
    }

    /// Every container, running or not, by its service, as `docker inspect` knows it.
    pub async fn containers(&self) -> BTreeMap<String, Value> {
        let ids = self.succeed("docker compose ps --all --quiet").await;
        let mut containers = BTreeMap::new();
        for id in ids.lines() {
            let container = self.engine.docker.inspect(id).await;
            let service = &container["Config"]["Labels"]["com.docker.compose.service"];
            containers.insert(service.as_str().unwrap().to_owned(), container);
        }
        containers
    }

    /// What a service has written so far.
    pub async fn log(&self, service: &str) -> String {
        self.succeed(&format!(
            "docker compose logs --no-color --no-log-prefix {service}"
        ))
        .await
    }

    /// The keys of all objects in the bucket of the local store.
    pub async fn local_keys(&self) -> Vec<String> {
        let secret = "no-secret-but-for-the-local-store";
        self.keys("store", "recordings", "local", secret).await
    }

    /// The keys of all objects in a bucket, as boto3 sees them. The bucket is made if it is not there.
    pub async fn keys(&self, service: &str, bucket: &str, key: &str, secret: &str) -> Vec<String> {
        let container = &self.containers().await[service];
        let networks = container["NetworkSettings"]["Networks"].as_object();
        let address = networks.unwrap().values().next().unwrap()["IPAddress"].clone();
        let endpoint = format!("http://{}:8333", address.as_str().unwrap());
        let printed = python(LIST, &[&endpoint, bucket, key, secret]).await;
        printed.lines().map(str::to_owned).collect()
    }
}

/// Lists a bucket.
const LIST: &str = "
import sys, boto3
from botocore.config import Config
endpoint, bucket, key, secret = sys.argv[1:]
config = Config(connect_timeout=5, read_timeout=20, retries={'max_attempts': 2}, proxies={}, s3={'addressing_style': 'path'})
s3 = boto3.client('s3', endpoint_url=endpoint, region_name='us-east-1', aws_access_key_id=key, aws_secret_access_key=secret, config=config)
if bucket not in [found['Name'] for found in s3.list_buckets()['Buckets']]:
    s3.create_bucket(Bucket=bucket)
for found in s3.list_objects_v2(Bucket=bucket).get('Contents', []):
    print(found['Key'])
";

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let tell =
                "docker compose ps --all; docker compose --profile '*' logs --no-color --tail 100";
            let logs = self.shell(tell).output().map(|output| output.stdout);
            let logs = logs.unwrap_or_default();
            eprintln!("--- {}\n{}", self.name, String::from_utf8_lossy(&logs));
        }
        let down = "docker compose --profile '*' down --volumes --remove-orphans --timeout 5";
        let _ = self.shell(down).output();
    }
}
