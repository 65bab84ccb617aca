//! A stack in a namespace, as its users see it: `kubectl`, and the addresses of its Services.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use transcription_lab::kubernetes::ControlPlane;
use transcription_tests::client::{Answer, User, http, post};
use transcription_tests::cluster::condition_of;
use transcription_tests::files::root;
use transcription_tests::process::{eventually, run_within};
use transcription_tests::python::python;

/// The access key of the README.
const KEY: &str = "demo";

/// Where the files of the project are.
pub fn file(name: &str) -> PathBuf {
    root().join(name)
}

/// A namespace that takes only what is `restricted`.
pub struct Namespace<'a> {
    pub plane: &'a ControlPlane,
    pub name: String,
}

impl<'a> Namespace<'a> {
    pub async fn make(plane: &'a ControlPlane, prefix: &str) -> Self {
        let name = plane.namespace(prefix).await;
        let label = "pod-security.kubernetes.io/enforce=restricted";
        plane
            .succeed(&["label", "namespace", &name, label], "")
            .await;
        Self { plane, name }
    }

    /// What `kubectl` prints here. Fails the test if it fails.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let arguments = [&["--namespace", &self.name], arguments].concat();
        self.plane.succeed(&arguments, input).await
    }

    /// Runs commands of the README's, in the folder of the project, as somebody would whose `kubectl` is set to this namespace.
    pub async fn shell(&self, script: &str) -> String {
        self.shell_with(None, &file(""), script, "").await
    }

    /// The same with more programs, in any folder, and with this on its standard input.
    pub async fn shell_with(
        &self,
        programs: Option<&Path>,
        folder: &Path,
        script: &str,
        input: &str,
    ) -> String {
        let config = std::fs::read_to_string(self.plane.kubeconfig()).unwrap();
        let here = self.plane.folder().join("here.kubeconfig");
        let namespace = format!("\"namespace\": \"{}\"", self.name);
        std::fs::write(
            &here,
            config.replace("\"namespace\": \"default\"", &namespace),
        )
        .unwrap();
        let kubectl = self.plane.kubectl_command(&here);
        let of_kubectl = Path::new(kubectl.get_program()).parent().unwrap();
        let path = [
            programs.unwrap_or(of_kubectl),
            of_kubectl,
            Path::new("/usr/bin"),
            Path::new("/bin"),
        ];
        let mut command = Command::new("bash");
        command
            .env_clear()
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.plane.folder())
            .env("KUBECONFIG", here)
            .current_dir(folder)
            // What goes on in the background ends with it.
            .args([
                "-ec",
                &format!("trap 'kill $(jobs -p) 2>/dev/null || :' EXIT\n{script}"),
            ]);
        let output = run_within(command, input, Duration::from_mins(6)).await;
        let [printed, said] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(output.status.success(), "{script}: {printed}{said}");
        printed
    }

    /// A value of a Secret.
    pub async fn secret_value(&self, name: &str, key: &str) -> String {
        let path = format!("-o=go-template={{{{index .data \"{key}\" | base64decode}}}}");
        self.kubectl(&["get", "secret", name, &path], "").await
    }

    /// Applies a file of the project as it is.
    pub async fn apply(&self, name: &str) {
        self.kubectl(&["apply", "-f", file(name).to_str().unwrap()], "")
            .await;
    }

    /// Makes a Secret.
    pub async fn secret(&self, name: &str, values: &[(&str, &str)]) {
        let literals = values
            .iter()
            .map(|(key, value)| format!("--from-literal={key}={value}"));
        let literals = literals.collect::<Vec<_>>();
        let mut arguments = vec!["create", "secret", "generic", name];
        arguments.extend(literals.iter().map(String::as_str));
        self.kubectl(&arguments, "").await;
    }

    /// Waits until a stack is ready.
    pub async fn ready(&self, stack: &str) {
        let stack = format!("tstack/{stack}");
        let arguments = ["wait", "--for=condition=Ready", "--timeout=240s", &stack];
        self.kubectl(&arguments, "").await;
    }

    /// Changes a stack (RFC 7386).
    pub async fn patch(&self, stack: &str, change: &Value) {
        let change = change.to_string();
        let arguments = ["patch", "tstack", stack, "--type=merge", "-p", &change];
        self.kubectl(&arguments, "").await;
    }

    /// Waits until a condition does not hold for this reason, and gives its sentence.
    pub async fn told(&self, stack: &str, condition: &str, reason: &str) -> String {
        let message = Mutex::new(String::new());
        eventually("the trouble is told", async || {
            let arguments = ["get", "tstack", stack, "-o", "json"];
            let object = self.kubectl(&arguments, "").await;
            let object = serde_json::from_str::<Value>(&object).unwrap();
            let found = condition_of(&object, condition);
            let told = found["message"].as_str().unwrap();
            told.clone_into(&mut message.lock().unwrap());
            found["status"] == "False" && found["reason"] == reason
        })
        .await;
        message.into_inner().unwrap()
    }

    /// The address of a Service. This machine is the node, so it is reached from here as from a pod.
    pub async fn url(&self, service: &str) -> String {
        let arguments = ["get", "service", service, "-o", "json"];
        let object = serde_json::from_str::<Value>(&self.kubectl(&arguments, "").await).unwrap();
        let address = object["spec"]["clusterIP"].as_str().unwrap();
        let url = format!("http://{address}:{}", object["spec"]["ports"][0]["port"]);
        // A pod is ready a moment before the node's proxy sends somebody there.
        eventually("the Service leads to a pod", async || {
            http().get(&url).send().await.is_ok()
        })
        .await;
        url
    }

    /// Logs in through the Service.
    pub async fn log_in(&self, stack: &str, name: &str, password: &str) -> String {
        let url = self.url(&format!("{stack}-auth")).await;
        let credentials = json!({"username_or_email": name, "password": password});
        let answer = post(&http(), &format!("{url}/login"), &credentials).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json["access_token"].as_str().unwrap().to_owned()
    }

    /// Sends a recording through the Service.
    pub async fn transcribe(&self, stack: &str, token: &str, wav: Vec<u8>) -> Answer {
        let part = reqwest::multipart::Part::bytes(wav).file_name("speech.wav");
        let form = reqwest::multipart::Form::new().part("file", part);
        let url = self.url(&format!("{stack}-transcription")).await;
        let request = http().post(format!("{url}/transcribe")).bearer_auth(token);
        Answer::of(request.multipart(form).send().await.unwrap()).await
    }

    /// Registers somebody through the Service and logs them in.
    pub async fn register(&self, stack: &str, name: &str) -> User {
        let auth = self.url(&format!("{stack}-auth")).await;
        let transcription = self.url(&format!("{stack}-transcription")).await;
        User::register(&auth, &transcription, name).await
    }

    /// The keys of all objects in the bucket, as boto3 sees them.
    pub async fn keys(&self, access_key: &str, secret_key: &str) -> Vec<String> {
        let script = r"
import sys, boto3
from botocore.config import Config
url, key, secret = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=url, aws_access_key_id=key, aws_secret_access_key=secret, region_name='us-east-1',
                  config=Config(s3={'addressing_style': 'path'}, connect_timeout=10, read_timeout=10))
for page in s3.get_paginator('list_objects_v2').paginate(Bucket='recordings'):
    for found in page.get('Contents', []):
        print(found['Key'])
";
        let url = self.url("seaweedfs").await;
        let printed = python(script, &[&url, access_key, secret_key]).await;
        printed.lines().map(str::to_owned).collect()
    }

    /// The objects of an answer are in the bucket, as boto3 sees them.
    pub async fn is_stored(&self, answer: &Value) {
        let secret = self.secret_value("s3", "AWS_SECRET_ACCESS_KEY").await;
        let keys = self.keys(KEY, &secret).await;
        for key in ["audio_key", "transcript_key"] {
            let key = answer[key].as_str().unwrap();
            assert!(
                keys.iter().any(|found| found == key),
                "{key} is not in {keys:?}"
            );
        }
    }

    /// Waits until nothing is left of what a stack owns.
    pub async fn is_left_by(&self, stack: &str) {
        let kinds =
            "pods,statefulsets,deployments,configmaps,services,serviceaccounts,networkpolicies";
        let selector = format!("app.kubernetes.io/instance={stack}");
        eventually("the children are gone", async || {
            let left = self
                .kubectl(&["get", kinds, "-l", &selector, "-o", "name"], "")
                .await;
            left.trim().is_empty()
        })
        .await;
    }
}
