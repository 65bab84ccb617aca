//! The transcription service is killed at each step of an upload and a transcription, and started again.
