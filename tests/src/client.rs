//! A client of the services: it knows the contract and nothing else.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::multipart::{Form, Part};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::auth::{account, credentials};
use crate::errors;

/// The password of every user in tests.
pub const PASSWORD: &str = "correct horse battery staple";

/// Where the file begins in a form with the boundary of [`form_head`].
pub const FILE_HEAD: &[u8] =
    b"--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";

/// Someone with an account and a token.
pub struct User {
    http: reqwest::Client,
    transcription_url: String,
    /// The id, as `/register` gave it.
    pub id: i64,
    /// The token, as `/login` gave it.
    pub token: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The media type.
    pub content_type: String,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body, if it is JSON.
    pub json: Value,
    /// The body as it came.
    pub text: String,
}

impl User {
    /// Registers `name` and logs in.
    pub async fn register(auth_url: &str, transcription_url: &str, name: &str) -> Self {
        let http = http();
        let registered = post(&http, &format!("{auth_url}/register"), &account(name)).await;
        assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
        let login = credentials(name, PASSWORD);
        let token = post(&http, &format!("{auth_url}/login"), &login).await;
        assert_eq!(token.status, StatusCode::OK, "{token:?}");
        Self {
            http,
            transcription_url: transcription_url.to_owned(),
            id: registered.json["id"].as_i64().unwrap(),
            token: token.json["access_token"].as_str().unwrap().to_owned(),
        }
    }

    /// Sends a file, as a browser does.
    pub async fn transcribe(&self, file_name: &str, bytes: Vec<u8>) -> Answer {
        let part = Part::bytes(bytes).file_name(file_name.to_owned());
        self.send(Form::new().part("file", part)).await
    }

    /// Sends a form.
    pub async fn send(&self, form: Form) -> Answer {
        let request = self
            .http
            .post(format!("{}/transcribe", self.transcription_url))
            .bearer_auth(&self.token)
            .multipart(form);
        Answer::of(request.send().await.unwrap()).await
    }
}

impl Answer {
    /// Reads an answer. Fails the test if it is an error that no page explains.
    pub async fn of(response: Response) -> Self {
        let status = response.status();
        let path = response.url().path().to_owned();
        let headers = response.headers().clone();
        let content_type = headers
            .get("content-type")
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        if content_type == "application/problem+json" {
            errors::assert_problem_is_listed(&json);
        } else if path == "/token" && !status.is_success() {
            errors::assert_of_token_is_listed(status.as_u16(), &json);
        }
        Self {
            status,
            content_type,
            headers,
            json,
            text,
        }
    }

    /// A header as text.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .to_str()
            .unwrap()
    }

    /// What differs between two answers only by chance is left out.
    pub fn without_chance(&self) -> (StatusCode, Value, reqwest::header::HeaderMap) {
        let mut body = self.json.clone();
        if let Some(body) = body.as_object_mut() {
            body.remove("request_id");
        }
        let mut headers = self.headers.clone();
        headers.remove("x-request-id");
        headers.remove("date");
        (self.status, body, headers)
    }

    /// Fails the test if this is not a problem (RFC 9457) with this status and code; gives its sentence.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        assert_eq!(self.json["code"], code, "{self:?}");
        assert_eq!(self.json["status"], status, "{self:?}");
        assert_eq!(self.json["type"], "about:blank", "{self:?}");
        assert!(self.json["title"].is_string(), "{self:?}");
        let request_id = self.headers["x-request-id"].to_str().unwrap();
        assert_eq!(self.json["request_id"], request_id, "{self:?}");
        self.json["detail"].as_str().unwrap().to_owned()
    }
}

/// The head of a request to transcribe as it goes over the wire, for a form of this length with the boundary `frontier`.
pub fn form_head(url: &str, token: &str, length: usize) -> String {
    let address = url.strip_prefix("http://").unwrap();
    format!(
        "POST /transcribe HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary=frontier\r\n\r\n"
    )
}

/// Posts JSON.
pub async fn post(http: &reqwest::Client, url: &str, body: &Value) -> Answer {
    Answer::of(http.post(url).json(body).send().await.unwrap()).await
}

/// A client with time limits that asks no proxy.
pub fn http() -> reqwest::Client {
    http_builder().build().unwrap()
}

/// A client that comes from this address, which may be any of 127.0.0.0/8.
pub fn http_from(address: &str) -> reqwest::Client {
    let address: IpAddr = address.parse().unwrap();
    http_builder().local_address(address).build().unwrap()
}

fn http_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_mins(3))
        .no_proxy()
}
