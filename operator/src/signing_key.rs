//! The signing key that the operator makes when none is given.

use k8s_openapi::ByteString;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::hash::hexadecimal;

/// As many random bytes as the longest of the algorithms can use (HS512, RFC 7518 §3.2).
const RANDOM_BYTES: usize = 64;

/// A new key: random bytes in hexadecimal digits, so that it is also a line of text.
pub fn make() -> ByteString {
    let mut random = [0; RANDOM_BYTES];
    // The kernel's own: no state of this process can repeat it.
    if SysRng.try_fill_bytes(&mut random).is_err() {
        unreachable!("the kernel has random bytes");
    }
    ByteString(hexadecimal(&random).into_bytes())
}
