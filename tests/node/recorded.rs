//! Users of the charts' services, and what they have there.

use reqwest::StatusCode;
use serde_json::{Value, json};
use transcription_tests::client::{Answer, http, post};
use transcription_tests::speech::{Clip, librivox, word_errors};

use crate::stack::Namespace;

/// The password of the README.
pub const PASSWORD: &str = "correct horse battery";

/// Somebody with a token, and what they have recorded.
pub struct Recorded {
    name: &'static str,
    /// The token, as it was given first.
    pub token: String,
    answer: Value,
}

impl Recorded {
    /// Somebody logs in and sends real speech, which is heard and stored.
    pub async fn by(space: &Namespace<'_>, name: &'static str) -> Self {
        let token = log_in(space, name).await;
        let Clip { wav, words, .. } = librivox().remove(0);
        let part = reqwest::multipart::Part::bytes(wav).file_name("speech.wav");
        let form = reqwest::multipart::Form::new().part("file", part);
        let url = space.url("transcription").await;
        let request = http().post(format!("{url}/transcribe")).bearer_auth(&token);
        let answer = Answer::of(request.multipart(form).send().await.unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.json["model"], "base");
        let text = answer.json["transcription"].as_str().unwrap();
        assert!(word_errors(text, &words) <= 2, "{text}");
        space.is_stored(&answer.json).await;
        Self {
            name,
            token,
            answer: answer.json,
        }
    }

    /// They can log in, the old token is good at both services, and what they recorded is there.
    pub async fn is_there(&self, space: &Namespace<'_>) {
        log_in(space, self.name).await;
        let auth = space.url("auth").await;
        let me = http().get(format!("{auth}/me")).bearer_auth(&self.token);
        let me = Answer::of(me.send().await.unwrap()).await;
        assert_eq!(me.json["username"], self.name, "{me:?}");
        let transcription = space.url("transcription").await;
        let id = self.answer["id"].as_str().unwrap();
        let request = http().get(format!("{transcription}/transcriptions/{id}"));
        let found = Answer::of(request.bearer_auth(&self.token).send().await.unwrap()).await;
        assert_eq!(found.json["state"], "complete", "{found:?}");
        assert_eq!(found.json["transcription"], self.answer["transcription"]);
        space.is_stored(&found.json).await;
    }
}

async fn log_in(space: &Namespace<'_>, name: &str) -> String {
    let url = space.url("auth").await;
    let credentials = json!({"username_or_email": name, "password": PASSWORD});
    let answer = post(&http(), &format!("{url}/login"), &credentials).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json["access_token"].as_str().unwrap().to_owned()
}
