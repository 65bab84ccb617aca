//! The whole stack in one process: both services on their ports, S3 on the local disk, Whisper. For a laptop, not for
//! production: the S3 in it keeps no promise across a power cut.
//!
//! [`stack`] starts and ends it, [`data`] is the folder it lives in, [`s3`] the store, [`demo`] its first user.

pub mod config;
pub mod data;
pub mod demo;
pub mod s3;
pub mod stack;
