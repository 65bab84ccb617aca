//! A line of a table: at which step the service is killed, and what should be seen of it.

use reqwest::Method;
use transcription_tests::s3_proxy::Moment;

/// What a client sees whose request was under way.
pub const BROKEN: &str = "connection broken";

/// A step of an upload or a transcription.
#[derive(Clone)]
pub struct Step {
    /// Its name in the table.
    pub name: &'static str,
    /// The request that it is.
    pub request: Asked,
    /// What is sent.
    pub recording: Recording,
    /// What goes wrong besides.
    pub trouble: Trouble,
    /// What is awaited before the service is killed.
    pub first: First,
}

/// How a step is known.
#[derive(Clone)]
pub enum Asked {
    /// By a request to S3 or to Gemini.
    By(Request),
    /// The engine has taken the recording and has not answered.
    EngineWorks,
    /// It is no request: all that is awaited has happened.
    Nothing,
}

/// A request of the service.
#[derive(Clone)]
pub struct Request {
    /// Whom it goes to.
    pub server: Server,
    /// Its method.
    pub method: Method,
    /// A part of its path.
    pub path_part: &'static str,
    /// How many that look alike come before it.
    pub skipped: usize,
}

/// Whom the service asks.
#[derive(Clone, Copy)]
pub enum Server {
    /// The bucket.
    S3,
    /// Gemini.
    Gemini,
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// One that is stored by one request, and goes inline to Gemini.
    Small,
    /// One that is stored in three parts, and goes to Gemini by the Files API.
    Large,
}

/// What goes wrong besides the kill.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    No,
    /// A field behind the file is invalid: what was uploaded is given up.
    BadField,
    /// The manifest is stored and the answer is always lost: what was stored is taken back.
    ManifestAnswerLost,
    /// The bucket takes no text.
    TextRefused,
    /// The engine refuses the content.
    ContentBlocked,
    /// The request to delete the file at Google does not arrive. It comes by itself a second after the one that cancels the upload.
    FileStays,
}

/// What is awaited before the service is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// Only that the request of the step is held.
    Held,
    /// That the client has its answer too.
    Answered,
    /// That no file is at Google any more.
    Deleted,
}

/// When the service is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    /// While the request of the step is held.
    At(Moment),
    /// While the engine works, or something waits.
    Meanwhile,
}

/// A line of the table.
pub struct Case {
    /// The step.
    pub step: Step,
    /// The moment.
    pub killed: Killed,
    /// What the client saw.
    pub client: &'static str,
    /// What is left in the bucket.
    pub bucket: &'static str,
    /// What is left at Google.
    pub google: &'static str,
    /// What `GET /transcriptions/{id}` tells after the restart.
    pub told: &'static str,
}

impl Step {
    fn new(name: &'static str, request: Asked) -> Self {
        Self {
            name,
            request,
            recording: Recording::Small,
            trouble: Trouble::No,
            first: First::Held,
        }
    }

    /// A request to S3.
    pub fn s3(name: &'static str, method: Method, path_part: &'static str) -> Self {
        Self::by(name, Server::S3, method, path_part)
    }

    /// A request to Gemini.
    pub fn gemini(name: &'static str, method: Method, path_part: &'static str) -> Self {
        Self::by(name, Server::Gemini, method, path_part)
    }

    fn by(name: &'static str, server: Server, method: Method, path_part: &'static str) -> Self {
        Self::new(
            name,
            Asked::By(Request {
                server,
                method,
                path_part,
                skipped: 0,
            }),
        )
    }

    /// The engine works.
    pub fn engine_works(name: &'static str) -> Self {
        Self::new(name, Asked::EngineWorks)
    }

    /// Something waits in the service.
    pub fn waits(name: &'static str) -> Self {
        Self::new(name, Asked::Nothing)
    }

    /// So many requests that look alike come before it.
    pub fn after(self, skipped: usize) -> Self {
        let request = match self.request {
            Asked::By(request) => Asked::By(Request { skipped, ..request }),
            other => other,
        };
        Self { request, ..self }
    }

    /// Of a large recording.
    pub fn large(self) -> Self {
        Self {
            recording: Recording::Large,
            ..self
        }
    }

    /// With something else that goes wrong.
    pub fn with(self, trouble: Trouble) -> Self {
        Self { trouble, ..self }
    }

    /// Not before this.
    pub fn not_before(self, first: First) -> Self {
        Self { first, ..self }
    }

    /// Killed before a byte of the request is at the server.
    pub fn before(&self) -> Case {
        Case::new(self.clone(), Killed::At(Moment::Before))
    }

    /// Killed when half of the body is at the server.
    pub fn during(&self) -> Case {
        Case::new(self.clone(), Killed::At(Moment::During))
    }

    /// Killed when the server has done it, before the service knows.
    pub fn done(&self) -> Case {
        Case::new(self.clone(), Killed::At(Moment::After))
    }

    /// Killed meanwhile.
    pub fn meanwhile(&self) -> Case {
        Case::new(self.clone(), Killed::Meanwhile)
    }
}

impl Case {
    fn new(step: Step, killed: Killed) -> Self {
        Self {
            step,
            killed,
            client: BROKEN,
            bucket: "nothing",
            google: "nothing",
            told: "404",
        }
    }

    /// What is left in the bucket, and what `GET /transcriptions/{id}` tells.
    pub fn leaves(self, bucket: &'static str, told: &'static str) -> Self {
        Self {
            bucket,
            told,
            ..self
        }
    }

    /// What is left at Google.
    pub fn at_google(self, google: &'static str) -> Self {
        Self { google, ..self }
    }

    /// What the client saw.
    pub fn client(self, client: &'static str) -> Self {
        Self { client, ..self }
    }

    /// The line that is expected.
    pub fn expected(&self) -> [&'static str; 6] {
        [
            self.step.name,
            self.killed.name(),
            self.client,
            self.bucket,
            self.google,
            self.told,
        ]
    }
}

impl Killed {
    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::At(moment) => name_of(moment),
            Self::Meanwhile => "meanwhile",
        }
    }
}

/// The name of a moment in a table.
pub fn name_of(moment: Moment) -> &'static str {
    match moment {
        Moment::Before => "before",
        Moment::During => "during",
        Moment::After => "after",
    }
}
