//! The services are killed (`kill -9`) at each step of an upload, a transcription and a registration, and started again on the same
//! bucket or database with the same settings.
//!
//! A table says of each step and moment what the client saw and what is there afterwards. A proxy holds the request of that step: before
//! a byte of it is at the server, in the middle of its body (one without a body has none), or when the server has done it and the
//! service has not heard so. While it is held the service is killed, and what was held never goes on.
//!
//! After each restart the service is ready, the same user's next recording is transcribed, nothing is on the disk, and each open upload
//! is one that the rule of `init-bucket` drops. `audio`, `text` and `manifest` stand in a table only if they are whole and true. Google's
//! stand-in bills what it has answered; Google may bill more.
//!
//! [`small`] and [`large`] have the tables for Gemini, [`whisper`] for the engine in the process, [`registration`] for accounts. [`case`]
//! is a line of a table, [`lab`] causes it, [`left`] looks what is there, [`table`] prints and compares.

mod case;
mod lab;
mod large;
mod left;
mod registration;
mod small;
mod table;
mod whisper;
