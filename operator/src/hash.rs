//! Hashes that stand in annotations.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// SHA-256, the first 16 bytes.
pub fn hash(bytes: impl AsRef<[u8]>) -> String {
    hexadecimal(&Sha256::digest(bytes)[..16])
}

/// Bytes in hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}
